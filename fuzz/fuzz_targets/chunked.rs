//! Chunked bodies: any split decodes to the same payload and end or to the same error, and hyper accepts
//! every body that the gateway accepts, asked for one body in four. Input: two cuts, the body.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::http1::BodyFraming;

#[path = "../answer.rs"]
mod answer;
#[path = "../body.rs"]
mod body;
#[path = "../pieces.rs"]
mod pieces;

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

fuzz_target!(|input: &[u8]| {
    let Some((bytes, pieces)) = pieces::pieces(input) else { return };
    let whole = body::decode(BodyFraming::Chunked, [bytes]);
    assert_eq!(body::decode(BodyFraming::Chunked, bytes.chunks(1)), whole);
    assert_eq!(body::decode(BodyFraming::Chunked, pieces), whole);
    let Ok(ours) = whole else { return };
    // hyper takes most of the time, and small changes of the bytes change the choice.
    if bytes.iter().fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(*byte)) % 4 != 0 {
        return;
    }
    let kept = ours.done && ours.excess == 0;
    let theirs = answer::run_hyper(&[HEAD, pieces[0], pieces[1], pieces[2]], !kept).expect("a good head");
    assert_eq!((theirs.status.as_u16(), theirs.headers.len()), (200, 1));
    body::agree(&ours, &theirs, kept);
});
