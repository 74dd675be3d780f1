//! Where the server's connections meet the site: the one place that knows both.

use std::{future::Future, rc::Rc};

use http::{Response, request::Parts};

use crate::{
    base::{Clock, Kind, Side},
    server::{Cause, Cuttable, Handler, Incoming, Peer},
    web::{Site, site::Body},
};

#[derive(Clone, Debug)]
pub(super) struct Door(pub(super) Rc<Site>);

impl Handler for Door {
    type Body = Body;

    // Made in its box: every move of an unboxed future copies all of its state.
    fn handle(
        &self,
        head: Parts,
        body: Incoming,
        peer: Peer,
    ) -> impl Future<Output = Response<Body>> + 'static {
        let place = Box::new_uninit();
        Box::into_pin(Box::write(place, Rc::clone(&self.0).answer(head, body, Some(peer.address.ip()))))
    }
}

impl Cuttable for Body {
    fn cut(&mut self, cause: Cause) {
        let (side, kind) = match cause {
            Cause::Unread(given) => (Side::Client, Kind::Timeout(Clock::ClientWrite, given)),
            Cause::Drain => (Side::Gateway, Kind::Refused("shutting_down")),
        };
        match self {
            Self::Corridor(body) => body.cut(side, kind),
            // A comparison and a feed are nobody's request.
            Self::Live(_) | Self::Feed(_) => {}
        }
    }
}
