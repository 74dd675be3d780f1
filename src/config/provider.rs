//! A provider of the file: `"name|base_url|api_key"`, or an object that can say everything else. Either form ends as
//! the same checked [`ProviderSettings`]; mistakes in a string are reported under the names of its parts.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::{
    document::Value,
    problem::ValueError,
    scalar,
    section::{Located, Section, shown},
    settings::ProviderSettings,
};
use crate::{
    base::{Deadlines, Secret},
    upstream::{BaseUrl, BaseUrlError, KeyHeader, Protocol, Target},
};

const PROTOCOLS: [(&str, Protocol); 3] =
    [("auto", Protocol::Auto), ("http1", Protocol::Http1), ("http2", Protocol::Http2)];

const KEY_HEADERS: [(&str, KeyHeader); 3] =
    [("bearer", KeyHeader::Bearer), ("x-api-key", KeyHeader::XApiKey), ("api-key", KeyHeader::ApiKey)];

/// Headers that the request to a provider is framed with; no configuration may set them.
const FRAMING: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
    header::PROXY_AUTHORIZATION,
];

/// `None`: something was wrong and has been reported. `deadlines` are the file's own defaults.
pub(super) fn read(place: &mut Located<'_, '_, '_>, deadlines: Deadlines) -> Option<ProviderSettings> {
    match place.value {
        Value::Text(text) => from_string(place, text, deadlines),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Table(_) => {
            place.section(|section| from_object(section, deadlines)).flatten()
        }
    }
}

/// Only the first two bars separate; a key may hold more of them. The key may be empty or left out.
fn from_string(
    place: &mut Located<'_, '_, '_>,
    text: &str,
    deadlines: Deadlines,
) -> Option<ProviderSettings> {
    let mut parts = text.splitn(3, '|');
    let (Some(name_part), Some(base_part)) = (parts.next(), parts.next()) else {
        place.wrong("expected \"name|base_url|api_key\"");
        return None;
    };
    let env = place.reader.env;
    let name = place.part("name", name(name_part));
    let base = place.part("base_url", env.resolve(base_part).and_then(|text| base(&text)));
    let key = place.part("api_key", env.resolve(parts.next().unwrap_or_default()).and_then(key));
    let target = Target { key: key?, ..Target::plain(name?, base?) };
    Some(ProviderSettings::plain(target).with_deadlines(deadlines))
}

fn from_object(section: &mut Section<'_, '_, '_>, mut deadlines: Deadlines) -> Option<ProviderSettings> {
    let name = section.required("name").and_then(|mut place| place.read(|value| name(scalar::text(value)?)));
    let base = section.required("base_url").and_then(|mut place| {
        let text = place.resolved()?;
        place.read(|_| base(&text))
    });
    let key = section.place("api_key").map(|mut place| {
        let text = place.resolved()?;
        place.read(|_| key(text))
    });
    let models = section.place("models").map(|mut place| models(&mut place));
    read_deadlines(section, &mut deadlines);
    let mut protocol = Protocol::default();
    section.set("protocol", &mut protocol, scalar::choice(&PROTOCOLS));
    let mut key_header = KeyHeader::default();
    section.set("key_header", &mut key_header, scalar::choice(&KEY_HEADERS));
    let headers = section.place("headers").map_or_else(Vec::new, |mut place| headers(&mut place));
    let folder = section.reader.folder.clone();
    let ca_file = section.read("ca_file", scalar::file(folder.as_deref()));
    let weight = section.read("weight", scalar::whole(1..=1_000_000)).unwrap_or(1);
    let region = section.read("region", scalar::label).map(Arc::from);
    // An absent key is none; a wrong one has been reported.
    let key = key.unwrap_or(Some(None));
    let target = Target { key: key?, protocol, key_header, headers, ca_file, ..Target::plain(name?, base?) };
    let settings = ProviderSettings { models, weight, region, ..ProviderSettings::plain(target) };
    Some(settings.with_deadlines(deadlines))
}

/// The deadlines that a provider may set for itself and the file for all providers.
pub(super) fn read_deadlines(section: &mut Section<'_, '_, '_>, deadlines: &mut Deadlines) {
    section.set("connect_timeout", &mut deadlines.connect, scalar::duration);
    section.set("pool_timeout", &mut deadlines.pool, scalar::duration);
    section.set("first_token_timeout", &mut deadlines.first_token, scalar::duration);
    section.set("stream_timeout", &mut deadlines.stream, scalar::duration);
    section.set("non_stream_timeout", &mut deadlines.non_stream, scalar::duration);
    if let Some(total) = section.read("stream_total_timeout", scalar::duration) {
        deadlines.stream_total = Some(total);
    }
}

fn models(place: &mut Located<'_, '_, '_>) -> Vec<String> {
    let mut models = Vec::new();
    place.items(|mut item| models.extend(item.read(scalar::label)));
    if matches!(place.value, Value::List(items) if items.is_empty()) {
        place.wrong("lists no model; leave it out and the provider is asked");
    }
    models
}

pub(super) fn headers(place: &mut Located<'_, '_, '_>) -> Vec<(HeaderName, HeaderValue)> {
    let Value::Table(entries) = place.value else {
        place.wrong(format!("expected an object, found {}", place.value.kind()));
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (name, value) in entries {
        let Ok(known) = HeaderName::try_from(name.as_str()) else {
            place.wrong("holds a name that no header has");
            continue;
        };
        let path = format!("{}.{}", place.path, shown(name));
        let mut place = Located { path, value, reader: &mut *place.reader };
        if FRAMING.contains(&known) {
            place.wrong("is set by thalweg itself");
        } else if let Some(text) = place.resolved() {
            headers.extend(place.read(|_| Ok((known, header_value(&text)?))));
        }
    }
    headers
}

/// Marked sensitive: it may carry a key, and must not print.
pub(super) fn header_value(text: &str) -> Result<HeaderValue, ValueError> {
    let mut value =
        HeaderValue::from_str(text).map_err(|_| "holds characters that cannot stand in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

/// A provider's name stands before the slash of `provider/model`, in logs and in metrics.
fn name(text: &str) -> Result<Arc<str>, ValueError> {
    let text = text.trim();
    if text.is_empty() {
        return Err("must not be empty".into());
    }
    if text.chars().any(|letter| letter.is_control() || matches!(letter, '/' | '|' | '"' | '\\')) {
        return Err("must hold no slash, bar, quote, backslash or control character".into());
    }
    Ok(text.into())
}

pub(super) fn base(text: &str) -> Result<BaseUrl, ValueError> {
    BaseUrl::parse(text.trim()).map_err(|error| {
        ValueError::from(match error {
            BaseUrlError::Scheme => "must start with http:// or https://",
            BaseUrlError::Host => "has no host, or one with characters that no host has",
            BaseUrlError::Port => "has a port that is no number from 1 to 65535",
            BaseUrlError::Path => "has a query, a fragment, or characters that cannot stand in a path",
        })
    })
}

/// An empty key is no key.
fn key(text: String) -> Result<Option<Secret<String>>, ValueError> {
    match secret(text)? {
        text if text.expose().is_empty() => Ok(None),
        text => Ok(Some(text)),
    }
}

/// A key or token: what can stand in a header after `Bearer`.
pub(super) fn secret(text: String) -> Result<Secret<String>, ValueError> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Secret::new(text.to_owned()))
    } else {
        Err("holds characters that cannot stand in a key: spaces, or others than visible ASCII".into())
    }
}
