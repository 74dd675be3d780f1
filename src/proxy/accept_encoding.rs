//! The choice of a content coding for an answer by the request's `Accept-Encoding` (RFC 9110 section 12.5.3).
//! Pure. A member whose weight is none is refused by its client, because it names the coding with doubt.

use crate::base::HeaderFields;

/// A weight of 1, in thousandths.
const FULL: u16 = 1000;

/// A coding in which an answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentCoding {
    Zstd,
    Brotli,
    Gzip,
}

impl ContentCoding {
    /// In order of preference where the client has none: the cheapest first.
    pub(super) const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in `Content-Encoding`.
    #[must_use]
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// The answer to a request's wishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CodingChoice {
    /// `None`: no coding is accepted, or the plain bytes are preferred.
    pub(super) coding: Option<ContentCoding>,
    /// The plain bytes are refused, so that even a short answer is coded.
    pub(super) refuses_plain: bool,
}

impl CodingChoice {
    /// The choice for a request with these headers. Without the field any coding is acceptable by the letter,
    /// but a client that decodes one says so.
    #[must_use]
    pub(super) fn of(headers: &HeaderFields) -> Self {
        let weights = Weights::of(headers);
        let plain = weights.plain.or_else(|| weights.others.filter(|weight| *weight == 0));
        let best = ContentCoding::ALL
            .into_iter()
            .zip(weights.codings)
            .filter_map(|(coding, weight)| Some((coding, weight.or(weights.others)?)))
            .filter(|(_, weight)| *weight > plain.unwrap_or(0).saturating_sub(1))
            .filter(|(_, weight)| *weight > 0)
            .reduce(|best, other| if other.1 > best.1 { other } else { best });
        Self { coding: best.map(|(coding, _)| coding), refuses_plain: plain == Some(0) }
    }
}

/// The weights of a field's members. `None`: not named.
#[derive(Debug, Default)]
struct Weights {
    codings: [Option<u16>; 3],
    plain: Option<u16>,
    /// That of `*`.
    others: Option<u16>,
}

/// Whether a request takes gzip, whatever it prefers, and does not prefer the plain bytes.
#[must_use]
pub(super) fn takes_gzip(headers: &HeaderFields) -> bool {
    let Weights { codings: [.., gzip], plain, others } = Weights::of(headers);
    gzip.or(others).is_some_and(|weight| weight > 0 && weight >= plain.unwrap_or(0))
}

impl Weights {
    fn of(headers: &HeaderFields) -> Self {
        let mut weights = Self::default();
        for value in headers.get_all("accept-encoding") {
            value.split(|byte| *byte == b',').for_each(|member| weights.note(member));
        }
        weights
    }

    fn note(&mut self, member: &[u8]) {
        let mut parts = member.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let place = match name.to_ascii_lowercase().as_slice() {
            b"zstd" => &mut self.codings[0],
            b"br" => &mut self.codings[1],
            b"gzip" | b"x-gzip" => &mut self.codings[2],
            b"identity" => &mut self.plain,
            b"*" => &mut self.others,
            _ => return,
        };
        let weight = parts.next().map_or(FULL, |part| weight(part).unwrap_or(0));
        *place = Some(weight);
    }
}

/// The thousandths in `q=0.25`. `None`: it is no weight.
fn weight(part: &[u8]) -> Option<u16> {
    let (name, value) = part.split_at_checked(1)?;
    let value = value.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start();
    if !name.eq_ignore_ascii_case(b"q") {
        return None;
    }
    let (whole, rest) = value.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 && digits.iter().all(u8::is_ascii_digit) => digits,
        [_, ..] => return None,
    };
    let places = [100, 10, 1];
    let fraction: u16 = digits.iter().zip(places).map(|(digit, place)| u16::from(digit - b'0') * place).sum();
    match whole {
        b'0' => Some(fraction),
        b'1' if fraction == 0 => Some(FULL),
        _ => None,
    }
}

/// Adds `accept-encoding` to `Vary`, so that caches keep the forms of an answer apart.
pub(super) fn vary(headers: &mut HeaderFields) {
    let names = headers.get_all("vary");
    let is_named = names.flat_map(|value| value.split(|byte| *byte == b',')).any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"accept-encoding")
    });
    if !is_named {
        headers.append("vary", "accept-encoding");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(fields: &[&'static str]) -> CodingChoice {
        CodingChoice::of(&fields.iter().map(|field| ("accept-encoding", field)).collect())
    }

    #[test]
    fn the_clients_weights_decide_and_then_the_cost() {
        for (fields, name) in [
            (&["gzip"][..], Some("gzip")),
            (&["gzip, deflate, br, zstd"], Some("zstd")),
            (&["gzip, deflate, br"], Some("br")),
            (&["gzip", "br;q=0.9"], Some("gzip")),
            (&["X-GZIP ; Q = 1.000"], Some("gzip")),
            (&["zstd;q=0.001, gzip;q=0.002"], Some("gzip")),
            (&["*"], Some("zstd")),
            (&["zstd;q=0, *;q=0.5"], Some("br")),
            (&["zstd;q=0, br;q=0.0, *;q=0.5"], Some("gzip")),
            (&["identity"], None),
            (&["identity;q=1, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some("gzip")),
            (&["deflate, compress"], None),
            (&["gzip;q=0"], None),
            (&["gzip;q=2"], None),
            (&["gzip;q=0.1234"], None),
            (&["gzip;level=9"], None),
            (&["*;q=0"], None),
            (&[""], None),
            (&[], None),
        ] {
            assert_eq!(choice(fields).coding.map(ContentCoding::name), name, "{fields:?}");
        }
    }

    #[test]
    fn plain_bytes_are_refused_by_name_or_by_the_rest() {
        for (fields, refuses) in [
            (&["identity;q=0, gzip"][..], true),
            (&["gzip, *;q=0"], true),
            (&["gzip, identity, *;q=0"], false),
            (&["gzip"], false),
            (&[], false),
        ] {
            assert_eq!(choice(fields).refuses_plain, refuses, "{fields:?}");
        }
    }

    #[test]
    fn vary_is_added_to_once() {
        for (before, after) in [
            (None, "accept-encoding"),
            (Some("origin"), "origin, accept-encoding"),
            (Some("Accept-Encoding, origin"), "Accept-Encoding, origin"),
            (Some("*"), "*"),
        ] {
            let mut headers = HeaderFields::new();
            if let Some(before) = before {
                headers.insert("vary", before);
            }
            vary(&mut headers);
            let all: Vec<_> = headers.get_all("vary").collect();
            assert_eq!(all.join(&b", "[..]), after.as_bytes());
        }
    }
}
