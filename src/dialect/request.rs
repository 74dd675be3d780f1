//! A request of one dialect becomes a request of another.
//!
//! A reader per dialect makes a [`conversation::Conversation`] of slices into the body; a writer per dialect
//! makes a body of it. Content that the other dialect cannot say is refused by name if it changes the meaning
//! of the request, else dropped and listed.
//!
//! - [`options`]: the peculiarities of a provider, [`claude`] of Claude models; [`error`]: why a request is
//!   not translated; [`translated`]: the result
//! - [`conversation`]: the neutral form, [`content`] its parts, [`wishes`] its settings; [`place`]: a
//!   member's path
//! - [`nodes`] ([`json_node`], [`memo`]), [`value`], [`members`]: reading JSON; [`ids`]: ids of calls;
//!   [`schema`], [`closed_schema`], [`strict_schema`]: parameters of tools and forms of answers; [`order`]:
//!   results follow their calls; [`count`]: the estimate of tokens
//! - [`talk_memo`]: the turns and tools that came with a key before; [`past_parts`]: how they are kept;
//!   [`shared_text`]: without copies; [`shortened`]: the body without them; [`known`]: how they are used;
//!   [`talk_record`], [`recording`]: new ones
//! - [`read_chat`] ([`read_chat_tools`]), [`read_messages`] ([`read_messages_tools`]), [`read_responses`]
//!   ([`read_responses_items`], [`read_responses_tools`]), [`read_gemini`] ([`read_gemini_tools`]): the
//!   readers
//! - [`write`]: the parts that all writers share; [`own_names`]: the client's names of members
//! - [`write_chat`] ([`write_chat_parts`], [`write_chat_reasoning`], [`write_chat_settings`]),
//!   [`write_messages`] ([`write_messages_blocks`], [`write_messages_settings`], [`write_messages_tools`]),
//!   [`write_responses`] ([`write_responses_settings`]): the writers

mod claude;
mod closed_schema;
mod content;
mod conversation;
mod count;
mod error;
mod ids;
mod json_node;
mod known;
mod members;
mod memo;
mod nodes;
mod options;
mod order;
mod own_names;
mod past_parts;
mod place;
mod read_chat;
mod read_chat_tools;
mod read_gemini;
mod read_gemini_tools;
mod read_messages;
mod read_messages_tools;
mod read_responses;
mod read_responses_items;
mod read_responses_tools;
mod recording;
mod schema;
mod shared_text;
mod shortened;
mod strict_schema;
mod talk_memo;
mod talk_record;
#[cfg(test)]
mod tests;
mod translated;
mod value;
mod wishes;
mod write;
mod write_chat;
mod write_chat_parts;
mod write_chat_reasoning;
mod write_chat_settings;
mod write_messages;
mod write_messages_blocks;
mod write_messages_settings;
mod write_messages_tools;
mod write_responses;
mod write_responses_settings;

use std::cell::Cell;

pub use error::{RequestError, RequestErrorKind};
pub use ids::{for_messages as messages_tool_id, for_openai as openai_tool_id};
use known::KnownParts;
use nodes::NodeBuffers;
pub use options::{EffortForm, HostedTools, RequestOptions};
use past_parts::PartsOwner;
use place::{MemberPlace, PathStyle};
pub use translated::TranslatedRequest;
use translated::WrittenRequest;
use value::JsonDocument;

use crate::dialect::{ApiDialect, context::AnswerContext, json::JsonWrite};
use conversation::Conversation;

/// Translates between two different dialects. Equal ones pass natively; Gemini's is no provider's here.
pub fn translate(
    from: ApiDialect,
    to: ApiDialect,
    body: &[u8],
    options: &RequestOptions<'_>,
) -> Result<TranslatedRequest, RequestError> {
    let Some(key) =
        options.key.filter(|_| from != ApiDialect::Gemini && talk_memo::SIZE_OF_BODY.contains(&body.len()))
    else {
        let once = translate_with((from, to), (body, KnownParts::NONE), options, false);
        return once.map(WrittenRequest::translated);
    };
    let owner = PartsOwner::new(key, (from, to), options);
    talk_memo::with_known_parts(&owner, body, |body, known| {
        translate_with((from, to), (body, known), options, true)
    })
}

/// Translates a body, in which empty values may stand for parts that are known.
fn translate_with(
    (from, to): (ApiDialect, ApiDialect),
    (body, known): (&[u8], KnownParts<'_>),
    options: &RequestOptions<'_>,
    is_recorded: bool,
) -> Result<WrittenRequest, RequestError> {
    with_root(from, (body, known), |root| {
        let mut talk = read(from, root, options, is_recorded)?;
        let has_all_calls = order::results_follow_calls(&mut talk.turns);
        if known.turns.is_some() && !has_all_calls {
            return Err(RequestError::unfit());
        }
        talk.known_turns_stand_alone()?;
        if let (Some(asked), Some(limit)) = (talk.settings.max_tokens, options.max_tokens_limit)
            && limit < asked
        {
            talk.settings.max_tokens = Some(limit);
            talk.dropped.note("max_tokens");
        }
        let mut body = Vec::with_capacity(body.len() + body.len() / 8);
        let context = AnswerContext {
            model: talk.settings.model.to_owned(),
            streams: talk.settings.streams,
            wants_usage: talk.settings.wants_usage,
            tools: std::mem::take(&mut talk.names),
            echo: std::mem::take(&mut talk.echo),
            wants_encrypted_reasoning: talk.settings.wants_encrypted_reasoning,
            estimated_input_tokens: if has_prompt_count(from) { count::tokens(&mut talk) } else { 0 },
        };
        let written = match to {
            ApiDialect::ChatCompletions => write_chat::write(&mut talk, options, &mut body),
            ApiDialect::Messages => write_messages::write(&mut talk, options, &mut body),
            ApiDialect::Responses => write_responses::write(&mut talk, options, &mut body),
            ApiDialect::Gemini => Err(RequestError::unsayable("no provider is asked in Gemini's dialect")),
        };
        written.map_err(|error| error.in_dialect(from))?;
        let Conversation { shared, record, dropped, .. } = talk;
        Ok(WrittenRequest { body, shared, context, dropped: dropped.into_list(from), record })
    })
}

/// Whether answers of this dialect count the prompt's tokens even where the provider does not: at their
/// start, or at their end for clients that compact their conversation by it.
const fn has_prompt_count(client: ApiDialect) -> bool {
    matches!(client, ApiDialect::Messages | ApiDialect::Responses)
}

/// Estimates the tokens of a request's prompt, for a provider that cannot count.
pub fn count_tokens(from: ApiDialect, body: &[u8]) -> Result<u64, RequestError> {
    with_root(from, (body, KnownParts::NONE), |root| {
        let options = RequestOptions { default_max_tokens: 0, ..RequestOptions::new("") };
        let inner = root.member("generateContentRequest").filter(|_| from == ApiDialect::Gemini);
        let mut talk = read(from, inner.as_ref().unwrap_or(&root).counted(), &options, false)?;
        Ok(count::tokens(&mut talk))
    })
}

/// The answer to a request for a count, in the dialect's form.
pub fn count_answer(from: ApiDialect, tokens: u64) -> Vec<u8> {
    let mut body = Vec::new();
    match from {
        ApiDialect::Gemini => body.raw("{\"totalTokens\":").number(tokens).raw("}"),
        ApiDialect::Responses => {
            body.raw("{\"object\":\"response.input_tokens\",\"input_tokens\":").number(tokens).raw("}")
        }
        ApiDialect::Messages | ApiDialect::ChatCompletions => {
            body.raw("{\"input_tokens\":").number(tokens).raw("}")
        }
    };
    body
}

fn read<'t>(
    from: ApiDialect,
    root: MemberPlace<'_, 't>,
    options: &RequestOptions<'_>,
    is_recorded: bool,
) -> Result<Conversation<'t>, RequestError> {
    let mut talk = Conversation::new(root.value.document(), options.hosted_tools);
    if is_recorded {
        talk.record.start();
    }
    match from {
        ApiDialect::ChatCompletions => read_chat::read(&root, &mut talk)?,
        ApiDialect::Responses => read_responses::read(&root, &mut talk)?,
        ApiDialect::Messages => read_messages::read(&root, &mut talk)?,
        ApiDialect::Gemini => {
            talk.settings.streams = options.streams;
            read_gemini::read(&root, &mut talk)?;
        }
    }
    talk.end_reading()?;
    talk.finish_tools()?;
    Ok(talk)
}

thread_local! {
    /// Kept from request to request.
    static KEPT: Cell<NodeBuffers> = const { Cell::new(NodeBuffers::EMPTY) };
}

fn with_root<T>(
    from: ApiDialect,
    (body, known): (&[u8], KnownParts<'_>),
    then: impl FnOnce(MemberPlace<'_, '_>) -> Result<T, RequestError>,
) -> Result<T, RequestError> {
    let mut buffers = KEPT.take();
    let source = simdutf8::basic::from_utf8(body).map_err(|_| "it is not UTF-8");
    let result = match source.and_then(|source| buffers.read(source).map(|()| source)) {
        Ok(source) => with_document(from, &JsonDocument::new(source, &buffers).with_known(known), then),
        Err(reason) => Err(RequestError::invalid(format!("the body is not valid JSON: {reason}"), None)),
    };
    KEPT.set(buffers.kept());
    result
}

fn with_document<T>(
    from: ApiDialect,
    document: &JsonDocument<'_>,
    then: impl FnOnce(MemberPlace<'_, '_>) -> Result<T, RequestError>,
) -> Result<T, RequestError> {
    let root = document.root();
    if !root.is_object() {
        return Err(RequestError::invalid("the body is not a JSON object".to_owned(), None));
    }
    let style = match from {
        ApiDialect::Messages => PathStyle::Dots,
        ApiDialect::ChatCompletions | ApiDialect::Responses | ApiDialect::Gemini => PathStyle::Brackets,
    };
    then(MemberPlace::root(root, style))
}
