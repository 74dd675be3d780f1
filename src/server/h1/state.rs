//! The part of a connection's state that concerns HTTP/1.1 alone: where requests begin and end, and whether
//! the bytes that hyper writes answer a request. The rest of a connection's state is in `conn::state`.

use std::cell::{Cell, RefCell};

use super::framing::FramingGuard;

#[derive(Debug, Default)]
pub(in crate::server) struct H1ConnState {
    pub(in crate::server) framing: RefCell<FramingGuard>,
    /// From a request's head until the socket has taken all of its response.
    answering: Cell<bool>,
    /// hyper's own response to a request that it cannot parse was dropped, because it has no body. The server
    /// writes its own response instead.
    dropped_refusal: Cell<bool>,
}

impl H1ConnState {
    pub(in crate::server) fn begin_request(&self) {
        self.answering.set(true);
    }

    /// The socket has taken all bytes; `in_flight`: more of the response follows.
    pub(in crate::server) fn note_flush(&self, in_flight: bool) {
        self.answering.set(in_flight);
    }

    /// A response begins; whether its head has to announce the close.
    pub(super) fn begin_response(&self) -> bool {
        self.framing.borrow_mut().begin_response()
    }

    pub(in crate::server) fn end_request(&self) {
        self.framing.borrow_mut().end_message();
    }

    /// Whether the connection has to close after the request in flight.
    pub(super) fn is_last_request(&self) -> bool {
        self.framing.borrow().is_last()
    }

    /// Whether a write is to be dropped: it answers no request, so hyper refuses one that it cannot parse.
    pub(in crate::server) fn drops_writes(&self) -> bool {
        let drops = self.dropped_refusal.get() || !self.answering.get();
        self.dropped_refusal.set(drops);
        drops
    }

    pub(in crate::server) fn has_dropped_refusal(&self) -> bool {
        self.dropped_refusal.get()
    }

    /// Whether a refusal of hyper's was dropped. Writes reach the client from here on.
    pub(super) fn take_dropped_refusal(&self) -> bool {
        self.answering.set(true);
        self.dropped_refusal.take()
    }
}
