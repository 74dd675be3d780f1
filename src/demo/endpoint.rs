//! The APIs that the demo provider answers, by path. Holds no recording.

/// The API of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DemoApi {
    Chat,
    Completions,
    Responses,
    Messages,
}

impl DemoApi {
    pub(super) fn of(path: &str) -> Option<Self> {
        match path {
            "/v1/chat/completions" => Some(Self::Chat),
            "/v1/completions" => Some(Self::Completions),
            "/v1/responses" => Some(Self::Responses),
            "/v1/messages" => Some(Self::Messages),
            _ => None,
        }
    }
}
