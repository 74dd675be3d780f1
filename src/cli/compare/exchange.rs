//! Requests a comparison from a gateway and reads its event stream: passes progress on and returns the
//! report. Ignores unknown events, which a newer gateway may send. Needs the whole stream: without a report
//! at its end the command fails.

use std::future::poll_fn;

use http::Method;
use tokio::runtime::{Builder, LocalOptions};

use crate::{
    base::{ByteList, DeadlineKind, Deadlines, HeaderFields},
    cli::{Failure, destination::error_message},
    telemetry::WorkerGauges,
    upstream::{Deadline, PoolSettings, Request, SharedPools, Target, Upstream},
    web::compare::{self, CompareReport, Params, ProgressEvent},
    wire::{Event, Scanner},
};

/// # Errors
/// The gateway was not reached, refused the request, or ended the stream too early.
pub(super) fn run(
    target: &Target,
    params: &Params,
    on_progress: impl FnMut(ProgressEvent),
) -> Result<CompareReport, Failure> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(exchange(target, params, on_progress))
}

async fn exchange(
    target: &Target,
    params: &Params,
    mut on_progress: impl FnMut(ProgressEvent),
) -> Result<CompareReport, Failure> {
    let upstream = Upstream::new(SharedPools::default(), PoolSettings::default(), WorkerGauges::default());
    let path = format!("{}?{}", compare::PATH, params.query());
    let headers = HeaderFields::new();
    let request = Request {
        method: Method::GET,
        path: &path,
        headers: &headers,
        accept: "text/event-stream",
        content_type: &[],
    };
    let deadline = Deadline::new(DeadlineKind::FirstToken, Deadlines::default().non_stream);
    let mut response = upstream
        .send(target, &request, ByteList::new(), deadline)
        .await
        .map_err(|fault| format!("{}: {fault}", target.base))?;
    if !response.status.is_success() {
        return Err(error_message(response).await.into());
    }
    let (mut scanner, mut report) = (Scanner::default(), None);
    while let Some(frame) = poll_fn(|cx| response.body.poll_frame(cx)).await {
        scanner.scan(&frame?, |event| match read(&event) {
            Some(CompareReply::Progress(progress)) => on_progress(progress),
            Some(CompareReply::Report(reply)) => report = Some(*reply),
            None => {}
        })?;
    }
    report.ok_or_else(|| "the gateway broke off before the comparison was done".into())
}

enum CompareReply {
    Progress(ProgressEvent),
    Report(Box<CompareReport>),
}

/// `None`: an event of another version of the gateway.
fn read(event: &Event<'_>) -> Option<CompareReply> {
    let data = event.data?;
    match event.name? {
        b"progress" => serde_json::from_slice(data).ok().map(CompareReply::Progress),
        b"report" => serde_json::from_slice(data).ok().map(CompareReply::Report),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        app,
        base::Secret,
        config::{self, Env},
        demo::{self, ReplaySpeed},
        upstream::{BaseUrl, Protocol},
        web::compare::Leg,
    };

    fn gateway(provider: &str) -> app::Process {
        let file = format!(
            r#"{{"port": 0, "workers": 1, "database": false, "tokens": ["test|sk-t"],
                 "providers": [{{"name": "p", "base_url": "{provider}", "models": ["demo-text", "demo-error"]}}]}}"#
        );
        app::start(config::parse(&file, &Env::empty()).unwrap()).unwrap()
    }

    fn target(gateway: &app::Process, key: &str) -> Target {
        let mut base = BaseUrl::parse(&format!("http://{}", gateway.addresses()[0])).unwrap();
        base.path = "".into();
        let key = Some(Secret::new(key.to_owned()));
        Target { protocol: Protocol::Http1, key, ..Target::plain("gateway", base) }
    }

    #[test]
    fn compares_a_gateway_with_its_provider_and_tells_every_step() {
        let demo = demo::start_at(ReplaySpeed::Instant).unwrap();
        let gateway = gateway(&demo.base_url());
        let mut steps = Vec::new();
        let params = Params::new("p/demo-text".into(), 2);
        let report =
            run(&target(&gateway, "sk-t"), &params, |progress| steps.push((progress.done, progress.of)))
                .unwrap();
        assert_eq!(steps, (0..12).map(|done| (done, 12)).collect::<Vec<_>>());
        assert_eq!(report.legs.iter().map(|leg| leg.leg).collect::<Vec<_>>(), Leg::ALL);
        let (control, streams) = (&report.legs[0], &report.legs[1..5]);
        assert!(report.legs.iter().all(|leg| leg.works && leg.status == Some(200)), "{report:#?}");
        assert!(streams.iter().all(|leg| (leg.events, leg.bytes) == (control.events, control.bytes)));
        assert!(streams.iter().all(|leg| leg.added_event_us.is_some_and(|added| added.count > 200)));
        assert!(report.recommended.leg.is_some());
        gateway.stop();
    }

    #[test]
    fn a_refusal_and_a_provider_that_fails_are_told() {
        let demo = demo::start_at(ReplaySpeed::Instant).unwrap();
        let gateway = gateway(&demo.base_url());
        let ask = |key, model: &str| run(&target(&gateway, key), &Params::new(model.into(), 1), |_| {});
        assert_eq!(ask("sk-wrong", "demo-text").unwrap_err().to_string(), "this API key is not valid (401)");
        assert!(ask("sk-t", "demo-txet").unwrap_err().to_string().contains("did you mean `demo-text`"));
        let report = ask("sk-t", "demo-error").unwrap();
        assert!(report.legs.iter().all(|leg| !leg.works && leg.error.is_some()));
        assert_eq!(report.recommended.leg, None);
        gateway.stop();
    }

    fn event<'a>(name: &'a str, data: &'a str) -> Event<'a> {
        let (name, data) = (Some(name.as_bytes()), Some(data.as_bytes()));
        Event { start: Some(0), end: 0, data, name, comment_only: false }
    }

    #[test]
    fn tells_progress_from_the_rest() {
        let progress = r#"{"leg":"asgi_header","done":2,"of":18}"#;
        let Some(CompareReply::Progress(reply)) = read(&event("progress", progress)) else {
            panic!("no progress")
        };
        assert_eq!((reply.leg, reply.done, reply.of), (Leg::AsgiHeader, 2, 18));
        assert!(read(&event("report", progress)).is_none() && read(&event("later", progress)).is_none());
    }
}
