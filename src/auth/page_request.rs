//! Requests of the gateway's own pages: their cookie, and the proof that a page of this origin sent them.
//!
//! A browser adds cookies by itself, also to a request that another page makes it send. `SameSite` holds
//! those of other sites back, but not those of other ports of this host. So a cookie counts only with a
//! header that no other origin can set without asking first (which the gateway's answers to preflights do not
//! allow for requests with cookies), and only if the browser itself names no other origin.
//!
//! A link that a browser follows has no such header. For it a cookie may count where the answer only shows
//! something, because another origin can neither read that answer nor change anything by the request.

use http::{HeaderName, Uri, uri::Authority};

use crate::base::{HeaderFields, field_text};

/// The header that pages set.
pub const PAGE_HEADER: HeaderName = HeaderName::from_static("x-thalweg-page");
/// The browser's own statement (Fetch Metadata), on https and on loopback.
const SITE: &str = "sec-fetch-site";
/// The browser's statements that it opens a document in a tab: no frame, picture, script or `fetch`.
const OPENS: [(&str, &str); 2] = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
/// The cookie's name; the port follows, because browsers keep one set of cookies for all ports of a host.
const COOKIE: &str = "thalweg-session";
/// Cookies of a request that are looked at.
const MAX_COOKIES: usize = 16;

/// Whether a page of this origin sent the request.
#[must_use]
pub fn is_of_own_page(uri: &Uri, headers: &HeaderFields) -> bool {
    if !headers.contains(PAGE_HEADER) {
        return false;
    }
    if headers.contains(SITE) {
        return headers.get_all(SITE).all(|site| site == b"same-origin");
    }
    headers.get_all("origin").all(|origin| {
        let origin = field_text(origin).and_then(|origin| origin.split_once("://"));
        origin.is_some_and(|(_, origin)| {
            asked_authority(uri, headers).is_some_and(|asked| asked.eq_ignore_ascii_case(origin))
        })
    })
}

/// Whether a browser opens a link of this origin in a tab, or an address that its user gave it. A browser
/// without Fetch Metadata (any, over plain HTTP from another machine) says so by its `Accept`; links of other
/// sites come without the cookie then, by `SameSite`.
#[must_use]
pub fn is_opened_in_a_tab(headers: &HeaderFields) -> bool {
    let all = |name: &str, wanted: &[&str]| {
        headers.contains(name)
            && headers.get_all(name).all(|value| wanted.iter().any(|word| value == word.as_bytes()))
    };
    if headers.contains(SITE) {
        return all(SITE, &["same-origin", "none"]) && OPENS.iter().all(|(name, word)| all(name, &[word]));
    }
    let accepts = headers.text("accept");
    accepts.is_some_and(|accept| accept.contains("text/html")) && !headers.contains("origin")
}

/// The host and port that the request names.
#[must_use]
pub fn asked_authority<'r>(uri: &'r Uri, headers: &'r HeaderFields) -> Option<&'r str> {
    headers.text("host").or_else(|| uri.authority().map(Authority::as_str))
}

/// Whether the request names `localhost`, an IP address, or no host. A name that DNS points here is another.
#[must_use]
pub fn is_local_name(uri: &Uri, headers: &HeaderFields) -> bool {
    let Some(authority) = asked_authority(uri, headers) else { return true };
    let Ok(authority) = authority.parse::<Authority>() else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok()
}

/// The cookies of sessions, of this gateway or of others on the same host.
pub fn session_cookies(headers: &HeaderFields) -> impl Iterator<Item = &[u8]> {
    let pairs = headers.get_all("cookie").flat_map(|line| line.split(|byte| *byte == b';'));
    let values = pairs.filter_map(|pair| {
        let rest = pair.trim_ascii().strip_prefix(COOKIE.as_bytes())?;
        let at = rest.iter().position(|byte| *byte == b'=')?;
        rest.get(at + 1..)
    });
    values.filter(|value| !value.is_empty()).take(MAX_COOKIES)
}

/// The name of the cookie for the host and port that the request names.
#[must_use]
pub fn cookie_name(uri: &Uri, headers: &HeaderFields) -> String {
    let authority = asked_authority(uri, headers).and_then(|asked| asked.parse::<Authority>().ok());
    match authority.and_then(|authority| authority.port_u16()) {
        Some(port) => format!("{COOKIE}-{port}"),
        None => COOKIE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderFields {
        pairs.iter().copied().collect()
    }

    #[test]
    fn only_a_page_of_this_origin_proves_itself() {
        let is_own = |pairs: &[_]| is_of_own_page(&Uri::from_static("/stats"), &headers(pairs));
        let page = ("x-thalweg-page", "1");
        let host = ("host", "gw.example:9000");
        for good in [
            &[page, host][..],
            &[page, host, ("sec-fetch-site", "same-origin")],
            &[page, host, ("origin", "https://GW.example:9000")],
            // A proxy in front may change the host; the browser's own word counts.
            &[page, ("host", "inside"), ("origin", "https://gw.example"), ("sec-fetch-site", "same-origin")],
        ] {
            assert!(is_own(good), "{good:?}");
        }
        for bad in [
            &[host][..],
            &[host, ("sec-fetch-site", "same-origin")],
            &[page, host, ("sec-fetch-site", "same-site")],
            &[page, host, ("sec-fetch-site", "cross-site")],
            &[page, host, ("sec-fetch-site", "none")],
            &[page, host, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[page, host, ("origin", "http://gw.example:3000")],
            &[page, host, ("origin", "http://gw.example")],
            &[page, host, ("origin", "null")],
            &[page, host, ("origin", "http://gw.example:9000"), ("origin", "http://evil.example")],
            &[page, ("origin", "http://gw.example:9000")],
        ] {
            assert!(!is_own(bad), "{bad:?}");
        }
        let http2 = Uri::from_static("https://gw.example:9000/stats");
        assert!(is_of_own_page(&http2, &headers(&[page, ("origin", "https://gw.example:9000")])));
    }

    #[test]
    fn only_a_browser_that_opens_a_tab_follows_a_link() {
        let opens = |pairs: &[_]| is_opened_in_a_tab(&headers(pairs));
        let (navigates, document) = (("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"));
        let html = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        for good in [
            &[("sec-fetch-site", "same-origin"), navigates, document][..],
            &[("sec-fetch-site", "none"), navigates, document],
            &[html],
        ] {
            assert!(opens(good), "{good:?}");
        }
        for bad in [
            &[][..],
            &[("sec-fetch-site", "same-site"), navigates, document, html],
            &[("sec-fetch-site", "cross-site"), navigates, document, html],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site"), navigates, document],
            &[("sec-fetch-site", "same-origin"), html],
            &[("sec-fetch-site", "same-origin"), navigates, ("sec-fetch-dest", "iframe"), html],
            &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"), document, html],
            &[("accept", "*/*")],
            &[html, ("origin", "http://gw.example:9000")],
        ] {
            assert!(!opens(bad), "{bad:?}");
        }
    }

    #[test]
    fn cookies_of_sessions_are_found_among_others() {
        let found = |lines: &[&'static str]| {
            let pairs: Vec<_> = lines.iter().map(|line| ("cookie", *line)).collect();
            let headers = headers(&pairs);
            session_cookies(&headers)
                .map(|value| String::from_utf8_lossy(value).into_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            found(&["a=1; thalweg-session-9000=ab; thalweg-session=cd", "thalweg-session-1=ef"]),
            ["ab", "cd", "ef"]
        );
        assert_eq!(found(&["thalweg-session=;thalweg-session", "xthalweg-session=a", ";;="]), [""; 0]);
        let line = vec!["thalweg-session=a"; 100].join(";").leak();
        assert_eq!(found(&[line]).len(), MAX_COOKIES);
    }

    #[test]
    fn a_cookie_is_named_by_its_port() {
        let name = |host| cookie_name(&Uri::from_static("/session"), &headers(&[("host", host)]));
        assert_eq!(name("localhost:9000"), "thalweg-session-9000");
        assert_eq!(name("[::1]:9000"), "thalweg-session-9000");
        assert_eq!(name("gw.example"), "thalweg-session");
        assert_eq!(name("a b;c=d"), "thalweg-session");
    }

    #[test]
    fn a_name_is_local_or_may_be_rebound() {
        let is_local = |host| is_local_name(&Uri::from_static("/"), &headers(&[("host", host)]));
        for host in ["127.0.0.1:9001", "[::1]:9001", "localhost", "LOCALHOST:1"] {
            assert!(is_local(host), "{host}");
        }
        for host in ["evil.example:9001", "127.0.0.1.evil.example", "", "a b"] {
            assert!(!is_local(host), "{host}");
        }
    }
}
