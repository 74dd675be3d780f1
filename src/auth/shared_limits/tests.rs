//! The script in a real Redis against the model that the property tests play with. Where `redis-server` is
//! not installed the test says so and passes.

use std::process::{Child, Command, Stdio};

use super::*;
use crate::{
    auth::limit::report::tests::ModelStore,
    base::{Rng, free_port::free_port},
    cluster::{RedisKeeper, RedisUrl},
    telemetry::RedisGauges,
};

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The report's script, with the time as two more arguments.
fn script_at_a_given_time() -> RedisScript {
    let text = include_str!("../share_limits.lua");
    let (clock, given) = ("redis.call('TIME')", "{ ARGV[22], ARGV[23] }");
    assert_eq!(text.matches(clock).count(), 1);
    RedisScript::new(Box::leak(text.replace(clock, given).into_boxed_str()))
}

fn report(rng: &mut Rng, seq: u64, now: u64) -> ShareReport {
    let mut number = |end: usize| i64::try_from(rng.below(end)).unwrap();
    let limits = LimitValues {
        requests: (number(5) > 0).then(|| u32::try_from(number(200)).unwrap()),
        tokens: (number(3) > 0).then(|| u32::try_from(number(5000)).unwrap()),
        concurrent: (number(3) > 0).then(|| u32::try_from(number(20)).unwrap()),
        budget: (number(3) > 0).then(|| number(4000) * 1_000_000_000),
    };
    let second = u32::try_from(now / 1000).unwrap();
    let mut window = |most: usize| -> Vec<(u32, u32)> {
        let count = number(6);
        let back = |number: i64| second + 2 - u32::try_from(number).unwrap();
        (0..count).map(|_| (back(number(64)), u32::try_from(number(most)).unwrap())).collect()
    };
    let windows = [window(20), window(500)];
    ShareReport {
        seq,
        limits,
        spent: number(1000) * 1_000_000_000,
        keep: [number(10), number(200)],
        want: [number(60), number(2000)],
        need: [number(4), number(400)],
        level: [number(4), number(300) * 1_000_000_000],
        want_level: [number(12), number(2000) * 1_000_000_000],
        windows,
    }
}

#[tokio::test]
async fn the_script_does_as_the_model() {
    let port = free_port();
    let mut command = Command::new("redis-server");
    command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let Ok(child) = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        eprintln!("redis-server is not installed: the script is not tried");
        return;
    };
    let _server = Server(child);
    let client = RedisClient::new(RedisGauges::default(), Duration::from_secs(2));
    let keeper = RedisKeeper {
        client: client.clone(),
        url: RedisUrl::parse(&format!("redis://127.0.0.1:{port}")).unwrap(),
        authority: None,
        connections: 1,
        proof: "up".to_owned(),
        purpose: "limits",
        keeps_limits: false,
    };
    let compare = async {
        client.opened().await;
        let script = script_at_a_given_time();
        for seed in 0..20 {
            let (mut rng, mut model, mut seqs) = (Rng::new(seed), ModelStore::default(), [0; 3]);
            let mut now = 1_800_000_000_000;
            for step in 0..40 {
                now += rng.below(4000) as u64;
                let me = rng.below(3);
                seqs[me] += 1;
                let report = report(&mut rng, seqs[me], now);
                let mut args = arguments(&format!("r{me}"), &report, false);
                args.push((now / 1000).to_string().into());
                args.push((now % 1000 * 1000).to_string().into());
                let key = format!("thalweg:1:{{{seed}}}");
                let first = answer(&client.run(&script, &key, &args).await.unwrap()).unwrap();
                let expected = model.run(me, &report, now).unwrap();
                assert_eq!(ShareAnswer { free_at: expected.free_at, ..first }, expected, "{seed} {step}");
                // The same call once more has the same grant, and counts nothing.
                let again = answer(&client.run(&script, &key, &args).await.unwrap()).unwrap();
                assert_eq!((again.held, again.cap, again.lapse), (first.held, first.cap, first.lapse));
                // A late one from before is ignored.
                args[1] = (seqs[me] - 1).to_string().into();
                assert!(answer(&client.run(&script, &key, &args).await.unwrap()).is_err());
            }
        }
    };
    tokio::select! {
        _ = keeper.run() => {}
        () = compare => {}
    }
}
