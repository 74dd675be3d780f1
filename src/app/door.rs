//! Where the server's connections meet the site: the one place that knows both.

use std::future::Future;

use http::{Request, Response};

use crate::{
    base::{Clock, Kind, Side},
    server::{Cause, Cuttable, Handler, Incoming, Peer},
    web::{Site, site::Body},
};

#[derive(Clone, Debug)]
pub(super) struct Door(pub(super) Site);

impl Handler for Door {
    type Body = Body;

    // Boxed where it is made: every move of an unboxed future copies all of its state.
    fn handle(
        &self,
        request: Request<Incoming>,
        peer: Peer,
    ) -> impl Future<Output = Response<Body>> + 'static {
        Box::pin(self.0.clone().answer(request, Some(peer.address.ip())))
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
