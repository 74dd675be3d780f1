//! Pages for people (B1): who gets them, their headers, their files, and what they never do.

use std::io::Read;

use http::{HeaderMap, Method};

use super::statistics::plan;
use crate::{
    client::{Call, Client, Version},
    gateway::Gateway,
    upstream::{Speaks, Upstream, script},
};

const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

async fn serving() -> (Gateway, Upstream) {
    let upstream = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    (plan(&[&upstream]).start().await, upstream)
}

fn browsing(path: &str) -> Call {
    Call::get(path).header("accept", BROWSER).without("authorization")
}

/// Status, headers and text.
async fn got(client: &mut Client, call: Call) -> (u16, HeaderMap, String) {
    let answer = client.send(call).await;
    let (status, headers) = (answer.status.as_u16(), answer.headers.clone());
    (status, headers, answer.collect().await.text())
}

fn value<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("no {name}: {headers:?}")).to_str().unwrap()
}

/// The addresses of files in a page.
fn files(page: &str) -> Vec<String> {
    let quoted = page.split('"').filter(|part| part.contains("assets/"));
    quoted.map(str::to_owned).collect()
}

#[tokio::test]
async fn a_browser_gets_a_page_and_a_program_json() {
    let (gateway, _upstream) = serving().await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        let (status, headers, page) = got(&mut client, browsing("/")).await;
        assert_eq!((status, value(&headers, "content-type")), (200, "text/html; charset=utf-8"));
        assert!(page.starts_with("<!doctype html>") && page.contains(env!("CARGO_PKG_VERSION")));
        assert_eq!(value(&headers, "vary"), "accept");
        for accept in ["*/*", "application/json", "text/html, application/json"] {
            let call = Call::get("/").header("accept", accept);
            let (status, headers, text) = got(&mut client, call).await;
            assert_eq!((status, value(&headers, "content-type")), (200, "application/json"), "{accept}");
            assert!(text.contains("\"service\":\"thalweg\""), "{text}");
            assert!(headers.get_all("vary").iter().any(|name| name == "accept"), "{headers:?}");
        }
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_page_runs_its_own_files_alone() {
    let (gateway, _upstream) = serving().await;
    let mut client = gateway.client(Version::H1).await;
    let (_, headers, page) = got(&mut client, browsing("/")).await;
    let policy = value(&headers, "content-security-policy");
    for rule in ["default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'"] {
        assert!(policy.contains(rule), "{rule}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    for (name, wanted) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-cache"),
    ] {
        assert_eq!(value(&headers, name), wanted, "{name}");
    }
    let files = files(&page);
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        // Relative, so that a proxy may serve the page below any path.
        let path = file.strip_prefix("./").unwrap_or_else(|| panic!("not relative: {file}"));
        let (status, headers, text) = got(&mut client, browsing(&format!("/{path}"))).await;
        assert_eq!(status, 200, "{file}");
        assert_eq!(value(&headers, "cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(value(&headers, "x-content-type-options"), "nosniff");
        assert!(!text.is_empty());
    }
    assert!(!page.contains("href=\"/") && !page.contains("src=\"/") && !page.contains("://"));
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_known_file_is_not_sent_again() {
    let (gateway, _upstream) = serving().await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        let (_, headers, page) = got(&mut client, browsing("/")).await;
        let file = format!("/{}", files(&page)[0].trim_start_matches("./"));
        for path in ["/", &file] {
            let (_, headers, plain) = got(&mut client, browsing(path)).await;
            let coded = client.send(browsing(path).header("accept-encoding", "br, gzip")).await;
            assert_eq!(coded.header("content-encoding"), "gzip", "{path}");
            let tags = [value(&headers, "etag").to_owned(), coded.header("etag").to_owned()];
            assert_ne!(tags[0], tags[1], "two forms, two tags");
            let mut text = String::new();
            let bytes = coded.collect().await.bytes();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
            assert_eq!(text, plain, "{path}");

            for (tag, coding) in tags.iter().zip(["identity", "gzip"]) {
                let call = browsing(path).header("accept-encoding", coding).header("if-none-match", tag);
                let (status, headers, text) = got(&mut client, call).await;
                assert_eq!((status, &*text, value(&headers, "etag")), (304, "", &**tag), "{path}");
            }
            let old = browsing(path).header("if-none-match", "\"old\"");
            assert_eq!(got(&mut client, old).await.0, 200, "{path}");
        }
        let length = plain_length(&mut client, "/").await;
        let head = Call { method: Method::HEAD, ..browsing("/") };
        let answer = client.send(head).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-length")), (200, &*length));
        assert_eq!(answer.header("etag"), value(&headers, "etag"));
        assert!(answer.collect().await.bytes().is_empty());
    }
    gateway.stop().await;
}

async fn plain_length(client: &mut Client, path: &str) -> String {
    got(client, browsing(path)).await.2.len().to_string()
}

#[tokio::test]
async fn an_unknown_file_is_not_found_and_an_old_address_is_not_kept() {
    let (gateway, _upstream) = serving().await;
    let mut client = gateway.client(Version::H1).await;
    for path in ["/assets/", "/assets/x", "/assets/x/none.js", "/assets/x/../page.css", "/assets/x/%2e%2e/y"]
    {
        let (status, headers, text) = got(&mut client, browsing(path)).await;
        assert_eq!((status, value(&headers, "content-type")), (404, "application/json"), "{path}");
        assert!(text.contains("not_found"), "{text}");
    }
    let (status, headers, _) = got(&mut client, browsing("/assets/0123/page.css")).await;
    assert_eq!((status, value(&headers, "cache-control")), (200, "no-cache"), "of another version");
    let post = Call::post("/assets/0123/page.css", "{}");
    assert_eq!(got(&mut client, post).await.0, 405);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_comparison_is_a_picture_with_its_events_and_is_kept() {
    let (gateway, upstream) = serving().await;
    let mut client = gateway.client(Version::H1).await;
    let compare = |more: &str| Call::get(&format!("/streaming-compare?model=m&repeats=1{more}"));
    let (status, headers, svg) = got(&mut client, compare("&format=svg&width=400")).await;
    assert_eq!((status, value(&headers, "content-type")), (200, "image/svg+xml"), "{svg}");
    assert!(value(&headers, "content-security-policy").contains("default-src 'none'"));
    assert!(svg.starts_with("<svg ") && svg.contains("viewBox=\"0 0 400 "), "{svg}");
    assert!(upstream.log.requests() >= 6);

    // As events: a picture after each answer but the last, whose picture comes with the report.
    let call = compare("&format=svg").header("accept", "text/event-stream");
    let (_, _, events) = got(&mut client, call).await;
    assert_eq!(events.matches("event: progress\n").count(), 6, "{events}");
    assert_eq!(events.matches("event: picture\n").count(), 6, "{events}");
    let report = events.split("event: report\ndata: ").nth(1).unwrap();
    let report: serde_json::Value = serde_json::from_str(report.trim()).unwrap();
    let plain = got(&mut client, compare("").header("accept", "text/event-stream")).await.2;
    assert!(!plain.contains("event: picture"), "only where one is wanted");

    let id = report["id"].as_str().unwrap();
    let (status, headers, json) = got(&mut client, browsing(&format!("/compare/{id}.json"))).await;
    assert_eq!((status, value(&headers, "x-robots-tag")), (200, "noindex"), "the link is the permission");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), report);
    let (_, _, svg) = got(&mut client, browsing(&format!("/compare/{id}.svg?width=360"))).await;
    let marks: usize = report["legs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|leg| leg["events_at_us"].as_array().unwrap().len())
        .sum();
    assert!(marks > 0 && svg.matches("class=\"mark ").count() == marks, "{marks}: {svg}");
    for path in ["/compare", "/dashboard", "/usage", "/keys", "/configuration", &format!("/compare/{id}")] {
        let (status, headers, page) = got(&mut client, browsing(path)).await;
        assert_eq!((status, value(&headers, "content-type")), (200, "text/html; charset=utf-8"), "{path}");
        let root = if path.contains(id) { "../" } else { "./" };
        assert!(files(&page).iter().all(|file| file.starts_with(&format!("{root}assets/"))), "{page}");
    }
    for path in ["/compare/00.json", &format!("/compare/{id}.png"), "/compare/x.svg"] {
        assert_eq!(got(&mut client, browsing(path)).await.0, 404, "{path}");
    }
    drop(client);
    gateway.stop().await;
}
