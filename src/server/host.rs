//! The host of a request, in either protocol: one that is no host, or that carries user information, is
//! refused (RFC 9112 section 3.2, RFC 9110 section 4.2.4), because a proxy or a provider might read another
//! one from it.

use http::Uri;

/// Whether every host that the request names is one: in its target, or in its `host` fields.
#[must_use]
pub(super) fn names_hosts_only<'f>(uri: &Uri, mut fields: impl Iterator<Item = &'f [u8]>) -> bool {
    uri.authority().is_none_or(|authority| is_host(authority.as_str().as_bytes())) && fields.all(is_host)
}

/// Whether a `host` field names the same host and port as the target's authority, if it has one (RFC 9113
/// section 8.3.1). A port that is missing is the scheme's.
#[must_use]
pub(super) fn is_same_host(uri: &Uri, field: &[u8]) -> bool {
    let Some(authority) = uri.authority() else { return true };
    let usual: &[u8] = if uri.scheme_str() == Some("https") { b"443" } else { b"80" };
    let (host, port) = split(field, usual);
    let (wanted, wanted_port) = split(authority.as_str().as_bytes(), usual);
    host.eq_ignore_ascii_case(wanted) && port == wanted_port
}

/// A host and its port, of a text that is valid.
fn split<'t>(text: &'t [u8], usual: &'t [u8]) -> (&'t [u8], &'t [u8]) {
    match text.iter().rposition(|byte| *byte == b':') {
        Some(at) if !text.ends_with(b"]") => {
            let (host, port) = text.split_at(at);
            (host, port.get(1..).filter(|port| !port.is_empty()).unwrap_or(usual))
        }
        Some(_) | None => (text, usual),
    }
}

/// Whether it is `uri-host [":" port]` (RFC 3986 section 3.2.2); empty: the target has no authority.
fn is_host(text: &[u8]) -> bool {
    let (is_valid, port) = match text.strip_prefix(b"[") {
        Some(literal) => {
            let end = literal.iter().position(|byte| *byte == b']').unwrap_or(literal.len());
            let (address, rest) = literal.split_at(end);
            let fits = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'.');
            let Some(port) = rest.strip_prefix(b"]") else { return false };
            (!address.is_empty() && address.iter().all(fits), port)
        }
        None => {
            let end = text.iter().position(|byte| *byte == b':').unwrap_or(text.len());
            let (name, port) = text.split_at(end);
            (is_name(name), port)
        }
    };
    let is_port = match port.strip_prefix(b":") {
        Some(digits) => digits.iter().all(u8::is_ascii_digit),
        None => port.is_empty(),
    };
    is_valid && is_port
}

/// Bytes of a registered name, beside escapes: unreserved characters, and delimiters of parts.
const IS_NAME_BYTE: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-._~!$&'()*+,;=";
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether it is a registered name.
fn is_name(name: &[u8]) -> bool {
    let mut rest = name;
    loop {
        let plain = rest.iter().take_while(|byte| IS_NAME_BYTE[usize::from(**byte)]).count();
        rest = match rest.get(plain..) {
            None | Some([]) => return true,
            Some([b'%', high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                after
            }
            Some(_) => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::{is_host, is_same_host};

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port() {
        for host in ["", "x", "api.example.com:443", "127.0.0.1:", "[::1]:9000", "a%20b", "under_score"] {
            assert!(is_host(host.as_bytes()), "{host}");
        }
        for other in [
            "a b",
            "a/b",
            "user@x",
            "user:pw@x",
            "x:80:80",
            "x:http",
            "[::1",
            "[]",
            "[::1]x",
            "a%2",
            "a\tb",
            "a,b c",
            "http://x",
            "x?y",
            "x#y",
            "\u{e9}",
            "a\"b",
            "a\\b",
            "<x>",
        ] {
            assert!(!is_host(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn a_field_names_the_host_of_the_target() {
        for (target, field, is_same) in [
            ("http://x/a", "x", true),
            ("http://x/a", "X:80", true),
            ("https://x:443/a", "x", true),
            ("https://x/a", "x:", true),
            ("http://[::1]:80/a", "[::1]", true),
            ("/a", "x", true),
            ("http://x/a", "y", false),
            ("http://x/a", "", false),
            ("http://x/a", "x:81", false),
            ("https://x/a", "x:80", false),
            ("http://[::1]/a", "[::1]:8080", false),
        ] {
            let uri = target.parse().unwrap();
            assert_eq!(is_same_host(&uri, field.as_bytes()), is_same, "{target} {field}");
        }
    }
}
