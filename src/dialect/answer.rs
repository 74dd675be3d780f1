//! Translates answers: streams event by event, whole answers and errors.
//!
//! An event goes reader (provider's dialect) -> [`fact`] -> [`sequencer`] -> [`block`] steps -> writer
//! (client's dialect). Its output is appended at once; nothing waits for a later event but the end, which
//! waits for the usage. Kept are an open call's state and, where a dialect repeats the answer at its end, the
//! answer, bounded. An answer that its provider did not complete gets no end.
//!
//! - [`read_chat`] ([`chat_calls`], [`chat_reasoning`], [`chat_values`]), [`read_messages`],
//!   [`read_responses`]: the readers, over [`json_read`] and [`cut_characters`]; [`text_shape`]
//!   ([`text_gaps`]): events that differ in their text alone
//! - [`call`] ([`input_string`], [`json_extent`]): a tool call under way; [`cited_text`]: places in the text
//! - [`write_chat`], [`write_messages`], [`write_responses`] ([`response_item`], [`response_object`]),
//!   [`write_gemini`] ([`gemini_values`]): the streams; [`ids`]
//! - [`stream_writer`]: one writer of a stream; [`findings`]: the results of a translation
//! - [`gathered`], [`gathered_answer`], [`write_whole`]: whole answers; [`errors`], [`overflow`],
//!   [`error_body`]: errors

mod block;
mod call;
mod chat_calls;
mod chat_reasoning;
mod chat_values;
mod cited_text;
mod cut_characters;
mod error_body;
mod errors;
mod fact;
mod findings;
mod gathered;
mod gathered_answer;
mod gemini_values;
mod ids;
mod input_string;
mod json_extent;
mod json_read;
mod overflow;
mod read_chat;
mod read_messages;
mod read_responses;
mod response_item;
mod response_object;
mod sequencer;
mod stream_writer;
#[cfg(test)]
mod tests;
mod text_gaps;
mod text_shape;
mod write_chat;
mod write_gemini;
mod write_messages;
mod write_responses;
mod write_whole;

use std::time::Duration;

use self::{
    block::BlockSink,
    fact::{Fact, FactSink},
    gathered_answer::Gathered,
    json_read::{Json, JsonRead, JsonReader},
    read_chat::ChatReader,
    read_messages::MessagesReader,
    read_responses::ResponsesReader,
    sequencer::{AnswerProgress, Sequencer},
    stream_writer::{AnswerWriter, StreamOutput},
    text_shape::{TextKind, TextNote, TextShape},
};
use crate::dialect::{ApiDialect, context::AnswerContext};

pub use self::{
    fact::{ErrorCode, TokenUsage},
    findings::{BrokenAnswer, Translated, WholeError},
};

/// Translates one stream. An upstream event in, its output appended to `out` at once: nothing waits.
#[derive(Debug)]
pub struct StreamTranslator {
    json: JsonReader,
    text_shape: TextShape,
    reader: Reader,
    sequencer: Sequencer,
    writer: AnswerWriter,
}

impl StreamTranslator {
    /// `from` is the provider's dialect, `to` the client's. Gemini is no provider's: such a stream has no
    /// events. `id` is the base of ids that the provider does not give; `created` is Unix time in seconds.
    #[must_use]
    pub fn new(from: ApiDialect, to: ApiDialect, context: AnswerContext, id: &str, created: u64) -> Self {
        let mut context = context;
        let tools = std::mem::take(&mut context.tools);
        Self {
            json: JsonReader::new(),
            text_shape: TextShape::default(),
            reader: Reader::new(from),
            sequencer: Sequencer::new(to, tools, context.estimated_input_tokens, id),
            writer: AnswerWriter::new(to, context, id, created),
        }
    }

    /// One event of the provider: its `event:` name and its data.
    pub fn event(&mut self, name: Option<&[u8]>, data: &[u8], out: &mut Vec<u8>) -> Translated {
        let data = data.trim_ascii();
        let mut seen = Translated::default();
        let mut output = StreamOutput { writer: &mut self.writer, out, seen: &mut seen };
        let mut feed = Feed { sequencer: &mut self.sequencer, sink: &mut output, note: None };
        if !self.json.is_cut()
            && let Some((kind, text)) = self.text_shape.text(name, data)
        {
            if !text.is_empty() {
                feed.fact(kind.fact(text));
            }
        } else if data == b"[DONE]" {
            self.text_shape.forget();
            self.reader.done(&mut feed);
        } else if !data.is_empty() {
            self.text_shape.forget();
            feed.note = self.text_shape.is_tried().then(TextNote::default);
            let reader = &mut self.reader;
            let read = self.json.read(data, |json| reader.event(name, json, &mut feed));
            if read.is_none() {
                let words = plain_words(data);
                let is_error = name == Some(b"error") && !words.is_empty();
                let message = if is_error { &words } else { "the provider sent an event that is not JSON" };
                feed.fact(Fact::Failed { code: errors::classify(None, "", "", message), message });
            }
            if let Some((kind, text)) = feed.note.and_then(TextNote::into_text)
                && self.reader.forgets(kind)
            {
                self.text_shape.learn(name, data, kind, &text);
            }
        }
        seen.is_dropped = std::mem::take(&mut self.sequencer.has_unknown);
        seen
    }

    /// The usage that the provider has reported so far. Usage in the output may be older. `None`: it has
    /// reported none, and usage in the output is an estimate.
    #[must_use]
    pub const fn usage(&self) -> Option<TokenUsage> {
        self.sequencer.usage()
    }

    /// The provider's stream ended. `Ok`: the answer was complete, and its end is in `out` or was before.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), BrokenAnswer> {
        let mut seen = Translated::default();
        let mut output = StreamOutput { writer: &mut self.writer, out, seen: &mut seen };
        self.reader.finish(&mut Feed { sequencer: &mut self.sequencer, sink: &mut output, note: None });
        match self.sequencer.progress() {
            AnswerProgress::Ended => Ok(()),
            AnswerProgress::Failed => Err(BrokenAnswer::Failed),
            AnswerProgress::Waiting | AnswerProgress::Started | AnswerProgress::Answering => {
                Err(BrokenAnswer::Cut)
            }
        }
    }

    /// Writes an error event in the client's dialect, unless the stream has ended.
    pub fn error(&mut self, code: ErrorCode, message: &str, out: &mut Vec<u8>) {
        let mut seen = Translated::default();
        let mut output = StreamOutput { writer: &mut self.writer, out, seen: &mut seen };
        self.sequencer.fail(code, message, &mut output);
    }
}

/// A whole answer, not streamed. `out` is the client's body only after `Ok`, which has the usage that the
/// provider reported; `None`: usage in `out` is an estimate. [`own_error`] writes the body of one that
/// failed.
pub fn whole(
    from: ApiDialect,
    to: ApiDialect,
    body: &[u8],
    context: &AnswerContext,
    id: &str,
    created: u64,
    out: &mut Vec<u8>,
) -> Result<Option<TokenUsage>, WholeError> {
    let mut sequencer = Sequencer::new(to, context.tools.clone(), context.estimated_input_tokens, id);
    let mut gathered = Gathered::new(to, context, id, created);
    let mut reader = Reader::new(from);
    let mut feed = Feed { sequencer: &mut sequencer, sink: &mut gathered, note: None };
    JsonReader::new().read(body, |json| reader.whole(json, &mut feed)).ok_or(WholeError::NotJson)?;
    gathered.write(out)?;
    Ok(sequencer.usage())
}

/// An error answer: status and body in, the client's status and body out.
pub fn error(from: ApiDialect, to: ApiDialect, status: u16, body: &[u8], out: &mut Vec<u8>) -> u16 {
    error_with_wait((from, to), status, body, None, out)
}

/// As [`error`]; `wait`: when to come again, which Gemini's clients read in the body.
pub fn error_with_wait(
    (from, to): (ApiDialect, ApiDialect),
    status: u16,
    body: &[u8],
    wait: Option<Duration>,
    out: &mut Vec<u8>,
) -> u16 {
    let read = JsonReader::new().read(body, |json| {
        // Google's compatible endpoint wraps its error in a list.
        let json = json.own_elements().next().unwrap_or(json);
        let error = errors::read(true, json)?;
        let own_status = error.status.filter(|own| (400..600).contains(own) && status < 400);
        let status = own_status.unwrap_or(status);
        let code = errors::classify(Some(status), error.kind, &error.code, &error.message);
        let names = if is_openai(from) && is_openai(to) {
            error_body::OwnNames { kind: error.kind, code: &error.code, param: error.param }
        } else {
            error_body::OwnNames::default()
        };
        let status = error_body::status(to, code, status);
        error_body::write(to, (code, status, wait), &error.message, names, out);
        Some(status)
    });
    read.flatten().unwrap_or_else(|| {
        let words = plain_words(body);
        let is_page = words.is_empty() || words.starts_with('<');
        let plain = format!("the provider answered with status {status}");
        let message = if is_page { &plain } else { &*words };
        let code = errors::classify(Some(status), "", "", message);
        write_error(to, (code, status, wait), message, out)
    })
}

/// The body of an error that the gateway itself reports; the client's status for it.
pub fn own_error(to: ApiDialect, code: ErrorCode, message: &str, out: &mut Vec<u8>) -> u16 {
    write_error(to, (code, error_body::gemini_status(code).0, None), message, out)
}

fn write_error(
    to: ApiDialect,
    (code, status, wait): (ErrorCode, u16, Option<Duration>),
    message: &str,
    out: &mut Vec<u8>,
) -> u16 {
    let status = error_body::status(to, code, status);
    error_body::write(to, (code, status, wait), message, error_body::OwnNames::default(), out);
    status
}

/// The words of an error that is no JSON.
fn plain_words(body: &[u8]) -> String {
    const MAX_WORDS: usize = 2000;
    let start = body.get(..body.len().min(MAX_WORDS)).unwrap_or_default();
    String::from_utf8_lossy(start).trim().to_owned()
}

const fn is_openai(dialect: ApiDialect) -> bool {
    matches!(dialect, ApiDialect::ChatCompletions | ApiDialect::Responses)
}

#[derive(Debug)]
enum Reader {
    Chat(ChatReader),
    Messages(MessagesReader),
    Responses(ResponsesReader),
    /// Gemini's native API is not translated.
    None,
}

impl Reader {
    fn new(from: ApiDialect) -> Self {
        match from {
            ApiDialect::ChatCompletions => Self::Chat(ChatReader::default()),
            ApiDialect::Messages => Self::Messages(MessagesReader::default()),
            ApiDialect::Responses => Self::Responses(ResponsesReader::default()),
            ApiDialect::Gemini => Self::None,
        }
    }

    fn event(&mut self, name: Option<&[u8]>, json: Json<'_>, sink: &mut dyn FactSink) {
        match self {
            Self::Chat(reader) => reader.event(name, json, sink),
            Self::Messages(reader) => reader.event(name, json, sink),
            Self::Responses(reader) => reader.event(name, json, sink),
            Self::None => sink.fact(Fact::Unknown),
        }
    }

    /// Whether a further text of this kind changes nothing in the reader.
    fn forgets(&self, kind: TextKind) -> bool {
        match (self, kind) {
            (Self::Chat(reader), TextKind::Arguments { key }) => reader.forgets_arguments(key),
            (Self::Chat(_) | Self::Messages(_) | Self::Responses(_) | Self::None, _) => true,
        }
    }

    fn whole(&mut self, json: Json<'_>, sink: &mut dyn FactSink) {
        match self {
            Self::Chat(reader) => reader.whole(json, sink),
            Self::Messages(reader) => reader.whole(json, sink),
            Self::Responses(reader) => reader.whole(json, sink),
            Self::None => {}
        }
    }

    fn done(&mut self, sink: &mut dyn FactSink) {
        match self {
            Self::Chat(reader) => reader.done(sink),
            // Some gateways end any dialect so.
            Self::Messages(_) | Self::Responses(_) | Self::None => {}
        }
    }

    fn finish(&mut self, sink: &mut dyn FactSink) {
        match self {
            Self::Chat(reader) => reader.finish(sink),
            Self::Messages(_) | Self::Responses(_) | Self::None => {}
        }
    }
}

/// Joins a reader with the sequencer.
struct Feed<'a> {
    sequencer: &'a mut Sequencer,
    sink: &'a mut dyn BlockSink,
    note: Option<TextNote>,
}

impl FactSink for Feed<'_> {
    fn fact(&mut self, fact: Fact<'_>) {
        if let Some(note) = &mut self.note {
            note.see(&fact);
        }
        self.sequencer.fact(fact, self.sink);
    }
}
