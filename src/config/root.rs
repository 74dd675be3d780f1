//! The top-level keys. Starts from the defaults and overwrites them with the file's values, so that the
//! settings are complete even after a problem and all problems are found; the caller drops the settings if
//! there was one.

use std::{
    collections::{HashMap, HashSet},
    num::NonZeroUsize,
    time::Duration,
};

use super::{
    account, administration, batch, cache, cluster,
    document::Value,
    forward, health, http_proxy, log, otel,
    problem::ValueError,
    provider::{self, ProviderDefaults},
    routing, scalar,
    section::{Located, ReadContext, Section},
    settings::{ALONE, COMMIT_POINTS, ProviderSettings, Settings},
    token,
};
use crate::{
    auth::TokenSettings,
    exchange::OnDisconnect,
    proxy::CompressionSettings,
    relay::{FaultDisplay, Mode, StreamSettings},
    server::{ServerLimits, TlsFiles, TlsSource},
    telemetry::TelemetrySettings,
    upstream::PoolSettings,
};

const MODES: [(&str, Mode); 2] = [("asgi", Mode::Asgi), ("buffered", Mode::Buffered)];

/// Default limits of reading a stream on without a client.
const DEFAULT_DRAIN_TIME: Duration = Duration::from_secs(60);
const DEFAULT_DRAIN_TOKENS: u32 = 16_384;

const FAULT_DISPLAYS: [(&str, FaultDisplay); 2] =
    [("break", FaultDisplay::Break), ("event", FaultDisplay::Event)];
const DISCONNECTS: [(&str, OnDisconnect); 3] = [
    ("cancel", OnDisconnect::Cancel),
    ("drain", OnDisconnect::Drain { time: DEFAULT_DRAIN_TIME, tokens: DEFAULT_DRAIN_TOKENS }),
    ("estimate", OnDisconnect::Estimate),
];

/// More workers than a machine has cores.
pub(super) const MAX_WORKERS: u64 = 1024;

/// The settings of the file alone, and its setting of the state file. Problems are added to `context`.
pub(super) fn read(context: &mut ReadContext<'_>, value: &Value) -> (Settings, health::StateFileSetting) {
    let (mut settings, mut state) = (Settings::default(), health::StateFileSetting::default());
    // The default with a file is WARNING; without a file it is INFO, which shows more to a new user.
    settings.log.level = tracing::Level::WARN;
    Located { path: String::new(), value, context }.section(|root| {
        root.set("host", &mut settings.listen.host, |value| host(scalar::text(value)?));
        root.set("port", &mut settings.listen.port, scalar::integer(0..=65_535));
        settings.admin_listen =
            root.read("admin_listen", |value| administration::listen(scalar::text(value)?));
        settings.listen.tls = root.section("tls", tls).flatten();
        if let Some(count) = root.read("workers", scalar::integer::<usize>(1..=MAX_WORKERS)) {
            settings.workers = NonZeroUsize::new(count).unwrap_or(settings.workers);
        }
        root.set("watch", &mut settings.watch, scalar::boolean);
        log::read(root, &mut settings.log);
        let mut defaults = ProviderDefaults::default();
        provider::read_deadlines(root, &mut defaults.deadlines);
        forward::read(root, &mut defaults.forwarded);
        http_proxy::read(root, &mut defaults.proxy);
        settings.providers =
            root.field("providers").map_or_else(Vec::new, |mut field| providers(&mut field, &defaults));
        settings.tokens = root.field("tokens").map_or_else(Vec::new, |mut field| tokens(&mut field));
        if let Some(mut field) = root.field("supported_models") {
            field.items(|mut item| settings.supported_models.extend(item.read(scalar::regex)));
        }
        // One key for both sides.
        settings.limits.write_timeout = defaults.deadlines.write;
        root.section("limits", |section| {
            limits(section, &mut settings.limits);
            section.set("when_alone", &mut settings.when_alone, scalar::choice(&ALONE));
        });
        pool(root, &mut settings.pool);
        stream(root, &mut settings.stream);
        root.section("compression", |section| compression(section, &mut settings.compression));
        root.set("failover", &mut settings.failover, scalar::boolean);
        root.section("cache", |section| cache::read(section, &mut settings.cache));
        routing::read(root, &mut settings);
        account::read(root, &mut settings);
        root.section("batch", |section| batch::read(section, &mut settings.batch));
        cluster::read(root, &mut settings);
        root.section("health", |section| health::read(section, &mut settings.health));
        state = health::read_state(root);
        settings.otel = root.section("otel", otel::read).flatten();
        root.section("telemetry", |section| telemetry(section, &mut settings.telemetry));
    });
    (settings, state)
}

/// Parses a host name or an address, with or without brackets.
pub(super) fn host(text: &str) -> Result<String, ValueError> {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'%');
    if bare.is_empty() || !bare.bytes().all(fits) {
        return Err("expected a host name or an address, without a port".into());
    }
    if bare.contains(':') && bare.parse::<std::net::Ipv6Addr>().is_err() {
        return Err("expected a host name or an address; the port stands in \"port\"".into());
    }
    Ok(bare.to_owned())
}

fn tls(section: &mut Section<'_, '_, '_>) -> Option<TlsFiles> {
    let folder = section.context.folder.clone();
    let certificate =
        section.required("certificate").and_then(|mut field| field.read(scalar::file(folder.as_deref())));
    let key = section.required("key").and_then(|mut field| field.read(scalar::file(folder.as_deref())));
    let files = TlsFiles { certificate: certificate?, key: key? };
    if folder.is_some()
        && let Err(error) = TlsSource::load(files.clone())
    {
        let key = if error.file == files.key { "key" } else { "certificate" };
        section.report(key, error.reason.to_string());
        return None;
    }
    Some(files)
}

fn providers(field: &mut Located<'_, '_, '_>, defaults: &ProviderDefaults) -> Vec<ProviderSettings> {
    let mut providers = Vec::new();
    let mut names = HashMap::new();
    field.items(|mut item| {
        let Some(provider) = provider::read(&mut item, defaults) else { return };
        match names.get(&provider.target.name) {
            Some(first) => item.report(format!("has the same name as {first}")),
            None => {
                names.insert(provider.target.name.clone(), item.path);
                providers.push(provider);
            }
        }
    });
    providers
}

fn tokens(field: &mut Located<'_, '_, '_>) -> Vec<TokenSettings> {
    let mut tokens = Vec::<TokenSettings>::new();
    let mut seen = HashSet::new();
    field.items(|mut item| {
        let Some(token) = token::read(&mut item) else { return };
        let has_budget = |token: &TokenSettings| token.limits.allowance.budget.is_some();
        let same_name = |other: &&TokenSettings| other.description == token.description;
        if !seen.insert(token.token.expose().clone()) {
            item.report("is the same token as one before it");
        } else if tokens.iter().find(same_name).is_some_and(|other| has_budget(other) || has_budget(&token)) {
            item.report("has a budget, or the description of one that has: such descriptions must differ");
        } else {
            tokens.push(token);
        }
    });
    tokens
}

fn limits(section: &mut Section<'_, '_, '_>, limits: &mut ServerLimits) {
    // A smaller head would refuse ordinary clients; the http crate holds at most 32,768 headers.
    section.set("head_size", &mut limits.head_size, scalar::size(8 << 10..=16 << 20));
    section.set("header_count", &mut limits.header_count, scalar::integer(1..=4096));
    section.set("body_size", &mut limits.body_size, scalar::size(1..=4 << 30));
    section.set("body_memory", &mut limits.body_memory, scalar::size(1..=1 << 40));
    section.set("body_memory_per_key", &mut limits.body_memory_per_key, scalar::size(1..=1 << 40));
    section.set("unfinished_per_key", &mut limits.unfinished_per_key, scalar::size(1..=1 << 40));
    section.set("head_timeout", &mut limits.head_timeout, scalar::duration);
    section.set("body_timeout", &mut limits.body_timeout, scalar::duration);
    section.set("write_timeout", &mut limits.write_timeout, scalar::duration);
    section.set("connections", &mut limits.connections, scalar::integer(1..=10_000_000));
    section.set("streams_per_connection", &mut limits.streams_per_connection, scalar::integer(1..=65_536));
    section.set("shutdown_delay", &mut limits.shutdown_delay, scalar::duration_or_zero);
    section.set("drain", &mut limits.drain, scalar::duration_or_zero);
}

fn pool(root: &mut Section<'_, '_, '_>, pool: &mut PoolSettings) {
    root.set("max_connections", &mut pool.max_connections, scalar::integer(1..=1_000_000));
    root.set("max_keepalive_connections", &mut pool.max_keepalive, scalar::integer(0..=1_000_000));
    root.set("keepalive_expiry", &mut pool.keepalive_expiry, scalar::duration_or_zero);
    root.set("http2_ping", &mut pool.http2_ping, scalar::duration_or_off);
}

fn compression(section: &mut Section<'_, '_, '_>, compression: &mut CompressionSettings) {
    section.set("enabled", &mut compression.enabled, scalar::boolean);
    section.set("min_size", &mut compression.min_size, scalar::size(1..=1 << 30));
    section.set("level", &mut compression.level, scalar::integer(1..=9));
    section.set("answers", &mut compression.answers, scalar::boolean);
}

fn telemetry(section: &mut Section<'_, '_, '_>, telemetry: &mut TelemetrySettings) {
    section.set("frame_latency", &mut telemetry.frame_latency, scalar::boolean);
    section.set("digests", &mut telemetry.digests, scalar::boolean);
    section.set("guard", &mut telemetry.guard, scalar::duration_or_off);
    section.set("public_metrics", &mut telemetry.public_metrics, scalar::boolean);
}

/// A word, or an object with the limits of a drain.
fn on_disconnect(field: &mut Located<'_, '_, '_>) -> Option<OnDisconnect> {
    let Value::Table(_) = field.value else { return field.read(scalar::choice(&DISCONNECTS)) };
    field.section(|section| {
        let (mut time, mut tokens) = (DEFAULT_DRAIN_TIME, DEFAULT_DRAIN_TOKENS);
        let policy =
            section.required("policy").and_then(|mut field| field.read(scalar::choice(&DISCONNECTS)));
        section.set("max_seconds", &mut time, scalar::duration);
        section.set("max_tokens", &mut tokens, scalar::integer(1..=u64::from(u32::MAX)));
        policy.map(|policy| match policy {
            OnDisconnect::Drain { .. } => OnDisconnect::Drain { time, tokens },
            OnDisconnect::Cancel | OnDisconnect::Estimate => policy,
        })
    })?
}

fn stream(root: &mut Section<'_, '_, '_>, stream: &mut StreamSettings) {
    root.set("max_response_size", &mut stream.max_response_size, scalar::size(1..=1 << 40));
    let asgi = root.read("x_use_asgi_streaming", scalar::boolean);
    let mode = root.section("streaming", |section| {
        section.set("chunk_size", &mut stream.chunk_size, scalar::size(1..=16 << 20));
        section.set("max_delay", &mut stream.max_delay, scalar::duration_or_zero);
        section.set("commit", &mut stream.commit, scalar::choice(&COMMIT_POINTS));
        section.set("include_usage", &mut stream.include_usage, scalar::boolean);
        if let Some(mut field) = section.field("on_disconnect") {
            stream.on_disconnect = on_disconnect(&mut field).unwrap_or_default();
        }
        section.set("on_fault", &mut stream.on_fault, scalar::choice(&FAULT_DISPLAYS));
        section.set("max_line", &mut stream.max_line, scalar::size(1 << 10..=1 << 30));
        section.read("mode", scalar::choice(&MODES))
    });
    let flag_mode = asgi.map(|asgi| if asgi { Mode::Asgi } else { Mode::Buffered });
    if let (Some(Some(mode)), Some(flag)) = (mode, flag_mode)
        && mode != flag
    {
        root.report("x_use_asgi_streaming", "contradicts streaming.mode");
    }
    stream.mode = mode.flatten().or(flag_mode).unwrap_or(stream.mode);
}
