//! Any split of a stream gives the same events, with offsets inside their frames, and with the same class
//! before and after the commit point. Input: two cuts, the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use thalweg::wire::{EventClass, Dialect, Event, Scanner, classify, classify_committed};

type OwnedEvent = (Option<Vec<u8>>, Option<Vec<u8>>, bool);

fuzz_target!(|input: &[u8]| {
    let [a, b, c, d, stream @ ..] = input else { return };
    let whole = scan_all([stream], check_classes);
    assert_eq!(scan_all(stream.chunks(1), |_| ()), whole);
    let cut = |high: u8, low: u8| usize::from(u16::from_be_bytes([high, low])) % (stream.len() + 1);
    let (one, two) = (cut(*a, *b).min(cut(*c, *d)), cut(*a, *b).max(cut(*c, *d)));
    assert_eq!(scan_all([&stream[..one], &stream[one..two], &stream[two..]], |_| ()), whole);
});

/// All events. `check` sees each; their classes depend on nothing else, so one scan checks them.
fn scan_all<'a>(
    frames: impl IntoIterator<Item = &'a [u8]>,
    check: impl Fn(&Event<'_>),
) -> Vec<OwnedEvent> {
    let mut scanner = Scanner::default();
    let mut events = Vec::new();
    for frame in frames {
        let mut last = 0;
        let open = scanner.is_mid_event();
        scanner
            .scan(frame, |event| {
                match event.start {
                    Some(start) => assert!(last <= start && start < event.end),
                    None => assert!(open && last == 0),
                }
                assert!(last < event.end && event.end <= frame.len());
                last = event.end;
                check(&event);
                events.push(owned(&event));
            })
            .expect("no line is that long");
    }
    let mid = scanner.is_mid_event();
    assert!(mid || scanner.event_terminator().is_empty());
    scanner.finish(|event| {
        check(&event);
        events.push(owned(&event));
    });
    events
}

fn owned(event: &Event<'_>) -> OwnedEvent {
    (event.data.map(<[u8]>::to_vec), event.name.map(<[u8]>::to_vec), event.comment_only)
}

fn check_classes(event: &Event<'_>) {
    // Names with escapes are found only before the commit point.
    let escaped = event.data.is_some_and(|data| data.windows(2).any(|pair| pair == br"\u"));
    for dialect in Dialect::ALL.into_iter().filter(|_| !escaped) {
        let (early, late) = (classify(dialect, event), classify_committed(dialect, event));
        assert!(
            early.class == late.class || early.class == EventClass::Content && late.class == EventClass::Other,
            "{dialect:?} {event:?} {early:?} {late:?}"
        );
        assert!(late.usage.is_possible() || !early.usage.is_possible() || !dialect.has_stream_options());
    }
}
