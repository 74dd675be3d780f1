//! A request in no dialect: turns of parts, tools, settings.
//!
//! Texts are slices of the client's body. The set holds the members that two dialects have; a reader refuses
//! or drops members that its own dialect alone has. The tools' names are the ones that a provider knows them
//! by.

use std::{borrow::Cow, collections::HashSet};

use bytes::Bytes;

use super::{
    HostedTools, RequestError,
    members::Dropped,
    talk_record::{TalkRecord, TurnSource},
    value::{JsonDocument, JsonValue},
    wishes::{FunctionTool, ToolChoice, Wishes},
};
use crate::dialect::{context::ToolName, reasoning::SignedReasoning};

#[derive(Debug)]
pub(super) struct Conversation<'t> {
    pub(super) document: &'t JsonDocument<'t>,
    pub(super) turns: Vec<Turn<'t>>,
    pub(super) tools: Vec<FunctionTool<'t>>,
    pub(super) choice: Option<ToolChoice<'t>>,
    /// Functions that may be called, where the client allows some of them only.
    pub(super) allowed: Option<Vec<String>>,
    pub(super) parallel: Option<bool>,
    pub(super) settings: Wishes<'t>,
    pub(super) names: Vec<ToolName>,
    pub(super) echo: Vec<(&'static str, String)>,
    pub(super) dropped: Dropped,
    pub(super) hosted: HostedTools,
    pub(super) hosted_found: Vec<HostedTool<'t>>,
    pub(super) record: TalkRecord,
    /// Pieces of the result that are written in no place: each stands at this place of the others.
    pub(super) shared: Vec<(usize, Bytes)>,
}

/// A tool that the client's own provider runs or has trained on.
#[derive(Debug)]
pub(super) struct HostedTool<'t> {
    pub(super) path: String,
    pub(super) kind: &'t str,
    pub(super) name: Option<&'t str>,
}

#[derive(Debug)]
pub(super) struct Turn<'t> {
    pub(super) speaker: Speaker,
    pub(super) parts: Vec<Part<'t>>,
    pub(super) source: TurnSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    System,
    Developer,
    User,
    Assistant,
}

#[derive(Clone, Debug)]
pub(super) enum Part<'t> {
    Text(Cow<'t, str>),
    Image(Media<'t>),
    /// A PDF, or another file that is read as text and pictures.
    Document(Media<'t>),
    Audio {
        data: Cow<'t, str>,
        format: &'t str,
        /// The place in the client's request, for an error.
        path: String,
    },
    Call(ToolCall<'t>),
    Result(ToolResult<'t>),
    Reasoning(PastReasoning<'t>),
    Refusal(&'t str),
    /// Stands for the turns that are known from an earlier request, in a turn of its own.
    Known,
}

#[derive(Clone, Debug)]
pub(super) struct Media<'t> {
    pub(super) source: MediaSource<'t>,
    pub(super) name: Option<&'t str>,
    /// `low`, `high`, `auto` of an image.
    pub(super) detail: Option<&'t str>,
    /// The place in the client's request, for an error.
    pub(super) path: String,
}

#[derive(Clone, Debug)]
pub(super) enum MediaSource<'t> {
    Inline { mime: &'t str, data: Cow<'t, str> },
    Url(&'t str),
}

#[derive(Clone, Debug)]
pub(super) struct ToolCall<'t> {
    pub(super) id: Cow<'t, str>,
    pub(super) name: Cow<'t, str>,
    pub(super) arguments: Arguments<'t>,
}

#[derive(Clone, Debug)]
pub(super) enum Arguments<'t> {
    /// JSON as text; may be empty or broken, as models write it.
    Text(&'t str),
    Value(JsonValue<'t>),
    /// The one string that a custom tool takes.
    Input(&'t str),
}

#[derive(Clone, Debug)]
pub(super) struct ToolResult<'t> {
    pub(super) id: Cow<'t, str>,
    pub(super) parts: Vec<Part<'t>>,
    pub(super) is_error: bool,
    /// Answers an [`Arguments::Input`].
    pub(super) is_custom: bool,
}

#[derive(Clone, Debug)]
pub(super) struct PastReasoning<'t> {
    pub(super) text: Cow<'t, str>,
    /// `None`: a foreign signature, or none.
    pub(super) signed: Option<SignedReasoning>,
}

impl<'t> Conversation<'t> {
    pub(super) fn new(document: &'t JsonDocument<'t>, hosted: HostedTools) -> Self {
        Self {
            document,
            turns: Vec::new(),
            tools: Vec::new(),
            choice: None,
            allowed: None,
            parallel: None,
            settings: Wishes::default(),
            names: Vec::new(),
            echo: Vec::new(),
            dropped: Dropped::default(),
            hosted,
            hosted_found: Vec::new(),
            record: TalkRecord::default(),
            shared: Vec::new(),
        }
    }

    /// Appends parts to the last turn if it is the same speaker's, else a turn.
    pub(super) fn say(&mut self, speaker: Speaker, part: Part<'t>) {
        let source = self.record.place();
        match self.turns.last_mut() {
            Some(turn) if turn.speaker == speaker => {
                turn.parts.push(part);
                turn.source.join(source);
            }
            _ => self.turns.push(Turn { speaker, parts: vec![part], source }),
        }
    }

    /// Starts a turn, so that what follows is not joined with the same speaker's last one.
    pub(super) fn begin(&mut self, speaker: Speaker) {
        self.turns.push(Turn { speaker, parts: Vec::new(), source: self.record.place() });
    }

    /// Settles the tools of the client's provider and the functions that are allowed.
    pub(super) fn finish_tools(&mut self) -> Result<(), RequestError> {
        if self.finish_known_tools()? {
            return Ok(());
        }
        let must_refuse = self.hosted == HostedTools::Refuse || self.tools.is_empty();
        if let Some(tool) = self.hosted_found.first().filter(|_| must_refuse) {
            let reason = format!("it has no `{}` tool", tool.kind);
            return Err(RequestError::unsayable_member(&tool.path, &reason));
        }
        for tool in std::mem::take(&mut self.hosted_found) {
            self.dropped.note(&format!("tools:{}", tool.kind));
        }
        if let Some(allowed) = &self.allowed {
            let allowed: HashSet<&str> = allowed.iter().map(|name| &**name).collect();
            self.tools.retain(|tool| allowed.contains(&*tool.name));
        }
        if let Some(ToolChoice::Named(name)) = &self.choice
            && !self.tools.iter().any(|tool| tool.name == *name)
        {
            let message = format!("tool_choice: there is no tool `{name}`");
            return Err(RequestError::invalid(message, Some("tool_choice".to_owned())));
        }
        Ok(())
    }
}
