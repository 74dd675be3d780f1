//! Escapes the characters of a formatted line that change how it is shown. Texts of clients and providers get
//! into lines as they are, and tracing-subscriber escapes few of these characters, and only in messages. Done
//! by the log's thread, so that no worker waits for it; in a line with colours ESC of texts is escaped
//! before, as afterwards their colours look like the line's own.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use tracing::field::{Field, Visit};
use tracing_subscriber::{
    field::{RecordFields, VisitOutput},
    fmt::{
        FormatFields,
        format::{DefaultVisitor, Writer},
    },
};

use super::LogFormat;
use crate::base::control::is_display_control;

/// The colours that tracing-subscriber begins and ends, behind ESC and `[`.
const COLOURS: [&str; 9] = ["0m", "1m", "2m", "3m", "31m", "32m", "33m", "34m", "35m"];

/// The fields of a line with colours: as tracing-subscriber writes them, without colours in their values.
#[derive(Debug)]
pub(super) struct FieldsInColor;

impl<'w> FormatFields<'w> for FieldsInColor {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = DefaultVisitor::new(writer, true);
        fields.record(&mut WithoutEsc(&mut visitor));
        visitor.finish()
    }
}

/// Escapes ESC in what it passes on: a visitor that gets values, a value, or the text of one.
struct WithoutEsc<T>(T);

impl Visit for WithoutEsc<&mut DefaultVisitor<'_>> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            // Without quotes.
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.record_debug(field, &WithoutEsc(value));
    }
}

impl fmt::Debug for WithoutEsc<&dyn fmt::Debug> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(WithoutEsc(f), "{:?}", self.0)
    }
}

impl fmt::Write for WithoutEsc<&mut fmt::Formatter<'_>> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (number, part) in text.split('\x1b').enumerate() {
            if number > 0 {
                self.0.write_str("\\u{1b}")?;
            }
            self.0.write_str(part)?;
        }
        Ok(())
    }
}

/// The form of the lines of one destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineForm {
    pub(super) format: LogFormat,
    /// Lines for people have colours.
    pub(super) has_color: bool,
}

impl LineForm {
    /// The line without such characters; its line end, and colours of its own, stay.
    pub(super) fn escape(self, line: &[u8]) -> Cow<'_, [u8]> {
        let (text, end) = match line.strip_suffix(b"\n") {
            Some(text) => (text, "\n"),
            None => (line, ""),
        };
        if text.iter().all(|byte| (b' '..=b'~').contains(byte)) {
            return Cow::Borrowed(line);
        }
        let text = String::from_utf8_lossy(text);
        let mut escaped = String::with_capacity(text.len() + 16);
        let mut rest = &*text;
        while let Some(letter) = rest.chars().next() {
            let colour = self.colour(rest);
            let (part, after) = rest.split_at(colour.unwrap_or_else(|| letter.len_utf8()));
            if colour.is_none() && is_display_control(letter) {
                self.write_escape(letter, &mut escaped);
            } else {
                escaped.push_str(part);
            }
            rest = after;
        }
        escaped.push_str(end);
        Cow::Owned(escaped.into_bytes())
    }

    /// The length of the colour that `text` begins with.
    fn colour(self, text: &str) -> Option<usize> {
        let code = text.strip_prefix("\x1b[").filter(|_| self.has_color)?;
        COLOURS.iter().find(|colour| code.starts_with(**colour)).map(|colour| "\x1b[".len() + colour.len())
    }

    fn write_escape(self, letter: char, out: &mut String) {
        // Writing to a string does not fail.
        let _ = match self.format {
            LogFormat::Human => write!(out, "{}", letter.escape_unicode()),
            LogFormat::Json => write!(out, "\\u{:04x}", u32::from(letter)),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(format: LogFormat, has_color: bool, line: &str) -> String {
        String::from_utf8(LineForm { format, has_color }.escape(line.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn controls_are_escaped_in_the_form_of_the_line() {
        for letter in
            ['\u{7f}', '\u{80}', '\u{9b}', '\u{61c}', '\u{2028}', '\u{202e}', '\u{2066}', '\u{2069}']
        {
            let code = u32::from(letter);
            let line = format!("{{\"a\":\"x{letter}ü\"}}\n");
            let json = escaped(LogFormat::Json, false, &line);
            assert_eq!(json, format!("{{\"a\":\"x\\u{code:04x}ü\"}}\n"));
            let value: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(value["a"], format!("x{letter}ü"), "the text is the same");
            let human = escaped(LogFormat::Human, true, &format!("a=x{letter}ü\n"));
            assert_eq!(human, format!("a=x\\u{{{code:x}}}ü\n"));
        }
    }

    #[test]
    fn a_line_for_people_is_one_line_with_its_own_colours_alone() {
        let line = "\x1b[32m INFO\x1b[0m a=\n WARN \x1b]0;title\x07 \x1b[2J \x1b[8m\r\tb\n";
        let rest = "a=\\u{a} WARN \\u{1b}]0;title\\u{7} \\u{1b}[2J \\u{1b}[8m\\u{d}\\u{9}b\n";
        assert_eq!(escaped(LogFormat::Human, true, line), format!("\x1b[32m INFO\x1b[0m {rest}"));
        let plain = escaped(LogFormat::Human, false, line);
        assert_eq!(plain, format!("\\u{{1b}}[32m INFO\\u{{1b}}[0m {rest}"));
        for line in ["plain text\n", "no end"] {
            assert!(matches!(
                LineForm { format: LogFormat::Human, has_color: false }.escape(line.as_bytes()),
                Cow::Borrowed(same) if same == line.as_bytes()
            ));
        }
    }
}
