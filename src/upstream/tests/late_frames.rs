//! HTTP/2 frames that arrive after their stream was reset, from a provider written as bytes.

use tokio::io::{DuplexStream, duplex};

use super::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
/// Of HEADERS: END_HEADERS. Of SETTINGS: ACK.
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

async fn write_frame(io: &mut DuplexStream, (kind, flags, stream): (u8, u8, u32), payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(payload);
    // Fails when the gateway has closed the connection, which the test sees by itself.
    let _ = io.write_all(&frame).await;
}

/// Answers each request with a head. Each stream that is reset gets a DATA frame all the same; after the last
/// of `resets` the first stream gets one.
async fn provider(mut io: DuplexStream, resets: usize) {
    io.read_exact(&mut [0; 24]).await.unwrap();
    write_frame(&mut io, (SETTINGS, 0, 0), &[]).await;
    let (mut first, mut seen) = (None, 0);
    let mut head = [0; 9];
    while io.read_exact(&mut head).await.is_ok() {
        let [a, b, c, kind, flags, stream @ ..] = head;
        let stream = u32::from_be_bytes(stream);
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        io.read_exact(&mut payload).await.unwrap();
        match kind {
            SETTINGS if flags & ACK == 0 => write_frame(&mut io, (SETTINGS, ACK, 0), &[]).await,
            HEADERS => {
                first.get_or_insert(stream);
                // `:status: 200`, from HPACK's static table.
                write_frame(&mut io, (HEADERS, END_HEADERS, stream), &[0x88]).await;
            }
            RST_STREAM => {
                write_frame(&mut io, (DATA, 0, stream), b"late").await;
                seen += 1;
                if seen == resets {
                    write_frame(&mut io, (DATA, 0, first.unwrap()), b"on").await;
                }
            }
            _ => {}
        }
    }
}

/// h2 counts late frames of streams that it has forgotten, and by default ends the connection at 1024.
#[test]
fn late_frames_of_cancelled_streams_do_not_end_the_connection() {
    const ROUNDS: usize = 30;
    const CANCELLED: usize = 99;
    LocalRuntime::new().unwrap().block_on(async {
        let base = BaseUrl::parse("http://localhost:1/v1").unwrap();
        let target = Target { protocol: Protocol::Http2, ..Target::plain("p", base) };
        let upstream =
            Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
        let (io, providers_io) = duplex(64 * 1024);
        Tasks::new().spawn(provider(providers_io, ROUNDS * CANCELLED));
        in_time(upstream.adopt(&target, io)).await.unwrap();
        let scene = Scene { upstream, target, provider: Provider::default() };
        let mut held = scene.send("/stream", &[]).await.unwrap();
        for _ in 0..ROUNDS {
            let mut cancelled = Vec::new();
            for _ in 0..CANCELLED {
                cancelled.push(scene.send("/stream", &[]).await.unwrap());
            }
        }
        assert_eq!(next(&mut held.body).await.unwrap().unwrap(), "on");
    });
}
