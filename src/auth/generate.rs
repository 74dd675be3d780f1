//! New tokens and ids. A token has 128 bits from the system's generator, and a prefix by which it is
//! recognised where it should not be.

use std::time::SystemTime;

use super::TokenSettings;
use crate::base::{Secret, time::since_1970};

const PREFIX: &str = "sk-thalweg-";

/// The system has no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes to make a token of")]
pub struct NoRandomness;

/// A token that cannot be guessed: the prefix and 32 hexadecimal digits. It is no administrator's.
///
/// # Errors
/// The system has no random bytes.
pub fn make(description: &str) -> Result<TokenSettings, NoRandomness> {
    let mut bytes = [0; 16];
    getrandom::getrandom(&mut bytes).map_err(|_| NoRandomness)?;
    let token = format!("{PREFIX}{:032x}", u128::from_be_bytes(bytes));
    Ok(TokenSettings::plain(description, Secret::new(token)))
}

/// Whether a token has the form of those made here.
#[must_use]
pub fn is_made(token: &str) -> bool {
    token.starts_with(PREFIX)
}

/// The part of a key that may be shown.
#[must_use]
pub fn shown(token: &str) -> String {
    let first: String = token.chars().take(PREFIX.len() + 4).collect();
    format!("{first}…")
}

/// An id that stays when a key is rotated. It reveals nothing of the key.
///
/// # Errors
/// The system has no random bytes.
pub fn make_id() -> Result<String, NoRandomness> {
    let mut bytes = [0; 8];
    getrandom::getrandom(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(format!("key_{:016x}", u64::from_be_bytes(bytes)))
}

/// A name for this process that no other process has. It is no secret.
#[must_use]
pub fn make_owner() -> String {
    let mut bytes = [0; 16];
    if getrandom::getrandom(&mut bytes).is_err() {
        // No other process has our number now, and one that had it earlier had another time.
        let since = since_1970(SystemTime::now());
        bytes = (since.as_nanos() ^ (u128::from(std::process::id()) << 96)).to_be_bytes();
    }
    format!("{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::make;

    #[test]
    fn makes_tokens_that_differ() {
        let [one, other] = [make("a").unwrap().token, make("a").unwrap().token];
        assert_ne!(one, other);
        assert_eq!(one.expose().len(), "sk-thalweg-".len() + 32);
        assert!(one.expose().starts_with("sk-thalweg-"));
        assert_eq!(super::shown("sk-thalweg-ab12cd34"), "sk-thalweg-ab12…");
    }
}
