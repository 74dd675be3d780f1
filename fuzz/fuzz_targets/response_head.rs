//! Providers' responses: where the gateway finds a head and a body, hyper finds the same, and the gateway
//! keeps no connection that hyper closes. Input: two cuts, the response.
#![no_main]

use bytes::{Buf, Bytes};
use hyper::StatusCode;
use libfuzzer_sys::fuzz_target;
use thalweg::{
    http1::BodyFraming,
    upstream::head::{ResponseHead, parse_response},
};

#[path = "../answer.rs"]
mod answer;
#[path = "../body.rs"]
mod body;
#[path = "../pieces.rs"]
mod pieces;

fuzz_target!(|input: &[u8]| {
    let Some((bytes, pieces)) = pieces::pieces(input) else { return };
    let mut rest = Bytes::copy_from_slice(bytes);
    let Some(head) = final_head(&mut rest) else { return };
    let Ok(ours) = body::decode(head.framing, [&rest[..]]) else { return };
    let kept = head.keep_alive && ours.done && ours.excess == 0;
    match answer::run_hyper(&pieces, !kept) {
        Ok(theirs) => {
            assert_eq!((head.status, &head.headers.to_map()), (theirs.status, &theirs.headers));
            body::agree(&ours, &theirs, kept);
        }
        Err(why) => assert!(is_stricter(&head, &why), "{why}"),
    }
});

/// The first head that is not interim. `None` on 101, because the gateway never requests another protocol.
fn final_head(rest: &mut Bytes) -> Option<ResponseHead> {
    loop {
        let (head, length) = parse_response(rest).ok()??;
        let alone = parse_response(&rest.slice(..length));
        assert_eq!(alone.expect("a head").expect("a whole one").1, length);
        rest.advance(length);
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        if !head.status.is_informational() {
            return Some(head);
        }
    }
}

/// Whether hyper refuses a head that the gateway accepts. Chunks in HTTP/1.0 are read as RFC 9112 §6.1 says:
/// the connection is closed after them. hyper uses the two largest lengths as markers.
fn is_stricter(head: &ResponseHead, why: &str) -> bool {
    match head.framing {
        BodyFraming::Chunked => why.contains("TransferEncoding") && !head.keep_alive,
        BodyFraming::Length(length) => length >= u64::MAX - 1,
        BodyFraming::UntilClose => false,
    }
}
