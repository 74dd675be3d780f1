//! Checks the grammar of JSON (RFC 8259) over bytes, without building values.
//!
//! Refuses nesting deeper than [`MAX_DEPTH`]. Accepts numbers of any size and escaped lone surrogates,
//! because they are JSON and the provider decides whether they make sense. The caller checks that the bytes
//! are UTF-8.

use super::text::{self, BLOCK, TextBlock};

/// Objects and arrays that may be open at once inside a value.
pub(super) const MAX_DEPTH: usize = 256;

/// Not JSON: the reason, and the offset of the byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JsonError {
    pub(super) at: usize,
    pub(super) reason: &'static str,
}

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
    /// Runs of whole numbers are looked for from here on.
    runs_from: usize,
}

/// The first bytes of a string are tested so many at a time, and so often: most strings are not longer.
const NEAR: usize = 16;
const NEAR_CHUNKS: usize = 6;

/// Bytes behind a number that begins no run, before one is looked for again.
const NO_RUN: usize = 4 * BLOCK;

#[derive(Clone, Copy)]
enum Container {
    Object,
    Array,
}

/// The open containers, one bit each: 1 for an array, 0 for an object.
#[derive(Default)]
struct ContainerStack {
    arrays: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0, runs_from: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    pub(super) const fn error(&self, reason: &'static str) -> JsonError {
        JsonError { at: self.at, reason }
    }

    pub(super) fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// A `:` and the whitespace around it.
    pub(super) fn colon(&mut self) -> Result<(), JsonError> {
        self.skip_whitespace();
        if self.peek() != Some(b':') {
            return Err(self.error("expected `:`"));
        }
        self.at += 1;
        self.skip_whitespace();
        Ok(())
    }

    /// A string with its quotes. Returns whether it holds escapes.
    pub(super) fn string(&mut self) -> Result<bool, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.error("expected a string"));
        }
        self.at += 1;
        let mut is_prose = true;
        for _ in 0..NEAR_CHUNKS {
            let rest = self.rest();
            let stops = rest.first_chunk::<NEAR>().map(text::stops);
            if stops == Some(0) {
                self.at += NEAR;
                continue;
            }
            self.at += match stops {
                Some(stops) => stops.trailing_zeros() as usize,
                // Most bodies have a name or two so near to their end.
                None => rest.iter().take_while(|byte| !text::is_stop(**byte)).count(),
            };
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(false);
            }
            is_prose = false;
            break;
        }
        self.string_end(is_prose)
    }

    /// As [`Cursor::string`], from a byte inside of the string that is not escaped. `is_prose`: few bytes of
    /// it are escaped.
    fn string_end(&mut self, mut is_prose: bool) -> Result<bool, JsonError> {
        let mut any_escape = false;
        loop {
            if is_prose {
                self.at += text::plain_chunks(self.rest());
            }
            let rest = self.rest();
            let mut padded = [b' '; BLOCK];
            let bytes = rest.first_chunk().unwrap_or_else(|| {
                padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
                &padded
            });
            let block = TextBlock::new(bytes);
            let backslashes = block.equal(b'\\');
            let escaped = text::escaped(backslashes);
            let stops = block.equal(b'"') & !escaped | block.controls();
            let up_to_stop = stops ^ stops.wrapping_sub(1);
            let mut letters = escaped & up_to_stop;
            while letters != 0 {
                self.escape(self.at + letters.trailing_zeros() as usize)?;
                letters &= letters - 1;
            }
            is_prose = backslashes == 0;
            any_escape |= backslashes & up_to_stop != 0;
            if stops != 0 {
                self.at += stops.trailing_zeros() as usize;
                if self.peek() != Some(b'"') {
                    return Err(self.error("a control character must be escaped"));
                }
                self.at += 1;
                return Ok(any_escape);
            }
            if rest.len() < BLOCK {
                self.at += rest.len();
                return Err(self.error("the string does not end"));
            }
            // A backslash that escapes a byte of the next block begins that block.
            self.at += BLOCK - usize::from((backslashes & !escaped) >> (BLOCK - 1) == 1);
        }
    }

    /// One complete value of any type.
    pub(super) fn value(&mut self) -> Result<(), JsonError> {
        match self.scalar()? {
            None => Ok(()),
            Some(container) => self.container(container),
        }
    }

    /// A value that is no container. Of a container only its type: the cursor stays before it.
    fn scalar(&mut self) -> Result<Option<Container>, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(|_| None),
            Some(b'{') => Ok(Some(Container::Object)),
            Some(b'[') => Ok(Some(Container::Array)),
            Some(b'-' | b'0'..=b'9') => self.number().map(|()| None),
            Some(b't') => self.literal(b"true").map(|()| None),
            Some(b'f') => self.literal(b"false").map(|()| None),
            Some(b'n') => self.literal(b"null").map(|()| None),
            Some(_) => Err(self.error("expected a value")),
            None => Err(self.error("the body ends where a value should be")),
        }
    }

    /// The container that begins here, with all that is in it.
    fn container(&mut self, outermost: Container) -> Result<(), JsonError> {
        let mut stack = ContainerStack::default();
        let mut opened = Some(outermost);
        loop {
            let done = match opened {
                Some(container) => self.open(&mut stack, container)?,
                None => self.close(&mut stack)?,
            };
            if done {
                return Ok(());
            }
            opened = self.scalar()?;
        }
    }

    /// Enters a container, up to its first value. Whether the outermost value is complete (this one was
    /// empty).
    fn open(&mut self, stack: &mut ContainerStack, container: Container) -> Result<bool, JsonError> {
        if !stack.push(container) {
            return Err(self.error("nested too deeply"));
        }
        self.at += 1;
        self.skip_whitespace();
        match (container, self.peek()) {
            (Container::Object, Some(b'}')) | (Container::Array, Some(b']')) => self.close(stack),
            (Container::Object, _) => self.string().and_then(|_| self.colon()).map(|()| false),
            (Container::Array, _) => Ok(false),
        }
    }

    /// After a value: closes the containers that end here and moves to the next value. Returns whether the
    /// outermost value is complete.
    fn close(&mut self, stack: &mut ContainerStack) -> Result<bool, JsonError> {
        while let Some(container) = stack.top() {
            self.skip_whitespace();
            match (container, self.peek()) {
                (Container::Object, Some(b'}')) | (Container::Array, Some(b']')) => stack.depth -= 1,
                (Container::Object, Some(b',')) => {
                    self.at += 1;
                    self.skip_whitespace();
                    self.string()?;
                    self.colon()?;
                    return Ok(false);
                }
                (Container::Array, Some(b',')) => {
                    self.at += 1;
                    self.skip_whitespace();
                    self.whole_numbers();
                    self.skip_whitespace();
                    return Ok(false);
                }
                (Container::Object, _) => return Err(self.error("expected `,` or `}`")),
                (Container::Array, _) => return Err(self.error("expected `,` or `]`")),
            }
            self.at += 1;
        }
        Ok(true)
    }

    /// Checks the escape whose backslash is before `letter`.
    fn escape(&mut self, letter: usize) -> Result<(), JsonError> {
        let hex = |bytes: &[u8]| bytes.len() == 4 && bytes.iter().all(u8::is_ascii_hexdigit);
        match self.body.get(letter) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') if self.body.get(letter + 1..letter + 5).is_some_and(hex) => Ok(()),
            _ => {
                self.at = letter - 1;
                Err(self.error("not an escape sequence"))
            }
        }
    }

    /// Skips whole numbers of a list with the `,` or `, ` after each, as many as fill blocks: lists of tokens
    /// are long. Anything else is left, right or wrong.
    fn whole_numbers(&mut self) {
        while self.at >= self.runs_from
            && self.peek().is_some_and(|byte| byte.is_ascii_digit())
            && let Some(bytes) = self.rest().first_chunk()
        {
            let block = TextBlock::new(bytes);
            let (digits, commas, spaces) = (block.digits(), block.equal(b','), block.equal(b' '));
            let leading_zeros = block.equal(b'0') & !(digits << 1) & (digits >> 1);
            let unknown = !(digits | commas | spaces)
                | leading_zeros
                | commas & !(digits << 1)
                | spaces & !(commas << 1);
            // The last comma whose next byte is known, too.
            let known = (unknown & unknown.wrapping_neg()).wrapping_sub(1);
            let commas = commas & (known >> 1);
            let Some(last) = commas.checked_ilog2() else {
                // Numbers of another form are mostly followed by more of them.
                self.runs_from = self.at + NO_RUN;
                return;
            };
            self.at += last as usize + 1 + usize::from(spaces >> last >> 1 & 1 == 1);
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if self.body.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.error("expected a value"))
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One or more digits.
    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.error("expected a digit"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }
}

impl ContainerStack {
    /// Returns `false` at [`MAX_DEPTH`].
    fn push(&mut self, container: Container) -> bool {
        let Some(word) = self.arrays.get_mut(self.depth / 64) else { return false };
        let bit = 1 << (self.depth % 64);
        match container {
            Container::Array => *word |= bit,
            Container::Object => *word &= !bit,
        }
        self.depth += 1;
        true
    }

    fn top(&self) -> Option<Container> {
        let last = self.depth.checked_sub(1)?;
        let array = self.arrays.get(last / 64)? >> (last % 64) & 1 == 1;
        Some(if array { Container::Array } else { Container::Object })
    }
}
