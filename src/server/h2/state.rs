//! The part of a connection's state that concerns HTTP/2 alone: its streams. The rest of a connection's state
//! is in `conn::state`.

use std::{
    cell::RefCell,
    rc::{Rc, Weak},
};

use tokio::time::Instant;

use super::activity::StreamActivity;
use crate::server::cut::CutCause;

#[derive(Debug, Default)]
pub(in crate::server) struct H2ConnState {
    streams: RefCell<Vec<Weak<StreamActivity>>>,
    /// The stream of the task that hyper spawns next.
    opening: RefCell<Option<Rc<StreamActivity>>>,
}

impl H2ConnState {
    /// A request has begun; hyper spawns its stream's task next.
    pub(super) fn begin_stream(&self) -> Rc<StreamActivity> {
        let activity = Rc::<StreamActivity>::default();
        self.streams.borrow_mut().push(Rc::downgrade(&activity));
        self.opening.replace(Some(Rc::clone(&activity)));
        activity
    }

    pub(super) fn take_opening(&self) -> Option<Rc<StreamActivity>> {
        self.opening.take()
    }

    /// Has the streams' bodies polled.
    pub(in crate::server) fn wake_streams(&self) {
        self.streams.borrow().iter().filter_map(Weak::upgrade).for_each(|stream| stream.wake());
    }

    /// Cuts the streams that their client has not read since a time that `is_due`, and forgets ended streams.
    pub(in crate::server) fn cut_streams(&self, cause: CutCause, is_due: impl Fn(Instant) -> bool) {
        self.streams.borrow_mut().retain(|stream| {
            let Some(stream) = stream.upgrade() else { return false };
            if stream.unread_since().is_some_and(&is_due) {
                stream.cut(cause);
            }
            true
        });
    }
}
