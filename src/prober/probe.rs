//! One check of one provider (S1.1, S1.2): `GET {base}/models`; where the provider has no such page, a chat
//! request for a model that does not exist, the dummy. Costs no tokens. Keeps no state and decides nothing
//! that follows from the result. Every response, within its size and time limits, ends as a [`ProbeResult`].

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::Value;
use tokio::time::timeout;

use super::model_list::{ListedModels, MAX_MODELS, ModelListForm};
use crate::{
    base::{ByteList, DeadlineKind, Fault, FaultKind, HeaderFields, Sent, Stage},
    proxy::classify,
    relay::collect,
    routing::{CheckMethod, FailureClass, Probe},
    upstream::{Deadline, JSON, Request, Target, Upstream},
};

/// Bytes of one page of a list.
const MAX_LIST: u64 = 8 * 1024 * 1024;
/// Bytes of a list that each check reads.
const MAX_CHECKED_LIST: u64 = 256 * 1024;
/// Pages of a list that comes in pages.
const MAX_PAGES: usize = 16;
/// Bytes of the answer to the dummy.
const MAX_DUMMY_ANSWER: u64 = 64 * 1024;
/// Requests a model that does not exist; if it exists after all, one token of it.
const DUMMY: &[u8] =
    br#"{"model":"test-speed-health-check-dummy","messages":[{"role":"user","content":"."}],"max_tokens":1}"#;

/// The result of a check.
#[derive(Debug)]
pub(super) struct ProbeResult {
    /// The method to remember: the request that gave the finding, or `Models` if its list is to be read soon.
    pub(super) method: CheckMethod,
    pub(super) finding: Finding,
}

#[derive(Debug)]
pub(super) enum Finding {
    /// Alive, and these are its models.
    Listed(ListedModels),
    Alive,
    /// It cannot be used, though it may be reachable.
    Down(Fault, FailureClass),
}

/// The response of `/models`.
enum ModelsResponse {
    List(ListedModels),
    /// Success; the list was not wanted or is empty.
    Good,
    /// The provider limits how often it is asked, so it is alive.
    Limited,
    /// There is no such page, the key has no access to it, or it is not a list.
    None,
    /// A server error: there may be a list, which cannot be read now.
    Failed,
}

/// Checks `target` by `method`, all within `limit`. With the probe: whether a list is of use.
pub(super) async fn check(
    upstream: &Upstream,
    target: &Target,
    method: CheckMethod,
    probe: (Probe, bool),
    limit: Duration,
) -> ProbeResult {
    // A request that is under way when the time is over is dropped, which closes its connection.
    let checked = timeout(limit, check_unbounded(upstream, target, method, probe, limit)).await;
    checked.unwrap_or_else(|_| {
        let fault =
            Fault::provider(Stage::Head, FaultKind::Timeout(DeadlineKind::Total, limit), Sent::Unknown);
        ProbeResult { method, finding: Finding::down(fault) }
    })
}

async fn check_unbounded(
    upstream: &Upstream,
    target: &Target,
    method: CheckMethod,
    (probe, lists): (Probe, bool),
    limit: Duration,
) -> ProbeResult {
    let mut is_failed = false;
    if method != CheckMethod::Dummy || probe == Probe::Refresh {
        let listed = match (probe, lists) {
            (Probe::Check, true) => request_short_list(upstream, target, limit).await,
            (Probe::Check, false) | (Probe::Refresh, _) => {
                request_models(upstream, target, probe, limit).await
            }
        };
        let finding = match listed {
            Ok(ModelsResponse::List(models)) => Some(Finding::Listed(models)),
            Ok(ModelsResponse::Good | ModelsResponse::Limited) => Some(Finding::Alive),
            Ok(ModelsResponse::None) => None,
            Ok(ModelsResponse::Failed) => {
                is_failed = probe == Probe::Refresh;
                None
            }
            Err(fault) => Some(Finding::down(fault)),
        };
        if let Some(finding) = finding {
            return ProbeResult { method: CheckMethod::Models, finding };
        }
    }
    let finding = match request_dummy(upstream, target, limit).await {
        Ok((status, body)) => finding_of_dummy(status, &body),
        Err(fault) => Finding::down(fault),
    };
    // `Models`, though the dummy gave the finding: the list is asked for again soon, and not after `refresh`.
    let is_list_expected = is_failed && matches!(finding, Finding::Alive);
    let method = if is_list_expected { CheckMethod::Models } else { CheckMethod::Dummy };
    ProbeResult { method, finding }
}

/// A refusal of the dummy's model proves that the provider is alive, because only a service of models refuses
/// one. A web server that has no such page refuses in its own words: then the base URL is wrong.
fn finding_of_dummy(status: StatusCode, body: &[u8]) -> Finding {
    let status = status.as_u16();
    let fault = |kind| Fault::provider(Stage::Head, kind, Sent::Some);
    match status {
        429 => Finding::Alive,
        // Google's 400 for a key that is wrong, or has expired.
        400 if classify::of_error(status, body, "") == FailureClass::KeyInvalid => {
            Finding::Down(fault(FaultKind::Status(status)), FailureClass::KeyInvalid)
        }
        200..=299 | 400 | 404..=407 | 409..=499 if is_of_an_api(status, body) => Finding::Alive,
        200..=299 | 400 | 404..=407 | 409..=499 => {
            let reason =
                format!("answered {status} with a page that is not of such an API: is its base_url right?");
            Finding::down(fault(FaultKind::Garbage(reason.into())))
        }
        // No client's content can be the reason of a 403 here, so that it concerns the key.
        401 | 403 => Finding::Down(fault(FaultKind::Status(status)), FailureClass::KeyInvalid),
        402 | 408 | 500..=599 => Finding::down(fault(FaultKind::Status(status))),
        // Redirects are not followed, because the base URL is wrong then.
        _ => Finding::down(fault(FaultKind::Garbage(format!("answered {status}").into()))),
    }
}

/// Whether a service of models wrote this. Of a 404 or 405 only an error of the API counts, because every web
/// server has these for unknown paths, some of them in JSON; of others anything but a web page.
fn is_of_an_api(status: u16, body: &[u8]) -> bool {
    if !matches!(status, 404 | 405) {
        return !body.trim_ascii_start().starts_with(b"<");
    }
    let Ok(Value::Object(members)) = serde_json::from_slice(body) else { return false };
    let is_missing_path = |text: &str| {
        let words = text.trim_end_matches('.');
        ["not found", "404 not found", "method not allowed"]
            .iter()
            .any(|known| words.eq_ignore_ascii_case(known))
    };
    let has_reason = |key: &str| match members.get(key) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty() && !is_missing_path(text),
        Some(Value::Object(inner)) => !inner.is_empty(),
        Some(Value::Bool(true) | Value::Number(_) | Value::Array(_)) => true,
    };
    let is_error = |key: &str| members.get(key).is_some_and(|value| value == "error");
    is_error("object") || is_error("type") || ["error", "detail", "message"].into_iter().any(has_reason)
}

impl Finding {
    fn down(fault: Fault) -> Self {
        let class = classify::of_fault(&fault);
        Self::Down(fault, class)
    }
}

/// The list of a check, if it is short and comes in one page: a long one would be read too often. Whatever
/// else a good status comes with is a sign of life.
async fn request_short_list(
    upstream: &Upstream,
    target: &Target,
    limit: Duration,
) -> Result<ModelsResponse, Fault> {
    let headers = HeaderFields::new();
    let request = Request {
        method: Method::GET,
        path: "/models",
        headers: &headers,
        accept: "application/json",
        content_type: &[],
    };
    let deadline = Deadline::new(DeadlineKind::Total, limit);
    let response = upstream.send(target, &request, ByteList::new(), deadline).await?;
    match response.status {
        StatusCode::TOO_MANY_REQUESTS => return Ok(ModelsResponse::Limited),
        status if !status.is_success() => return Ok(ModelsResponse::None),
        _ => {}
    }
    let body = collect::collect(response.body, ByteList::new(), MAX_CHECKED_LIST).await;
    let list = body.ok().and_then(|body| ModelListForm::read(&body.join()));
    let mut models = ListedModels::default();
    if let Some(list) = list.filter(|list| list.next().is_none()) {
        list.take(&mut models);
    }
    Ok(if models.names.is_empty() { ModelsResponse::Good } else { ModelsResponse::List(models) })
}

async fn request_models(
    upstream: &Upstream,
    target: &Target,
    probe: Probe,
    limit: Duration,
) -> Result<ModelsResponse, Fault> {
    let mut models = ListedModels::default();
    let mut path = "/models".to_owned();
    for _ in 0..MAX_PAGES {
        let headers = HeaderFields::new();
        let request = Request {
            method: Method::GET,
            path: &path,
            headers: &headers,
            accept: "application/json",
            content_type: &[],
        };
        let response = upstream
            .send(target, &request, ByteList::new(), Deadline::new(DeadlineKind::Total, limit))
            .await?;
        match (response.status, probe) {
            (StatusCode::TOO_MANY_REQUESTS, _) => return Ok(ModelsResponse::Limited),
            (StatusCode::NOT_IMPLEMENTED, _) => return Ok(ModelsResponse::None),
            (status, _) if status.is_server_error() => return Ok(ModelsResponse::Failed),
            (status, _) if !status.is_success() => return Ok(ModelsResponse::None),
            // A list may be megabytes, so it is read only when it is wanted.
            (_, Probe::Check) => return Ok(ModelsResponse::Good),
            (_, Probe::Refresh) => {}
        }
        let body = match collect::collect(response.body, ByteList::new(), MAX_LIST).await {
            Ok(body) => body.join(),
            // The provider is alive; the dummy finds out whether it can be used.
            Err(Fault { kind: FaultKind::TooLarge { .. }, .. }) => return Ok(ModelsResponse::None),
            Err(fault) => return Err(fault),
        };
        let Some(list) = ModelListForm::read(&body) else {
            return Ok(ModelsResponse::None);
        };
        let next = list.next();
        list.take(&mut models);
        match next {
            Some(next) if models.names.len() < MAX_MODELS => path = next,
            Some(_) | None => break,
        }
    }
    // An empty list counts as no list, because the provider would have no model to serve.
    Ok(if models.names.is_empty() { ModelsResponse::Good } else { ModelsResponse::List(models) })
}

/// The status, and the body: empty if it did not come whole and soon.
async fn request_dummy(
    upstream: &Upstream,
    target: &Target,
    limit: Duration,
) -> Result<(StatusCode, Bytes), Fault> {
    let headers = HeaderFields::new();
    let request = Request {
        method: Method::POST,
        path: "/chat/completions",
        headers: &headers,
        accept: "application/json",
        content_type: JSON,
    };
    let deadline = Deadline::new(DeadlineKind::Total, limit);
    let response = upstream.send(target, &request, Bytes::from_static(DUMMY).into(), deadline).await?;
    let status = response.status;
    // The status decides alone if the body is late, long or broken.
    let body = collect::collect(response.body, ByteList::new(), MAX_DUMMY_ANSWER);
    let body = timeout(limit / 4, body).await.ok().and_then(Result::ok);
    Ok((status, body.map_or_else(Bytes::new, |body| body.join())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S1.2.
    #[test]
    fn a_refusal_of_the_dummy_is_a_sign_of_life() {
        let finding_of_dummy = |status: u16, body: &str| {
            finding_of_dummy(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        let error = r#"{"error":{"message":"The model does not exist","code":"model_not_found"}}"#;
        for alive in [200, 400, 404, 405, 422, 429] {
            assert!(matches!(finding_of_dummy(alive, error), Finding::Alive), "{alive}");
        }
        for (status, body) in [
            (404, r#"{"object":"error","message":"The model `x` does not exist.","code":404}"#),
            (404, r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#),
            (404, r#"{"error":"model 'x' not found, try pulling it first"}"#),
            (404, r#"{"detail":"model x is not loaded"}"#),
            (422, r#"{"detail":[{"loc":["body"]}]}"#),
            (400, "unknown model"),
            (429, "<html>slow down</html>"),
            (200, "data: [DONE]"),
        ] {
            assert!(matches!(finding_of_dummy(status, body), Finding::Alive), "{status} {body}");
        }
        for (status, body) in [
            (404, "<html><h1>Not Found</h1></html>"),
            (404, "404 page not found"),
            (404, ""),
            (404, "{}"),
            (404, r#"{"detail":"Not Found"}"#),
            (404, r#"{"message":"Not found."}"#),
            (405, r#"{"detail":"Method Not Allowed"}"#),
            (405, "<html></html>"),
            (400, " <!doctype html>"),
            (200, "<!DOCTYPE html><title>a page for every path</title>"),
        ] {
            let finding = finding_of_dummy(status, body);
            let garbage = matches!(finding, Finding::Down(_, FailureClass::Garbage));
            assert!(garbage, "{status} {body}: {finding:?}");
        }
        for (down, class) in [
            (401, FailureClass::KeyInvalid),
            (403, FailureClass::KeyInvalid),
            (402, FailureClass::QuotaExhausted),
            (408, FailureClass::Ambiguous),
            (500, FailureClass::ServerError),
            (503, FailureClass::Overloaded),
            (301, FailureClass::Garbage),
        ] {
            let finding = finding_of_dummy(down, error);
            assert!(matches!(finding, Finding::Down(_, found) if found == class), "{down}: {finding:?}");
        }
    }
}
