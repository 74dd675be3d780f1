//! Finds the end of a JSON value that comes in pieces.
//!
//! Depth and strings are counted, the rest is not checked: an object that is wrong inside ends at its last
//! bracket, too. A value that is no object or array has no end.

#[derive(Debug, Default)]
pub(super) struct JsonExtent {
    depth: usize,
    has_begun: bool,
    /// Something other than white space was read.
    has_text: bool,
    is_in_string: bool,
    is_escaped: bool,
}

impl JsonExtent {
    pub(super) const fn is_complete(&self) -> bool {
        self.has_begun && self.depth == 0 && !self.is_in_string
    }

    /// The value has begun and is not whole.
    pub(super) const fn is_open(&self) -> bool {
        self.has_begun && !self.is_complete()
    }

    pub(super) const fn is_blank(&self) -> bool {
        !self.has_text
    }

    pub(super) fn read(&mut self, fragment: &str) {
        for byte in fragment.bytes() {
            self.has_text |= !byte.is_ascii_whitespace();
            if self.is_in_string {
                match byte {
                    _ if self.is_escaped => self.is_escaped = false,
                    b'\\' => self.is_escaped = true,
                    b'"' => self.is_in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.is_in_string = true,
                b'{' | b'[' => {
                    self.has_begun = true;
                    self.depth += 1;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_found() {
        for (text, ends_at) in
            [(r#"{"a":"}\"{","b":[{}]}"#, Some(20)), ("{}", Some(1)), (" {\"a", None), ("12", None)]
        {
            let mut extent = JsonExtent::default();
            let end = text.char_indices().find_map(|(at, character)| {
                extent.read(character.encode_utf8(&mut [0; 4]));
                extent.is_complete().then_some(at)
            });
            assert_eq!(end, ends_at, "{text}");
        }
    }
}
