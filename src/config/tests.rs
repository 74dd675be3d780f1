//! The guarantees for the file: an old file loads unchanged, all problems are reported at once, no secret key
//! is shown.
//!
//! Tests of single keys are beside the code that reads them.

use std::{fs, num::NonZeroUsize, path::PathBuf, time::Duration};

use tracing::Level;

use super::{Env, LoadError, Overrides, Settings, load, parse};
use crate::{
    base::{Deadlines, Endpoint, EndpointSet},
    cache::{CacheSettings, ReplayPace},
    proxy::CompressionSettings,
    relay::{CommitPoint, Mode},
    routing::{
        RoutingSettings, Strategy,
        settings::{AllTripped, Sticky},
        strategy::HedgeDelay,
    },
    telemetry::LogFormat,
    upstream::{KeyHeader, Protocol, Target},
};

const OLD: &str = r#"{
    "host": "localhost",
    "port": 8000,
    "log_level": "WARNING",
    "providers": ["deepseek|https://api.deepseek.com/v1|sk-one", "ollama|http://127.0.0.1:11434/v1|"],
    "tokens": ["alice|sk-alice", "bob|sk-bob|with|bars"],
    "supported_models": ["^deepseek/.*$", "llama"],
    "max_connections": 50,
    "max_keepalive_connections": 10,
    "keepalive_expiry": 15.5,
    "stream_timeout": 120.0,
    "non_stream_timeout": 20.0,
    "max_response_size": 5242880
}"#;

fn parsed(text: &str) -> Settings {
    parse(text, &Env::empty()).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn mistakes(text: &str, env: &Env) -> Vec<String> {
    parse(text, env)
        .map_or_else(|problems| problems.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

/// A file that is removed when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("thalweg-config-{}-{name}", std::process::id()));
        fs::write(&path, text).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn loads_the_aggregating_proxys_file_unchanged() {
    let settings = parsed(OLD);
    assert_eq!((settings.listen.host.as_str(), settings.listen.port), ("localhost", 8000));
    assert_eq!((settings.log.level, settings.log.format), (Level::WARN, LogFormat::Human));
    let [deepseek, ollama] = &settings.providers[..] else { panic!() };
    assert_eq!((&*deepseek.target.name, &*ollama.target.name), ("deepseek", "ollama"));
    assert_eq!(deepseek.target.base.to_string(), "https://api.deepseek.com/v1");
    assert_eq!(deepseek.target.key.as_ref().map(|key| key.expose().as_str()), Some("sk-one"));
    assert_eq!(ollama.target.key, None);
    let deadlines = Deadlines {
        stream: Duration::from_secs(120),
        non_stream: Duration::from_secs(20),
        ..Deadlines::default()
    };
    assert_eq!((deepseek.deadlines, ollama.deadlines), (deadlines, deadlines));
    let tokens: Vec<_> = settings
        .tokens
        .iter()
        .map(|token| (token.description.as_str(), token.token.expose().as_str()))
        .collect();
    assert_eq!(tokens, [("alice", "sk-alice"), ("bob", "sk-bob|with|bars")]);
    assert_eq!(settings.supported_models.len(), 2);
    assert!(settings.supported_models[0].is_match("deepseek/chat"));
    assert_eq!((settings.pool.max_connections, settings.pool.max_keepalive), (50, 10));
    assert_eq!(settings.pool.keepalive_expiry, Duration::from_millis(15_500));
    assert_eq!(settings.stream.max_response_size, 5_242_880);
}

#[test]
fn an_empty_file_means_the_documented_defaults() {
    let settings = parsed("\u{feff}{}");
    assert_eq!((settings.listen.host.as_str(), settings.listen.port), ("localhost", 9000));
    assert_eq!(settings.log.level, Level::WARN);
    assert!(
        settings.providers.is_empty() && settings.tokens.is_empty() && settings.supported_models.is_empty()
    );
    assert_eq!((settings.pool.max_connections, settings.pool.max_keepalive), (100, 20));
    assert_eq!(settings.pool.keepalive_expiry, Duration::from_secs(30));
    assert_eq!(settings.stream.max_response_size, 10_485_760);
    assert_eq!((settings.stream.chunk_size, settings.stream.mode), (1024, Mode::Asgi));
    let deadlines = Deadlines::default();
    assert_eq!(
        (deadlines.stream, deadlines.non_stream),
        (Duration::from_secs(300), Duration::from_secs(600))
    );
}

#[test]
fn says_everything_newer_in_objects() {
    let env = Env::new([("KEY", "sk-env"), ("REGION", "eu")], |_, _| false);
    let text = r#"{
        "_remark": "kept for people",
        "connect_timeout": "2s", "pool_timeout": 3, "write_timeout": "40s", "workers": 3, "failover": false,
        "providers": [
            {"name": "a", "base_url": "https://${REGION}.example/v1", "api_key": "${KEY}", "models": ["m1", "m2"],
             "protocol": "http2", "key_header": "x-api-key", "headers": {"X-Org": "org-${REGION}"},
             "first_token_timeout": "90s", "stream_total_timeout": "1h"},
            {"name": "b", "base_url": "http://h", "api_key": "os.environ/KEY", "connect_timeout": "50ms", "write_timeout": 4},
            "c|http://h|env.KEY"
        ],
        "tokens": [{"description": "ci", "token": "${KEY}"}],
        "limits": {"body_size": "64MiB", "connections": 10, "drain": 0, "head_timeout": "5s"},
        "streaming": {"chunk_size": 2048, "max_delay": "20ms", "commit": "first_content", "include_usage": false},
        "x_use_asgi_streaming": false,
        "log": {"level": "debug", "format": "json"}
    }"#;
    let settings = parse(text, &env).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let [a, b, c] = &settings.providers[..] else { panic!() };
    assert_eq!(a.target.base.to_string(), "https://eu.example/v1");
    for provider in [a, b, c] {
        assert_eq!(provider.target.key.as_ref().map(|key| key.expose().as_str()), Some("sk-env"));
    }
    assert_eq!(a.models.as_deref(), Some(&["m1".to_owned(), "m2".to_owned()][..]));
    assert_eq!((a.target.protocol, a.target.key_header), (Protocol::Http2, KeyHeader::XApiKey));
    assert_eq!(
        (a.target.headers[0].0.as_str(), a.target.headers[0].1.to_str().unwrap()),
        ("x-org", "org-eu")
    );
    assert_eq!(a.deadlines.first_token, Duration::from_secs(90));
    assert_eq!(a.deadlines.stream_total, Some(Duration::from_secs(3600)));
    assert_eq!((a.deadlines.connect, a.deadlines.pool), (Duration::from_secs(2), Duration::from_secs(3)));
    assert_eq!((a.target.connect_timeout, a.target.pool_timeout), (a.deadlines.connect, a.deadlines.pool));
    assert_eq!(b.target.connect_timeout, Duration::from_millis(50));
    assert_eq!(
        (a.target.write_timeout, b.target.write_timeout),
        (Duration::from_secs(40), Duration::from_secs(4))
    );
    assert_eq!((settings.limits.body_size, settings.limits.connections), (64 << 20, 10));
    assert_eq!(
        (settings.limits.drain, settings.limits.write_timeout),
        (Duration::ZERO, Duration::from_secs(40))
    );
    assert_eq!(settings.stream.commit, Some(CommitPoint::FirstContent));
    assert_eq!((settings.stream.mode, settings.stream.chunk_size), (Mode::Buffered, 2048));
    assert_eq!((settings.workers, settings.failover), (NonZeroUsize::new(3).unwrap(), false));
    assert_eq!((settings.log.level, settings.log.format), (Level::DEBUG, LogFormat::Json));
}

#[test]
fn tells_every_mistake_at_once_with_its_path() {
    let text = r#"{
        "prot": 9000,
        "port": 70000,
        "log_level": "WARNIN",
        "max_connections": 0,
        "keepalive_expiry": "soon",
        "supported_models": ["(", 7],
        "providers": [
            "a|http://h|k",
            {"name": "a", "base_url": "http://h"},
            {"name": "b", "baseUrl": "http://h", "api_key": "${NO_SUCH_KEY}"},
            "c|api.example.com|k",
            "nothing"
        ],
        "tokens": ["x|", "no bar"],
        "limits": {"body_size": "1XB", "conections": 5},
        "streaming": {"mode": "asgi", "commit": 1},
        "x_use_asgi_streaming": false,
        "tls": {"certificate": "c.pem"},
        "failover": true,
        "failover": false
    }"#;
    let env = Env::new([("SUCH_KEYS", "v"), ("NO_SUCH_KEYS", "v")], |_, _| false);
    let found = mistakes(text, &env);
    let expected = [
        "port: expected a whole number from 0 to 65535",
        "tls.key: missing",
        "log_level: expected one of TRACE, DEBUG, INFO, WARNING, WARN, ERROR, CRITICAL, FATAL; did you mean \"WARNING\"?",
        "providers[1]: has the same name as providers[0]",
        "providers[2].base_url: missing",
        "providers[2].api_key: the environment variable NO_SUCH_KEY is not set; did you mean \"NO_SUCH_KEYS\"?",
        "providers[2].baseUrl: unknown key; did you mean \"base_url\"?",
        "providers[3].base_url: must start with http:// or https://",
        "providers[4]: expected \"name|base_url|api_key\"",
        "tokens[0].token: must not be empty",
        "tokens[1]: expected \"description|token\"",
        "supported_models[0]: not a regular expression: unclosed group",
        "supported_models[1]: expected a string, found a number",
        "limits.body_size: expected a number of bytes, or a string as \"32MiB\", with a unit of KiB, MiB or GiB",
        "limits.conections: unknown key; did you mean \"connections\"?",
        "max_connections: expected a whole number from 1 to 1000000",
        "keepalive_expiry: expected seconds, or a string as \"300s\", \"50ms\" or \"1m\", from 0 to a year",
        "streaming.commit: expected a string, found a number",
        "x_use_asgi_streaming: contradicts streaming.mode",
        "prot: unknown key; did you mean \"port\"?",
        "failover: written twice",
    ];
    assert_eq!(found, expected, "{found:#?}");
}

#[test]
fn never_shows_a_key() {
    const KEY: &str = "sk-SENTINEL";
    let good = format!(
        r#"{{"providers": ["a|http://h|{KEY}", {{"name": "b", "base_url": "http://h", "api_key": "${{KEY}}",
        "headers": {{"authorization": "Bearer {KEY}"}}}}], "tokens": ["t|{KEY}"]}}"#
    );
    let env = Env::new([("KEY", KEY)], |_, _| false);
    let settings = parse(&good, &env).unwrap();
    assert!(!format!("{settings:?}{settings:#?}{env:?}").contains("SENTINEL"));
    for wrong in [
        r#"{"providers": ["KEY"], "tokens": ["KEY"]}"#,
        r#"{"providers": ["a|KEY|x", "KEY|h|", "a b|http://KEY@h|", "b|http://h|KEY KEY"]}"#,
        r#"{"providers": [{"name": "KEY/", "base_url": "KEY", "api_key": "${KEY", "models": "KEY"}]}"#,
        r#"{"providers": [{"name": "a", "base_url": "http://h", "api_key": "${KEY}", "headers": {"KEY:": "KEY\n"}}]}"#,
        r#"{"providers": [{"name": "a", "base_url": "http://h", "headers": {"host": "KEY", "x": "KEY\u0000"}}]}"#,
        r#"{"tokens": ["a|KEY", "b|KEY", {"token": "KEY KEY"}, {"token": "${KEY"}], "tokens": "KEY"}"#,
        r#"{"host": "KEY KEY", "port": "KEY", "log_level": "KEY", "supported_models": ["(KEY"]}"#,
        r#"{"limits": {"body_size": "KEY"}, "stream_timeout": "KEY", "tls": "KEY", "failover": "KEY"}"#,
        r#"{"tokens": ["a|KEY" "b"]}"#,
        r#"{"tokens": ["a|KEY"#,
    ] {
        let problems = parse(&wrong.replace("KEY", KEY), &env).expect_err(wrong);
        assert!(!format!("{problems:?}").contains("SENTINEL"), "{problems:#?}");
        assert!(!problems.iter().any(|problem| problem.to_string().contains("SENTINEL")));
    }
}

#[test]
fn says_where_the_text_is_not_json() {
    for (text, mistake) in [
        ("{\n  \"port\": }", "line 2, column 11: expected value"),
        ("{\n  // why\n  \"port\": 1}", "line 2, column 3: JSON has no comments"),
        ("{\"port\": 1,}", "line 1, column 12: trailing comma"),
        ("", "line 1, column 0: EOF while parsing a value"),
        ("[]", "expected an object, found a list"),
    ] {
        assert_eq!(mistakes(text, &Env::empty()), [mistake], "{text}");
    }
    assert_eq!(mistakes(&"[".repeat(100_000), &Env::empty()).len(), 1);
}

#[test]
fn a_log_file_and_its_rotation() {
    let text = r#"{"log": {"file": "thalweg.log", "file_format": "json", "rotate": {"size": "1MiB", "daily": true, "keep": 3}}}"#;
    let file = Scratch::new("log", text);
    let log = load(Some(&file.0), &Overrides::default(), &Env::empty()).unwrap().log.file.unwrap();
    assert_eq!(log.path, file.0.with_file_name("thalweg.log"));
    assert_eq!((log.format, log.size, log.daily, log.keep), (LogFormat::Json, 1 << 20, true, 3));
    let env = Env::new([("THALWEG_LOG_FILE", "/var/log/t")], |_, _| false);
    let log = load(Some(&file.0), &Overrides::default(), &env).unwrap().log.file.unwrap();
    assert_eq!((log.path.to_str().unwrap(), log.keep), ("/var/log/t", 3), "the file's rotation");
    let mistakes = mistakes(r#"{"log": {"rotate": {"size": 1, "kep": 2}}}"#, &Env::empty());
    assert_eq!(mistakes.len(), 2, "{mistakes:?}");
}

#[test]
fn administration_beyond_this_machine_takes_a_key() {
    let file = Scratch::new("admin", r#"{"admin_listen": "0.0.0.0:9001", "tokens": ["a|sk-a"]}"#);
    let error = load(Some(&file.0), &Overrides::default(), &Env::empty()).unwrap_err();
    assert!(error.to_string().contains("admin_listen: is not loopback"), "{error}");
    let keyed = Env::new([("THALWEG_ADMIN_KEY", "sk-admin")], |_, _| false);
    assert!(load(Some(&file.0), &Overrides::default(), &keyed).is_ok());
    let moved = Env::new([("THALWEG_ADMIN_LISTEN", "9001")], |_, _| false);
    let settings = load(Some(&file.0), &Overrides::default(), &moved).unwrap();
    assert_eq!(settings.admin_listen.unwrap().host, "localhost");
}

#[test]
fn flags_go_before_variables_and_variables_before_the_file() {
    let file = Scratch::new("precedence", OLD);
    let env = Env::new(
        [
            ("THALWEG_HOST", "::1"),
            ("THALWEG_PORT", "1"),
            ("LOG_LEVEL", "error"),
            ("API_KEY", "sk-extra"),
            ("THALWEG_ADMIN_KEY", "sk-bob"),
        ],
        |_, _| false,
    );
    let flags = Overrides { port: Some(2), ..Overrides::default() };
    let settings = load(Some(&file.0), &flags, &env).unwrap();
    assert_eq!((settings.listen.host.as_str(), settings.listen.port), ("::1", 2));
    assert_eq!((settings.log.level, settings.pool.max_connections), (Level::ERROR, 50));
    assert_eq!(settings.file.as_deref(), Some(&*file.0));
    let descriptions: Vec<_> = settings.tokens.iter().map(|token| token.description.as_str()).collect();
    assert_eq!(descriptions, ["alice", "bob", "THALWEG_ADMIN_KEY", "API_KEY"]);
    let admins: Vec<_> = settings.tokens.iter().map(|token| token.admin).collect();
    assert_eq!(admins, [false, false, true, false]);
    let by_variable = Env::new([("THALWEG_CONFIG", file.0.to_str().unwrap())], |_, _| false);
    assert_eq!(load(None, &Overrides::default(), &by_variable).unwrap().listen.port, 8000);
}

/// Kubernetes sets it beside a service named thalweg.
#[test]
fn the_variable_of_a_service_is_no_port() {
    let file =
        Scratch::new("service", r#"{"port": 8080, "tokens": ["a|sk-a"], "providers": ["p|https://p/v1|k"]}"#);
    let with = |text: &str| {
        load(Some(&file.0), &Overrides::default(), &Env::new([("THALWEG_PORT", text)], |_, _| false))
    };
    assert_eq!(with("tcp://10.0.0.1:80").unwrap().listen.port, 8080);
    assert_eq!(with("81").unwrap().listen.port, 81);
    assert!(with("http://10.0.0.1:80").is_err());
}

#[test]
fn comments_and_nulls_stand_also_where_names_are_free() {
    let settings = parsed(
        r#"{
            "providers": [{
                "name": "p", "base_url": "https://p/v1",
                "headers": {"_x-api-key": "sk-old", "//": "aside", "x-none": null, "x-a": "1"}
            }],
            "models": {"_note": "text", "none": null, "m": {"strategy": "race"}},
            "aliases": {"//": "text", "none": null, "a": "p/m"},
            "prices": {"none": null, "m": {"input": 1, "output": 2}}
        }"#,
    );
    assert_eq!(settings.providers[0].target.headers.len(), 1);
    assert_eq!(settings.routing.models.len(), 2);
}

#[test]
fn mistakes_of_file_and_environment_are_told_together() {
    let file =
        Scratch::new("together", r#"{"port": -1, "tls": {"certificate": "none.pem", "key": "none.pem"}}"#);
    let env = Env::new([("THALWEG_WORKERS", "0"), ("API_KEY", "a b")], |_, _| false);
    let Err(LoadError::Mistakes { problems, .. }) = load(Some(&file.0), &Overrides::default(), &env) else {
        panic!()
    };
    let paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["port", "tls.certificate", "tls.key", "THALWEG_WORKERS", "API_KEY"]);
    let absent = load(Some("/no/such/file".as_ref()), &Overrides::default(), &env);
    assert!(matches!(absent, Err(LoadError::Unreadable { .. })));
}

#[test]
fn whoever_configured_no_provider_gets_what_is_found() {
    let file = Scratch::new("discovery", "{}");
    let env = Env::new([("GROQ_API_KEY", "k")], |_, _| true);
    let settings = load(Some(&file.0), &Overrides::default(), &env).unwrap();
    let names: Vec<_> = settings.providers.iter().map(|provider| &*provider.target.name).collect();
    assert_eq!(names, ["groq", "ollama"]);
    let file = Scratch::new("no-discovery", OLD);
    assert_eq!(load(Some(&file.0), &Overrides::default(), &env).unwrap().providers.len(), 2);
}

#[test]
fn the_example_in_the_repository_loads() {
    let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.json")).unwrap();
    let env =
        Env::new([("DEEPSEEK_API_KEY", "k"), ("OPENAI_API_KEY", "k"), ("THALWEG_TOKEN", "t")], |_, _| false);
    assert_eq!(mistakes(&text, &env), Vec::<String>::new());
}

mod any_input {
    use proptest::prelude::*;

    use crate::config::{Env, parse};

    /// Files that are valid JSON: known keys with any values.
    fn file() -> impl Strategy<Value = String> {
        let keys =
            ["host", "port", "providers", "tokens", "supported_models", "limits", "streaming", "tls", "log"];
        let scalar = prop_oneof![
            Just("null".to_owned()),
            any::<f64>().prop_map(|number| format!("{number:e}")),
            r#"[a-z|:/.0-9${}\[\](*?]{0,24}"#.prop_map(|text| format!("{text:?}")),
        ];
        let value = scalar.prop_recursive(3, 12, 4, move |inner| {
            let key = prop_oneof![
                proptest::sample::select(&["name", "base_url", "api_key", "mode"]).prop_map(str::to_owned),
                "[a-z_]{0,8}"
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec((key, inner), 0..4).prop_map(|entries| {
                    let entries: Vec<_> =
                        entries.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
                    format!("{{{}}}", entries.join(","))
                }),
            ]
        });
        prop::collection::vec((proptest::sample::select(keys.to_vec()), value), 0..6).prop_map(|entries| {
            let entries: Vec<_> = entries.iter().map(|(key, value)| format!("{key:?}:{value}")).collect();
            format!("{{{}}}", entries.join(","))
        })
    }

    proptest! {
        #[test]
        fn gives_settings_or_mistakes(text in prop_oneof![file(), any::<String>()]) {
            if let Err(problems) = parse(&text, &Env::empty()) {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}

/// S0.6, S1.5, S1.7, S1.9: the settings of health checks, and the path of the state file.
#[test]
fn health_and_the_state_file() {
    let text = r#"{"health": {"interval": "5s", "timeout": 2, "refresh": "1h", "precheck": 0, "warmup": 1}}"#;
    let health = parsed(text).health;
    assert_eq!((health.interval, health.timeout), (Duration::from_secs(5), Duration::from_secs(2)));
    assert_eq!((health.precheck, health.warmup, parsed("{}").health.precheck), (0, 1, 3));
    let wrong = mistakes(r#"{"health": {"intervall": 1}, "state_file": true}"#, &Env::empty());
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].contains("interval") && wrong[1].contains("state_file"), "{wrong:?}");
    let state = |text: &str| {
        let scratch = Scratch::new(&format!("state-{}.json", text.len()), text);
        let settings = load(Some(&scratch.0), &Overrides::default(), &Env::empty()).unwrap();
        settings.state_file.map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
    };
    assert!(state("{}").is_some_and(|name| name.ends_with("state-2.state.json")));
    assert_eq!(state(r#"{"state_file": "s.json"}"#).as_deref(), Some("s.json"));
    assert_eq!(state(r#"{"state_file": false}"#), None);
}

const TWO: &str =
    r#""providers": ["a|http://a|", {"name": "b", "base_url": "http://b", "weight": 3, "region": "eu"}]"#;

/// S3.4, B4, B21, S1.12: the settings of routing.
#[test]
fn routing_and_models() {
    let text = format!(
        r#"{{{TWO}, "routing": {{"strategy": "race", "race": {{"width": 2, "timeout": 5}}, "retry": "safe",
            "hedge": {{"delay": "p90", "share": "10%"}}, "breaker": {{"failures": 2}}, "sticky": false,
            "regions": ["eu"], "all_tripped": "refuse", "unknown_responses": true}},
            "models": {{"m": {{"strategy": "hedge", "providers": ["b", "a"], "aliases": ["n"], "commit": "headers"}}}},
            "aliases": {{"best": ["b/x", "m"], "one": "a/y"}}, "endpoint_priority": ["b"]}}"#
    );
    let settings = parsed(&text);
    let routing = &settings.routing;
    assert_eq!((routing.strategy, routing.retry.safe), (Strategy::Race { width: 2 }, true));
    assert_eq!((routing.hedge.share, routing.breaker.failures, routing.sticky), (0.1, 2, Sticky::Off));
    assert!(routing.unknown_responses && !RoutingSettings::default().unknown_responses);
    assert_eq!((routing.all_tripped, routing.race.timeout), (AllTripped::Refuse, Duration::from_secs(5)));
    let b = &settings.providers[0];
    assert_eq!((&*b.target.name, b.weight, b.region.as_deref()), ("b", 3, Some("eu")));
    let named: Vec<_> = routing.models.iter().map(|rule| (&*rule.name, rule.targets.len())).collect();
    assert_eq!(named, [("n", 1), ("m", 0), ("best", 2), ("one", 1)]);
    let hedge = Some(Strategy::Hedge { delay: HedgeDelay::Percentile(90) });
    assert!(routing.models[..2].iter().all(|rule| rule.strategy == hedge));
    assert_eq!(routing.models[1].providers, ["b", "a"].map(std::sync::Arc::<str>::from));
    assert_eq!((settings.commits.len(), settings.commits["n"]), (2, CommitPoint::Headers));
    assert_eq!(parsed("{}").routing, RoutingSettings::default());
    assert_eq!(
        parsed(r#"{"routing": {"strategy": "hedge:1s"}}"#).routing.strategy,
        Strategy::Hedge { delay: HedgeDelay::Fixed(Duration::from_secs(1)) }
    );
}

/// A provider and a model may say for themselves whether they are translated, and an alias says it as its
/// model does.
#[test]
fn translation_is_said_for_all_a_provider_or_a_model() {
    let settings = parsed(
        r#"{"providers": [{"name": "a", "base_url": "http://a", "translate": false}, "b|http://b|"],
            "routing": {"translate": false}, "models": {"m": {"translate": true, "aliases": ["n"]}}}"#,
    );
    let said: Vec<_> = settings.providers.iter().map(|provider| provider.translate).collect();
    assert_eq!((said, settings.routing.native_only), (vec![Some(false), None], true));
    let rules: Vec<_> = settings.routing.models.iter().map(|rule| (&*rule.name, rule.translate)).collect();
    assert_eq!(rules, [("n", Some(true)), ("m", Some(true))]);
    let wrong =
        mistakes(r#"{"providers": ["b|http://b|"], "models": {"m": {"translate": "no"}}}"#, &Env::empty());
    assert!(wrong[0].starts_with("models.m.translate: expected true or false"), "{wrong:?}");
}

/// Providers document the base URL of their messages without the version that libraries add.
#[test]
fn a_base_url_for_anthropics_libraries_gets_its_version() {
    let settings = parsed(
        r#"{"providers": ["a|https://api.deepseek.com/anthropic|", "b|https://api.deepseek.com/anthropic/v1|",
            "c|https://api.deepseek.com|"]}"#,
    );
    let bases: Vec<_> = settings.providers.iter().map(|provider| provider.target.base.to_string()).collect();
    assert_eq!(
        bases,
        [
            "https://api.deepseek.com/anthropic/v1",
            "https://api.deepseek.com/anthropic/v1",
            "https://api.deepseek.com/v1"
        ]
    );
    let has = |at: usize| settings.providers[at].known.map(|known| known.has);
    assert_eq!((has(0), has(2)), (Some(&[Endpoint::Messages][..]), Some(&[Endpoint::ChatCompletions][..])));
}

/// B1.
/// Google's address has both APIs, whichever of them the base URL is; at any other, `dialects` says it.
#[test]
fn geminis_own_api_is_found_by_its_address_or_by_its_name() {
    let google = "https://generativelanguage.googleapis.com/v1beta";
    let object =
        |base: &str, more: &str| format!(r#"{{"name": "a", "base_url": "{base}", "api_key": "k"{more}}}"#);
    let (native, compatible) =
        (Some(("/v1beta", KeyHeader::XGoogApiKey)), ("/v1beta/openai", KeyHeader::Bearer));
    for (provider, target, gemini) in [
        (format!(r#""a|{google}/openai|k""#), compatible, native),
        (format!(r#""a|{google}|k""#), compatible, native),
        (object(google, ""), compatible, native),
        (object(google, r#", "dialects": ["gemini"]"#), native.unwrap(), None),
        (object(google, r#", "dialects": ["chat"]"#), compatible, None),
        (
            object("http://h/v1beta", r#", "dialects": ["gemini"], "key_header": "api-key""#),
            ("/v1beta", KeyHeader::ApiKey),
            None,
        ),
        (object("http://h/v1beta/openai", r#", "dialects": ["chat", "gemini"]"#), compatible, native),
        (
            object("http://h/v1", r#", "dialects": ["chat", "gemini"]"#),
            ("/v1", KeyHeader::Bearer),
            Some(("/v1", KeyHeader::XGoogApiKey)),
        ),
        (object("http://h/v1beta/openai", ""), compatible, None),
    ] {
        let settings = parsed(&format!(r#"{{"providers": [{provider}]}}"#));
        let found = &settings.providers[0];
        let place = |target: &Target| (target.base.path.to_string(), target.key_header);
        assert_eq!(place(&found.target), (target.0.to_owned(), target.1), "{provider}");
        let gemini = gemini.map(|(path, header)| (path.to_owned(), header));
        assert_eq!(found.gemini.as_ref().map(place), gemini, "{provider}");
    }
}

#[test]
fn a_provider_may_name_its_dialects() {
    let file = |dialects: &str| {
        format!(r#"{{"providers": [{{"name": "a", "base_url": "http://a", "dialects": {dialects}}}]}}"#)
    };
    let set = EndpointSet::from_iter([Endpoint::ChatCompletions, Endpoint::Responses]);
    assert_eq!(parsed(&file(r#"["chat", "responses"]"#)).providers[0].dialects, Some(set));
    assert_eq!(parsed(&file("null")).providers[0].dialects, None);
    for (dialects, problem) in [
        (r#"["chat", "message"]"#, "providers[0].dialects[1]: expected one of chat, "),
        (r#""chat""#, "providers[0].dialects: expected a list"),
        ("[]", "providers[0].dialects: lists no dialect"),
    ] {
        let wrong = mistakes(&file(dialects), &Env::empty());
        assert!(wrong[0].starts_with(problem), "{wrong:?}");
    }
}

#[test]
fn mistakes_in_routing_are_told() {
    let text = format!(
        r#"{{{TWO}, "routing": {{"strategy": "hedge:p0", "race": {{"width": 1}}, "hedge": {{"share": 2}},
            "breaker": {{"cool_down": "10m"}}, "regions": [], "stick": true}},
            "models": {{"m": {{"providers": ["c"]}}, "n": {{"aliases": ["m"]}}}}, "aliases": {{"best": ["best"]}},
            "endpoint_priority": ["aa"]}}"#
    );
    let wrong = mistakes(&text, &Env::empty());
    for start in [
        "routing.strategy: expected one of",
        "routing.race.width: ",
        "routing.hedge.share: ",
        "routing.breaker.longest_cool_down: ",
        "routing.regions: ",
        "routing.stick: ",
        "models.m.providers[0]: is the name of no provider",
        "models: says what the model m is a second time",
        "aliases.best: stands for itself",
        "endpoint_priority[0]: is the name of no provider; did you mean \"a\"?",
    ] {
        assert!(wrong.iter().any(|reported| reported.starts_with(start)), "{start}: {wrong:#?}");
    }
}

#[test]
fn the_old_switches_work_as_variables() {
    let file = Scratch::new("switches", &format!("{{{TWO}}}"));
    let with = |variables: &[(&str, &str)]| {
        load(Some(&file.0), &Overrides::default(), &Env::new(variables.iter().copied(), |_, _| false))
    };
    let settings = with(&[
        ("ENABLE_PARALLEL_ENDPOINTS", "true"),
        ("PARALLEL_TIMEOUT", "12"),
        ("ENDPOINT_PRIORITY", "b, a"),
    ])
    .unwrap();
    assert_eq!(settings.routing.strategy, Strategy::Race { width: 3 });
    assert_eq!(settings.routing.race.timeout, Duration::from_secs(12));
    assert_eq!(&*settings.providers[0].target.name, "b");
    assert_eq!(with(&[("ENABLE_PARALLEL_ENDPOINTS", "no")]).unwrap().routing.strategy, Strategy::Priority);
    let wrong = with(&[
        ("ENABLE_PARALLEL_ENDPOINTS", "perhaps"),
        ("PARALLEL_TIMEOUT", "0"),
        ("ENDPOINT_PRIORITY", "c"),
    ]);
    let Err(LoadError::Mistakes { problems, .. }) = wrong else { panic!() };
    assert_eq!(problems.len(), 3, "{problems:?}");
}

/// A provider's own patterns replace those of the file.
#[test]
fn headers_that_pass_are_listed() {
    let settings = parsed(
        r#"{
            "forward_headers": {"request": ["X-Team", "x-user-*"], "response": ["server"]},
            "providers": [
                "a|http://a/v1|",
                {"name": "b", "base_url": "http://b/v1", "forward_headers": {"request": ["baggage"]}}
            ]
        }"#,
    );
    let passed = |provider: usize| {
        let forwarded = &settings.providers[provider].target.forwarded;
        ["x-team", "x-user-email", "baggage"].map(|name| forwarded.pass_up(name))
    };
    assert_eq!((passed(0), passed(1)), ([true, true, false], [false, false, true]));
    assert!(settings.providers[0].target.forwarded.pass_down("server"));
    assert!(!settings.providers[1].target.forwarded.pass_down("server"));
    let wrong =
        r#"{"forward_headers": {"request": ["a b", "cf-connecting-ip", 1], "response": ["set-cookie"]}}"#;
    assert_eq!(
        mistakes(wrong, &Env::empty()),
        [
            "forward_headers.request[0]: expected a header's name, or the beginning of names and a *",
            "forward_headers.request[1]: never goes to a provider",
            "forward_headers.request[2]: expected a string, found a number",
            "forward_headers.response[0]: never goes to a client",
        ]
    );
}

/// E10: a proxy, user information and the root as path; none of the secrets is printed.
#[test]
fn says_how_a_provider_is_reached() {
    let env = Env::new([("HTTPS_PROXY", "http://env:3128"), ("PASSWORD", "s3cret")], |_, _| false);
    let parsed = |text: &str| parse(text, &env);
    let text = r#"{
        "providers": [
            {"name": "a", "base_url": "https://me:${PASSWORD}@a.example/v1", "path": ""},
            {"name": "b", "base_url": "http://b.example", "proxy": "http://u:${PASSWORD}@own:8080", "path": "/x/"},
            {"name": "c", "base_url": "https://c.example", "proxy": false},
            "d|https://me:pw@d.example|"
        ]
    }"#;
    let settings = parsed(text).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let [a, b, c, d] = &settings.providers[..] else { panic!() };
    assert_eq!(a.target.base.to_string(), "https://a.example");
    assert_eq!(a.target.headers[0].0, "authorization");
    assert_eq!(a.target.headers[0].1.to_str().unwrap(), "Basic bWU6czNjcmV0");
    assert_eq!(d.target.headers[0].1.to_str().unwrap(), "Basic bWU6cHc=");
    assert!(!format!("{settings:?}").contains("czNjcmV0") && !format!("{settings:?}").contains("s3cret"));
    assert_eq!(b.target.base.to_string(), "http://b.example/x");
    let proxy = |provider: &crate::config::ProviderSettings| {
        provider.target.proxy.as_ref().map(|proxy| proxy.host.to_string())
    };
    assert_eq!(
        [a, b, c, d].map(proxy),
        [Some("env"), Some("own"), None, Some("env")].map(|p| p.map(str::to_owned))
    );
    let settings = parsed(r#"{"proxy": "all:1", "providers": ["a|https://a.example|"]}"#).unwrap();
    assert_eq!(proxy(&settings.providers[0]).as_deref(), Some("all"));
    let problems = parsed(
        r#"{"proxy": "https://p", "providers": [
            {"name": "a", "base_url": "https://u:p@h", "api_key": "k"},
            {"name": "b", "base_url": "http://h", "client_certificate": "c.pem", "path": "x"},
            {"name": "c", "base_url": "http://h", "client_key": "k.pem"}
        ]}"#,
    )
    .unwrap_err();
    let shown: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "proxy: must start with http://; other kinds of proxies are not supported",
            "providers[0].base_url: holds a user, whose header (authorization) api_key needs; set key_header, or \
             leave out one",
            "providers[1].path: must be empty, or start with a slash and hold no query",
            "providers[1].client_certificate: needs a base_url that starts with https://",
            "providers[2].client_key: needs client_certificate",
        ]
    );
}

#[test]
fn the_answer_cache_is_on_where_it_is_named() {
    assert!(!parsed("{}").cache.enabled);
    assert!(parsed(r#"{"cache": {}}"#).cache.enabled);
    let settings = parsed(
        r#"{"cache": {"enabled": false, "max_age": "5m", "max_size": "8MiB", "max_entry_size": "64KiB",
            "shared": true, "pace": "recorded", "coalesce": true},
            "models": {"a": {"cache": true, "aliases": ["b"]}, "c": {"cache": false}, "d": {}},
            "tokens": ["x|sk-x", {"description": "y", "token": "sk-y", "cache": true}]}"#,
    );
    let models = [("a", true), ("b", true), ("c", false)].map(|(name, cached)| (name.into(), cached));
    let expected = CacheSettings {
        enabled: false,
        max_age: Duration::from_secs(300),
        max_size: 8 << 20,
        max_entry_size: 64 << 10,
        shared: true,
        pace: ReplayPace::Recorded,
        coalesce: true,
        models: models.into(),
    };
    assert_eq!(settings.cache, expected);
    assert_eq!(settings.tokens.iter().map(|key| key.limits.cache).collect::<Vec<_>>(), [None, Some(true)]);
    let text =
        r#"{"cache": {"max_size": "2KiB", "pace": "slow", "share": true}, "models": {"a": {"cache": 1}}}"#;
    let found = mistakes(text, &Env::empty());
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn compression_has_four_keys() {
    let found = parsed(r#"{"compression": {"min_size": "4KiB", "level": 6, "answers": true}}"#).compression;
    let expected = CompressionSettings { enabled: true, min_size: 4096, level: 6, answers: true };
    assert_eq!(found, expected);
    let text = r#"{"compression": {"level": 10, "min_size": 0, "enabled": "yes", "answer": true}}"#;
    let found = mistakes(text, &Env::empty());
    assert_eq!(found.len(), 4, "{found:?}");
}
