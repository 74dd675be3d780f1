//! The route table: which path is what, and which methods it takes.

use http::Method;

use super::models;
use crate::wire::Dialect;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A completion in a dialect; `asgi` is the endpoint that asks for the fast path (S0.4).
    Complete {
        dialect: Dialect,
        asgi: bool,
    },
    Page(Page),
    /// What has happened so far: the operator's alone (S0.7).
    Statistics(View),
    /// Load the configuration again: the operator's alone.
    Reload,
}

/// How statistics are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// For people and programs, as JSON.
    Stats,
    /// For Prometheus.
    Metrics,
    /// As it happens: also a key's owner's own (S3.7).
    Events,
}

/// Answered by the gateway itself, without a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    Service,
    Models,
    /// One of them.
    Model,
    Health,
    Live,
    Ready,
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoRoute {
    Path,
    /// The path exists; it takes these methods.
    Method {
        allow: &'static str,
    },
}

impl Route {
    /// The route's template, for logs and metrics: never the client's own text.
    #[must_use]
    pub const fn template(self) -> &'static str {
        match self {
            Self::Complete { dialect: Dialect::ChatCompletions, asgi: true } => "/v1/chat/completions/asgi",
            Self::Complete { dialect: Dialect::ChatCompletions, asgi: false } => "/v1/chat/completions",
            Self::Complete { dialect: Dialect::Completions, .. } => "/v1/completions",
            Self::Complete { dialect: Dialect::Embeddings, .. } => "/v1/embeddings",
            Self::Complete { dialect: Dialect::Responses, .. } => "/v1/responses",
            Self::Complete { dialect: Dialect::Messages, .. } => "/v1/messages",
            Self::Page(Page::Service) => "/",
            Self::Page(Page::Models) => "/v1/models",
            Self::Page(Page::Model) => "/v1/models/{model}",
            Self::Page(Page::Health) => "/health",
            Self::Page(Page::Live) => "/livez",
            Self::Page(Page::Ready) => "/readyz",
            Self::Statistics(View::Stats) => "/stats",
            Self::Statistics(View::Metrics) => "/metrics",
            Self::Statistics(View::Events) => "/events",
            Self::Reload => "/v1/reload",
        }
    }

    /// Whether it is there at the address of administration, too: all but what clients come for.
    #[must_use]
    pub const fn is_for_operators(self) -> bool {
        match self {
            Self::Complete { .. } | Self::Page(Page::Models | Page::Model) => false,
            Self::Page(Page::Service | Page::Health | Page::Live | Page::Ready)
            | Self::Statistics(_)
            | Self::Reload => true,
        }
    }

    const fn allow(self) -> &'static str {
        match self {
            Self::Complete { .. } | Self::Reload => "POST, OPTIONS",
            Self::Page(_) | Self::Statistics(_) => "GET, HEAD, OPTIONS",
        }
    }
}

/// Finds a path, with or without its `/v1`.
///
/// # Errors
/// There is no such path, or not by this method.
pub fn find(method: &Method, path: &str) -> Result<Route, NoRoute> {
    let route = by_path(path).ok_or(NoRoute::Path)?;
    let takes = match route {
        Route::Complete { .. } | Route::Reload => *method == Method::POST,
        Route::Page(_) | Route::Statistics(_) => *method == Method::GET || *method == Method::HEAD,
    };
    if takes { Ok(route) } else { Err(NoRoute::Method { allow: route.allow() }) }
}

/// The dialect that a path's errors are told in, whatever becomes of the request.
#[must_use]
pub fn dialect(path: &str) -> Dialect {
    match by_path(path) {
        Some(Route::Complete { dialect, .. }) => dialect,
        Some(Route::Page(_) | Route::Statistics(_) | Route::Reload) | None => Dialect::ChatCompletions,
    }
}

fn by_path(path: &str) -> Option<Route> {
    let complete = |dialect, asgi| Some(Route::Complete { dialect, asgi });
    match path.strip_prefix("/v1").unwrap_or(path) {
        "/chat/completions" => complete(Dialect::ChatCompletions, false),
        "/chat/completions/asgi" => complete(Dialect::ChatCompletions, true),
        "/completions" => complete(Dialect::Completions, false),
        "/embeddings" => complete(Dialect::Embeddings, false),
        "/responses" => complete(Dialect::Responses, false),
        "/messages" => complete(Dialect::Messages, false),
        "/models" => Some(Route::Page(Page::Models)),
        "/reload" => Some(Route::Reload),
        _ => match path {
            "/" => Some(Route::Page(Page::Service)),
            "/health" => Some(Route::Page(Page::Health)),
            "/livez" | "/healthz" => Some(Route::Page(Page::Live)),
            "/readyz" => Some(Route::Page(Page::Ready)),
            "/stats" => Some(Route::Statistics(View::Stats)),
            "/metrics" => Some(Route::Statistics(View::Metrics)),
            "/events" => Some(Route::Statistics(View::Events)),
            _ => models::name(path).map(|_| Route::Page(Page::Model)),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_paths_with_and_without_v1() {
        let chat = Route::Complete { dialect: Dialect::ChatCompletions, asgi: false };
        assert_eq!(find(&Method::POST, "/v1/chat/completions"), Ok(chat));
        assert_eq!(find(&Method::POST, "/chat/completions"), Ok(chat));
        assert_eq!(
            find(&Method::POST, "/v1/chat/completions/asgi").map(Route::template),
            Ok("/v1/chat/completions/asgi")
        );
        assert_eq!(find(&Method::HEAD, "/livez"), Ok(Route::Page(Page::Live)));
        for path in ["/v1/health", "/v2/chat/completions", "/v1/chat/completions/", "", "/v1"] {
            assert_eq!(find(&Method::GET, path), Err(NoRoute::Path), "{path}");
        }
    }

    #[test]
    fn says_which_methods_a_path_takes() {
        let wrong = NoRoute::Method { allow: "POST, OPTIONS" };
        assert_eq!(find(&Method::GET, "/v1/messages"), Err(wrong));
        assert_eq!(find(&Method::POST, "/health"), Err(NoRoute::Method { allow: "GET, HEAD, OPTIONS" }));
        assert_eq!(dialect("/v1/messages"), Dialect::Messages);
    }
}
