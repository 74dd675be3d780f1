//! All paths that the gateway serves, in one table: methods, path, path template for logs, dialect, required
//! access and the operation that answers. A request's path is looked up here once; every later step uses the
//! row that was found.
//!
//! Paths that begin with `/v1` are also served without it and with Azure's `/openai/v1`; those of endpoints
//! that take a model also below Azure's `/openai/deployments/{model}`, and those that name none in the path,
//! responses, models, files and batches, right below `/openai`. Gemini's are also served with other
//! versions than `/v1beta`, and for `tunedModels`. Invariant: a template is never text of the client.

use http::Method;
use percent_encoding::percent_decode_str;

use super::compare;
use crate::{
    base::Endpoint,
    exchange::{RequestRoute, route::UNKNOWN},
    wire::{Dialect, ModelUse},
};

/// The prefix that a client may leave out.
const VERSION: &str = "/v1";
/// Azure's paths: as OpenAI's below the first, with a model's name below the second.
const AZURE: &str = "/openai";
const DEPLOYMENTS: &str = "/deployments/";
/// Paths that Azure's clients ask for right below the first, because they name no deployment.
const UNDEPLOYED: [&str; 4] = ["/responses", "/models", "/files", "/batches"];
/// The version in Gemini's paths, and the others with which they are served; the last two for methods alone,
/// because OpenAI's list of models has such a path.
const GEMINI: &str = "/v1beta";
const GEMINI_VERSIONS: [&str; 4] = [GEMINI, "/v1alpha", VERSION, ""];
const MODELS: &str = "/models/";
const TUNED_MODELS: &str = "/tunedModels/";
/// The part of a path that stands for a name chosen by the client, which may hold slashes.
const MODEL: &str = "{model}";
/// The segment of a path that stands for an id.
const ID: &str = "{id}";
/// The part of a path that stands for a file of the pages, with its digest.
const FILE: &str = "{file}";

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) methods: Methods,
    /// As documented, with `/v1`.
    pub(super) path: &'static str,
    /// The path as logs and metrics name it.
    template: &'static str,
    pub(super) access: Access,
    pub(super) operation: Operation,
}

/// The methods of a path. `OPTIONS` is answered on every path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Methods {
    Get,
    GetAndHead,
    GetAndDelete,
    GetAndPost,
    GetPostAndDelete,
    PostAndDelete,
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
    Complete { endpoint: Endpoint, asgi: bool },
    /// A completion of Gemini's API; `streams`: the path asks for a stream.
    Generate { streams: bool },
    /// Many completions in one request.
    Batch,
    /// Files and batches that the gateway keeps.
    Stored(StoredPage),
    /// Another answer of a provider's.
    Forward(Endpoint),
    /// An answer of the gateway itself to a request that may have a body.
    Managed(ManagedPage),
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
    Comparison,
    KeptRun,
    Dashboard,
    Usage,
    Keys,
    Configuration,
    InForce,
    Stats,
    Metrics,
    Events,
    Service,
    Asset,
    Health,
    Live,
    Ready,
    Hello,
}

/// The things that pages manage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ManagedPage {
    Session,
    Keys,
    Key,
    KeyRotation,
}

/// The things that a path below `/v1/files` or `/v1/batches` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredPage {
    Files,
    File,
    Content,
    Batches,
    Batch,
    Cancel,
}

/// A row, and the part of the path that its template leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RouteMatch<'p> {
    pub(super) route: &'static Route,
    /// The path from `{model}`, `{id}` or `{file}` on, still percent-encoded; empty for all other rows.
    pub(super) rest: &'p str,
    /// The model of Azure's paths, still percent-encoded. `None`: it is another path.
    deployment: Option<&'p str>,
}

use Access::{Anyone, Key, Operator, OperatorOrKey, OperatorUnlessPublic};
use Methods::{Get, GetAndDelete, GetAndHead, GetAndPost, GetPostAndDelete, Post, PostAndDelete};

/// In the order in which `GET /` lists them; completions first, because the table is searched from its start.
pub(super) static ROUTES: [Route; 58] = [
    completion("/v1/chat/completions", Endpoint::ChatCompletions, false),
    completion("/v1/chat/completions/asgi", Endpoint::ChatCompletions, true),
    batch("/v1/chat/completions/batch"),
    completion("/v1/completions", Endpoint::Completions, false),
    completion("/v1/embeddings", Endpoint::Embeddings, false),
    completion("/v1/responses", Endpoint::Responses, false),
    completion("/v1/messages", Endpoint::Messages, false),
    further(Post, "/v1/messages/count_tokens", Endpoint::CountTokens),
    further(Post, "/v1/responses/input_tokens", Endpoint::InputTokens),
    further(Post, "/v1/responses/compact", Endpoint::Compact),
    further(GetAndDelete, "/v1/responses/{id}", Endpoint::StoredResponse),
    further(Get, "/v1/responses/{id}/input_items", Endpoint::StoredResponse),
    further(Post, "/v1/responses/{id}/cancel", Endpoint::StoredResponse),
    further(Post, "/v1/audio/transcriptions", Endpoint::Transcriptions),
    further(Post, "/v1/audio/translations", Endpoint::Translations),
    further(Post, "/v1/audio/speech", Endpoint::Speech),
    further(Post, "/v1/images/generations", Endpoint::ImageGenerations),
    further(Post, "/v1/images/edits", Endpoint::ImageEdits),
    further(Post, "/v1/images/variations", Endpoint::ImageVariations),
    further(Post, "/v1/moderations", Endpoint::Moderations),
    further(Post, "/v1/rerank", Endpoint::Rerank),
    generation("/v1beta/models/{model}:streamGenerateContent", true),
    generation("/v1beta/models/{model}:generateContent", false),
    further(Post, "/v1beta/models/{model}:countTokens", Endpoint::GeminiCount),
    page(GetAndHead, "/v1beta/models", Key, Page::Models),
    page(GetAndHead, "/v1beta/models/{model}", Key, Page::Model),
    stored(GetAndPost, "/v1/files", StoredPage::Files),
    stored(GetAndDelete, "/v1/files/{id}", StoredPage::File),
    stored(Get, "/v1/files/{id}/content", StoredPage::Content),
    stored(GetAndPost, "/v1/batches", StoredPage::Batches),
    stored(Get, "/v1/batches/{id}", StoredPage::Batch),
    stored(Post, "/v1/batches/{id}/cancel", StoredPage::Cancel),
    page(GetAndHead, "/v1/models", Key, Page::Models),
    page(GetAndHead, "/v1/models/{model}", Key, Page::Model),
    // Before the keys themselves, which may be asked for without `/v1`, too.
    page(GetAndHead, "/keys", Anyone, Page::Keys),
    managed(GetAndPost, "/v1/keys", ManagedPage::Keys),
    managed(PostAndDelete, "/v1/keys/{id}", ManagedPage::Key),
    managed(Post, "/v1/keys/{id}/rotate", ManagedPage::KeyRotation),
    page(GetAndHead, "/configuration", Anyone, Page::Configuration),
    page(GetAndHead, "/v1/configuration", Operator, Page::InForce),
    page(Post, "/v1/reload", Operator, Page::Reload),
    page(Get, compare::PATH, Key, Page::Compare).logged_as(UNKNOWN),
    page(GetAndHead, "/compare", Anyone, Page::Comparison),
    page(GetAndHead, "/compare/{id}", Anyone, Page::KeptRun),
    page(GetAndHead, "/dashboard", Anyone, Page::Dashboard),
    managed(GetPostAndDelete, "/session", ManagedPage::Session),
    page(GetAndHead, "/usage", Anyone, Page::Usage),
    page(GetAndHead, "/stats", Operator, Page::Stats),
    page(GetAndHead, "/metrics", OperatorUnlessPublic, Page::Metrics),
    page(GetAndHead, "/events", OperatorOrKey, Page::Events),
    page(GetAndHead, "/health", Anyone, Page::Health),
    page(GetAndHead, "/livez", Anyone, Page::Live),
    page(GetAndHead, "/readyz", Anyone, Page::Ready),
    // Not listed by `GET /`.
    page(GetAndHead, "/", Anyone, Page::Service),
    page(GetAndHead, "/healthz", Anyone, Page::Live).logged_as("/livez"),
    // Cohere's second version has the same form.
    further(Post, "/v2/rerank", Endpoint::Rerank),
    // Claude Code asks whether its server is there.
    page(GetAndHead, "/api/hello", Anyone, Page::Hello),
    page(GetAndHead, "/assets/{file}", Anyone, Page::Asset),
];
/// Rows at the table's end that `GET /` does not list.
const UNLISTED: usize = 5;

const fn completion(path: &'static str, endpoint: Endpoint, asgi: bool) -> Route {
    let operation = Operation::Complete { endpoint, asgi };
    Route { methods: Post, path, template: path, access: Key, operation }
}

const fn generation(path: &'static str, streams: bool) -> Route {
    Route { methods: Post, path, template: path, access: Key, operation: Operation::Generate { streams } }
}

const fn batch(path: &'static str) -> Route {
    Route { methods: Post, path, template: path, access: Key, operation: Operation::Batch }
}

const fn stored(methods: Methods, path: &'static str, page: StoredPage) -> Route {
    Route { methods, path, template: path, access: Key, operation: Operation::Stored(page) }
}

const fn managed(methods: Methods, path: &'static str, page: ManagedPage) -> Route {
    Route { methods, path, template: path, access: Anyone, operation: Operation::Managed(page) }
}

const fn further(methods: Methods, path: &'static str, endpoint: Endpoint) -> Route {
    Route { methods, path, template: path, access: Key, operation: Operation::Forward(endpoint) }
}

/// A path that the gateway answers without a provider. Its errors have the shape of chat completions.
const fn page(methods: Methods, path: &'static str, access: Access, page: Page) -> Route {
    Route { methods, path, template: path, access, operation: Operation::Page(page) }
}

/// The rows that `GET /` lists.
pub(super) fn listed() -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().take(ROUTES.len() - UNLISTED)
}

/// The row of a path, whatever the method. `None`: there is no such path.
pub(super) fn find(path: &str) -> Option<RouteMatch<'_>> {
    let (path, deployment) = without_azure(path);
    let short = path.strip_prefix(VERSION).unwrap_or(path);
    let found = |route: &'static Route| {
        let rest = route.matches(path, short)?;
        (deployment.is_none() || route.takes_a_model()).then_some(RouteMatch { route, rest, deployment })
    };
    ROUTES.iter().find_map(found)
}

/// The dialect of the errors of a path.
#[must_use]
pub fn dialect_of(path: &str) -> Dialect {
    RouteMatch::dialect(find(path), path)
}

/// A path without Azure's prefix, and the model that was in it.
fn without_azure(path: &str) -> (&str, Option<&str>) {
    let Some(below) = path.strip_prefix(AZURE) else { return (path, None) };
    let is_or_is_below = |start: &&str| {
        below.strip_prefix(*start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if below.starts_with(VERSION) || UNDEPLOYED.iter().any(is_or_is_below) {
        return (below, None);
    }
    let Some(named) = below.strip_prefix(DEPLOYMENTS) else { return (path, None) };
    match named.find('/').filter(|length| *length > 0) {
        Some(length) => (named.get(length..).unwrap_or_default(), named.get(..length)),
        None => (path, None),
    }
}

impl Route {
    const fn logged_as(self, template: &'static str) -> Self {
        Self { template, ..self }
    }

    /// The part of `path` from `{model}`, `{id}` or `{file}` on. `None`: the path is another one. `short` is
    /// `path` without its `/v1`.
    fn matches<'p>(&self, path: &'p str, short: &'p str) -> Option<&'p str> {
        if let Some(own) = self.path.strip_prefix(GEMINI) {
            return matches_gemini(own, path);
        }
        let (own, given) = match self.path.strip_prefix(VERSION) {
            Some(own) => (own, short),
            None => (self.path, path),
        };
        if own == given && !own.ends_with('}') {
            return Some("");
        }
        if let Some(before) = own.strip_suffix(MODEL) {
            return given.strip_prefix(before).filter(|model| !model.is_empty());
        }
        if let Some(before) = own.strip_suffix(FILE) {
            return given.strip_prefix(before);
        }
        let (before, after) = own.split_once(ID)?;
        let rest = given.strip_prefix(before)?;
        let id = rest.strip_suffix(after)?;
        (!id.is_empty() && !id.contains('/')).then_some(rest)
    }

    /// Whether it may be below Azure's `/openai/deployments/{model}`.
    fn takes_a_model(&self) -> bool {
        let endpoint = self.endpoint().filter(|endpoint| !endpoint.is_gemini());
        endpoint.is_some_and(|endpoint| endpoint.model_use() != ModelUse::None)
    }

    /// `None`: it is a page.
    const fn endpoint(&self) -> Option<Endpoint> {
        match self.operation {
            Operation::Complete { endpoint, .. } | Operation::Forward(endpoint) => Some(endpoint),
            Operation::Generate { .. } => Some(Endpoint::Gemini),
            Operation::Batch | Operation::Stored(_) | Operation::Managed(_) | Operation::Page(_) => None,
        }
    }

    pub(super) fn takes(&self, method: &Method) -> bool {
        match self.methods {
            Get => *method == Method::GET,
            GetAndHead => *method == Method::GET || *method == Method::HEAD,
            GetAndDelete => *method == Method::GET || *method == Method::DELETE,
            GetAndPost => *method == Method::GET || *method == Method::POST,
            PostAndDelete => *method == Method::POST || *method == Method::DELETE,
            GetPostAndDelete => [Method::GET, Method::POST, Method::DELETE].contains(method),
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
                | Page::Comparison
                | Page::KeptRun
                | Page::Dashboard
                | Page::Keys
                | Page::Usage
                | Page::Configuration
                | Page::InForce
                | Page::Stats
                | Page::Metrics
                | Page::Service
                | Page::Asset
                | Page::Health
                | Page::Live
                | Page::Ready
                | Page::Hello,
            )
            | Operation::Complete { .. }
            | Operation::Generate { .. }
            | Operation::Batch
            | Operation::Stored(_)
            | Operation::Managed(_)
            | Operation::Forward(_) => false,
        }
    }

    /// Whether the operators' listener (`admin_listen`) serves it: all but the paths of clients.
    pub(super) const fn is_for_operators(&self) -> bool {
        match self.operation {
            Operation::Complete { .. }
            | Operation::Generate { .. }
            | Operation::Batch
            | Operation::Stored(_)
            | Operation::Forward(_)
            | Operation::Page(
                Page::Models | Page::Model | Page::Compare | Page::Comparison | Page::KeptRun | Page::Hello,
            ) => false,
            Operation::Managed(_)
            | Operation::Page(
                Page::Reload
                | Page::Dashboard
                | Page::Keys
                | Page::Usage
                | Page::Configuration
                | Page::InForce
                | Page::Stats
                | Page::Metrics
                | Page::Events
                | Page::Service
                | Page::Asset
                | Page::Health
                | Page::Live
                | Page::Ready,
            ) => true,
        }
    }
}

/// As [`Route::matches`], for a path of Gemini's without its version. A tuned model's name begins with its
/// collection.
fn matches_gemini<'p>(own: &str, path: &'p str) -> Option<&'p str> {
    let method = own.strip_prefix(MODELS).and_then(|rest| rest.strip_prefix(MODEL));
    let versions = if method.is_some_and(|method| !method.is_empty()) { 4 } else { 2 };
    GEMINI_VERSIONS.iter().take(versions).find_map(|version| {
        let given = path.strip_prefix(version)?;
        let Some(method) = method else { return (given == own).then_some("") };
        let plain = given.strip_prefix(MODELS);
        let name = plain.or_else(|| given.starts_with(TUNED_MODELS).then(|| given.get(1..)).flatten())?;
        name.strip_suffix(method).filter(|name| !name.is_empty())
    })
}

/// Whether a path is one of Gemini's API, so that its answers have the form of that.
fn is_gemini(path: &str) -> bool {
    let versions = GEMINI_VERSIONS.iter().take(2);
    versions.filter_map(|version| path.strip_prefix(version)).any(|rest| rest.starts_with('/'))
}

impl RouteMatch<'_> {
    /// The dialect of a request's errors, whatever becomes of the request.
    pub(super) fn dialect(found: Option<Self>, path: &str) -> Dialect {
        match found.and_then(|found| found.route.endpoint()) {
            Some(endpoint) => endpoint.dialect(),
            None if is_gemini(path) => Dialect::Gemini,
            // Paths that Anthropic's clients alone ask for.
            None if path.contains("/messages/") || path.starts_with("/api/") => Dialect::Messages,
            None => Dialect::ChatCompletions,
        }
    }

    /// The model that Azure's or Gemini's path names.
    pub(super) fn model(&self) -> Option<String> {
        let is_gemini = self.route.endpoint().is_some_and(Endpoint::is_gemini);
        let name = if is_gemini { Some(self.rest) } else { self.deployment };
        name.map(|name| percent_decode_str(name).decode_utf8_lossy().into_owned())
    }

    /// The route as the request's record keeps it; unknown where the path does not take the method.
    pub(super) fn recorded(found: Option<Self>, method: &Method) -> RequestRoute {
        let Some(found) = found.filter(|found| found.route.takes(method)) else {
            return RequestRoute::Unknown;
        };
        let template = found.route.template;
        match found.route.endpoint() {
            Some(endpoint) => RequestRoute::Completion { template, endpoint },
            None => RequestRoute::Page { template },
        }
    }
}

impl Methods {
    /// The `Allow` header.
    pub(super) const fn allow(self) -> &'static str {
        match self {
            Self::Get => "GET, OPTIONS",
            Self::GetAndHead => "GET, HEAD, OPTIONS",
            Self::GetAndDelete => "GET, DELETE, OPTIONS",
            Self::GetAndPost => "GET, POST, OPTIONS",
            Self::GetPostAndDelete => "GET, POST, DELETE, OPTIONS",
            Self::PostAndDelete => "POST, DELETE, OPTIONS",
            Self::Post => "POST, OPTIONS",
        }
    }

    /// The methods as the message of a 405 names them.
    pub(super) const fn message(self) -> &'static str {
        match self {
            Self::Get => "this path takes GET",
            Self::GetAndHead => "this path takes GET, HEAD, OPTIONS",
            Self::GetAndDelete => "this path takes GET, DELETE, OPTIONS",
            Self::GetAndPost => "this path takes GET, POST, OPTIONS",
            Self::GetPostAndDelete => "this path takes GET, POST, DELETE, OPTIONS",
            Self::PostAndDelete => "this path takes POST, DELETE, OPTIONS",
            Self::Post => "this path takes POST, OPTIONS",
        }
    }

    /// The method as `GET /` lists it.
    pub(super) const fn main(self) -> &'static str {
        match self {
            Self::Get | Self::GetAndHead | Self::GetAndDelete | Self::GetAndPost | Self::GetPostAndDelete => {
                "GET"
            }
            Self::Post | Self::PostAndDelete => "POST",
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
            let chat = Operation::Complete { endpoint: Endpoint::ChatCompletions, asgi: false };
            assert_eq!(found.route.operation, chat, "{path}");
            assert_eq!(RouteMatch::dialect(Some(found), path), Dialect::ChatCompletions);
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
    fn geminis_paths_name_model_and_method() {
        let of = |path| {
            let found = find(path)?;
            let operation = found.route.operation;
            let streams =
                [true, false].into_iter().find(|it| operation == Operation::Generate { streams: *it });
            Some((streams, found.model()?, RouteMatch::dialect(Some(found), path)))
        };
        for (path, streams, model) in [
            ("/v1beta/models/m:generateContent", Some(false), "m"),
            ("/v1beta/models/m:streamGenerateContent", Some(true), "m"),
            ("/v1beta/models/m:countTokens", None, "m"),
            ("/v1alpha/models/m:countTokens", None, "m"),
            ("/v1/models/qwen2.5:7b:generateContent", Some(false), "qwen2.5:7b"),
            ("/models/m:generateContent", Some(false), "m"),
            ("/v1beta/models/a%2Fb:generateContent", Some(false), "a/b"),
            ("/v1beta/models/a/b:generateContent", Some(false), "a/b"),
            ("/v1beta/models/models/m:generateContent", Some(false), "models/m"),
            ("/v1beta/tunedModels/m:streamGenerateContent", Some(true), "tunedModels/m"),
        ] {
            assert_eq!(of(path), Some((streams, model.to_owned(), Dialect::Gemini)), "{path}");
        }
        assert_eq!(
            template(&Method::POST, "/v1/models/m:generateContent"),
            "/v1beta/models/{model}:generateContent"
        );
        let page = |path| find(path).map(|found| (found.route.operation, found.rest));
        assert_eq!(page("/v1alpha/models"), Some((Operation::Page(Page::Models), "")));
        assert_eq!(page("/v1beta/models/m"), Some((Operation::Page(Page::Model), "m")));
        assert_eq!(page("/v1/models/m"), Some((Operation::Page(Page::Model), "m")));
        for path in [
            "/v1beta/models/",
            "/v1beta/m:generateContent",
            "/v1/v1beta/models",
            "/openai/deployments/d/v1beta/models/m:generateContent",
            "/v1beta",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
        assert_eq!(RouteMatch::dialect(None, "/v1beta/models/m:embedContent"), Dialect::Gemini);
        assert_eq!(RouteMatch::dialect(None, "/v1beta1"), Dialect::ChatCompletions);
    }

    #[test]
    fn a_model_is_the_rest_of_its_path() {
        let model = |path| find(path).filter(|found| found.route.operation == Operation::Page(Page::Model));
        for (path, name) in [("/v1/models/a%2Fb", "a%2Fb"), ("/models/a/b", "a/b")] {
            assert_eq!(model(path).map(|found| found.rest), Some(name), "{path}");
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
        for path in ["/v1/messages", "/v1/messages/count_tokens", "/messages/batches", "/v1/messages/"] {
            assert_eq!(RouteMatch::dialect(find(path), path), Dialect::Messages, "{path}");
        }
        assert_eq!(template(&Method::DELETE, "/v1/responses/resp_1"), "/v1/responses/{id}");
        assert_eq!(template(&Method::DELETE, "/v1/responses/resp_1/cancel"), UNKNOWN);
    }

    #[test]
    fn sessions_are_for_paths_that_exist_as_they_are_written() {
        for (method, path) in &crate::proxy::page_session::PATHS {
            let found = find(path).unwrap();
            assert!(found.route.takes(method), "{method} {path}");
            assert!(matches!(path.strip_prefix('/'), Some(path) if !path.contains('{')), "{path}");
        }
        for path in crate::proxy::page_session::LINKED {
            assert!(find(path).unwrap().route.takes(&Method::GET), "{path}");
        }
    }

    #[test]
    fn an_id_is_one_segment() {
        let rest = |path| find(path).map(|found| (found.route.path, found.rest));
        assert_eq!(rest("/v1/responses/r"), Some(("/v1/responses/{id}", "r")));
        assert_eq!(rest("/responses/r/cancel"), Some(("/v1/responses/{id}/cancel", "r/cancel")));
        assert_eq!(rest("/v1/responses/compact"), Some(("/v1/responses/compact", "")));
        for path in ["/v1/responses/", "/v1/responses//cancel", "/v1/responses/a/b", "/v1/responses/{id}/x"] {
            assert_eq!(rest(path), None, "{path}");
        }
        assert_eq!(rest("/v1/models/{model}"), Some(("/v1/models/{model}", "{model}")));
    }

    #[test]
    fn azures_paths_are_openais_behind_a_prefix() {
        let found = |path| find(path).map(|found| (found.route.path, found.model()));
        let named = Some("gpt 4".to_owned());
        for (path, own, model) in [
            ("/openai/deployments/gpt%204/chat/completions", "/v1/chat/completions", named.clone()),
            ("/openai/deployments/gpt%204/audio/speech", "/v1/audio/speech", named),
            ("/openai/v1/responses", "/v1/responses", None),
            ("/openai/v1/models", "/v1/models", None),
            ("/openai/responses", "/v1/responses", None),
            ("/openai/responses/r/cancel", "/v1/responses/{id}/cancel", None),
            ("/openai/models", "/v1/models", None),
            ("/openai/files", "/v1/files", None),
        ] {
            assert_eq!(found(path), Some((own, model)), "{path}");
        }
        for path in [
            "/openai/deployments//chat/completions",
            "/openai/deployments/m",
            "/openai/deployments/m/responses/r",
            "/openai/deployments/m/models",
            "/openai/chat/completions",
            "/openai/modelsx",
            "/openai/deployments/m/stats",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn the_listed_rows_are_all_but_the_last_five() {
        let unlisted: Vec<_> = ROUTES.iter().map(|route| route.path).skip(listed().count()).collect();
        assert_eq!(unlisted, ["/", "/healthz", "/v2/rerank", "/api/hello", "/assets/{file}"]);
    }
}
