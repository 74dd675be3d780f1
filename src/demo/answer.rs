//! From a request to its answer: pure, so that every refusal can be tested without a socket. Keys are not
//! checked: any key is accepted.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_TYPE};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    catalog::{EMBEDDING_MODEL, RecordingCatalog},
    embedding,
    endpoint::DemoApi,
    recording::RecordedStep,
};

/// An answer and its delay.
#[derive(Debug)]
pub(super) struct DemoResponse {
    /// The delay before the response head.
    pub(super) wait: Duration,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) steps: Arc<[RecordedStep]>,
}

#[derive(Deserialize)]
struct DemoRequest {
    model: Option<String>,
    stream: Option<bool>,
    stream_options: Option<DemoStreamOptions>,
    #[serde(default)]
    input: Value,
}

#[derive(Deserialize)]
struct DemoStreamOptions {
    include_usage: Option<bool>,
}

impl DemoResponse {
    pub(super) fn to(catalog: &RecordingCatalog, method: &Method, path: &str, body: &[u8]) -> Self {
        match (method, path) {
            (&Method::GET, "/v1/models") => Self::json(StatusCode::OK, &RecordingCatalog::list()),
            (&Method::POST, "/v1/embeddings") => Self::embed(body),
            (&Method::POST, path) => match DemoApi::of(path) {
                Some(endpoint) => Self::replay(catalog, endpoint, body),
                None => Self::unknown_path(method, path),
            },
            (method, path) => Self::unknown_path(method, path),
        }
    }

    fn replay(catalog: &RecordingCatalog, endpoint: DemoApi, body: &[u8]) -> Self {
        let request: DemoRequest = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(error) => return Self::refuse(endpoint, StatusCode::BAD_REQUEST, None, &error.to_string()),
        };
        let model = request.model.as_deref().unwrap_or_default();
        let replay = match catalog.find(endpoint, model) {
            Some(Ok(replay)) => replay,
            Some(Err(error)) => {
                return Self::refuse(endpoint, StatusCode::INTERNAL_SERVER_ERROR, None, &error.to_string());
            }
            None => {
                let message = format!("The model `{model}` does not exist at the demo provider.");
                return Self::refuse(endpoint, StatusCode::NOT_FOUND, Some("model_not_found"), &message);
            }
        };
        if !request.stream.unwrap_or(false) {
            let mut answer = Self::whole(replay.folded.status, replay.folded.body.clone());
            answer.wait = replay.length;
            return answer;
        }
        let usage = request.stream_options.and_then(|options| options.include_usage).unwrap_or(false);
        Self {
            wait: Duration::ZERO,
            status: replay.status,
            headers: replay.headers.clone(),
            steps: Arc::clone(if usage { &replay.with_usage } else { &replay.without_usage }),
        }
    }

    fn embed(body: &[u8]) -> Self {
        let request: Option<DemoRequest> = serde_json::from_slice(body).ok();
        let answer = request
            .filter(|request| request.model.as_deref() == Some(EMBEDDING_MODEL))
            .map(|request| embedding::answer(EMBEDDING_MODEL, &request.input));
        match answer {
            Some(Some(vectors)) => Self::json(StatusCode::OK, &vectors),
            Some(None) => {
                let message = "`input` must be a string or a list of strings.";
                Self::refuse(DemoApi::Chat, StatusCode::BAD_REQUEST, None, message)
            }
            None => {
                let message = format!("Embeddings are made by `{EMBEDDING_MODEL}`.");
                Self::refuse(DemoApi::Chat, StatusCode::NOT_FOUND, Some("model_not_found"), &message)
            }
        }
    }

    /// A request with a body that is too large to be read.
    pub(super) fn too_large(limit: usize) -> Self {
        let message = format!("The request body is larger than {limit} bytes.");
        Self::refuse(DemoApi::Chat, StatusCode::PAYLOAD_TOO_LARGE, None, &message)
    }

    fn unknown_path(method: &Method, path: &str) -> Self {
        let message = format!("Unknown request URL: {method} {path}.");
        Self::refuse(DemoApi::Chat, StatusCode::NOT_FOUND, Some("unknown_url"), &message)
    }

    fn refuse(endpoint: DemoApi, status: StatusCode, code: Option<&str>, message: &str) -> Self {
        let error = match endpoint {
            DemoApi::Chat | DemoApi::Completions | DemoApi::Responses => json!({"error": {
                "message": message, "type": "invalid_request_error", "param": null, "code": code,
            }}),
            DemoApi::Messages => {
                let kind =
                    if status == StatusCode::NOT_FOUND { "not_found_error" } else { "invalid_request_error" };
                json!({"type": "error", "error": {"type": kind, "message": message}})
            }
        };
        Self::json(status, &error)
    }

    fn json(status: StatusCode, body: &Value) -> Self {
        Self::whole(status, body.to_string().into())
    }

    fn whole(status: StatusCode, body: Bytes) -> Self {
        let headers = [(CONTENT_TYPE, HeaderValue::from_static("application/json"))].into_iter().collect();
        Self {
            wait: Duration::ZERO,
            status,
            headers,
            steps: [RecordedStep { after: Duration::ZERO, bytes: body }].into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::ReplaySpeed;

    fn ask(path: &str, body: &Value) -> DemoResponse {
        let catalog = RecordingCatalog::new(ReplaySpeed::Recorded);
        DemoResponse::to(&catalog, &Method::POST, path, body.to_string().as_bytes())
    }

    fn error(answer: &DemoResponse) -> Value {
        serde_json::from_slice(&answer.steps[0].bytes).unwrap()
    }

    #[test]
    fn streams_with_usage_only_when_asked() {
        let plain = ask("/v1/chat/completions", &json!({"model": "demo-text", "stream": true}));
        let options =
            json!({"model": "demo-text", "stream": true, "stream_options": {"include_usage": true}});
        let full = ask("/v1/chat/completions", &options);
        assert_eq!(full.steps.len(), plain.steps.len() + 1);
        assert_eq!(plain.headers[CONTENT_TYPE], "text/event-stream; charset=utf-8");
        assert!(plain.wait.is_zero());
    }

    #[test]
    fn a_whole_answer_takes_as_long_as_the_stream() {
        let answer = ask("/v1/chat/completions", &json!({"model": "demo-slow"}));
        assert!(answer.wait > Duration::from_secs(2));
        assert_eq!(answer.headers[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn refuses_in_the_dialect_of_the_request() {
        let answer = ask("/v1/chat/completions", &json!({"model": "gpt-x", "stream": true}));
        assert_eq!(
            (answer.status.as_u16(), error(&answer)["error"]["code"].as_str()),
            (404, Some("model_not_found"))
        );
        let answer = ask("/v1/messages", &json!({"model": "gpt-x"}));
        assert_eq!((answer.status.as_u16(), error(&answer)["type"].as_str()), (404, Some("error")));
        assert_eq!(error(&answer)["error"]["type"], "not_found_error");
        let answer = ask("/v1/embeddings", &json!({"model": "demo-text", "input": "x"}));
        assert_eq!(answer.status.as_u16(), 404);
        let answer = ask("/v1/embeddings", &json!({"model": "demo-embedding", "input": 3}));
        assert_eq!(answer.status.as_u16(), 400);
        assert_eq!(ask("/v1/chat", &json!({})).status.as_u16(), 404);
        assert_eq!(ask("/v1/responses", &json!("no object")).status.as_u16(), 400);
    }
}
