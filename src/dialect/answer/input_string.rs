//! Takes the string `input` out of a JSON object that comes in pieces: `{"input": "…"}`.
//!
//! A model may break the form: an object with other members first is read past them; a text that is no object
//! (the model wrote the input itself) is the input as it is.

#[derive(Debug, Default)]
pub(super) struct InputString {
    state: State,
    /// The member's name, or the escape, that is being read.
    held: String,
    /// The first half of a surrogate pair.
    high: Option<u32>,
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

impl InputString {
    pub(super) fn read(&mut self, fragment: &str, text: &mut String) {
        for character in fragment.chars() {
            self.state = self.next(character, text);
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
        text
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
    }
}
