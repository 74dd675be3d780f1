//! One look at a provider (S1.1, S1.2): `GET {base}/models`; where that is no page of the provider's, a chat with a model
//! that nobody has. Costs no tokens. Whatever comes back, within its size and its time, ends as a [`ProbeResult`].

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use tokio::time::timeout;

use crate::{
    base::{ByteList, DeadlineKind, Fault, FaultKind, Sent, Stage},
    proxy::classify,
    relay::collect,
    routing::{CheckMethod, FailureClass, Probe},
    upstream::{Deadline, Request, Target, Upstream},
};

/// Bytes of one page of a list.
const MAX_LIST: u64 = 8 * 1024 * 1024;
/// Models of a list; what follows is not offered by name.
const MAX_MODELS: usize = 4096;
/// Letters of a model's name.
const MAX_NAME: usize = 256;
/// Pages of a list that comes in pages.
const MAX_PAGES: usize = 16;
/// Asks for a model that nobody has; were there one after all, for one token of it.
const DUMMY: &[u8] =
    br#"{"model":"test-speed-health-check-dummy","messages":[{"role":"user","content":"."}],"max_tokens":1}"#;

/// How a provider was found.
#[derive(Debug)]
pub(super) struct ProbeResult {
    /// Which way told.
    pub(super) means: CheckMethod,
    pub(super) finding: Finding,
}

#[derive(Debug)]
pub(super) enum Finding {
    /// Alive, and these are its models.
    Listed(Vec<Box<str>>),
    Alive,
    /// It may be reachable; what it can be used for is nothing.
    Down(Fault, FailureClass),
}

/// What `/models` answered.
enum ModelsResponse {
    List(Vec<Box<str>>),
    /// A good answer, of which no list was wanted.
    Good,
    /// It limits how often it is asked, so it is there.
    Limited,
    /// There is no such page, it is not for us, or it holds something else.
    None,
}

/// Looks at `target` by `means`, all within `limit`.
pub(super) async fn look(
    upstream: &Upstream,
    target: &Target,
    means: CheckMethod,
    errand: Probe,
    limit: Duration,
) -> ProbeResult {
    // What is under way when the time is over closes its connection.
    let looked = timeout(limit, ask(upstream, target, means, errand, limit)).await;
    looked.unwrap_or_else(|_| {
        let fault =
            Fault::provider(Stage::Head, FaultKind::Timeout(DeadlineKind::Total, limit), Sent::Unknown);
        ProbeResult { means, finding: Finding::down(fault) }
    })
}

async fn ask(
    upstream: &Upstream,
    target: &Target,
    means: CheckMethod,
    errand: Probe,
    limit: Duration,
) -> ProbeResult {
    if means != CheckMethod::Dummy || errand == Probe::Refresh {
        let finding = match page(upstream, target, errand, limit).await {
            Ok(ModelsResponse::List(models)) => Some(Finding::Listed(models)),
            Ok(ModelsResponse::Good | ModelsResponse::Limited) => Some(Finding::Alive),
            Ok(ModelsResponse::None) => None,
            Err(fault) => Some(Finding::down(fault)),
        };
        if let Some(finding) = finding {
            return ProbeResult { means: CheckMethod::Models, finding };
        }
    }
    let finding = match chat(upstream, target, limit).await {
        Ok(status) => of_dummy(status),
        Err(fault) => Finding::down(fault),
    };
    ProbeResult { means: CheckMethod::Dummy, finding }
}

/// What the answer to the dummy means: any refusal of the model means that somebody is there who knows models.
fn of_dummy(status: StatusCode) -> Finding {
    let status = status.as_u16();
    let fault = |kind| Fault::provider(Stage::Head, kind, Sent::Some);
    match status {
        200..=299 | 400 | 404..=407 | 409..=499 => Finding::Alive,
        // No client had a part in this one.
        401 | 403 => Finding::Down(fault(FaultKind::Status(status)), FailureClass::KeyInvalid),
        402 | 408 | 500..=599 => Finding::down(fault(FaultKind::Status(status))),
        // Redirects are not followed: the base URL is another.
        _ => Finding::down(fault(FaultKind::Garbage(format!("answered {status}").into()))),
    }
}

impl Finding {
    fn down(fault: Fault) -> Self {
        let class = classify::of_fault(&fault);
        Self::Down(fault, class)
    }
}

async fn page(
    upstream: &Upstream,
    target: &Target,
    errand: Probe,
    limit: Duration,
) -> Result<ModelsResponse, Fault> {
    let mut models = Vec::new();
    let mut path = "/models".to_owned();
    for _ in 0..MAX_PAGES {
        let headers = HeaderMap::new();
        let request =
            Request { method: Method::GET, path: &path, headers: &headers, accept: "application/json" };
        let response = upstream
            .send(target, &request, ByteList::new(), Deadline::new(DeadlineKind::Total, limit))
            .await?;
        match (response.status, errand) {
            (StatusCode::TOO_MANY_REQUESTS, _) => return Ok(ModelsResponse::Limited),
            (status, _) if !status.is_success() => return Ok(ModelsResponse::None),
            // Lists may be long: they are read when they are wanted.
            (_, Probe::Check) => return Ok(ModelsResponse::Good),
            (_, Probe::Refresh) => {}
        }
        let body = match collect::collect(response.body, ByteList::new(), MAX_LIST).await {
            Ok(body) => body.join(),
            // Somebody is there; whether it can be used, the dummy will tell.
            Err(Fault { kind: FaultKind::TooLarge { .. }, .. }) => return Ok(ModelsResponse::None),
            Err(fault) => return Err(fault),
        };
        let Ok(list) = serde_json::from_slice::<ModelListForm>(&body) else {
            return Ok(ModelsResponse::None);
        };
        let next = list.next();
        list.take(&mut models);
        match next {
            Some(next) if models.len() < MAX_MODELS => path = next,
            Some(_) | None => break,
        }
    }
    // An empty list is none: it would leave the provider with nothing to be asked for.
    Ok(if models.is_empty() { ModelsResponse::Good } else { ModelsResponse::List(models) })
}

async fn chat(upstream: &Upstream, target: &Target, limit: Duration) -> Result<StatusCode, Fault> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request = Request {
        method: Method::POST,
        path: "/chat/completions",
        headers: &headers,
        accept: "application/json",
    };
    let deadline = Deadline::new(DeadlineKind::Total, limit);
    let response = upstream.send(target, &request, Bytes::from_static(DUMMY).into(), deadline).await?;
    Ok(response.status)
}

/// The forms in which providers list their models.
#[derive(Deserialize)]
#[serde(untagged)]
enum ModelListForm {
    /// OpenAI's, with Anthropic's pages.
    Object {
        data: Vec<ListedModel>,
        #[serde(default)]
        has_more: Option<bool>,
        #[serde(default)]
        last_id: Option<Box<str>>,
    },
    /// Together's.
    Bare(Vec<ListedModel>),
}

#[derive(Deserialize)]
struct ListedModel {
    id: Box<str>,
}

impl ModelListForm {
    /// The path of the page that follows.
    fn next(&self) -> Option<String> {
        match self {
            Self::Object { has_more: Some(true), last_id: Some(last), .. } => {
                let plain = |byte: u8| {
                    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/')
                };
                let fits = !last.is_empty() && last.len() <= MAX_NAME && last.bytes().all(plain);
                fits.then(|| format!("/models?limit=1000&after_id={last}"))
            }
            Self::Object { .. } | Self::Bare(_) => None,
        }
    }

    /// The names that can be asked for.
    fn take(self, models: &mut Vec<Box<str>>) {
        let (Self::Object { data: listed, .. } | Self::Bare(listed)) = self;
        for ListedModel { id } in listed {
            // Gemini lists its models with a prefix that its chat does without.
            let name = id.strip_prefix("models/").unwrap_or(&id);
            let fits = !name.is_empty() && name.len() <= MAX_NAME && !name.chars().any(char::is_control);
            if fits && models.len() < MAX_MODELS {
                models.push(name.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<Box<str>> {
        let mut models = Vec::new();
        serde_json::from_str::<ModelListForm>(text).unwrap().take(&mut models);
        models
    }

    #[test]
    fn reads_lists_in_all_their_forms() {
        let plain = [Box::from("a"), Box::from("b/c")];
        assert_eq!(names(r#"{"object":"list","data":[{"id":"a","x":1},{"id":"b/c"}]}"#), plain);
        assert_eq!(names(r#"[{"id":"a"},{"id":"b/c","pricing":{}}]"#), plain);
        assert_eq!(names(r#"{"data":[{"id":"models/a"},{"id":"b/c"},{"id":""},{"id":"\u0007"}]}"#), plain);
        for text in ["{}", "null", "[1]", r#"{"data":{}}"#, r#"{"data":[{"name":"a"}]}"#, r#"{"error":"x"}"#]
        {
            assert!(serde_json::from_str::<ModelListForm>(text).is_err(), "{text}");
        }
        let many: Vec<String> =
            (0..MAX_MODELS + 9).map(|number| format!(r#"{{"id":"m{number}"}}"#)).collect();
        assert_eq!(names(&format!("[{}]", many.join(","))).len(), MAX_MODELS);
    }

    #[test]
    fn follows_pages_only_by_harmless_names() {
        let next = |text: &str| serde_json::from_str::<ModelListForm>(text).unwrap().next();
        let page = |last: &str| format!(r#"{{"data":[],"has_more":true,"last_id":"{last}"}}"#);
        assert_eq!(next(&page("claude-3")), Some("/models?limit=1000&after_id=claude-3".into()));
        for last in ["", "a b", "a&b", "a\\r\\nx: y", "é"] {
            assert_eq!(next(&page(last)), None, "{last}");
        }
        assert_eq!(next(r#"{"data":[],"has_more":false,"last_id":"a"}"#), None);
    }

    /// S1.2.
    #[test]
    fn a_refusal_of_the_dummy_is_a_sign_of_life() {
        for alive in [200, 400, 404, 405, 422, 429] {
            assert!(matches!(of_dummy(StatusCode::from_u16(alive).unwrap()), Finding::Alive), "{alive}");
        }
        for (down, class) in [
            (401, FailureClass::KeyInvalid),
            (403, FailureClass::KeyInvalid),
            (402, FailureClass::QuotaGone),
            (408, FailureClass::ServerError),
            (500, FailureClass::ServerError),
            (503, FailureClass::Overloaded),
            (301, FailureClass::Garbage),
        ] {
            let finding = of_dummy(StatusCode::from_u16(down).unwrap());
            assert!(matches!(finding, Finding::Down(_, found) if found == class), "{down}: {finding:?}");
        }
    }
}
