//! All paths that the gateway serves, in one table: methods, path, path template for logs, dialect, required
//! access and the operation that answers. A request's path is looked up here once; every later step uses the
//! row that was found.
//!
//! Paths that begin with `/v1` are also served without it. Invariant: a template is never text of the client.

use http::Method;

use super::compare;
use crate::{
    exchange::{RequestRoute, route::UNKNOWN},
    wire::Dialect,
};

/// The prefix that a client may leave out.
const VERSION: &str = "/v1";
/// The last segment of a path that stands for a name chosen by the client.
const MODEL: &str = "{model}";

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) methods: Methods,
    /// As documented, with `/v1`.
    pub(super) path: &'static str,
    /// The path as logs and metrics name it.
    template: &'static str,
    /// The dialect of requests and errors.
    dialect: Dialect,
    pub(super) access: Access,
    pub(super) operation: Operation,
}

/// The methods of a path. `OPTIONS` is answered on every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Methods {
    Get,
    GetAndHead,
    Post,
}

/// The access that a path requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// None. `/health` answers in detail if an accepted key is shown.
    Anyone,
    /// An accepted API key.
    Key,
    /// An operator's request: see [`super::admin`].
    Operator,
    /// As `Operator`; none if `telemetry.public_metrics` is set.
    OperatorUnlessPublic,
    /// An operator's request sees the events of all requests, an accepted key those of its own requests
    /// (S3.7).
    OperatorOrKey,
}

/// The work that a path stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    /// A completion by a provider; `asgi`: the path itself selects the ASGI mode (S0.4).
    Complete { asgi: bool },
    /// An answer of the gateway itself.
    Page(Page),
}

/// An answer of the gateway itself, without a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Page {
    Models,
    Model,
    Reload,
    Compare,
    Stats,
    Metrics,
    Events,
    Service,
    Health,
    Live,
    Ready,
}

/// A row, and the part of the path that its template leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RouteMatch<'p> {
    pub(super) route: &'static Route,
    /// The text in place of `{model}`, still percent-encoded; empty for all other rows.
    pub(super) model: &'p str,
}

use Access::{Anyone, Key, Operator, OperatorOrKey, OperatorUnlessPublic};
use Methods::{Get, GetAndHead, Post};

/// In the order in which `GET /` lists them; completions first, because the table is searched from its start.
pub(super) static ROUTES: [Route; 18] = [
    completion("/v1/chat/completions", Dialect::ChatCompletions, false),
    completion("/v1/chat/completions/asgi", Dialect::ChatCompletions, true),
    completion("/v1/completions", Dialect::Completions, false),
    completion("/v1/embeddings", Dialect::Embeddings, false),
    completion("/v1/responses", Dialect::Responses, false),
    completion("/v1/messages", Dialect::Messages, false),
    page(GetAndHead, "/v1/models", Key, Page::Models),
    page(GetAndHead, "/v1/models/{model}", Key, Page::Model),
    page(Post, "/v1/reload", Operator, Page::Reload),
    page(Get, compare::PATH, Key, Page::Compare).logged_as(UNKNOWN),
    page(GetAndHead, "/stats", Operator, Page::Stats),
    page(GetAndHead, "/metrics", OperatorUnlessPublic, Page::Metrics),
    page(GetAndHead, "/events", OperatorOrKey, Page::Events),
    page(GetAndHead, "/health", Anyone, Page::Health),
    page(GetAndHead, "/livez", Anyone, Page::Live),
    page(GetAndHead, "/readyz", Anyone, Page::Ready),
    // Not listed by `GET /`.
    page(GetAndHead, "/", Anyone, Page::Service),
    page(GetAndHead, "/healthz", Anyone, Page::Live).logged_as("/livez"),
];
/// Rows at the table's end that `GET /` does not list.
const UNLISTED: usize = 2;

const fn completion(path: &'static str, dialect: Dialect, asgi: bool) -> Route {
    Route {
        methods: Post,
        path,
        template: path,
        dialect,
        access: Key,
        operation: Operation::Complete { asgi },
    }
}

/// A path that the gateway answers without a provider. Its errors have the shape of chat completions.
const fn page(methods: Methods, path: &'static str, access: Access, page: Page) -> Route {
    let operation = Operation::Page(page);
    Route { methods, path, template: path, dialect: Dialect::ChatCompletions, access, operation }
}

/// The rows that `GET /` lists.
pub(super) fn listed() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().take(ROUTES.len() - UNLISTED)
}

/// The row of a path, whatever the method. `None`: there is no such path.
pub(super) fn find(path: &str) -> Option<RouteMatch<'_>> {
    let short = path.strip_prefix(VERSION).unwrap_or(path);
    ROUTES.iter().find_map(|route| route.matches(path, short).map(|model| RouteMatch { route, model }))
}

impl Route {
    const fn logged_as(self, template: &'static str) -> Self {
        Self { template, ..self }
    }

    /// The part of `path` in place of `{model}`. `None`: the path is another one. `short` is `path` without
    /// its `/v1`.
    fn matches<'p>(&self, path: &'p str, short: &'p str) -> Option<&'p str> {
        let (own, given) = match self.path.strip_prefix(VERSION) {
            Some(own) => (own, short),
            None => (self.path, path),
        };
        match own.strip_suffix(MODEL) {
            Some(before) => given.strip_prefix(before).filter(|model| !model.is_empty()),
            None => (own == given).then_some(""),
        }
    }

    pub(super) fn takes(&self, method: &Method) -> bool {
        match self.methods {
            Get => *method == Method::GET,
            GetAndHead => *method == Method::GET || *method == Method::HEAD,
            Post => *method == Method::POST,
        }
    }

    /// Whether a request for a WebSocket is answered as any other: a server may ignore an upgrade (RFC 9110
    /// section 7.8).
    pub(super) fn ignores_upgrade(&self, method: &Method) -> bool {
        match self.operation {
            Operation::Page(Page::Compare) => true,
            Operation::Page(Page::Events) => *method == Method::GET,
            Operation::Page(
                Page::Models
                | Page::Model
                | Page::Reload
                | Page::Stats
                | Page::Metrics
                | Page::Service
                | Page::Health
                | Page::Live
                | Page::Ready,
            )
            | Operation::Complete { .. } => false,
        }
    }

    /// Whether the operators' listener (`admin_listen`) serves it: all but the paths of clients.
    pub(super) const fn is_for_operators(&self) -> bool {
        match self.operation {
            Operation::Complete { .. } | Operation::Page(Page::Models | Page::Model | Page::Compare) => false,
            Operation::Page(
                Page::Reload
                | Page::Stats
                | Page::Metrics
                | Page::Events
                | Page::Service
                | Page::Health
                | Page::Live
                | Page::Ready,
            ) => true,
        }
    }
}

impl RouteMatch<'_> {
    /// The dialect of a request's errors, whatever becomes of the request.
    pub(super) fn dialect(found: Option<Self>) -> Dialect {
        found.map_or(Dialect::ChatCompletions, |found| found.route.dialect)
    }

    /// The route as the request's record keeps it; unknown where the path does not take the method.
    pub(super) fn recorded(found: Option<Self>, method: &Method) -> RequestRoute {
        let Some(found) = found.filter(|found| found.route.takes(method)) else {
            return RequestRoute::Unknown;
        };
        let Route { template, dialect, .. } = *found.route;
        match found.route.operation {
            Operation::Complete { .. } => RequestRoute::Completion { template, dialect },
            Operation::Page(_) => RequestRoute::Page { template },
        }
    }
}

impl Methods {
    /// The `Allow` header.
    pub(super) const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, OPTIONS",
            Self::GetAndHead => "GET, HEAD, OPTIONS",
            Self::Post => "POST, OPTIONS",
        }
    }

    /// The methods as the message of a 405 names them.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Get => "this path takes GET",
            Self::GetAndHead => "this path takes GET, HEAD, OPTIONS",
            Self::Post => "this path takes POST, OPTIONS",
        }
    }

    /// The method as `GET /` lists it.
    pub(super) const fn main(self) -> &'static str {
        match self {
            Self::Get | Self::GetAndHead => "GET",
            Self::Post => "POST",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(method: &Method, path: &str) -> &'static str {
        RouteMatch::recorded(find(path), method).template()
    }

    #[test]
    fn finds_paths_with_and_without_v1() {
        for path in ["/v1/chat/completions", "/chat/completions"] {
            let found = find(path).unwrap();
            assert_eq!(found.route.operation, Operation::Complete { asgi: false }, "{path}");
            assert_eq!(RouteMatch::dialect(Some(found)), Dialect::ChatCompletions);
        }
        assert_eq!(template(&Method::POST, "/v1/chat/completions/asgi"), "/v1/chat/completions/asgi");
        assert_eq!(find("/livez").map(|found| found.route.operation), Some(Operation::Page(Page::Live)));
        for path in
            ["/v1/health", "/v2/chat/completions", "/v1/chat/completions/", "", "/v1", "/v1/v1/models"]
        {
            assert_eq!(find(path), None, "{path}");
        }
    }

    #[test]
    fn a_model_is_the_rest_of_its_path() {
        let model = |path| find(path).filter(|found| found.route.operation == Operation::Page(Page::Model));
        for (path, name) in [("/v1/models/a%2Fb", "a%2Fb"), ("/models/a/b", "a/b")] {
            assert_eq!(model(path).map(|found| found.model), Some(name), "{path}");
            assert_eq!(template(&Method::GET, path), "/v1/models/{model}");
        }
        assert_eq!((find("/v1/models/"), model("/v1/models")), (None, None));
    }

    #[test]
    fn says_which_methods_a_path_takes() {
        let methods = |path| find(path).map(|found| found.route.methods);
        assert_eq!(methods("/v1/messages").map(Methods::allow), Some("POST, OPTIONS"));
        assert_eq!(methods("/health").map(Methods::allow), Some("GET, HEAD, OPTIONS"));
        assert_eq!(template(&Method::GET, "/v1/messages"), UNKNOWN);
        assert_eq!(template(&Method::HEAD, "/healthz"), "/livez");
        assert_eq!(RouteMatch::dialect(find("/v1/messages")), Dialect::Messages);
    }

    #[test]
    fn the_listed_rows_are_all_but_the_last_two() {
        let unlisted: Vec<_> = ROUTES.iter().map(|route| route.path).skip(listed().count()).collect();
        assert_eq!(unlisted, ["/", "/healthz"]);
    }
}
