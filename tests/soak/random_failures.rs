//! Random requests from a seed: providers that fail in every way, clients that disconnect at any time, two
//! workers, a small pool, every strategy. At the end nothing is left, every permit is back, and every request
//! has exactly one completion (R13, S2.10, S3.11).

use std::{num::NonZeroUsize, time::Duration};

use crate::{
    client::{Call, Version},
    gateway::Plan,
    journal,
    upstream::{
        Framing, Speaks, Step, Upstream,
        script::{self, delta, sse_head},
    },
};

/// A small generator (SplitMix64): the same seed plays the same requests.
#[derive(Clone)]
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % sides
    }
}

/// The cap on concurrent races.
const RACES: usize = 2;

fn script_of(seed: u64, speaks: Speaks) -> Vec<Step> {
    let mut dice = Dice(seed);
    let mut stream = vec![sse_head()];
    for number in 0..=dice.roll(6) {
        stream.push(Step::Body(delta(&number.to_string())));
        stream.extend((0..dice.roll(3)).map(|_| Step::Moment));
    }
    match dice.roll(13) {
        0 => vec![Step::Close],
        1 => vec![Step::Reset],
        2 => script::json(500, "{\"error\":{\"message\":\"no\"}}"),
        3 => script::json(200, script::COMPLETION),
        4 => [stream, vec![Step::Reset]].concat(),
        5 => [stream, vec![Step::Close]].concat(),
        6 => [stream, vec![Step::Moment; 40], vec![Step::End]].concat(),
        7 if speaks == Speaks::H1 => vec![script::raw("nonsense\r\n\r\n"), Step::Close],
        8 => vec![script::head(200, "application/json", Framing::Length(50)), script::body("{"), Step::Close],
        9 => vec![sse_head(), script::body(": wait\n\n"), Step::Stall],
        10 => script::sse("data: {\"error\":{\"message\":\"no\",\"type\":\"overloaded\"}}\n\n"),
        11 => script::json(200, "{\"error\":{\"message\":\"no\"}}"),
        _ => [stream, vec![script::body(script::DONE), Step::End]].concat(),
    }
}

const STRATEGIES: [&str; 5] = ["race", "race:2", "hedge:5ms", "weighted", "adaptive"];

/// How long a client stays.
#[derive(Clone, Copy)]
enum Stay {
    /// For this long, whether or not the request was sent by then.
    For(Duration),
    UntilTheHead,
    ToTheEnd,
}

/// One request. Returns its id, and whether the client has seen the head of an answer.
async fn one_client(address: std::net::SocketAddr, mut dice: Dice) -> (String, bool) {
    let version = if dice.roll(2) == 0 { Version::H1 } else { Version::H2 };
    let call = if dice.roll(3) == 0 { Call::whole() } else { Call::stream() };
    let call = call.header("x-thalweg-strategy", STRATEGIES[dice.roll(5) as usize]);
    let (id, patience) = (call.id(), Duration::from_millis(dice.roll(30)));
    let stay = match dice.roll(9) {
        0..3 => Stay::For(patience),
        3 => Stay::UntilTheHead,
        _ => Stay::ToTheEnd,
    };
    let mut client = crate::client::Client::connect(version, address).await;
    let mut answered = false;
    let reading = async {
        let answer = client.try_send(call).await.expect("an answer, whatever it says");
        answered = true;
        if !matches!(stay, Stay::UntilTheHead) {
            answer.collect().await;
        }
    };
    match stay {
        Stay::For(patience) => drop(tokio::time::timeout(patience, reading).await),
        Stay::UntilTheHead | Stay::ToTheEnd => reading.await,
    }
    (id, answered)
}

#[tokio::test]
async fn nothing_is_left_and_each_request_has_one_completion() {
    for (seed, speaks) in [(1, Speaks::H1), (2, Speaks::H2)] {
        let upstreams = [1, 2, 3].map(|other| {
            Upstream::by(speaks, move |number, _| {
                script_of(seed * 1000 + other * 100_000 + number as u64, speaks)
            })
        });
        let plan = Plan::to(&[&upstreams[0], &upstreams[1], &upstreams[2]]).with(|settings| {
            settings.workers = NonZeroUsize::new(2).unwrap();
            settings.pool.max_connections = 4;
            settings.routing.race.max_races = RACES;
            settings.routing.hedge.share = 0.5;
            // All providers fail alike, and all are to be tried.
            settings.routing.breaker.failures = u32::MAX;
            settings.routing.breaker.min_requests = u32::MAX;
        });
        let soon = Duration::from_millis(60);
        let gateway = plan
            .deadlines(|deadlines| (deadlines.first_token, deadlines.non_stream) = (soon, soon))
            .start()
            .await;
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..200 {
            clients.spawn(one_client(gateway.address, Dice(seed << 32 | number)));
        }
        let requests = clients.join_all().await;
        gateway.calm().await;
        let answered = requests.iter().filter(|(_, answered)| *answered).count();
        assert!(answered > 120, "two thirds wait for an answer however long it takes: {answered}");
        for (id, answered) in &requests {
            // A request without any log line may have been dropped before it was sent.
            if *answered || !journal::of_request(id).is_empty() {
                journal::closing(id).await;
            }
        }
        all_races_are_free(&gateway).await;
        gateway.stop().await;
    }
}

/// Plays as many concurrent races as the cap allows, which shows that each permit was given back.
async fn all_races_are_free(gateway: &crate::gateway::Gateway) {
    let race = |call: Call| call.header("x-thalweg-strategy", "race");
    for _ in 0..RACES {
        let mut client = gateway.client(Version::H1).await;
        let answer = client.send(race(Call::whole())).await;
        let attempts: u8 = answer.header("x-thalweg-attempts").parse().unwrap();
        assert_eq!(attempts, 3, "a race asks all");
        answer.collect().await;
    }
}
