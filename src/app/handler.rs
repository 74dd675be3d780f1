//! The adapter between server and web: the server's requests go to the site, the server's reasons for a
//! refusal become errors, and its causes of a cut become faults.

use std::rc::Rc;

use bytes::Bytes;

use crate::{
    base::{DeadlineKind, FaultKind, RequestHead, Side},
    proxy::Refusal,
    server::{Ambiguity, CutCause, Cuttable, Handler, Peer, PendingResponse, RefusalReason, RequestBody},
    web::{Body, Site, dialect_of},
    wire::Dialect,
};

#[derive(Clone, Debug)]
pub(super) struct SiteHandler(pub(super) Rc<Site>);

impl Handler for SiteHandler {
    type Body = Body;

    // The future is built in its box, because each move of an unboxed future copies all of its state.
    fn handle(&self, head: RequestHead, body: RequestBody, peer: Peer) -> PendingResponse<Body> {
        let place = Box::new_uninit();
        let answer = Box::write(place, Rc::clone(&self.0).answer(head, body, Some(peer.address.ip())));
        Box::into_pin(answer)
    }

    fn refuse(&self, reason: RefusalReason, path: Option<&str>) -> Bytes {
        refusal(reason).body(path.map_or(Dialect::ChatCompletions, dialect_of))
    }

    fn end(&self) {
        self.0.end();
    }
}

/// The error for a request that the server refuses itself. Without a path its format is OpenAI's.
fn refusal(reason: RefusalReason) -> Box<Refusal> {
    let (code, message) = match reason {
        RefusalReason::Ambiguous(Ambiguity::TwoLengths) => {
            ("ambiguous_length", "a request says its length once, by content-length or transfer-encoding")
        }
        RefusalReason::Ambiguous(Ambiguity::Host) => {
            ("bad_request", "a request names one host, by its name or address")
        }
        RefusalReason::Ambiguous(Ambiguity::Coding) => {
            ("bad_request", "the only transfer-encoding that is understood is chunked")
        }
        RefusalReason::BadHead => ("bad_request", "this is not an HTTP request that can be trusted"),
        RefusalReason::HeadTooLarge => {
            let message = "the request's head is larger, or has more headers, than is allowed";
            return Refusal::request(431, "request_header_fields_too_large", message);
        }
        RefusalReason::TooManyConnections => {
            return Refusal::gateway(503, "too_many_connections", "too many connections");
        }
    };
    Refusal::request(400, code, message)
}

impl Cuttable for Body {
    fn end(&mut self, cause: CutCause) {
        let (side, kind) = fault_of(cause);
        Self::end(self, side, kind);
    }

    fn cut(&mut self, cause: CutCause) {
        let (side, kind) = fault_of(cause);
        self.break_off(side, kind);
    }
}

const fn fault_of(cause: CutCause) -> (Side, FaultKind) {
    match cause {
        CutCause::Unread(given) => (Side::Client, FaultKind::Timeout(DeadlineKind::Write, given)),
        CutCause::Drain => (Side::Gateway, FaultKind::Refused("shutting_down")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_the_server_have_the_shape_of_openai() {
        let invalid = "invalid_request_error";
        for (reason, message, kind, code) in [
            (
                RefusalReason::Ambiguous(Ambiguity::TwoLengths),
                "a request says its length once, by content-length or transfer-encoding",
                invalid,
                "ambiguous_length",
            ),
            (
                RefusalReason::Ambiguous(Ambiguity::Host),
                "a request names one host, by its name or address",
                invalid,
                "bad_request",
            ),
            (
                RefusalReason::Ambiguous(Ambiguity::Coding),
                "the only transfer-encoding that is understood is chunked",
                invalid,
                "bad_request",
            ),
            (
                RefusalReason::BadHead,
                "this is not an HTTP request that can be trusted",
                invalid,
                "bad_request",
            ),
            (
                RefusalReason::HeadTooLarge,
                "the request's head is larger, or has more headers, than is allowed",
                invalid,
                "request_header_fields_too_large",
            ),
            (
                RefusalReason::TooManyConnections,
                "too many connections",
                "server_error",
                "too_many_connections",
            ),
        ] {
            let expected = format!(
                r#"{{"error":{{"message":"{message}","type":"{kind}","param":null,"code":"{code}"}}}}"#
            );
            assert_eq!(refusal(reason).body(Dialect::ChatCompletions), expected);
        }
    }
}
