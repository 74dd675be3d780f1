//! One check of one provider (S1.1, S1.2): `GET {base}/models`; where the provider has no such page, a chat
//! request for a model that does not exist, the dummy. Costs no tokens. Keeps no state and decides nothing
//! that follows from the result. Every response, within its size and time limits, ends as a [`ProbeResult`].

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::time::timeout;

use super::model_list::{MAX_MODELS, ModelListForm};
use crate::{
    base::{ByteList, DeadlineKind, Fault, FaultKind, Sent, Stage},
    proxy::classify,
    relay::collect,
    routing::{CheckMethod, FailureClass, Probe},
    upstream::{Deadline, Request, Target, Upstream},
};

/// Bytes of one page of a list.
const MAX_LIST: u64 = 8 * 1024 * 1024;
/// Pages of a list that comes in pages.
const MAX_PAGES: usize = 16;
/// Requests a model that does not exist; if it exists after all, one token of it.
const DUMMY: &[u8] =
    br#"{"model":"test-speed-health-check-dummy","messages":[{"role":"user","content":"."}],"max_tokens":1}"#;

/// The result of a check.
#[derive(Debug)]
pub(super) struct ProbeResult {
    /// The request that gave the finding.
    pub(super) method: CheckMethod,
    pub(super) finding: Finding,
}

#[derive(Debug)]
pub(super) enum Finding {
    /// Alive, and these are its models.
    Listed(Vec<Box<str>>),
    Alive,
    /// It cannot be used, though it may be reachable.
    Down(Fault, FailureClass),
}

/// The response of `/models`.
enum ModelsResponse {
    List(Vec<Box<str>>),
    /// Success; the list was not wanted or is empty.
    Good,
    /// The provider limits how often it is asked, so it is alive.
    Limited,
    /// There is no such page, the key has no access to it, or it is not a list.
    None,
}

/// Checks `target` by `method`, all within `limit`.
pub(super) async fn check(
    upstream: &Upstream,
    target: &Target,
    method: CheckMethod,
    probe: Probe,
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
    probe: Probe,
    limit: Duration,
) -> ProbeResult {
    if method != CheckMethod::Dummy || probe == Probe::Refresh {
        let finding = match request_models(upstream, target, probe, limit).await {
            Ok(ModelsResponse::List(models)) => Some(Finding::Listed(models)),
            Ok(ModelsResponse::Good | ModelsResponse::Limited) => Some(Finding::Alive),
            Ok(ModelsResponse::None) => None,
            Err(fault) => Some(Finding::down(fault)),
        };
        if let Some(finding) = finding {
            return ProbeResult { method: CheckMethod::Models, finding };
        }
    }
    let finding = match request_dummy(upstream, target, limit).await {
        Ok(status) => finding_of_dummy(status),
        Err(fault) => Finding::down(fault),
    };
    ProbeResult { method: CheckMethod::Dummy, finding }
}

/// A refusal of the dummy's model proves that the provider is alive, because only a service of models refuses
/// one.
fn finding_of_dummy(status: StatusCode) -> Finding {
    let status = status.as_u16();
    let fault = |kind| Fault::provider(Stage::Head, kind, Sent::Some);
    match status {
        200..=299 | 400 | 404..=407 | 409..=499 => Finding::Alive,
        // No client's content can be the reason of a 403 here, so that it concerns the key.
        401 | 403 => Finding::Down(fault(FaultKind::Status(status)), FailureClass::KeyInvalid),
        402 | 408 | 500..=599 => Finding::down(fault(FaultKind::Status(status))),
        // Redirects are not followed, because the base URL is wrong then.
        _ => Finding::down(fault(FaultKind::Garbage(format!("answered {status}").into()))),
    }
}

impl Finding {
    fn down(fault: Fault) -> Self {
        let class = classify::of_fault(&fault);
        Self::Down(fault, class)
    }
}

async fn request_models(
    upstream: &Upstream,
    target: &Target,
    probe: Probe,
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
        match (response.status, probe) {
            (StatusCode::TOO_MANY_REQUESTS, _) => return Ok(ModelsResponse::Limited),
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
            Some(next) if models.len() < MAX_MODELS => path = next,
            Some(_) | None => break,
        }
    }
    // An empty list counts as no list, because the provider would have no model to serve.
    Ok(if models.is_empty() { ModelsResponse::Good } else { ModelsResponse::List(models) })
}

async fn request_dummy(upstream: &Upstream, target: &Target, limit: Duration) -> Result<StatusCode, Fault> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// S1.2.
    #[test]
    fn a_refusal_of_the_dummy_is_a_sign_of_life() {
        for alive in [200, 400, 404, 405, 422, 429] {
            assert!(
                matches!(finding_of_dummy(StatusCode::from_u16(alive).unwrap()), Finding::Alive),
                "{alive}"
            );
        }
        for (down, class) in [
            (401, FailureClass::KeyInvalid),
            (403, FailureClass::KeyInvalid),
            (402, FailureClass::QuotaExhausted),
            (408, FailureClass::ServerError),
            (500, FailureClass::ServerError),
            (503, FailureClass::Overloaded),
            (301, FailureClass::Garbage),
        ] {
            let finding = finding_of_dummy(StatusCode::from_u16(down).unwrap());
            assert!(matches!(finding, Finding::Down(_, found) if found == class), "{down}: {finding:?}");
        }
    }
}
