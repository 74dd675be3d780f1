//! Reads an event's JSON with simd-json: a tape over a scratch buffer, both kept by the thread.
//!
//! Strings of the tape are slices of the scratch buffer. Of members with one name the first counts. A
//! document that is no JSON because a character is cut apart is mended (`cut_characters`). A number beyond 64
//! bits is read as a float, as most readers do it.

use std::cell::Cell;

use simd_json::{
    Tape,
    prelude::{TypedScalarValue, ValueAsScalar, ValueIntoString},
    tape::Value,
};

use super::cut_characters::CutCharacter;
use crate::dialect::{json::JsonWrite, json_scratch::JsonScratch};

pub(super) type Json<'a> = Value<'a, 'a>;

/// Reads the events of one stream. Its buffers are the thread's.
#[derive(Debug, Default)]
pub(super) struct JsonReader {
    cut: CutCharacter,
}

thread_local! {
    /// Kept from event to event.
    static KEPT: Cell<Option<Box<JsonScratch>>> = const { Cell::new(None) };
}

impl JsonReader {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A piece of a character waits for its rest.
    pub(super) fn is_cut(&self) -> bool {
        self.cut.is_pending()
    }

    /// Calls `read` with the document. `None`: `data` is no JSON.
    pub(super) fn read<T>(&mut self, data: &[u8], read: impl FnOnce(Json<'_>) -> T) -> Option<T> {
        // A document within a document finds none kept.
        let mut scratch = KEPT.take().unwrap_or_else(|| Box::new(JsonScratch::new(MAX_DEPTH)));
        let mut read = Some(read);
        let mut once = |tape: &Tape<'_>| read.take().map(|read| read(tape.as_value()));
        let whole = (!self.cut.is_pending())
            .then(|| scratch.read(|text| text.extend_from_slice(data), &mut once).ok())
            .flatten();
        let result = whole.or_else(|| scratch.read(|text| self.cut.mend(data, text), &mut once).ok());
        if scratch.is_small() {
            KEPT.set(Some(scratch));
        }
        result.flatten()
    }
}

/// A document that is nested deeper is no answer, and clients' readers have limits of their own.
const MAX_DEPTH: usize = 100;

/// Lenient access: a member that is missing, null or of another type is `None`.
pub(super) trait JsonRead<'a> {
    fn member(&self, name: &str) -> Option<Json<'a>>;
    fn text(&self, name: &str) -> Option<&'a str>;
    /// The value itself, if it is a string.
    fn own_text(&self) -> Option<&'a str>;
    /// The string `name`; without one, an empty string.
    fn text_or_empty(&self, name: &str) -> &'a str {
        self.text(name).unwrap_or_default()
    }
    fn count(&self, name: &str) -> Option<u64>;
    /// The elements of the array `name`; without one, none.
    fn elements(&self, name: &str) -> Elements<'a>;
    /// The value's own elements.
    fn own_elements(&self) -> Elements<'a>;
    fn is_object_with_members(&self) -> bool;
}

pub(super) type Elements<'a> =
    std::iter::Flatten<std::option::IntoIter<simd_json::tape::array::Iter<'a, 'a>>>;

impl<'a> JsonRead<'a> for Json<'a> {
    fn member(&self, name: &str) -> Option<Json<'a>> {
        self.as_object()?.get(name).filter(|value| !value.is_null())
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.member(name)?.own_text()
    }

    fn own_text(&self) -> Option<&'a str> {
        (*self).into_string()
    }

    fn count(&self, name: &str) -> Option<u64> {
        let value = self.member(name)?;
        // A count may be written as 12.0 or "12".
        value
            .as_u64()
            .or_else(|| value.as_f64().filter(|count| *count >= 0.0).map(|count| count as u64))
            .or_else(|| value.own_text()?.parse().ok())
    }

    fn elements(&self, name: &str) -> Elements<'a> {
        self.member(name).and_then(|value| value.as_array()).map(|array| array.iter()).into_iter().flatten()
    }

    fn own_elements(&self) -> Elements<'a> {
        self.as_array().map(|array| array.iter()).into_iter().flatten()
    }

    fn is_object_with_members(&self) -> bool {
        self.as_object().is_some_and(|object| !object.is_empty())
    }
}

/// Appends `value` as JSON.
pub(super) fn write_json(value: Json<'_>, out: &mut Vec<u8>) {
    if let Some(object) = value.as_object() {
        out.push(b'{');
        for (index, (name, member)) in object.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            out.string(name).push(b':');
            write_json(member, out);
        }
        out.push(b'}');
    } else if let Some(array) = value.as_array() {
        out.push(b'[');
        for (index, element) in array.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_json(element, out);
        }
        out.push(b']');
    } else if let Some(text) = value.as_str() {
        out.string(text);
    } else {
        write_scalar(value, out);
    }
}

fn write_scalar(value: Json<'_>, out: &mut Vec<u8>) {
    if let Some(is_true) = value.as_bool() {
        out.raw(if is_true { "true" } else { "false" });
    } else if let Some(number) = value.as_u64() {
        out.number(number);
    } else if let Some(number) = value.as_i64() {
        out.raw(itoa::Buffer::new().format(number));
    } else if let Some(number) = value.as_f64().filter(|number| number.is_finite()) {
        out.raw(format!("{number:?}"));
    } else {
        out.raw("null");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn again(text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        JsonReader::new().read(text, |json| write_json(json, &mut out))?;
        Some(out)
    }

    #[test]
    fn json_is_written_as_it_was_read() {
        for text in ["{}", r#"{"a":[1,-2,1.5e-7,null,true,{"b":"\u2028\"x\n"}],"c":{}}"#, "[]", "12", "\"a\""]
        {
            let written: serde_json::Value =
                serde_json::from_slice(&again(text.as_bytes()).unwrap()).unwrap();
            assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
        }
        assert!(again(b"[DONE]").is_none() && again(b"").is_none() && again(b"{\"a\":").is_none());
        let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
        assert!(again(&deep).is_none());
    }

    /// The same number for every reader of floats.
    #[test]
    fn integers_beyond_64_bits_are_read() {
        for text in ["18446744073709551616", "-9223372036854775809", "123456789012345678901234567890"] {
            let event = format!(r#"{{"a":{text},"b":"c"}}"#);
            let written: serde_json::Value =
                serde_json::from_slice(&again(event.as_bytes()).unwrap()).unwrap();
            assert_eq!((written["a"].as_f64(), &written["b"]), (text.parse().ok(), &"c".into()));
        }
    }

    /// A reader with the usual limit of 128 reads whatever is written of it, some levels deeper.
    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert!(again(&nested(MAX_DEPTH - 1)).is_some() && again(&nested(MAX_DEPTH + 1)).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = again(&bytes);
        }
    }
}
