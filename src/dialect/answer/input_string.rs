//! Takes the string `input` out of a JSON object that comes in pieces: `{"input": "…"}`.
//!
//! A model may break the form: an object with other members first is read past them; of an object without
//! `input` the only member, if that is a string, or the object itself is the input; a text that is no object
//! (the model wrote the input itself) is the input as it is.

use super::json_read::{JsonRead, JsonReader};

#[derive(Debug, Default)]
pub(super) struct InputString {
    state: State,
    /// The member's name, or the escape, that is being read.
    held: String,
    /// The first half of a surrogate pair.
    high: Option<u32>,
    /// The object, as long as it has no `input`.
    object: String,
    is_too_long: bool,
    has_input: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Before,
    /// Between members, at this depth of values that are passed over.
    Between(usize),
    Name,
    AfterName,
    /// In a string of a value that is passed over.
    Skipped {
        depth: usize,
        is_escaped: bool,
    },
    Input,
    Escape,
    Done,
    /// The text is no object.
    Plain,
}

/// A member's name that is longer is not `input`.
const MAX_NAME: usize = 64;
/// Bytes of an object without `input`; a longer one is lost.
const MAX_OBJECT: usize = 64 << 10;

impl InputString {
    pub(super) fn read(&mut self, fragment: &str, text: &mut String) {
        for character in fragment.chars() {
            self.state = self.next(character, text);
            self.has_input |= matches!(self.state, State::Input | State::Plain);
        }
        if self.has_input {
            self.object = String::new();
        } else if !self.is_too_long && self.object.len() + fragment.len() <= MAX_OBJECT {
            self.object.push_str(fragment);
        } else {
            (self.is_too_long, self.object) = (true, String::new());
        }
    }

    /// The text is no object.
    pub(super) fn is_plain(&self) -> bool {
        self.state == State::Plain
    }

    /// The input of an object that had no `input` to its end.
    pub(super) fn rest(&mut self) -> String {
        let object = std::mem::take(&mut self.object);
        let only = JsonReader::new().read(object.as_bytes(), |json| {
            let members = json.as_object()?;
            let (_, value) = members.iter().next()?;
            (members.len() == 1).then(|| value.own_text().map(str::to_owned)).flatten()
        });
        match only.flatten() {
            Some(text) => text,
            None if object.trim() == "{}" => String::new(),
            None => object,
        }
    }

    fn next(&mut self, character: char, text: &mut String) -> State {
        match (self.state, character) {
            (State::Before, '{') => State::Between(0),
            (State::Before, ' ' | '\t' | '\n' | '\r') => State::Before,
            (State::Before | State::Plain, _) => {
                text.push(character);
                State::Plain
            }
            (State::Between(0), '"') => {
                self.held.clear();
                State::Name
            }
            (State::Between(depth), '"') => State::Skipped { depth, is_escaped: false },
            (State::Between(depth), '{' | '[') => State::Between(depth + 1),
            (State::Between(depth), '}' | ']') => State::Between(depth.saturating_sub(1)),
            (State::Between(depth), _) => State::Between(depth),
            (State::Name, '"') => State::AfterName,
            (State::Name, _) => {
                if self.held.len() < MAX_NAME {
                    self.held.push(character);
                }
                State::Name
            }
            (State::AfterName, '"') if self.held == "input" => State::Input,
            (State::AfterName, '"') => State::Skipped { depth: 0, is_escaped: false },
            (State::AfterName, '{' | '[') => State::Between(1),
            (State::AfterName, ',' | '}') => State::Between(0),
            (State::AfterName, _) => State::AfterName,
            (State::Skipped { depth, is_escaped: true }, _) => State::Skipped { depth, is_escaped: false },
            (State::Skipped { depth, .. }, '\\') => State::Skipped { depth, is_escaped: true },
            (State::Skipped { depth, .. }, '"') => State::Between(depth),
            (State::Skipped { .. }, _) => self.state,
            (State::Input, '"') => {
                self.lone(text);
                State::Done
            }
            (State::Input, '\\') => {
                self.held.clear();
                State::Escape
            }
            (State::Input, _) => {
                self.lone(text);
                text.push(character);
                State::Input
            }
            (State::Escape, _) => self.escape(character, text),
            (State::Done, _) => State::Done,
        }
    }

    fn escape(&mut self, character: char, text: &mut String) -> State {
        self.held.push(character);
        if let Some(digits) = self.held.strip_prefix('u') {
            if digits.chars().count() < 4 {
                return State::Escape;
            }
            let unit = u32::from_str_radix(digits, 16).unwrap_or(0xfffd);
            self.unit(unit, text);
            return State::Input;
        }
        self.lone(text);
        text.push(match character {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            other => other,
        });
        State::Input
    }

    fn unit(&mut self, unit: u32, text: &mut String) {
        match (self.high.take(), unit) {
            (Some(high), 0xdc00..0xe000) => {
                let joined = 0x10000 + ((high - 0xd800) << 10) + (unit - 0xdc00);
                text.push(char::from_u32(joined).unwrap_or('\u{fffd}'));
            }
            (high, unit) => {
                self.high = high;
                self.lone(text);
                match unit {
                    0xd800..0xdc00 => self.high = Some(unit),
                    _ => text.push(char::from_u32(unit).unwrap_or('\u{fffd}')),
                }
            }
        }
    }

    /// Half of a pair without the other half.
    fn lone(&mut self, text: &mut String) {
        if self.high.take().is_some() {
            text.push('\u{fffd}');
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn input(json: &str, at: usize) -> String {
        let (mut reader, mut text) = (InputString::default(), String::new());
        let at = (0..=at.min(json.len())).rev().find(|at| json.is_char_boundary(*at)).unwrap();
        reader.read(&json[..at], &mut text);
        reader.read(&json[at..], &mut text);
        text + &reader.rest()
    }

    #[test]
    fn an_object_that_is_too_long_is_lost_as_a_whole() {
        let (mut reader, mut text) = (InputString::default(), String::new());
        for part in ["{\"patch\":\"", &"x".repeat(MAX_OBJECT - 20), &"y".repeat(100), "z\"}"] {
            reader.read(part, &mut text);
        }
        assert_eq!((text, reader.rest()), (String::new(), String::new()));
    }

    proptest! {
        #[test]
        fn the_input_is_found(text in any::<String>(), other in any::<String>(), at in 0_usize..80) {
            let json = serde_json::json!({"a": {"input": [&other, 1]}, "b": &other, "input": &text, "z": 1});
            prop_assert_eq!(input(&json.to_string(), at), text);
        }

        #[test]
        fn any_text_is_read(text in any::<String>(), json in "[{}\\[\\]\":,\\\\a-du0-9]{0,60}") {
            input(&text, 3);
            input(&json, 30);
        }
    }

    #[test]
    fn other_forms_are_read() {
        assert_eq!(input(r#"{"input":"a\ud83d\ude00\ud83dx\u00e9\n"}"#, 14), "a😀\u{fffd}xé\n");
        assert_eq!(input("*** Begin", 3), "*** Begin");
        assert_eq!(input("{}", 1), "");
        // The text of another member is not lost.
        assert_eq!(input(r#"{"patch":"a\n\"é"}"#, 9), "a\n\"é");
        for object in [r#"{"a":"x","b":1}"#, r#"{"input":["x"]}"#, r#"{"patch":"ha"#] {
            assert_eq!(input(object, 4), object);
        }
    }
}
