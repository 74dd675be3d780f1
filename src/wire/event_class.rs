//! The meaning of one event to the relay. Decides nothing: `classify` and `event_json` do.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventClass {
    /// A keepalive.
    Comment,
    /// Text, reasoning, a refusal or a tool call: the first of these begins the visible answer.
    Content,
    /// An error event in a stream that began with a success status.
    Error,
    /// The chunk that `include_usage` adds: it holds usage only, and its `choices` is empty.
    Usage,
    /// The dialect's last event. Several chat completions providers end without one.
    Done,
    /// Roles, prologues, pings, progress. After the commit point also content, which is not detected there.
    Other,
}
