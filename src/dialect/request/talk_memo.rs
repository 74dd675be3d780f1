//! The turns and the tools that came with a key before, and their translation: an agent sends its whole
//! conversation again with each turn.
//!
//! They are known by their bytes, all of them, and by all that their translation depends on: the dialects and
//! the peculiarities of the provider ([`PartsOwner`]), and the names of tools, which the reader compares. A
//! conversation is kept with the places at which it may be cut: where no call waits for its result, and no
//! later turn joins or moves one before. A client that moves a mark from turn to turn finds the turns before
//! it. If the rest does not fit, for a reason that no place says, the request is translated as if nothing
//! were known.
//!
//! Kept for each worker, bounded in bytes and in number; the parts that were used least recently go, and the
//! ones that were not used for long. A key finds its own parts alone, so time tells it nothing of another's.

use std::{cell::Cell, ops::Range};

use super::{
    RequestError, TranslatedRequest,
    known::KnownParts,
    past_parts::{NewTurns, PartsOwner, PastTools, PastTurns},
    shortened::{ShortenedBody, turn_starts, values_of},
    talk_record::TalkRecord,
    translated::WrittenRequest,
};

thread_local! {
    static KEPT: Cell<TalkMemo> = const { Cell::new(TalkMemo::EMPTY) };
}

/// A shorter body is translated as quickly without, and of a longer one little would be kept.
pub(super) const SIZE_OF_BODY: Range<usize> = 8 << 10..4 << 20;
/// Of all conversations, and of all lists of tools.
const MAX_BYTES: usize = 4 << 20;
const MAX_TALKS: usize = 32;
const MAX_LISTS: usize = 16;
/// Translations, after which a part that was not used goes.
const MAX_IDLE: u64 = 4096;
/// Bytes of a shortened body that are kept room for.
const MAX_KEPT: usize = 256 << 10;

/// Parts of a body that are known, and the shortened body.
struct FoundParts {
    /// The conversation, and the place to which it is the same.
    turns: Option<(usize, usize)>,
    tools: Option<usize>,
    /// In the shortened body.
    places: [usize; 2],
}

#[derive(Debug)]
pub(super) struct TalkMemo {
    talks: Vec<PastTurns>,
    tools: Vec<PastTools>,
    shortened: ShortenedBody,
    clock: u64,
}

impl Default for TalkMemo {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Translates `body` by `translate`, with the parts that this thread knows of the owner.
pub(super) fn with_known_parts(
    owner: &PartsOwner,
    body: &[u8],
    translate: impl Fn(&[u8], KnownParts<'_>) -> Result<WrittenRequest, RequestError>,
) -> Result<TranslatedRequest, RequestError> {
    let mut memo = KEPT.take();
    let result = memo.translate(owner, body, translate);
    KEPT.set(memo);
    result
}

impl TalkMemo {
    const EMPTY: Self = Self {
        talks: Vec::new(),
        tools: Vec::new(),
        shortened: ShortenedBody { bytes: Vec::new() },
        clock: 0,
    };

    pub(super) fn translate(
        &mut self,
        owner: &PartsOwner,
        body: &[u8],
        translate: impl Fn(&[u8], KnownParts<'_>) -> Result<WrittenRequest, RequestError>,
    ) -> Result<TranslatedRequest, RequestError> {
        self.clock += 1;
        let clock = self.clock;
        self.talks.retain(|talk| talk.used + MAX_IDLE > clock);
        self.tools.retain(|tools| tools.used + MAX_IDLE > clock);
        let mut shortened = std::mem::take(&mut self.shortened);
        let found = self.find(owner, body, &mut shortened);
        let known = found.as_ref().map(|found| translate(&shortened.bytes, self.parts(found)));
        let result = match known {
            Some(Ok(mut request)) => {
                let record = std::mem::take(&mut request.record);
                self.keep(owner, (&shortened.bytes, &request.body), record, found.as_ref());
                Ok(request.translated())
            }
            Some(Err(_)) | None => {
                let whole = translate(body, KnownParts::NONE);
                whole.map(|mut request| {
                    let record = std::mem::take(&mut request.record);
                    found.iter().for_each(|found| self.forget(found));
                    self.keep(owner, (body, &request.body), record, None);
                    request.translated()
                })
            }
        };
        if shortened.bytes.capacity() <= MAX_KEPT {
            self.shortened = shortened;
        }
        result
    }

    /// The parts of `body` that are known, which are left out of the shortened body.
    fn find(&self, owner: &PartsOwner, body: &[u8], shortened: &mut ShortenedBody) -> Option<FoundParts> {
        let is_own = |known: &PartsOwner| known == owner;
        let (mut turns, mut span) = (None, None);
        let own = || self.talks.iter().enumerate().filter(|(_, talk)| is_own(&talk.owner));
        if own().next().is_some() {
            for start in turn_starts(owner.client(), body) {
                let rest = body.get(start..).unwrap_or_default();
                let found =
                    own().filter_map(|(at, talk)| talk.find(rest).map(|(end, length)| (length, at, end)));
                if let Some((length, at, end)) = found.max() {
                    (turns, span) = (Some((at, end)), Some(start..start + length));
                    break;
                }
            }
        }
        let (tools, tools_span) = self.find_tools(owner, body, span.as_ref()).unzip();
        if turns.is_none() && tools.is_none() {
            return None;
        }
        let places = shortened.fill(body, [(span, b"{}"), (tools_span, b"[]")]);
        Some(FoundParts { turns, tools, places })
    }

    /// Tools that are known, before the turns that are or after them.
    fn find_tools(
        &self,
        owner: &PartsOwner,
        body: &[u8],
        turns: Option<&Range<usize>>,
    ) -> Option<(usize, Range<usize>)> {
        let own = || self.tools.iter().enumerate().filter(|(_, tools)| tools.owner == *owner);
        own().next()?;
        let before = body.get(..turns.map_or(0, |turns| turns.start))?;
        let after_from = turns.map_or(0, |turns| turns.end);
        let places = values_of(b"\"tools\"", before)
            .chain(values_of(b"\"tools\"", body.get(after_from..)?).map(|at| after_from + at));
        places.filter(|at| body.get(*at) == Some(&b'[')).find_map(|at| {
            let rest = body.get(at..)?;
            let (list, tools) = own().find(|(_, tools)| rest.starts_with(&tools.source))?;
            let span = at..at + tools.source.len();
            let is_apart = turns.is_none_or(|turns| span.end <= turns.start || turns.end <= span.start);
            is_apart.then_some((list, span))
        })
    }

    fn parts(&self, found: &FoundParts) -> KnownParts<'_> {
        let [turns_at, tools_at] = found.places;
        let turns = found.turns.and_then(|(talk, end)| self.talks.get(talk)?.known(end, turns_at));
        let tools = found.tools.and_then(|list| Some(self.tools.get(list)?.known(tools_at)));
        KnownParts { turns, tools }
    }

    /// Removes parts that did not fit.
    fn forget(&mut self, found: &FoundParts) {
        if let Some((talk, _)) = found.turns {
            self.talks.swap_remove(talk);
        }
        if let Some(list) = found.tools {
            self.tools.swap_remove(list);
        }
    }

    /// Keeps the parts of a request that may come again: of its body, of which `found` was known, and of its
    /// translation.
    fn keep(
        &mut self,
        owner: &PartsOwner,
        bodies: (&[u8], &[u8]),
        mut record: TalkRecord,
        found: Option<&FoundParts>,
    ) {
        if let Some(tools) = found.and_then(|found| self.tools.get_mut(found.tools?)) {
            tools.used = self.clock;
        }
        if let Some(talk) = found.and_then(|found| self.talks.get_mut(found.turns?.0)) {
            talk.used = self.clock;
        }
        if !record.is_on {
            return;
        }
        if let Some(tools) = record.tools.take()
            && let Some(mut tools) = PastTools::new(owner, bodies, tools, &record.names)
        {
            tools.used = self.clock;
            self.tools.retain(|known| known.owner != *owner || known.source != tools.source);
            self.tools.push(tools);
        }
        self.keep_turns(owner, bodies, &record, found.and_then(|found| found.turns));
        self.shrink();
    }

    fn keep_turns(
        &mut self,
        owner: &PartsOwner,
        bodies: (&[u8], &[u8]),
        record: &TalkRecord,
        known: Option<(usize, usize)>,
    ) {
        let Some(new) = NewTurns::of(record, bodies.1, known.is_some()) else { return };
        let (mut talk, is_copy) = match known {
            None => (PastTurns::new(owner.clone(), record.names.clone()), false),
            Some((at, end)) => match self.talks.get_mut(at).map(|talk| talk.cut(end)) {
                None => return,
                Some(Some(copy)) => (copy, true),
                Some(None) => (self.talks.swap_remove(at), false),
            },
        };
        let has_grown = talk.extend(bodies, &new, record);
        talk.used = self.clock;
        // What the copy was made of knows as much as one that has not grown. One that is too large for all
        // would drive out the others first.
        if (has_grown || !is_copy) && !talk.is_short() && talk.bytes() <= MAX_BYTES {
            self.talks.retain(|known| !known.is_of_one_talk(&talk));
            self.talks.push(talk);
        }
    }

    /// The conversations, the lists of tools, and the bytes of both.
    #[cfg(test)]
    pub(super) fn size(&self) -> (usize, usize, usize) {
        let talks = self.talks.iter().map(PastTurns::bytes);
        let bytes = talks.chain(self.tools.iter().map(PastTools::bytes)).sum();
        (self.talks.len(), self.tools.len(), bytes)
    }

    fn shrink(&mut self) {
        let bytes = |memo: &Self| memo.talks.iter().map(PastTurns::bytes).sum::<usize>();
        while self.talks.len() > MAX_TALKS || bytes(self) > MAX_BYTES {
            let oldest = self.talks.iter().enumerate().min_by_key(|(_, talk)| talk.used);
            let Some(oldest) = oldest.map(|(at, _)| at) else { return };
            self.talks.swap_remove(oldest);
        }
        let bytes = |memo: &Self| memo.tools.iter().map(PastTools::bytes).sum::<usize>();
        while self.tools.len() > MAX_LISTS || bytes(self) > MAX_BYTES {
            let oldest = self.tools.iter().enumerate().min_by_key(|(_, tools)| tools.used);
            let Some(oldest) = oldest.map(|(at, _)| at) else { return };
            self.tools.swap_remove(oldest);
        }
    }
}
