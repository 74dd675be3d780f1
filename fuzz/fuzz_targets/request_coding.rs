//! Compressed bodies: nothing beyond the bound is ever held, any text comes back from its coded form, and a
//! body in pieces is decoded as it is in one. Input: the coding, the bytes: once as a coded body, once as a
//! text.
#![no_main]

use std::{
    cell::Cell,
    future::Future,
    io::{Read, Write},
    pin::pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use flate2::{Compression, read::MultiGzDecoder, read::ZlibDecoder, write::GzEncoder, write::ZlibEncoder};
use libfuzzer_sys::fuzz_target;
use thalweg::{
    base::content_coding::{Coding, CodingDecoder},
    proxy::decode::{CodedBodyError, decode},
};

const LIMIT: usize = 256 * 1024;
/// Each step of a decoder gives at least a byte; a few more polls than steps.
const MAX_POLLS: usize = 2 * LIMIT;

fuzz_target!(|input: &[u8]| {
    let [kind, bytes @ ..] = input else { return };
    let coding = [Coding::Gzip, Coding::Deflate, Coding::Zstd][usize::from(*kind) % 3];
    let ours = decoded(coding, bytes);
    if !matches!(ours, Err(CodedBodyError::TooLarge)) {
        assert_eq!(in_pieces(coding, bytes), ours.as_ref().ok().map(|text| text.to_vec()));
    }
    match (&ours, oracle(coding, bytes)) {
        (Ok(text), Some(expected)) => assert_eq!(text[..], expected[..]),
        (Err(CodedBodyError::TooLarge), expected) => {
            assert!(expected.is_none_or(|text| text.len() > LIMIT));
        }
        // zstd's own default allows larger windows, and the oracle stops short of what is broken behind the
        // bound.
        (Err(CodedBodyError::Broken), expected) => {
            assert!(coding == Coding::Zstd || expected.is_none_or(|text| text.len() > LIMIT));
        }
        (Ok(_), None) => panic!("accepted what is broken"),
    }
    assert_eq!(decoded(coding, &encoded(coding, bytes)).expect("a sound body")[..], *bytes);
});

fn decoded(coding: Coding, coded: &[u8]) -> Result<Bytes, CodedBodyError> {
    let counted = Cell::new(0);
    let coded = Bytes::copy_from_slice(coded);
    let grow = async |bytes: usize| {
        counted.set(counted.get() + bytes);
        assert!(counted.get() <= LIMIT);
    };
    let mut decoding = pin!(decode(coding, &coded, LIMIT, grow));
    let cx = &mut Context::from_waker(Waker::noop());
    for _ in 0..MAX_POLLS {
        if let Poll::Ready(result) = decoding.as_mut().poll(cx) {
            if let Ok(text) = &result {
                assert_eq!(text.len(), counted.get());
            }
            return result;
        }
    }
    panic!("it does not end")
}

/// The text of a body that comes in pieces of some bytes, into room for few. `None`: it is broken.
fn in_pieces(coding: Coding, coded: &[u8]) -> Option<Vec<u8>> {
    let mut decoder = CodingDecoder::new(coding).ok()?;
    let (mut text, mut room) = (Vec::new(), [0; 1000]);
    for mut piece in coded.chunks(7) {
        loop {
            let (read, written) = decoder.decode(piece, &mut room).ok()?;
            piece = &piece[read..];
            text.extend_from_slice(&room[..written]);
            if piece.is_empty() && written < room.len() {
                break;
            }
        }
    }
    decoder.is_whole().then_some(text)
}

/// The text, or its first bytes beyond the bound. `None`: it is broken before them.
fn oracle(coding: Coding, coded: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let limit = LIMIT as u64 + 1;
    let read = match coding {
        Coding::Gzip => MultiGzDecoder::new(coded).take(limit).read_to_end(&mut text),
        Coding::Deflate => ZlibDecoder::new(coded).take(limit).read_to_end(&mut text),
        Coding::Zstd => zstd::Decoder::with_buffer(coded).ok()?.take(limit).read_to_end(&mut text),
    };
    read.ok().map(|_| text)
}

fn encoded(coding: Coding, text: &[u8]) -> Vec<u8> {
    let level = Compression::fast();
    let result = match coding {
        Coding::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(text).and_then(|()| encoder.finish())
        }
        Coding::Deflate => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(text).and_then(|()| encoder.finish())
        }
        Coding::Zstd => zstd::encode_all(text, 1),
    };
    result.expect("memory alone")
}
