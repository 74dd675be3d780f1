//! A client token of the file: `"description|token"`, or an object with these two.

use super::{
    document::Value,
    problem::{Problem, Wrong},
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
    let Some((description, written)) = text.split_once('|') else {
        place.wrong("expected \"description|token\"");
        return None;
    };
    match place.reader.env.resolve(written).and_then(token) {
        Ok(token) => Some(TokenSettings { description: description.trim().to_owned(), token }),
        Err(wrong) => {
            place.reader.problems.push(Problem::new(format!("{}.token", place.path), wrong));
            None
        }
    }
}

fn from_object(section: &mut Section<'_, '_, '_>) -> Option<TokenSettings> {
    let description = section.read("description", |value| Ok(scalar::text(value)?.trim().to_owned()));
    let token = section.required("token").and_then(|mut place| {
        let text = place.resolved()?;
        place.read(|_| token(text))
    });
    Some(TokenSettings { description: description.unwrap_or_default(), token: token? })
}

pub(super) fn token(text: String) -> Result<Secret<String>, Wrong> {
    match secret(text)? {
        text if text.expose().is_empty() => Err("must not be empty".into()),
        text => Ok(text),
    }
}
