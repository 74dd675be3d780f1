//! A stored answer as bytes: the form's name, a digest, and the fields, each with its length, numbers with
//! the lowest byte first. The digest covers the key and all fields, so that a value which is damaged, cut, of
//! another form or under another key is none.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderName;
use sha2::{Digest as _, Sha256};

use super::{
    entry::{AnswerMaker, FrameMark, MakerPlace, StoredAnswer},
    key::AnswerKey,
};

use crate::base::HeaderFields;

/// It changes with every change that an earlier version would misread.
const FORM: &[u8; 8] = b"thwg-a1\n";
const DIGEST: usize = 16;
const MAX_HEADERS: usize = 64;

/// The longest form of an answer with so many bytes: a stream of short frames has a mark for each.
pub(super) const fn max_length(max_size: usize) -> usize {
    max_size.saturating_mul(2).saturating_add(16 * 1024)
}

/// The form of an answer. `None`: a part is longer than its length can say.
pub(super) fn write(key: &AnswerKey, answer: &StoredAnswer) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(answer.size());
    out.extend_from_slice(FORM);
    out.extend_from_slice(&[0; DIGEST]);
    let at = answer.at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    out.extend_from_slice(&u64::try_from(at).ok()?.to_le_bytes());
    out.extend_from_slice(&answer.tokens.to_le_bytes());
    let AnswerMaker { provider, place, model } = &answer.maker;
    out.extend_from_slice(&place.0);
    put(&mut out, provider.as_bytes())?;
    put(&mut out, model.as_bytes())?;
    put_number(&mut out, answer.headers.len())?;
    for (name, value) in answer.headers.iter() {
        put(&mut out, name.as_bytes())?;
        put(&mut out, value)?;
    }
    put_number(&mut out, answer.marks.len())?;
    for FrameMark { end, after } in &answer.marks {
        out.extend_from_slice(&end.to_le_bytes());
        out.extend_from_slice(&after.to_le_bytes());
    }
    put(&mut out, &answer.body)?;
    let digest = digest(key, out.get(FORM.len() + DIGEST..)?);
    out.get_mut(FORM.len()..FORM.len() + DIGEST)?.copy_from_slice(&digest);
    Some(out)
}

/// The answer of this form, if its body is no longer than `max_size`. One from the future is from `now`.
pub(super) fn read(
    key: &AnswerKey,
    value: Vec<u8>,
    max_size: usize,
    now: SystemTime,
) -> Option<StoredAnswer> {
    let value = Bytes::from(value);
    let rest = value.strip_prefix(FORM)?;
    let (digest_of, fields) = rest.split_at_checked(DIGEST)?;
    if digest(key, fields) != *digest_of {
        return None;
    }
    let mut fields = FieldReader(fields);
    let at = UNIX_EPOCH.checked_add(Duration::from_millis(fields.long()?))?;
    let tokens = fields.long()?;
    let place = MakerPlace(*fields.take(16)?.first_chunk()?);
    let provider = str::from_utf8(fields.part()?).ok()?.into();
    let model = str::from_utf8(fields.part()?).ok()?.into();
    let maker = AnswerMaker { provider, place, model };
    let count = Some(fields.number()?).filter(|count| *count <= MAX_HEADERS)?;
    let mut headers = HeaderFields::new();
    for _ in 0..count {
        let name = HeaderName::from_bytes(fields.part()?).ok()?;
        headers.append(name, fields.part()?).then_some(())?;
    }
    let count = fields.number()?;
    let (marks, _) = fields.take(count.checked_mul(8)?)?.as_chunks::<8>();
    let number = |bytes: [u8; 4]| u32::from_le_bytes(bytes);
    let marks = marks.iter().map(|&[a, b, c, d, e, f, g, h]| FrameMark {
        end: number([a, b, c, d]),
        after: number([e, f, g, h]),
    });
    let marks: Box<[FrameMark]> = marks.collect();
    let body = value.slice_ref(fields.part()?);
    let is_whole = fields.0.is_empty() && body.len() <= max_size && fits(&marks, body.len());
    is_whole.then_some(StoredAnswer { headers, body, marks, at: at.min(now), tokens, maker })
}

/// Whether the frames of a stream follow each other and end with its last byte.
fn fits(marks: &[FrameMark], length: usize) -> bool {
    let grows = marks.windows(2).all(|pair| matches!(pair, [one, next] if one.end <= next.end));
    grows && marks.last().is_none_or(|last| usize::try_from(last.end) == Ok(length))
}

fn digest(key: &AnswerKey, fields: &[u8]) -> [u8; DIGEST] {
    let mut digest = Sha256::new();
    digest.update(key.0);
    digest.update(fields);
    let digest: [u8; 32] = digest.finalize().into();
    *digest.first_chunk().unwrap_or(&[0; DIGEST])
}

fn put_number(out: &mut Vec<u8>, number: usize) -> Option<()> {
    out.extend_from_slice(&u32::try_from(number).ok()?.to_le_bytes());
    Some(())
}

fn put(out: &mut Vec<u8>, part: &[u8]) -> Option<()> {
    put_number(out, part.len())?;
    out.extend_from_slice(part);
    Some(())
}

struct FieldReader<'a>(&'a [u8]);

impl<'a> FieldReader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<usize> {
        usize::try_from(u32::from_le_bytes(*self.take(4)?.first_chunk()?)).ok()
    }

    fn long(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(*self.take(8)?.first_chunk()?))
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: AnswerKey = AnswerKey([7; 32]);

    fn answer() -> StoredAnswer {
        StoredAnswer {
            headers: [("content-type", "text/event-stream")].into_iter().collect(),
            body: Bytes::from_static(b"data: one\n\ndata: two\n\n"),
            marks: [FrameMark { end: 11, after: 0 }, FrameMark { end: 22, after: 9 }].into(),
            at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
            tokens: 3,
            maker: AnswerMaker { provider: "p".into(), place: MakerPlace([5; 16]), model: "m".into() },
        }
    }

    fn read(key: AnswerKey, value: &[u8]) -> Option<StoredAnswer> {
        super::read(&key, value.to_vec(), 22, SystemTime::now())
    }

    #[test]
    fn an_answer_is_read_as_it_was_written() {
        let whole = StoredAnswer { marks: Box::default(), ..answer() };
        for answer in [answer(), whole] {
            let value = write(&KEY, &answer).unwrap();
            assert!(value.len() <= max_length(22));
            assert_eq!(read(KEY, &value), Some(answer));
        }
    }

    #[test]
    fn a_value_that_is_damaged_cut_or_anothers_is_none() {
        let value = write(&KEY, &answer()).unwrap();
        assert_eq!(read(AnswerKey([8; 32]), &value), None, "of another key");
        assert_eq!(super::read(&KEY, value.clone(), 21, SystemTime::now()), None, "too long");
        for place in 0..value.len() {
            assert_eq!(read(KEY, &value[..place]), None, "cut at {place}");
            let mut damaged = value.clone();
            damaged[place] ^= 1;
            assert_eq!(read(KEY, &damaged), None, "damaged at {place}");
        }
        assert_eq!(read(KEY, &[&value[..], b"x"].concat()), None);
        assert_eq!(read(KEY, b"hello"), None);
        // A right digest over marks that no stream has.
        for marks in [[(22, 0), (11, 9)], [(11, 0), (21, 9)], [(11, 0), (23, 9)]] {
            let marks = marks.map(|(end, after)| FrameMark { end, after });
            let value = write(&KEY, &StoredAnswer { marks: marks.into(), ..answer() }).unwrap();
            assert_eq!(read(KEY, &value), None, "{marks:?}");
        }
    }

    #[test]
    fn an_answer_from_the_future_is_from_now() {
        let now = UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        let value = write(&KEY, &answer()).unwrap();
        let found = super::read(&KEY, value, 22, now).unwrap();
        assert_eq!((found.at, found.age(now)), (now, Duration::ZERO));
    }
}
