//! Calls of the answer: begun, grown and closed.

use std::hash::BuildHasher;

use super::{BlockSink, BlockStep, Sequencer, TooLarge};
use crate::dialect::answer::call::{CallText, OpenCall};

/// More calls than this are no answer.
const MAX_CALLS: usize = 1024;

impl Sequencer {
    pub(super) fn begin_call(
        &mut self,
        key: u32,
        id: &str,
        name: &str,
        is_custom: bool,
        sink: &mut dyn BlockSink,
    ) -> Result<(), TooLarge> {
        if self.calls.len() >= MAX_CALLS {
            return Err(TooLarge);
        }
        self.make_room(sink)?;
        let block = self.number_block();
        let tool = self.tools.iter().find(|tool| tool.sent == name);
        let text = CallText::new(tool.map(|tool| tool.kind), is_custom, self.client);
        let kind = text.kind();
        // Clients find the result of a call by its id, and providers refuse two calls of one.
        let id_hash = self.hasher.hash_one(id);
        let is_own = !id.is_empty() && self.calls.iter().all(|call| call.id_hash != id_hash);
        let made_up = if is_own { String::new() } else { format!("call_{}_{}", self.id, self.calls.len()) };
        let id = if is_own { id } else { &made_up };
        self.calls.push(OpenCall::new(key, block, id_hash, text));
        let (name, namespace) = tool.map_or((name, None), |tool| (&*tool.name, tool.namespace.as_deref()));
        sink.step(&BlockStep::Opened { block, kind, id, name, namespace })
    }

    pub(super) fn grow_call(
        &mut self,
        key: u32,
        fragment: &str,
        sink: &mut dyn BlockSink,
    ) -> Result<(), TooLarge> {
        let call = self.calls.iter_mut().rev().find(|call| call.key == key && !call.is_closed);
        match call {
            Some(call) if !fragment.is_empty() => {
                self.bytes += fragment.len() as u64;
                call.grow(fragment, sink)
            }
            Some(_) => Ok(()),
            None => {
                self.has_unknown |= !fragment.trim().is_empty();
                Ok(())
            }
        }
    }

    pub(super) fn close_call(
        &mut self,
        position: usize,
        is_cut: bool,
        sink: &mut dyn BlockSink,
    ) -> Result<(), TooLarge> {
        self.calls.get_mut(position).map_or(Ok(()), |call| call.close(is_cut, sink))
    }
}
