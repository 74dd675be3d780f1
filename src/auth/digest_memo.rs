//! The digests of tokens that this thread has found valid, because most requests show the token of a request
//! before, and hashing it costs more than all other steps of admission together.
//!
//! The memo holds no tokens: a token is recognised by 128 bits of a hash under a key that is random per
//! thread, so another text meets them with a chance of 2^-128, and the bits say nothing of the token. It only
//! gives a digest: whether the key is still valid is looked up by the digest each time, as ever. Bits are
//! compared in constant time.

use std::{
    cell::RefCell,
    hash::{BuildHasher, Hasher, RandomState},
};

use super::digest::Digest;

/// Tokens that are remembered; a further one replaces the one in its place.
const PLACES: usize = 256;

thread_local! {
    static MEMO: RefCell<DigestMemo> = RefCell::new(DigestMemo::default());
}

/// A token's keyed hash.
#[derive(Clone, Copy, Debug)]
struct TokenMark([u64; 2]);

impl TokenMark {
    fn is(self, other: Self) -> bool {
        let ([a, b], [c, d]) = (self.0, other.0);
        (a ^ c) | (b ^ d) == 0
    }
}

#[derive(Debug, Default)]
struct DigestMemo {
    keys: RandomState,
    /// Empty until a token is remembered.
    places: Vec<Option<(TokenMark, Digest)>>,
}

impl DigestMemo {
    fn mark(&self, token: &[u8]) -> TokenMark {
        let mut hasher = self.keys.build_hasher();
        hasher.write(token);
        let first = hasher.finish();
        // Two texts that only differ in their ends never give the same pair.
        hasher.write_u64(first);
        TokenMark([first, hasher.finish()])
    }

    fn get(&self, mark: TokenMark) -> Option<Digest> {
        let (known, digest) = (*self.places.get(place(mark))?)?;
        known.is(mark).then_some(digest)
    }

    fn put(&mut self, mark: TokenMark, digest: Digest) {
        self.places.resize(PLACES, None);
        if let Some(kept) = self.places.get_mut(place(mark)) {
            *kept = Some((mark, digest));
        }
    }
}

const fn place(mark: TokenMark) -> usize {
    mark.0[0] as usize % PLACES
}

/// The result of `look_up` for the digest of `token`, which is remembered if there is one.
pub(super) fn find_by_digest<T>(token: &[u8], look_up: impl FnOnce(&Digest) -> Option<T>) -> Option<T> {
    MEMO.with_borrow_mut(|memo| {
        let mark = memo.mark(token);
        if let Some(digest) = memo.get(mark) {
            return look_up(&digest);
        }
        let digest = Digest::of(token);
        let found = look_up(&digest);
        if found.is_some() {
            memo.put(mark, digest);
        }
        found
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest_of(memo: &DigestMemo, token: &[u8]) -> Option<Digest> {
        memo.get(memo.mark(token))
    }

    #[test]
    fn a_remembered_digest_is_the_tokens_own() {
        let mut memo = DigestMemo::default();
        let tokens: Vec<String> = (0..2 * PLACES).map(|number| format!("sk-{number}")).collect();
        for token in &tokens {
            let mark = memo.mark(token.as_bytes());
            memo.put(mark, Digest::of(token.as_bytes()));
            assert_eq!(digest_of(&memo, token.as_bytes()), Some(Digest::of(token.as_bytes())));
        }
        let known = tokens.iter().filter_map(|token| Some((token, digest_of(&memo, token.as_bytes())?)));
        assert!(known.clone().all(|(token, digest)| digest == Digest::of(token.as_bytes())));
        assert!((1..=PLACES).contains(&known.count()));
        for stranger in [&b""[..], b"sk-", b"sk-1 ", b"sk-1\0"] {
            assert_eq!(digest_of(&memo, stranger), None);
        }
    }

    #[test]
    fn only_tokens_that_are_found_are_remembered() {
        let find = |token: &[u8], valid: bool| find_by_digest(token, |digest| valid.then_some(*digest));
        let places = || MEMO.with_borrow(|memo| memo.places.len());
        assert_eq!((find(b"sk-stranger", false), places()), (None, 0));
        assert_eq!(find(b"sk-alice", true), Some(Digest::of(b"sk-alice")));
        assert_eq!(find(b"sk-alice", true), Some(Digest::of(b"sk-alice")));
        // A key that is revoked is looked up again.
        assert_eq!((find(b"sk-alice", false), places()), (None, PLACES));
        let forged = MEMO.with_borrow_mut(|memo| {
            let TokenMark([first, second]) = memo.mark(b"sk-alice");
            memo.get(TokenMark([first, second ^ 1]))
        });
        assert_eq!(forged, None);
    }
}
