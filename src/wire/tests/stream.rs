//! Compares the scanner with a naive reader of event streams, over generated streams and every cut. Also
//! checks offsets, the byte limits, and the terminator of an unfinished event. Every cut must give the same
//! events.

use proptest::prelude::*;

use super::{OwnedEvent, cut, scan_all};
use crate::wire::{
    block::MAX_CARRY,
    sse::{LineTooLong, Scanner},
};

/// The naive reader: takes the whole stream at once, line by line.
fn read(stream: &[u8]) -> Vec<OwnedEvent> {
    let text = stream.strip_prefix(b"\xef\xbb\xbf").unwrap_or(stream);
    let text = String::from_utf8_lossy(text).replace("\r\n", "\n").replace('\r', "\n");
    text.split("\n\n")
        .map(|block| block.trim_matches('\n'))
        .filter(|block| !block.is_empty())
        .map(|block| {
            let field = |line: &str, name: &str| {
                let (key, value) = line.split_once(':').unwrap_or((line, ""));
                (key == name).then(|| value.strip_prefix(' ').unwrap_or(value).to_owned())
            };
            let data: Vec<String> = block.lines().filter_map(|line| field(line, "data")).collect();
            OwnedEvent {
                data: Some(data.join("\n").into_bytes()),
                name: block
                    .lines()
                    .filter_map(|line| field(line, "event"))
                    .next_back()
                    .map(String::into_bytes),
                comment_only: block.lines().all(|line| line.starts_with(':')),
            }
        })
        .collect()
}

fn owned_event(data: &str, name: Option<&str>) -> OwnedEvent {
    OwnedEvent { data: Some(data.into()), name: name.map(Into::into), comment_only: false }
}

fn lines() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        6 => "data: ?[a-z:\\[\\]{} é🦀]{0,20}",
        2 => "event: ?[a-z.]{0,8}",
        2 => ":[ a-z]{0,8}",
        1 => prop_oneof![Just("data".to_owned()), Just("id: 7".into()), Just("retry".into()), Just("database: x".into())],
        4 => Just(String::new()),
    ];
    let end = prop_oneof![4 => Just("\n"), 2 => Just("\r\n"), 1 => Just("\r")];
    (any::<bool>(), prop::collection::vec((line, end), 0..16)).prop_map(|(bom, lines)| {
        let bom = if bom { "\u{feff}" } else { "" };
        bom.chars()
            .chain(lines.into_iter().flat_map(|(line, end)| (line + end).chars().collect::<Vec<_>>()))
            .collect()
    })
}

proptest! {
    #[test]
    fn every_cut_tells_what_the_rules_say(stream in lines(), tail in "(data: x)?", cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let stream = (stream + &tail).into_bytes();
        let expected = read(&stream);
        let cuts = cuts.iter().map(|at| at.index(stream.len() + 1)).collect();
        prop_assert_eq!(&scan_all(cut(&stream, cuts)), &expected);
        prop_assert_eq!(&scan_all(stream.chunks(1)), &expected);
        prop_assert_eq!(&scan_all([&stream[..]]), &expected);
    }
}

#[test]
fn tells_places_in_the_frame() {
    let mut scanner = Scanner::default();
    let mut places = Vec::new();
    for frame in ["\n\ndata: a\n\n\ndata: b\n\nda", "ta: c\r\n\r", "\n: ping\n\n"] {
        scanner.scan(frame.as_bytes(), |event| places.push((event.start, event.end))).unwrap();
    }
    assert_eq!(places, [(Some(2), 11), (Some(12), 21), (None, 8), (Some(1), 9)]);
}

#[test]
fn reads_the_fields_of_an_event() {
    let stream =
        "event: message_start\ndata: {\"a\":1}\n\n: ping\n\ndata:x\ndata\ndata:  y\nid: 3\n\ndata: last";
    let comment = OwnedEvent { data: Some(Vec::new()), name: None, comment_only: true };
    let expected = [
        owned_event("{\"a\":1}", Some("message_start")),
        comment,
        owned_event("x\n\n y", None),
        owned_event("last", None),
    ];
    assert_eq!(scan_all([stream.as_bytes()]), expected);
}

#[test]
fn a_single_data_line_in_one_frame_is_not_copied() {
    let frame = b"data: first\n\nevent: e\ndata: {\"a\":1}\n\ndata: second\n\n";
    let mut data = Vec::new();
    Scanner::default().scan(frame, |event| data.push(event.data.unwrap().as_ptr())).unwrap();
    assert_eq!(data, [6, 28, 43].map(|at| frame[at..].as_ptr()));
}

#[test]
fn says_how_to_close_an_unfinished_event() {
    let cases = [
        ("", ""),
        ("data: a\n\n", ""),
        ("data: a\n", "\n"),
        ("data: a", "\n\n"),
        ("data: a\r", "\n\n"),
        ("data: a\r\n", "\n"),
    ];
    for (sent, closing) in cases {
        let mut scanner = Scanner::default();
        scanner.scan(sent.as_bytes(), |_| {}).unwrap();
        assert_eq!(scanner.event_terminator(), closing.as_bytes(), "{sent:?}");
        let whole = format!("{sent}{closing}data: error\n\n");
        assert_eq!(scan_all([whole.as_bytes()]).last(), Some(&owned_event("error", None)));
    }
}

#[test]
fn an_event_beyond_the_carry_is_told_without_data() {
    let long = "x".repeat(2 * MAX_CARRY);
    let stream = format!("event: error\ndata: {long}\n\n:{long}\n\ndata: b\n\n");
    let events = scan_all(stream.as_bytes().chunks(1000));
    let error = OwnedEvent { data: None, name: Some(b"error".to_vec()), comment_only: false };
    let comment = OwnedEvent { data: None, name: None, comment_only: true };
    assert_eq!(events, [error, comment, owned_event("b", None)]);
    assert_eq!(scan_all([stream.as_bytes()])[0].data.as_ref().map(Vec::len), Some(2 * MAX_CARRY));

    let lines = format!("data: {long}\ndata: {long}\n\n");
    assert_eq!(scan_all([lines.as_bytes()])[0].data, None, "too long to join");
    let name = format!(":{}\nevent: error_of_mine\ndata: a\n\n", "x".repeat(MAX_CARRY - 15));
    assert_eq!(
        scan_all(name.as_bytes().chunks(1000))[0].name,
        None,
        "a name that was kept in part is no name"
    );
}

#[test]
fn refuses_a_line_without_end_before_it_ends() {
    assert!(Scanner::new(9).scan(b"data: 1234", |_| {}).is_err());
    let mut scanner = Scanner::new(9);
    assert!(scanner.scan(b"data:", |_| {}).and_then(|()| scanner.scan(b"12345", |_| {})).is_err());
}

#[test]
fn refuses_a_line_beyond_the_limit_wherever_it_is_cut() {
    for cut in 1..11 {
        let mut scanner = Scanner::new(9);
        let (one, two) = b"data: 1234\n".split_at(cut);
        let refused = scanner.scan(one, |_| {}).and_then(|()| scanner.scan(two, |_| {}));
        assert_eq!(refused, Err(LineTooLong { limit: 9 }));
        let mut scanner = Scanner::new(10);
        scanner.scan(one, |_| {}).and_then(|()| scanner.scan(two, |_| {})).unwrap();
    }
}
