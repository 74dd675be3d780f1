//! Connections that are opened before the first request (S1.9).

use thalweg::{
    routing::HealthSettings,
    upstream::{BaseUrl, Protocol},
};

use crate::{
    client::{Call, Version},
    gateway::{Plan, provider},
    journal,
    upstream::{Event, Speaks, Upstream, script, tls::Certificates},
};

fn warmed(upstreams: &[&Upstream]) -> Plan {
    Plan::to(upstreams)
        .with(|settings| settings.health = HealthSettings { warmup: 5, ..HealthSettings::off() })
}

fn sound(speaks: Speaks) -> Upstream {
    Upstream::always(speaks, script::sse(script::short_stream()))
}

/// Waits until the upstream has accepted, because the kernel completes a connection before the upstream's
/// task sees it.
async fn opened(upstream: &Upstream) {
    let find =
        |events: &[Event]| events.iter().any(|event| matches!(event, Event::Opened { .. })).then_some(());
    upstream.log.wait_for("a connection", find).await;
}

/// S1.9: the first request opens no connection, over either protocol.
#[tokio::test]
async fn the_first_request_has_a_connection() {
    for speaks in [Speaks::H1, Speaks::H2] {
        let upstream = sound(speaks);
        let gateway = warmed(&[&upstream]).start().await;
        opened(&upstream).await;
        gateway.calm().await;
        assert_eq!(upstream.log.requests(), 0, "nothing is asked");
        let mut client = gateway.client(Version::H1).await;
        assert!(client.send(Call::stream()).await.collect().await.complete);
        assert_eq!(upstream.log.connections(), 1, "{speaks:?}");
        drop(client);
        gateway.stop().await;
    }
}

/// S1.9: five connections, in the order of preference; providers with the same base URL share them.
#[tokio::test]
async fn five_connections_at_most() {
    let upstreams: Vec<Upstream> = (0..6).map(|_| sound(Speaks::H1)).collect();
    let plan = warmed(&upstreams.iter().collect::<Vec<_>>()).with(|settings| {
        let twin = provider("twin", &upstreams[0].base(), Protocol::Http1);
        settings.providers.insert(1, twin);
    });
    let gateway = plan.start().await;
    gateway.until("all connections", |now| now.upstream_idle == 4 && now.upstream_active == 0).await;
    for upstream in &upstreams[..4] {
        opened(upstream).await;
    }
    let opened: Vec<usize> = upstreams.iter().map(|upstream| upstream.log.connections()).collect();
    assert_eq!(opened, [1, 1, 1, 1, 0, 0], "two of the first five share a base URL");
    gateway.stop().await;
}

/// S1.9: a provider that cannot be reached costs one line at DEBUG and nothing else.
#[tokio::test]
async fn an_unreachable_provider_costs_nothing() {
    let upstream = sound(Speaks::H1);
    let name = "gone-when-it-was-to-be-warmed";
    let plan = warmed(&[&upstream]).with(|settings| {
        let mut gone = provider(name, "http://127.0.0.1:9/v1", Protocol::Http1);
        gone.models = Some(vec!["gone".into()]);
        settings.providers.push(gone);
    });
    let gateway = plan.start().await;
    journal::said(name, "not warmed up").await;
    assert!(journal::lines(name).iter().all(|line| line["level"] == "DEBUG"));
    let mut client = gateway.client(Version::H1).await;
    assert!(client.send(Call::stream()).await.collect().await.complete);
    drop(client);
    gateway.stop().await;
}

/// S1.6: where no idle connection is kept, none is opened, because it would be closed again.
#[tokio::test]
async fn no_connection_is_opened_that_cannot_be_kept() {
    let upstream = sound(Speaks::H1);
    let name = "kept-by-nobody";
    let plan = warmed(&[&upstream]).with(|settings| {
        settings.pool.max_keepalive = 0;
        settings.providers[0].target.name = name.into();
    });
    let gateway = plan.start().await;
    journal::said(name, "warmed up").await;
    assert_eq!(upstream.log.connections(), 0);
    gateway.stop().await;
}

/// S1.9: the TLS handshake is done by then, too.
#[tokio::test]
async fn with_tls() {
    let folder = std::env::temp_dir().join(format!("thalweg-tests-{}-warmup", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let certificates = Certificates::make();
    let ca_file = Certificates::file(&folder, "ca.pem", &certificates.authority);
    let acceptor = certificates.acceptor(&["h2", "http/1.1"]);
    let upstream =
        Upstream::start(Speaks::H2, Some(acceptor), None, |_, _| script::sse(script::short_stream()));
    let base = format!("https://localhost:{}/v1", upstream.address.port());
    let plan = warmed(&[&upstream]).with(|settings| {
        let target = &mut settings.providers[0].target;
        (target.base, target.protocol) = (BaseUrl::parse(&base).unwrap(), Protocol::Auto);
        target.name = "warmed-over-tls".into();
        target.ca_file = Some(ca_file);
    });
    let gateway = plan.start().await;
    journal::said("warmed-over-tls", "warmed up").await;
    let mut client = gateway.client(Version::H1).await;
    assert!(client.send(Call::stream()).await.collect().await.complete);
    assert_eq!(upstream.log.connections(), 1);
    drop(client);
    gateway.stop().await;
    std::fs::remove_dir_all(&folder).unwrap();
}
