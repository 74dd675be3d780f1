//! Values and their places in a request.
//!
//! A [`MemberPlace`] knows its path, a list of steps on the stack that is rendered only for an error:
//! `messages.0.content` as Anthropic writes it, `input[0].content` as the others do. A member that is `null`
//! counts as absent.

use super::{RequestError, value::JsonValue};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathStyle {
    Dots,
    Brackets,
}

#[derive(Clone, Copy, Debug)]
enum MemberStep<'p> {
    Root(PathStyle),
    Member(&'p str),
    Element(usize),
}

#[derive(Clone, Copy, Debug)]
struct JsonPath<'p> {
    parent: Option<&'p JsonPath<'p>>,
    step: MemberStep<'p>,
}

impl JsonPath<'_> {
    fn render(&self, out: &mut String) -> PathStyle {
        let style = self.parent.map_or(PathStyle::Dots, |parent| parent.render(out));
        let dot = if out.is_empty() { "" } else { "." };
        match self.step {
            MemberStep::Root(style) => return style,
            MemberStep::Member(name) => {
                out.push_str(dot);
                out.extend(name.chars().take(80));
            }
            MemberStep::Element(at) if style == PathStyle::Dots => out.push_str(&format!("{dot}{at}")),
            MemberStep::Element(at) => out.push_str(&format!("[{at}]")),
        }
        style
    }
}

/// A value and its path.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemberPlace<'p, 't> {
    pub(super) value: JsonValue<'t>,
    path: JsonPath<'p>,
    /// The request asks for a count only, so members that an answer needs may be absent.
    pub(super) is_counted: bool,
}

impl<'t> MemberPlace<'_, 't> {
    pub(super) fn root(value: JsonValue<'t>, style: PathStyle) -> Self {
        Self { value, path: JsonPath { parent: None, step: MemberStep::Root(style) }, is_counted: false }
    }

    pub(super) fn counted(mut self) -> Self {
        self.is_counted = true;
        self
    }

    fn child<'q>(&'q self, value: JsonValue<'t>, step: MemberStep<'q>) -> MemberPlace<'q, 't> {
        MemberPlace { value, path: JsonPath { parent: Some(&self.path), step }, is_counted: self.is_counted }
    }

    pub(super) fn path(&self) -> String {
        let mut path = String::new();
        self.path.render(&mut path);
        path
    }

    pub(super) fn invalid(&self, problem: &str) -> RequestError {
        let path = self.path();
        RequestError::invalid(format!("{path}: {problem}"), Some(path))
    }

    pub(super) fn unsayable(&self, reason: &str) -> RequestError {
        RequestError::unsayable_member(&self.path(), reason)
    }

    pub(super) fn missing(&self, name: &str) -> RequestError {
        self.child(self.value, MemberStep::Member(name)).invalid("this member is required")
    }

    pub(super) fn member<'q>(&'q self, name: &'q str) -> Option<MemberPlace<'q, 't>> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        Some(self.child(value, MemberStep::Member(name)))
    }

    /// Either spelling of a member: Gemini reads both `inlineData` and `inline_data`.
    pub(super) fn either<'q>(&'q self, camel: &'q str, snake: &'q str) -> Option<MemberPlace<'q, 't>> {
        self.member(camel).or_else(|| self.member(snake))
    }

    pub(super) fn required<'q>(&'q self, name: &'q str) -> Result<MemberPlace<'q, 't>, RequestError> {
        self.object()?;
        self.member(name).ok_or_else(|| self.missing(name))
    }

    pub(super) fn object(&self) -> Result<(), RequestError> {
        if self.value.is_object() { Ok(()) } else { Err(self.invalid("expected an object")) }
    }

    pub(super) fn string(&self) -> Result<&'t str, RequestError> {
        self.value.as_str().ok_or_else(|| self.invalid("expected a string"))
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'t str>, RequestError> {
        self.member(name).map(|place| place.string()).transpose()
    }

    pub(super) fn required_text(&self, name: &str) -> Result<&'t str, RequestError> {
        self.required(name)?.string()
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, RequestError> {
        let read = |place: MemberPlace<'_, 't>| {
            place.value.as_bool().ok_or_else(|| place.invalid("expected a boolean"))
        };
        self.member(name).map(read).transpose()
    }

    pub(super) fn whole(&self) -> Result<u64, RequestError> {
        self.value.as_u64().ok_or_else(|| self.invalid("expected a whole number"))
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<u64>, RequestError> {
        self.member(name).map(|place| place.whole()).transpose()
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<JsonValue<'t>>, RequestError> {
        let read = |place: MemberPlace<'_, 't>| {
            place.value.as_f64().map(|_| place.value).ok_or_else(|| place.invalid("expected a number"))
        };
        self.member(name).map(read).transpose()
    }

    /// The elements of an array.
    pub(super) fn elements<'q>(&'q self) -> Result<impl Iterator<Item = MemberPlace<'q, 't>>, RequestError> {
        if !self.value.is_array() {
            return Err(self.invalid("expected an array"));
        }
        Ok(self.value.elements().enumerate().map(|(at, value)| self.child(value, MemberStep::Element(at))))
    }

    /// The elements of an array; an object is read as a list of one, as Google's API does.
    pub(super) fn one_or_elements<'q>(
        &'q self,
    ) -> Result<impl Iterator<Item = MemberPlace<'q, 't>>, RequestError> {
        let lone: Option<MemberPlace<'q, 't>> = self.value.is_object().then_some(*self);
        let list = if lone.is_none() { Some(self.elements()?) } else { None };
        Ok(lone.into_iter().chain(list.into_iter().flatten()))
    }

    /// The elements of a member that is an array; none if it is absent.
    pub(super) fn strings(&self) -> Result<Vec<&'t str>, RequestError> {
        self.elements()?.map(|element| element.string()).collect()
    }
}
