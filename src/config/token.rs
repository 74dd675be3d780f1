//! A client token of the file: `"description|token"`, or an object with these two and `admin`.

use super::{
    document::Value,
    problem::Wrong,
    provider::secret,
    scalar,
    section::{Place, Section},
};
use crate::{auth::TokenSettings, base::Secret};

/// `None`: something was wrong and has been reported.
pub(super) fn read(place: &mut Place<'_, '_, '_>) -> Option<TokenSettings> {
    match place.value {
        Value::Text(text) => from_string(place, text),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Table(_) => {
            place.section(from_object).flatten()
        }
    }
}

/// Only the first bar separates.
fn from_string(place: &mut Place<'_, '_, '_>, text: &str) -> Option<TokenSettings> {
    let Some((said, written)) = text.split_once('|') else {
        place.wrong("expected \"description|token\"");
        return None;
    };
    let description = place.part("description", description(said));
    let resolved = place.reader.env.resolve(written);
    let token = place.part("token", resolved.and_then(token));
    Some(TokenSettings { description: description?, token: token?, admin: false })
}

fn from_object(section: &mut Section<'_, '_, '_>) -> Option<TokenSettings> {
    let mut said = String::new();
    section.set("description", &mut said, |value| description(scalar::text(value)?));
    let token = section.required("token").and_then(|mut place| {
        let text = place.resolved()?;
        place.read(|_| token(text))
    });
    let mut admin = false;
    section.set("admin", &mut admin, scalar::boolean);
    Some(TokenSettings { description: said, token: token?, admin })
}

/// May be empty.
fn description(text: &str) -> Result<String, Wrong> {
    match text.trim() {
        text if text.chars().any(char::is_control) => Err("must hold no control character".into()),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn token(text: String) -> Result<Secret<String>, Wrong> {
    match secret(text)? {
        text if text.expose().is_empty() => Err("must not be empty".into()),
        text => Ok(text),
    }
}
