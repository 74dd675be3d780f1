//! Takes the parts of a request that are known, and records the others while they are read and written.

use super::{
    RequestError,
    conversation::{Conversation, Part, Speaker, Turn},
    known::{KnownTools, KnownTurns},
    place::MemberPlace,
    talk_record::{ElementEnd, ToolsRecord, TurnMark},
    value::JsonValue,
    wishes::ToolChoice,
    write::{ArrayWriter, ObjectWriter},
    write_messages::{call_name, has_detail},
};
use crate::dialect::json::JsonWrite;

/// Tools that a conversation calls; one that calls more is not remembered.
const MAX_CALLED: usize = 256;

impl<'t> Conversation<'t> {
    /// Reads an element of the list of turns; for the one that stands for known turns these are taken.
    pub(super) fn read_element(
        &mut self,
        element: &MemberPlace<'_, 't>,
        read: impl FnOnce(&mut Self) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        if !self.record.is_on {
            return read(self);
        }
        self.record.element += 1;
        if self.record.first.is_none() {
            self.dropped.begin_log();
        }
        let span = element.value.span();
        match self.document.known.turns.filter(|known| known.place == span.start) {
            Some(known) => {
                self.begin(Speaker::User);
                self.say(Speaker::User, Part::Known);
                if let Some(turn) = self.turns.last_mut() {
                    turn.source.is_answer = known.state.is_answer;
                }
                self.dropped.note_all(known.notes.0);
                self.record.has_taken_turns = true;
            }
            None => read(self)?,
        }
        // An empty turn is left out: the system's words after it belong to the ones before it.
        let last = self.turns.last().filter(|turn| !turn.parts.is_empty());
        let is_said = last.is_some_and(|turn| matches!(turn.speaker, Speaker::User | Speaker::Assistant));
        if self.record.first.is_none() && is_said {
            self.record.first = Some(self.record.element);
        }
        let is_user = last.is_some_and(|turn| turn.speaker == Speaker::User);
        let can_end = is_user && element.value.is_object();
        self.record.ends.push(ElementEnd { span, notes: self.dropped.log().len(), can_end });
        Ok(())
    }

    /// All is read: the known parts must be in their places, each alone.
    pub(super) fn end_reading(&mut self) -> Result<(), RequestError> {
        let known = self.document.known;
        let fits = known.turns.is_none_or(|turns| self.record.has_taken_turns && turns.names == self.names)
            && known.tools.is_none_or(|_| self.record.has_taken_tools);
        self.record.notes.0 = self.dropped.log().to_vec();
        self.record.names = if self.record.is_on { self.names.clone() } else { Vec::new() };
        if fits { self.known_turns_stand_alone() } else { Err(RequestError::unfit()) }
    }

    /// The known turns follow the system's words, and no other turn was joined to them.
    pub(super) fn known_turns_stand_alone(&self) -> Result<(), RequestError> {
        if self.document.known.turns.is_none() {
            return Ok(());
        }
        let is_before = |turn: &&Turn<'_>| matches!(turn.speaker, Speaker::System | Speaker::Developer);
        let mut turns = self.turns.iter().skip_while(is_before);
        let stands = turns.next().is_some_and(|turn| matches!(turn.parts.as_slice(), [Part::Known]));
        if stands { Ok(()) } else { Err(RequestError::unfit()) }
    }

    /// Writes a turn into the list of them.
    pub(super) fn write_turn(
        &mut self,
        turn: &Turn<'_>,
        list: &mut ArrayWriter<'_>,
        write: impl FnOnce(&mut Self, &mut ArrayWriter<'_>) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        if !self.record.is_on {
            return write(self, list);
        }
        let is_first = self.record.first.is_some_and(|first| turn.source.last >= first);
        if self.record.written_from.is_none() && is_first {
            self.record.written_from = Some(list.written());
            self.dropped.begin_log();
        }
        let known = self.document.known.turns;
        match (turn.parts.as_slice(), known) {
            ([Part::Known], Some(known)) => {
                let out = list.element();
                let (pieces, rest) = known.written.0.start(known.written.1);
                self.shared.extend(pieces.into_iter().map(|piece| (out.len(), piece)));
                out.raw(rest);
                self.dropped.note_all(known.notes.1);
            }
            _ => write(self, list)?,
        }
        self.count_turn(turn, known.filter(|_| matches!(turn.parts.as_slice(), [Part::Known])));
        let (notes, calls) = (self.dropped.log().len(), self.record.calls.len());
        let (source, state, written) = (turn.source, self.record.state, list.written());
        let is_user = turn.speaker == Speaker::User;
        let is_said = is_user || turn.speaker == Speaker::Assistant;
        self.record.marks.push(TurnMark { source, is_user, is_said, written, notes, calls, state });
        Ok(())
    }

    pub(super) fn end_turns(&mut self) {
        self.record.notes.1 = self.dropped.log().to_vec();
    }

    /// Reads the list of tools, the first that is read of a request.
    pub(super) fn read_tools_by(
        &mut self,
        tools: &MemberPlace<'_, 't>,
        read: impl FnOnce(&mut Self) -> Result<(), RequestError>,
    ) -> Result<(), RequestError> {
        if !self.record.is_on {
            return read(self);
        }
        if let Some(known) = self.known_tools(tools.value) {
            self.names = known.names.to_vec();
            self.dropped.note_all(known.notes.0);
            self.record.has_taken_tools = true;
            return Ok(());
        }
        self.dropped.begin_log();
        read(self)?;
        let (source, notes) = (tools.value.span(), (self.dropped.log().to_vec(), Vec::new()));
        self.record.tools = Some(ToolsRecord { source, notes, ..ToolsRecord::default() });
        Ok(())
    }

    fn known_tools(&self, value: JsonValue<'t>) -> Option<KnownTools<'t>> {
        self.document.known.tools.filter(|known| known.place == value.span().start)
    }

    /// Whether an empty value stands for known tools.
    pub(super) fn is_known(&self, value: JsonValue<'t>) -> bool {
        self.known_tools(value).is_some()
    }

    /// Settles tools that are known, or notes the ones that may be known next time. `true`: they are known.
    pub(super) fn finish_known_tools(&mut self) -> Result<bool, RequestError> {
        // The choice of a tool, or among them, looks into the list.
        let looks_in = self.allowed.is_some() || matches!(self.choice, Some(ToolChoice::Named(_)));
        if let Some(known) = self.document.known.tools {
            if looks_in || !self.record.has_taken_tools {
                return Err(RequestError::unfit());
            }
            known.hosted.iter().for_each(|kind| self.dropped.note(&format!("tools:{kind}")));
            return Ok(true);
        }
        if looks_in || self.tools.is_empty() {
            self.record.forget_tools();
        } else if let Some(tools) = &mut self.record.tools {
            tools.hosted = self.hosted_found.iter().map(|tool| tool.kind.to_owned()).collect();
        }
        Ok(false)
    }

    pub(super) fn has_tools(&self) -> bool {
        self.document.known.tools.is_some() || !self.tools.is_empty()
    }

    /// Writes the member with the tools, after the turns.
    pub(super) fn write_tools_by(
        &mut self,
        root: &mut ObjectWriter<'_>,
        write: impl FnOnce(&mut Self, &mut ArrayWriter<'_>),
    ) {
        if let Some(known) = self.document.known.tools {
            let place = root.key("tools").len();
            self.shared.push((place, known.written.clone()));
            return self.dropped.note_all(known.notes.1);
        }
        if self.record.is_on {
            self.dropped.begin_log();
        }
        let mut list = root.array("tools");
        let start = list.written() - 1;
        write(self, &mut list);
        list.close();
        if let Some(tools) = &mut self.record.tools {
            tools.written = start..root.written();
            tools.notes.1 = self.dropped.log().to_vec();
        }
    }

    fn count_turn(&mut self, turn: &Turn<'_>, known: Option<KnownTurns<'_>>) {
        if self.record.written_from.is_none() {
            return;
        }
        self.record.state.is_answer = turn.source.is_answer;
        self.record.state.tokens = self.record.state.tokens.saturating_add(turn.source.tokens);
        self.record.state.has_detail |= has_detail(turn) || known.is_some_and(|known| known.state.has_detail);
        self.record.state.thinking =
            self.record.state.thinking.after(turn, known.map(|known| known.state.thinking));
        let old = self.document.known.turns.map_or(&[][..], |known| known.calls);
        for name in turn.parts.iter().filter_map(call_name) {
            if !old.iter().chain(&self.record.calls).any(|called| called == name) {
                self.record.calls.push(name.to_owned());
            }
        }
        if self.record.calls.len() > MAX_CALLED {
            self.record.stop();
        }
    }
}
