//! Heads built and heads read.

use super::*;
use crate::{base::Secret, upstream::BaseUrl};

fn target() -> Target {
    Target {
        key: Some(Secret::new("sk-up".into())),
        headers: vec![(HeaderName::from_static("x-team"), HeaderValue::from_static("ours"))],
        ..Target::plain("p", BaseUrl::parse("http://api.example.com:8080/v1").unwrap())
    }
}

#[test]
fn builds_the_head_from_what_may_pass() {
    let headers = HeaderFields::from_iter([
        ("authorization", "Bearer sk-client"),
        ("x-api-key", "sk-client"),
        ("cookie", "a=b"),
        ("connection", "close, X-Hop"),
        ("x-hop", "1"),
        ("transfer-encoding", "chunked"),
        ("x-team", "theirs"),
        ("x-thalweg-strategy", "race"),
        ("openai-beta", "assistants=v2"),
        ("x-custom", "1"),
    ]);
    let request = Request {
        method: Method::POST,
        path: "/chat/completions",
        headers: &headers,
        accept: "*/*",
        content_type: JSON,
    };
    assert_eq!(
        write_request(&target(), &request, 1205),
        "POST /v1/chat/completions HTTP/1.1\r\nhost: api.example.com:8080\r\ncontent-length: 1205\r\n\
         authorization: Bearer sk-up\r\naccept: */*\r\naccept-encoding: identity\r\n\
         content-type: application/json\r\nopenai-beta: assistants=v2\r\nx-team: ours\r\n\r\n"
    );
}

fn parse(text: &'static str) -> Result<Option<(ResponseHead, usize)>, Cow<'static, str>> {
    parse_response(&Bytes::from_static(text.as_bytes()))
}

#[test]
fn finds_framing_and_persistence() {
    for (text, framing, keep_alive) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", BodyFraming::Length(5), true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\n", BodyFraming::Length(5), true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n", BodyFraming::Chunked, true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
            BodyFraming::Chunked,
            false,
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: Close\r\n\r\n", BodyFraming::Length(5), false),
        ("HTTP/1.1 200 OK\r\n\r\n", BodyFraming::UntilClose, false),
        ("HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", BodyFraming::Length(5), false),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive\r\n\r\n",
            BodyFraming::Length(5),
            true,
        ),
        (
            "HTTP/1.0 200 OK\r\ncontent-length: 5\r\nconnection: keep-alive, close\r\n\r\n",
            BodyFraming::Length(5),
            false,
        ),
        (
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n",
            BodyFraming::Chunked,
            false,
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", BodyFraming::Length(0), true),
    ] {
        let (head, length) = parse(text).unwrap().unwrap();
        assert_eq!((head.framing, head.keep_alive, length), (framing, keep_alive, text.len()), "{text}");
    }
    assert!(parse("HTTP/1.1 200 OK\r\ncontent-le").unwrap().is_none());
}

#[test]
fn refuses_heads_that_lie() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1,1\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        "HTTP/1.1 099 OK\r\n\r\n",
        "SSH-2.0-OpenSSH_9.2\r\n",
    ] {
        assert!(parse(text).is_err(), "{text}");
    }
}

/// A base URL's query goes with every request, and takes precedence.
#[test]
fn a_query_of_the_base_url_goes_along() {
    for (base, path, target) in [
        ("http://h/v1", "/models", "/v1/models"),
        ("http://h/v1", "/models?after=a&x", "/v1/models?after=a&x"),
        ("http://h/v1?api-version=1", "/models", "/v1/models?api-version=1"),
        ("http://h/v1?api-version=1", "/models?after=a", "/v1/models?api-version=1&after=a"),
        ("http://h/v1?api-version=1&k", "/models?api-version=2&a=b&&k=1", "/v1/models?api-version=1&k&a=b"),
    ] {
        let target_of = Target::plain("p", BaseUrl::parse(base).unwrap());
        let headers = HeaderFields::new();
        let request =
            Request { method: Method::GET, path, headers: &headers, accept: "*/*", content_type: &[] };
        let head = write_request(&target_of, &request, 0);
        assert!(head.starts_with(format!("GET {target} HTTP/1.1\r\n").as_bytes()), "{head:?}");
        let built = build_request(&target_of, &request, 0).unwrap();
        assert_eq!(built.uri().path_and_query().unwrap(), target);
    }
}
