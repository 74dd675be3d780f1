//! Writes a request of Anthropic's Messages API.
//!
//! Turns of one speaker are joined, as Anthropic joins them; texts that are empty are left out, as it refuses
//! them. A system message in mid-conversation becomes a marked text of the user in its place.

use super::{
    RequestError, RequestOptions,
    conversation::{Conversation, Media, Part, Speaker, Turn},
    known::PastThinking,
    members::Dropped,
    order,
    value::JsonDocument,
    write::{ArrayWriter, ObjectWriter, system_words},
    write_messages_blocks as blocks, write_messages_settings as settings, write_messages_tools as tools,
};
use crate::dialect::json::JsonWrite;

pub(super) fn write(
    talk: &mut Conversation<'_>,
    options: &RequestOptions<'_>,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    settings::refuse(talk)?;
    let mut turns = std::mem::take(&mut talk.turns);
    order::alternate(&mut turns);
    let known = talk.document.known.turns;
    if known.is_some_and(|known| known.state.has_detail) || turns.iter().any(has_detail) {
        talk.dropped.note("image_detail");
    }
    if let [only] = turns.as_mut_slice() {
        // Anthropic wants a message; a prompt may be all the system's words.
        only.speaker = if only.speaker == Speaker::System { Speaker::User } else { only.speaker };
    }
    let leading = usize::from(turns.first().is_some_and(|turn| turn.speaker == Speaker::System));
    let (system, rest) = turns.split_at_checked(leading).unwrap_or_default();
    let mut root = ObjectWriter::over(talk.document, out);
    root.text("model", options.model);
    let words = system.iter().flat_map(|turn| &turn.parts).map(system_words);
    let words = words.collect::<Result<Vec<_>, _>>()?;
    write_system(&words, &mut root);
    let mut messages = root.array("messages");
    for (at, turn) in rest.iter().enumerate() {
        let is_last = at + 1 == rest.len();
        talk.write_turn(turn, &mut messages, |talk, messages| {
            write_message(turn, is_last, talk.document, &mut talk.dropped, messages)
        })?;
    }
    messages.close();
    talk.end_turns();
    let known_calls = known.iter().flat_map(|known| known.calls).map(String::as_str);
    let calls = known_calls.chain(rest.iter().flat_map(|turn| &turn.parts).filter_map(call_name));
    tools::write_tools(talk, &calls.collect::<Vec<_>>(), &mut root);
    let past = known.map(|known| known.state.thinking);
    let thinking = rest.iter().fold(PastThinking::default(), |so_far, turn| so_far.after(turn, past));
    // The last message may be the begin of the answer, which has to begin with thinking, too.
    let is_begun = rest.last().is_some_and(|turn| turn.speaker == Speaker::Assistant);
    let may_think = !(thinking.is_missing || is_begun && thinking.is_behind);
    settings::write_settings(talk, options, may_think, &mut root);
    root.close();
    Ok(())
}

/// Whether a picture asks for another size than the usual one.
pub(super) fn has_detail(turn: &Turn<'_>) -> bool {
    let is_sized = |part: &Part<'_>| matches!(part, Part::Image(Media { detail: Some(detail), .. }) if *detail != "auto");
    turn.parts.iter().any(is_sized)
}

pub(super) fn call_name<'a>(part: &'a Part<'_>) -> Option<&'a str> {
    if let Part::Call(call) = part { Some(&call.name) } else { None }
}

/// With a budget, Anthropic wants the turn that a tool's result answers to begin with its thinking, before
/// its text. Words of the user alone end that turn: the next one may think again.
impl PastThinking {
    /// The same after a turn; `known`: after the turns that are known.
    pub(super) fn after(mut self, turn: &Turn<'_>, known: Option<Self>) -> Self {
        let answers = turn.parts.iter().any(|part| matches!(part, Part::Result(_)));
        if turn.speaker == Speaker::User && !answers {
            self = Self::default();
        }
        self.is_behind = false;
        for part in &turn.parts {
            match part {
                Part::Reasoning(past) => {
                    self.has_thought |= !self.is_behind && blocks::block_of(past).is_some();
                }
                Part::Call(_) => {
                    self.is_missing = !self.has_thought;
                    self.is_behind = self.is_missing;
                }
                Part::Text(_) | Part::Refusal(_) if turn.speaker == Speaker::Assistant => {
                    let is_blank = part.words().is_none_or(|words| words.trim().is_empty());
                    self.is_behind |= !is_blank && !self.has_thought;
                }
                Part::Text(_) | Part::Refusal(_) | Part::Image(_) | Part::Document(_) => {}
                Part::Result(_) | Part::Audio { .. } => {}
                Part::Known => self = known.unwrap_or(self),
            }
        }
        self
    }
}

fn write_system(blocks: &[&str], root: &mut ObjectWriter<'_>) {
    let blocks: Vec<&str> = blocks.iter().copied().filter(|text| !text.trim().is_empty()).collect();
    match blocks.as_slice() {
        [] => {}
        [text] => _ = root.text("system", text),
        texts => {
            let mut list = root.array("system");
            texts.iter().for_each(|text| blocks::write_text(text, &mut list));
            list.close();
        }
    }
}

fn write_message(
    turn: &Turn<'_>,
    is_last: bool,
    document: &JsonDocument<'_>,
    dropped: &mut Dropped,
    messages: &mut ArrayWriter<'_>,
) -> Result<(), RequestError> {
    let mut content = Vec::new();
    let mut blocks = ArrayWriter::over(document, &mut content);
    let speaker = turn.speaker;
    for part in &turn.parts {
        match part {
            Part::Call(call) => blocks::write_call(call, &mut blocks),
            Part::Result(result) => blocks::write_result(result, &mut blocks)?,
            Part::Reasoning(past) => blocks::write_reasoning(past, dropped, &mut blocks),
            Part::Image(media) | Part::Document(media) if speaker == Speaker::Assistant => {
                return Err(media.unsayable("an assistant's message can hold text only"));
            }
            // Anthropic refuses a last text of the assistant that ends in white space.
            Part::Text(text) if speaker == Speaker::Assistant && is_last => {
                blocks::write_text(text.trim_end(), &mut blocks)
            }
            Part::Text(_) | Part::Refusal(_) | Part::Image(_) | Part::Document(_) | Part::Audio { .. } => {
                blocks::write_block(part, &mut blocks)?;
            }
            Part::Known => return Err(RequestError::unfit()),
        }
    }
    let is_empty = blocks.is_empty();
    blocks.close();
    if !is_empty {
        let mut message = messages.object();
        message.text("role", if speaker == Speaker::Assistant { "assistant" } else { "user" });
        message.key("content").raw(&content);
        message.close();
    }
    Ok(())
}
