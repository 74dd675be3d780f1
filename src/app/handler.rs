//! Where the server's connections meet the site: the one place that knows both.

use std::{future::Future, rc::Rc};

use http::{Response, request::Parts};

use crate::{
    base::{DeadlineKind, FaultKind, Side},
    server::{CutCause, Cuttable, Handler, Peer, RequestBody},
    web::{Body, Site},
};

#[derive(Clone, Debug)]
pub(super) struct SiteHandler(pub(super) Rc<Site>);

impl Handler for SiteHandler {
    type Body = Body;

    // Made in its box: every move of an unboxed future copies all of its state.
    fn handle(
        &self,
        head: Parts,
        body: RequestBody,
        peer: Peer,
    ) -> impl Future<Output = Response<Body>> + 'static {
        let place = Box::new_uninit();
        Box::into_pin(Box::write(place, Rc::clone(&self.0).answer(head, body, Some(peer.address.ip()))))
    }
}

impl Cuttable for Body {
    fn cut(&mut self, cause: CutCause) {
        let (side, kind) = match cause {
            CutCause::Unread(given) => (Side::Client, FaultKind::Timeout(DeadlineKind::Write, given)),
            CutCause::Drain => (Side::Gateway, FaultKind::Refused("shutting_down")),
        };
        match self {
            Self::Corridor(body) => body.cut(side, kind),
            // A comparison and a feed are nobody's request.
            Self::Live(_) | Self::Feed(_) => {}
        }
    }
}
