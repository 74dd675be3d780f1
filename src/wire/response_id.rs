//! The id of a response of the Responses API, out of an event of its stream. Needed for the event that ends a
//! stream which breaks off.

use super::{cursor::JsonError, index};

/// Bytes of an id that is kept.
const MAX_ID: usize = 256;

/// `response.id` of an event's data. `None`: it has none, or one that cannot stand in another event as it is.
#[must_use]
pub fn response_id(data: &[u8]) -> Option<Box<str>> {
    let id = member(member(data, b"response")?, b"id")?;
    let text = std::str::from_utf8(id).ok()?.strip_prefix('"')?.strip_suffix('"')?;
    let fits = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\');
    (!text.is_empty() && text.len() <= MAX_ID && text.bytes().all(fits)).then(|| text.into())
}

/// The value of a member of an object.
fn member<'a>(object: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut found = None;
    let read = index::members(object, |member| {
        if object.get(member.key.clone()) == Some(name) {
            found = object.get(member.value);
        }
        Ok::<_, JsonError>(())
    });
    read.ok().and(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_id_of_the_response_itself() {
        for (data, id) in [
            (
                r#"{"type":"response.created","sequence_number":0,"response":{"id":"resp_1","object":"response"}}"#,
                Some("resp_1"),
            ),
            (r#"{"response":{"metadata":{"id":"other"},"id": "resp_2"},"id":"event"}"#, Some("resp_2")),
            (r#"{"type":"response.created","id":"event"}"#, None),
            (r#"{"response":{"id":7}}"#, None),
            (r#"{"response":{"id":""}}"#, None),
            (r#"{"response":{"id":"a\"b"}}"#, None),
            (r#"{"response":{"id":"resp_1"}"#, None),
            ("[DONE]", None),
        ] {
            assert_eq!(response_id(data.as_bytes()).as_deref(), id, "{data}");
        }
        let long = format!(r#"{{"response":{{"id":"{}"}}}}"#, "x".repeat(MAX_ID + 1));
        assert_eq!(response_id(long.as_bytes()), None);
    }
}
