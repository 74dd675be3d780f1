//! Turns and tools of past requests, with all that is needed to use them again; see
//! [`talk_memo`](super::talk_memo).

use std::ops::Range;

use bytes::Bytes;

use super::{
    EffortForm, HostedTools, RequestOptions,
    known::{KnownTools, KnownTurns, TurnsState},
    shared_text::SharedText,
    shortened::common_length,
    talk_record::{ElementEnd, TalkRecord, ToolsRecord, TurnMark},
};
use crate::dialect::{ApiDialect, context::ToolName, reasoning::ReasoningOrigin};

/// The key, and all that the translation of turns and tools depends on besides their bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PartsOwner {
    key: Box<str>,
    dialects: (ApiDialect, ApiDialect),
    effort: EffortForm,
    reasoning_forms: &'static [ReasoningOrigin],
    hosted_tools: HostedTools,
    flags: [bool; 7],
}

impl PartsOwner {
    pub(super) fn new(key: &str, dialects: (ApiDialect, ApiDialect), options: &RequestOptions<'_>) -> Self {
        // By name, so that a new member asks whether turns or tools depend on it. These settings alone do:
        let &RequestOptions {
            model: _,
            key: _,
            streams: _,
            max_tokens_member: _,
            effort,
            reasoning_forms,
            signs_calls,
            takes_sampling,
            takes_sampling_beside_reasoning: _,
            gives_summaries: _,
            seals_reasoning: _,
            hides_thinking,
            developer_role,
            strict_turns,
            stream_usage: _,
            seed_member: _,
            takes_user: _,
            short_ids,
            openai_members,
            hosted_tools,
            default_max_tokens: _,
            max_tokens_limit: _,
        } = options;
        let flags = [
            signs_calls,
            takes_sampling,
            hides_thinking,
            developer_role,
            strict_turns,
            short_ids,
            openai_members,
        ];
        Self { key: key.into(), dialects, effort, reasoning_forms, hosted_tools, flags }
    }

    pub(super) const fn client(&self) -> ApiDialect {
        self.dialects.0
    }
}

/// Turns from the first after the system's words on.
#[derive(Debug)]
pub(super) struct PastTurns {
    pub(super) owner: PartsOwner,
    source: Vec<u8>,
    written: SharedText,
    names: Vec<ToolName>,
    notes: (Vec<String>, Vec<String>),
    calls: Vec<String>,
    ends: Vec<TurnsEnd>,
    pub(super) used: u64,
}

/// A place at which the turns may be cut: the lengths of all that is before it, and its facts.
#[derive(Clone, Copy, Debug, Default)]
struct TurnsEnd {
    source: usize,
    written: usize,
    notes: (usize, usize),
    calls: usize,
    state: TurnsState,
}

/// Bytes of turns, as they came or as they were written, that are kept of one conversation.
const MAX_TURNS: usize = 1 << 20;
/// Fewer bytes are as quickly translated.
const MIN_TURNS: usize = 1024;

impl PastTurns {
    pub(super) fn new(owner: PartsOwner, names: Vec<ToolName>) -> Self {
        Self {
            owner,
            source: Vec::new(),
            written: SharedText::default(),
            names,
            notes: (Vec::new(), Vec::new()),
            calls: Vec::new(),
            ends: Vec::new(),
            used: 0,
        }
    }

    /// The memory that it takes.
    pub(super) fn bytes(&self) -> usize {
        let texts = size_of_texts(self.notes.0.iter().chain(&self.notes.1).chain(&self.calls));
        let ends = self.ends.capacity() * size_of::<TurnsEnd>();
        self.source.capacity() + self.written.memory() + texts + ends + size_of_names(&self.names)
    }

    /// So little that it is translated as quickly.
    pub(super) fn is_short(&self) -> bool {
        self.ends.last().is_none_or(|end| end.source < MIN_TURNS)
    }

    /// The last place of those that `bytes` begin with, and the length up to it.
    pub(super) fn find(&self, bytes: &[u8]) -> Option<(usize, usize)> {
        let common = common_length(&self.source, bytes);
        let at = self.ends.partition_point(|end| end.source <= common).checked_sub(1)?;
        let length = self.ends.get(at)?.source;
        (length >= MIN_TURNS).then_some((at, length))
    }

    /// The turns up to the place with this number.
    pub(super) fn known(&self, end: usize, place: usize) -> Option<KnownTurns<'_>> {
        let end = self.ends.get(end)?;
        Some(KnownTurns {
            place,
            written: (&self.written, end.written),
            names: &self.names,
            notes: (self.notes.0.get(..end.notes.0)?, self.notes.1.get(..end.notes.1)?),
            calls: self.calls.get(..end.calls)?,
            state: end.state,
        })
    }

    /// The turns up to the place with this number: themselves, or if most of them are behind it, a copy.
    pub(super) fn cut(&mut self, end: usize) -> Option<Self> {
        let length = *self.ends.get(end)?;
        if length.source >= self.source.len() / 2 {
            self.ends.truncate(end + 1);
            self.source.truncate(length.source);
            self.written.truncate(length.written);
            self.calls.truncate(length.calls);
            return None;
        }
        let mut copy = Self::new(self.owner.clone(), self.names.clone());
        copy.source.extend_from_slice(self.source.get(..length.source)?);
        copy.written = self.written.copy_of(length.written);
        copy.notes.0.extend_from_slice(self.notes.0.get(..length.notes.0)?);
        copy.notes.1.extend_from_slice(self.notes.1.get(..length.notes.1)?);
        copy.calls.extend_from_slice(self.calls.get(..length.calls)?);
        copy.ends.extend_from_slice(self.ends.get(..=end)?);
        Some(copy)
    }

    /// Appends the turns of a request: `turns` have the places at which they may be cut. Whether any was.
    pub(super) fn extend(
        &mut self,
        (body, written): (&[u8], &[u8]),
        turns: &NewTurns<'_>,
        record: &TalkRecord,
    ) -> bool {
        let before = self.ends.last().copied().unwrap_or_default();
        let mut last = before;
        for (element, mark) in &turns.ends {
            let source = element.span.end.checked_sub(turns.source_from);
            let length = mark.written.checked_sub(turns.written_from);
            let (Some(source), Some(length)) = (source, length) else { continue };
            let end = TurnsEnd {
                source: before.source + source,
                written: before.written + length,
                notes: (element.notes, mark.notes),
                calls: before.calls + mark.calls,
                state: mark.state,
            };
            if end.source.max(end.written) > MAX_TURNS {
                break;
            }
            // Turns of which nothing was written stand for no element of a list.
            if end.written > 0 {
                self.ends.push(end);
                last = end;
            }
        }
        fn part(bytes: &[u8], start: usize, length: usize) -> &[u8] {
            bytes.get(start..start + length).unwrap_or_default()
        }
        self.source.extend_from_slice(part(body, turns.source_from, last.source - before.source));
        self.written.append(part(written, turns.written_from, last.written - before.written));
        let calls = record.calls.get(..last.calls - before.calls).unwrap_or_default();
        self.calls.extend_from_slice(calls);
        let has_grown = last.source > before.source;
        if has_grown {
            self.notes.0 = record.notes.0.get(..last.notes.0).unwrap_or_default().to_vec();
            self.notes.1 = record.notes.1.get(..last.notes.1).unwrap_or_default().to_vec();
        }
        has_grown
    }

    /// Whether one of the two goes on where the other ends.
    pub(super) fn is_of_one_talk(&self, other: &Self) -> bool {
        let length = self.source.len().min(other.source.len());
        self.owner == other.owner && common_length(&self.source, &other.source) == length
    }
}

/// The turns of a request that were not known before.
#[derive(Debug)]
pub(super) struct NewTurns<'r> {
    source_from: usize,
    written_from: usize,
    ends: Vec<(&'r ElementEnd, &'r TurnMark)>,
}

impl<'r> NewTurns<'r> {
    /// `follow_known`: the first of the record stands for turns that were known. `None`: they can be cut
    /// nowhere.
    pub(super) fn of(record: &'r TalkRecord, written: &[u8], follow_known: bool) -> Option<Self> {
        let first = record.first?;
        let begin = record.marks.iter().position(|mark| mark.source.last >= first)?;
        let marks = record.marks.get(begin..)?;
        // The first turn is in its place, and none has words of before, too.
        if !marks.first()?.is_said
            || marks.first()?.source.first != first
            || marks.iter().any(|mark| mark.source.first < first)
        {
            return None;
        }
        let end_of = |element: u32| record.ends.get((element as usize).checked_sub(1)?);
        let (source_from, written_from) = if follow_known {
            (end_of(first)?.span.end, marks.first()?.written)
        } else {
            let from = record.written_from?;
            (end_of(first)?.span.start, from + usize::from(written.get(from) == Some(&b',')))
        };
        // Before each turn, whether all from there on were made of later elements than all before it.
        let mut later = vec![u32::MAX; marks.len()];
        for (at, mark) in marks.iter().enumerate().rev() {
            let next = later.get(at).copied().unwrap_or(u32::MAX).min(mark.source.first);
            if let Some(slot) = at.checked_sub(1).and_then(|before| later.get_mut(before)) {
                *slot = next;
            }
        }
        let mut last = 0;
        let mut ends = Vec::new();
        for (at, (mark, next)) in marks.iter().zip(later).enumerate() {
            last = last.max(mark.source.last);
            let is_known = follow_known && at == 0;
            if !is_known
                && last < next
                && mark.is_user
                && let Some(end) = end_of(last).filter(|end| end.can_end)
            {
                ends.push((end, mark));
            }
        }
        (!ends.is_empty()).then_some(Self { source_from, written_from, ends })
    }
}

fn size_of_texts<'a>(texts: impl Iterator<Item = &'a String>) -> usize {
    texts.map(|text| text.len() + size_of::<String>()).sum()
}

fn size_of_names(names: &[ToolName]) -> usize {
    let texts =
        |name: &ToolName| name.sent.len() + name.name.len() + name.namespace.as_ref().map_or(0, String::len);
    names.iter().map(|name| texts(name) + size_of::<ToolName>()).sum()
}

/// A list of tools.
#[derive(Debug)]
pub(super) struct PastTools {
    pub(super) owner: PartsOwner,
    pub(super) source: Box<[u8]>,
    written: Bytes,
    names: Vec<ToolName>,
    notes: (Vec<String>, Vec<String>),
    hosted: Vec<String>,
    tokens: u64,
    pub(super) used: u64,
}

/// Fewer bytes are as quickly translated; more are not remembered.
const SIZE_OF_TOOLS: Range<usize> = 2048..512 << 10;

impl PastTools {
    /// `None`: they are too short or too long, or were not written.
    pub(super) fn new(
        owner: &PartsOwner,
        (body, written): (&[u8], &[u8]),
        tools: ToolsRecord,
        names: &[ToolName],
    ) -> Option<Self> {
        let source = body.get(tools.source)?;
        let written = written.get(tools.written)?;
        if !SIZE_OF_TOOLS.contains(&source.len()) || !SIZE_OF_TOOLS.contains(&written.len()) {
            return None;
        }
        Some(Self {
            owner: owner.clone(),
            source: source.into(),
            written: Bytes::copy_from_slice(written),
            names: names.to_vec(),
            notes: tools.notes,
            hosted: tools.hosted,
            tokens: tools.tokens,
            used: 0,
        })
    }

    pub(super) fn bytes(&self) -> usize {
        let texts = size_of_texts(self.notes.0.iter().chain(&self.notes.1).chain(&self.hosted));
        self.source.len() + self.written.len() + texts + size_of_names(&self.names)
    }

    pub(super) fn known(&self, place: usize) -> KnownTools<'_> {
        KnownTools {
            place,
            written: &self.written,
            names: &self.names,
            notes: (&self.notes.0, &self.notes.1),
            hosted: &self.hosted,
            tokens: self.tokens,
        }
    }
}
