//! The grammar of JSON (RFC 8259), checked over bytes without building anything.
//!
//! Refuses nesting deeper than [`MAX_DEPTH`]. Numbers of any size and escaped lone surrogates are JSON: whether they
//! make sense is for the provider to say. That the bytes are UTF-8 is the caller's to check.

use super::text;

/// Containers that may be open at once inside a value.
pub(super) const MAX_DEPTH: usize = 256;

/// Not JSON: what was wrong, and at which byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct JsonError {
    pub(super) at: usize,
    pub(super) what: &'static str,
}

#[derive(Debug)]
pub(super) struct Cursor<'a> {
    body: &'a [u8],
    at: usize,
}

#[derive(Clone, Copy)]
enum Container {
    Object,
    Array,
}

/// The open containers, one bit each.
#[derive(Default)]
struct ContainerStack {
    arrays: [u64; MAX_DEPTH / 64],
    depth: usize,
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self { body, at: 0 }
    }

    pub(super) const fn at(&self) -> usize {
        self.at
    }

    pub(super) const fn step(&mut self) {
        self.at += 1;
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    pub(super) const fn fault(&self, what: &'static str) -> JsonError {
        JsonError { at: self.at, what }
    }

    pub(super) fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// A `:` and the space around it.
    pub(super) fn colon(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.peek() != Some(b':') {
            return Err(self.fault("expected `:`"));
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// A string with its quotes; whether it holds escapes.
    pub(super) fn string(&mut self) -> Result<bool, JsonError> {
        if self.peek() != Some(b'"') {
            return Err(self.fault("expected a string"));
        }
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += text::plain(self.body.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => self.escape()?,
                Some(_) => return Err(self.fault("a control character must be escaped")),
                None => return Err(self.fault("the string does not end")),
            }
            escaped = true;
        }
    }

    /// Any value, checked whole.
    pub(super) fn value(&mut self) -> Result<(), JsonError> {
        let mut nest = ContainerStack::default();
        loop {
            let opened = match self.peek() {
                Some(b'"') => self.string().map(|_| None)?,
                Some(b'{') => Some(Container::Object),
                Some(b'[') => Some(Container::Array),
                Some(b'-' | b'0'..=b'9') => self.number().map(|()| None)?,
                Some(b't') => self.literal(b"true").map(|()| None)?,
                Some(b'f') => self.literal(b"false").map(|()| None)?,
                Some(b'n') => self.literal(b"null").map(|()| None)?,
                Some(_) => return Err(self.fault("expected a value")),
                None => return Err(self.fault("the body ends where a value should be")),
            };
            let done = match opened {
                Some(container) => self.open(&mut nest, container)?,
                None => self.close(&mut nest)?,
            };
            if done {
                return Ok(());
            }
        }
    }

    /// Enters a container, up to its first value. Whether the outermost value is complete (this one was empty).
    fn open(&mut self, nest: &mut ContainerStack, container: Container) -> Result<bool, JsonError> {
        if !nest.push(container) {
            return Err(self.fault("nested too deeply"));
        }
        self.at += 1;
        self.space();
        match (container, self.peek()) {
            (Container::Object, Some(b'}')) | (Container::Array, Some(b']')) => self.close(nest),
            (Container::Object, _) => self.string().and_then(|_| self.colon()).map(|()| false),
            (Container::Array, _) => Ok(false),
        }
    }

    /// After a value: closes what ends here, up to the next value. Whether the outermost value is complete.
    fn close(&mut self, nest: &mut ContainerStack) -> Result<bool, JsonError> {
        while let Some(container) = nest.top() {
            self.space();
            match (container, self.peek()) {
                (Container::Object, Some(b'}')) | (Container::Array, Some(b']')) => nest.depth -= 1,
                (Container::Object, Some(b',')) => {
                    self.at += 1;
                    self.space();
                    self.string()?;
                    self.colon()?;
                    return Ok(false);
                }
                (Container::Array, Some(b',')) => {
                    self.at += 1;
                    self.space();
                    return Ok(false);
                }
                (Container::Object, _) => return Err(self.fault("expected `,` or `}`")),
                (Container::Array, _) => return Err(self.fault("expected `,` or `]`")),
            }
            self.at += 1;
        }
        Ok(true)
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        let hex = |bytes: &[u8]| bytes.len() == 4 && bytes.iter().all(u8::is_ascii_hexdigit);
        let width = match self.body.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if self.body.get(self.at + 2..self.at + 6).is_some_and(hex) => 6,
            _ => return Err(self.fault("not an escape sequence")),
        };
        self.at += width;
        Ok(())
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), JsonError> {
        if self.body.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            self.at += word.len();
            return Ok(());
        }
        Err(self.fault("expected a value"))
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

    /// One digit or more.
    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            return Err(self.fault("expected a digit"));
        }
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        Ok(())
    }
}

impl ContainerStack {
    /// Whether there was room.
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
