//! The interface between connections and the content that they serve. A handler sees a request's head and
//! body and answers with a response; it knows neither protocol nor socket, except for [`Peer`].

use std::{error::Error, future::Future, pin::Pin};

use super::{conn::RequestBody, cut::Cuttable, peer::Peer, refusal::RefusalReason};
use crate::base::{HandlerResponse, RequestHead};
use bytes::Bytes;

/// A response to come. Boxed, so that the memory that a handler needs before its response head is freed with
/// the head.
pub type PendingResponse<B> = Pin<Box<dyn Future<Output = HandlerResponse<B>>>>;

/// The content of a server. Cloned once per connection, so cheap to clone: an `Rc` inside.
pub trait Handler: Clone + 'static {
    type Body: http_body::Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>>
        + Cuttable
        + Unpin
        + 'static;

    /// Answers one request. A client that leaves before the response head drops the future; a client that
    /// leaves after it drops the response's body.
    fn handle(&self, head: RequestHead, body: RequestBody, peer: Peer) -> PendingResponse<Self::Body>;

    /// The JSON body of a response that the server gives without [`Handler::handle`]. `path`: that of the
    /// request; `None`: it is not known.
    fn refuse(&self, reason: RefusalReason, path: Option<&str>) -> Bytes;

    /// The drain's time is over: responses that are still to come are polled once more, and come now or
    /// never.
    fn end(&self) {}
}
