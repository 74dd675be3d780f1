//! The real binary under 200 clients: providers fail, answer 200 and then an error, stall before the first
//! token and break off in mid-stream, while the configuration is replaced every 100 ms (every seventh time by
//! a broken file). The gateway cuts no stream, every request has one completion, and memory stays flat.
//!
//! Takes a few seconds; `THALWEG_CHAOS_SECONDS=600` makes it a soak test.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::{Value, json};

use crate::operators::reload::ADMIN;
use crate::{
    client::{Call, Client, Version, call::TOKEN},
    command::{File, Gateway, Signal},
    upstream::{Speaks, Step, Upstream, log::EVENT_TIMEOUT, script},
};

const CLIENTS: usize = 200;
const SECONDS: u64 = 4;
const BETWEEN_RELOADS: Duration = Duration::from_millis(100);
/// The gateway's memory may grow by this from a quarter of the time to its end, because the allocator returns
/// pages late.
const GROWTH_KIB: i64 = 16 << 10;
const STRATEGIES: [&str; 6] = ["priority", "race:2", "hedge:30ms", "weighted", "adaptive", "race:3"];

/// The first piece of a stream says how it will end, and has its number.
fn pieces(fate: &str, number: usize) -> Vec<Bytes> {
    let first = script::delta(&format!("{fate} {number}"));
    let rest = (0..8).map(|piece| script::delta(&format!(" {number}.{piece} \u{1f30a}")));
    std::iter::once(first).chain(rest).collect()
}

fn stream(fate: &str, number: usize, end: Vec<Step>) -> Vec<Step> {
    let mut steps = vec![script::sse_head()];
    for piece in pieces(fate, number) {
        steps.extend([Step::Body(piece), Step::Moment, Step::Moment, Step::Moment, Step::Moment]);
    }
    steps.extend(end);
    steps
}

/// `sound` of ten requests are answered well; the others fail in turn.
fn script_of(number: usize, sound: usize) -> Vec<Step> {
    if number % 10 < sound {
        return stream("whole", number, vec![script::body(script::DONE), Step::End]);
    }
    let error = "data: {\"error\":{\"message\":\"no\",\"type\":\"server_error\"}}\n\n";
    match number % 7 {
        0 => vec![Step::Close],
        1 => vec![Step::Reset],
        2 => script::json(503, "{\"error\":{\"message\":\"busy\"}}"),
        3 => script::sse(error),
        4 => vec![script::sse_head(), script::body(": ping\n\n"), Step::Stall],
        5 => stream("cut", number, vec![Step::Reset]),
        _ => stream("cut", number, vec![script::body(error), Step::Close]),
    }
}

fn config(turn: usize, upstreams: &[Upstream; 3]) -> String {
    // Two or three of them, in changing order, one under a changing name.
    let shown = 2 + turn % 2;
    let providers = (0..shown).map(|place| {
        let which = (place + turn) % 3;
        let name = if which == 2 { format!("p2-{}", turn % 4) } else { format!("p{which}") };
        json!({"name": name, "base_url": upstreams[which].base(), "protocol": "http1", "models": ["m"]})
    });
    json!({
        "providers": providers.collect::<Vec<_>>(),
        "tokens": [format!("tests|{TOKEN}"), {"description": "admin", "token": ADMIN, "admin": true}, format!("t{turn}|sk-{turn}")],
        "routing": {"strategy": STRATEGIES[turn % STRATEGIES.len()]},
        "first_token_timeout": "200ms",
        "max_connections": 2000,
        "log": {"level": if turn.is_multiple_of(2) { "INFO" } else { "DEBUG" }},
        "database": false,
        "state_file": false,
        "watch": false,
    })
    .to_string()
}

#[derive(Default)]
struct Sums {
    whole: AtomicUsize,
    cut: AtomicUsize,
    refused: AtomicUsize,
}

impl Sums {
    /// Streams have ended in each way that the test is about.
    fn has_both(&self) -> bool {
        self.whole.load(Relaxed) > 0 && self.cut.load(Relaxed) > 0
    }
}

/// Sends requests until `ended`. Returns their ids.
async fn one_client(address: SocketAddr, ended: Arc<AtomicBool>, sums: Arc<Sums>) -> Vec<String> {
    let mut ids = Vec::new();
    let mut client = Client::connect(Version::H1, address).await;
    while !ended.load(Relaxed) {
        let call = Call::stream();
        let id = call.id();
        let answer = client.send(call).await;
        let status = answer.status.as_u16();
        let received = answer.collect().await;
        let text = received.text();
        if status != 200 {
            assert!((400..600).contains(&status) && received.complete, "{id}: {status} {text}");
            sums.refused.fetch_add(1, Relaxed);
        } else if text.contains("\"whole ") {
            let number = text.split_once("\"whole ").unwrap().1.split('"').next().unwrap().parse().unwrap();
            let expected = [&pieces("whole", number).concat()[..], script::DONE].concat();
            assert!(received.complete, "{id} was cut by the gateway: {text}");
            assert_eq!(received.bytes(), expected, "{id}");
            sums.whole.fetch_add(1, Relaxed);
        } else {
            let told = !received.complete || text.contains("\"error\"");
            assert!(text.contains("\"cut ") && told, "{id}: {text}");
            sums.cut.fetch_add(1, Relaxed);
            if !received.complete {
                client = Client::connect(Version::H1, address).await;
            }
        }
        ids.push(id);
    }
    ids
}

/// Replaces the configuration until the time is over, on a busy machine until streams have ended. Returns the
/// number of reloads, and the memory at a quarter and at the end.
async fn reload_all_the_time(
    file: &File,
    upstreams: &[Upstream; 3],
    address: SocketAddr,
    pid: u32,
    (time, sums): (Duration, &Sums),
) -> (usize, [i64; 2]) {
    let begun = Instant::now();
    let (mut turn, mut early) = (0, None);
    let mut client = Client::connect(Version::H1, address).await;
    let mut ticks = tokio::time::interval(BETWEEN_RELOADS);
    while begun.elapsed() < time || (!sums.has_both() && begun.elapsed() < time + EVENT_TIMEOUT) {
        ticks.tick().await;
        turn += 1;
        let broken = turn % 7 == 0;
        let text = if broken { "{\"providers\": 1}".to_owned() } else { config(turn, upstreams) };
        fs::write(&file.0, text).unwrap();
        let call = Call::post("/v1/reload", "").header("authorization", &format!("Bearer {ADMIN}"));
        let answer = client.send(call).await;
        assert_eq!(answer.status, if broken { 400 } else { 200 });
        answer.collect().await;
        if begun.elapsed() > time / 4 && early.is_none() {
            early = Some(resident(pid));
        }
    }
    (turn, [early.unwrap(), resident(pid)])
}

/// The resident memory of a process, in KiB.
fn resident(pid: u32) -> i64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// The log file and its rotated parts.
fn parts(log: &std::path::Path) -> Vec<fs::File> {
    let aside = (1..).map(|number| log.with_extension(format!("log.{number}")));
    let opened = std::iter::once(log.to_owned()).chain(aside).map_while(|part| {
        let file = fs::File::open(&part).ok();
        let _ = fs::remove_file(part);
        file
    });
    opened.collect()
}

/// The number of closing lines per request.
fn closings(log: &std::path::Path) -> HashMap<String, usize> {
    let mut closings = HashMap::new();
    for line in parts(log).into_iter().flat_map(|part| BufReader::new(part).lines()) {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let closes = matches!(line["message"].as_str(), Some("done" | "client gone" | "refused" | "failed"));
        if let Some(id) = line["id"].as_str().filter(|_| closes) {
            *closings.entry(id.to_owned()).or_default() += 1;
        }
        assert_ne!(line["message"], "ends of requests lost");
    }
    closings
}

#[tokio::test]
async fn no_stream_is_cut_and_memory_is_flat_under_reloads() {
    let seconds = std::env::var("THALWEG_CHAOS_SECONDS").map_or(SECONDS, |seconds| seconds.parse().unwrap());
    let upstreams: [Upstream; 3] =
        [3, 6, 9].map(|sound| Upstream::by(Speaks::H1, move |number, _| script_of(number, sound)));
    let file = File::new("chaos", &config(0, &upstreams));
    let log = file.0.with_extension("log");
    let _ = fs::remove_file(&log);
    let variables = [
        ("THALWEG_CONFIG", file.0.to_str().unwrap().to_owned()),
        ("THALWEG_LOG_FILE", log.to_str().unwrap().to_owned()),
        ("THALWEG_LOG_FORMAT", "json".to_owned()),
    ];
    let gateway = tokio::task::spawn_blocking(move || {
        Gateway::start(&variables.each_ref().map(|(name, value)| (*name, value.as_str())))
    });
    let mut gateway = gateway.await.unwrap();
    // The console is not read meanwhile: a stuck console must not stop a request.
    let address: SocketAddr = gateway.authority().parse().unwrap();
    let (ended, sums) = (Arc::<AtomicBool>::default(), Arc::<Sums>::default());
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        clients.spawn(one_client(address, Arc::clone(&ended), Arc::clone(&sums)));
    }
    let time = Duration::from_secs(seconds);
    let pid = gateway.child.id();
    let (reloads, [early, late]) = reload_all_the_time(&file, &upstreams, address, pid, (time, &sums)).await;
    ended.store(true, Relaxed);
    let ids: Vec<String> = clients.join_all().await.concat();
    let [whole, cut, refused] = [&sums.whole, &sums.cut, &sums.refused].map(|sum| sum.load(Relaxed));
    println!(
        "{seconds} s, {reloads} reloads, {CLIENTS} clients: {whole} streams whole, {cut} cut by their provider, {refused} \
         refused; memory {early} KiB after a quarter, {late} KiB at the end ({:+} KiB/min)",
        (late - early) * 80 / seconds as i64
    );
    gateway.signal(Signal::INT);
    let ending = tokio::task::spawn_blocking(move || gateway.child.wait().unwrap().code());
    let code = tokio::time::timeout(EVENT_TIMEOUT, ending).await.expect("an end in time").unwrap();
    assert_eq!(code, Some(0));
    assert!(sums.has_both(), "{whole} whole, {cut} cut");
    assert!(late - early < GROWTH_KIB, "{early} to {late} KiB");
    let told = closings(&log);
    for id in &ids {
        assert_eq!(told.get(id), Some(&1), "{id} is told once");
    }
}
