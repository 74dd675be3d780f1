//! Signing in to the pages: the cookie, the requests for which it counts, its end, and attacks on it: a
//! session given by another (fixation), requests of other origins (CSRF), guessed keys, rebound names,
//! secrets in logs.

use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::statistics::{ADMIN, plan};
use crate::{
    client::{Call, Client, Version, call::TOKEN},
    clients::database_keys::{Folder, stored},
    gateway::Gateway,
    journal,
    operators::events::next,
    upstream::{Event, Speaks, Upstream, script},
};

/// Requests as a browser sends them for a page of the gateway.
pub fn page(method: Method, path: &str) -> Call {
    Call::new(method, path)
        .without("authorization")
        .header("x-thalweg-page", "1")
        .header("sec-fetch-site", "same-origin")
}

pub fn asking(path: &str, cookie: &str) -> Call {
    page(Method::GET, path).header("cookie", cookie)
}

fn signing_in(body: &Value) -> Call {
    let call = page(Method::POST, "/session").header("content-type", "application/json");
    Call { body: body.to_string().into(), ..call }
}

/// Status, headers and document.
pub async fn got(client: &mut Client, call: Call) -> (u16, HeaderMap, Value) {
    let answer = client.send(call).await;
    let (status, headers) = (answer.status.as_u16(), answer.headers.clone());
    let bytes = answer.collect().await.bytes();
    (status, headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
}

pub async fn status(client: &mut Client, call: Call) -> u16 {
    got(client, call).await.0
}

/// The cookie that an answer sets, as it is sent back, and its attributes.
fn cookie(headers: &HeaderMap) -> (String, String) {
    let set = headers.get("set-cookie").expect("a cookie").to_str().unwrap();
    let (pair, attributes) = set.split_once("; ").unwrap();
    (pair.to_owned(), attributes.to_owned())
}

pub async fn signed_in(client: &mut Client, key: &str) -> String {
    let (status, headers, session) = got(client, signing_in(&json!({"key": key}))).await;
    assert_eq!(status, 200, "{session}");
    cookie(&headers).0
}

pub async fn code_of(client: &mut Client, call: Call) -> (u16, String) {
    let (status, _, error) = got(client, call).await;
    (status, error["error"]["code"].as_str().unwrap_or_default().to_owned())
}

/// A connection that names this host and port.
async fn naming(gateway: &Gateway, authority: &str) -> Client {
    let stream = TcpStream::connect(gateway.address).await.unwrap();
    Client::over(stream, Version::H1, authority.to_owned()).await
}

async fn serving() -> (Gateway, Upstream) {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    (plan(&[&upstream]).start().await, upstream)
}

#[tokio::test]
async fn a_page_signs_in_asks_and_signs_out() {
    let (gateway, _upstream) = serving().await;
    for version in Version::BOTH {
        let mut client = gateway.client(version).await;
        let (status_, headers, session) = got(&mut client, page(Method::GET, "/session")).await;
        assert_eq!(
            (status_, &session["signed_in"], &session["administration"]),
            (200, &false.into(), &"key".into())
        );
        assert_eq!(headers["cache-control"], "no-store");

        let (status_, headers, session) =
            got(&mut client, signing_in(&json!({"key": format!(" {ADMIN}\n")}))).await;
        assert_eq!(
            (status_, &session["admin"], &session["key"]["name"]),
            (200, &true.into(), &"admin".into())
        );
        assert_eq!(headers["cache-control"], "no-store");
        let (pair, attributes) = cookie(&headers);
        assert_eq!(attributes, "Max-Age=43200; HttpOnly; SameSite=Strict", "no path, and no TLS here");
        let (name, value) = pair.split_once('=').unwrap();
        assert_eq!(name, format!("thalweg-session-{}", gateway.address.port()));
        assert!(value.len() == 64 && !session.to_string().contains(value), "{session}");

        let (_, _, session) = got(&mut client, asking("/session", &pair)).await;
        assert_eq!((&session["signed_in"], &session["key"]["id"]), (&true.into(), &"config:admin".into()));
        assert!((43_000..=43_200).contains(&session["expires_in"].as_u64().unwrap()), "{session}");
        for path in ["/stats", "/v1/models", "/health"] {
            assert_eq!(status(&mut client, asking(path, &pair)).await, 200, "{path}");
        }
        let (_, _, health) = got(&mut client, asking("/health", &pair)).await;
        assert!(health["details"].is_array(), "{health}");
        let chat = Call { body: Call::whole().body, ..page(Method::POST, "/v1/chat/completions") };
        let others = format!("a=b; {pair}; thalweg-session-1=00");
        assert_eq!(status(&mut client, chat.header("cookie", &others)).await, 200);

        let out = page(Method::DELETE, "/session").header("cookie", &pair);
        let (status_, headers, _) = got(&mut client, out).await;
        let (gone, attributes) = cookie(&headers);
        assert_eq!((status_, gone), (200, format!("{name}=")));
        assert!(attributes.starts_with("Max-Age=0;"), "{attributes}");
        assert_eq!(code_of(&mut client, asking("/stats", &pair)).await, (401, "session_ended".to_owned()));
        let (_, _, session) = got(&mut client, asking("/session", &pair)).await;
        assert_eq!(session["signed_in"], false);
    }
    gateway.stop().await;
}

#[tokio::test]
async fn a_clients_session_sees_what_its_key_sees() {
    let (gateway, _upstream) = serving().await;
    let mut client = gateway.client(Version::H1).await;
    let pair = signed_in(&mut client, TOKEN).await;
    let (_, _, session) = got(&mut client, asking("/session", &pair)).await;
    assert_eq!((&session["admin"], &session["key"]["name"]), (&false.into(), &"tests".into()));
    assert_eq!(code_of(&mut client, asking("/stats", &pair)).await, (403, "not_an_administrator".to_owned()));
    let mut watching = gateway.client(Version::H1).await;
    let mut feed = watching.send(asking("/events", &pair)).await;
    let other = Call::whole().header("authorization", &format!("Bearer {ADMIN}"));
    assert_eq!(status(&mut client, other).await, 200);
    let own = Call { body: Call::whole().body, ..page(Method::POST, "/v1/chat/completions") };
    let own = own.header("cookie", &pair);
    let id = own.id();
    assert_eq!(status(&mut client, own).await, 200);
    let row = next(&mut feed, &mut String::new(), "row").await;
    assert_eq!((&row["request_id"], &row["principal"]), (&id.as_str().into(), &"tests".into()), "{row}");
    drop((feed, watching, client));
    gateway.stop().await;
}

/// The cookie counts for requests that pages make, if one of this origin made them, and without any key.
#[tokio::test]
async fn a_cookie_counts_for_requests_of_pages_alone() {
    let (gateway, upstream) = serving().await;
    let mut client = gateway.client(Version::H1).await;
    let pair = signed_in(&mut client, ADMIN).await;
    let origin = format!("http://{}", gateway.address);
    let with = |name, value: &str| asking("/stats", &pair).header(name, value);
    assert_eq!(status(&mut client, asking("/metrics", &pair)).await, 200, "figures link to it");
    let old_browser = asking("/stats", &pair).without("sec-fetch-site");
    assert_eq!(status(&mut client, old_browser).await, 200, "the header alone, where no browser says more");
    let old_browser = asking("/stats", &pair).without("sec-fetch-site").header("origin", &origin);
    assert_eq!(status(&mut client, old_browser).await, 200);
    let other_port =
        || asking("/stats", &pair).without("sec-fetch-site").header("origin", "http://127.0.0.1:1");
    for refused in [
        asking("/stats", &pair).without("x-thalweg-page"),
        with("sec-fetch-site", "same-site"),
        with("sec-fetch-site", "cross-site"),
        with("sec-fetch-site", "none"),
        other_port(),
    ] {
        let shown = format!("{refused:?}");
        assert_eq!(code_of(&mut client, refused).await, (401, "missing_api_key".to_owned()), "{shown}");
    }
    // A page of another origin learns nothing, and may send no cookie: no answer allows credentials.
    let (_, headers, _) = got(&mut client, other_port()).await;
    assert!(!headers.contains_key("access-control-allow-credentials"), "{headers:?}");
    let asks_first = Call::new(Method::OPTIONS, "/session").header("origin", "http://127.0.0.1:1");
    let (_, headers, _) = got(&mut client, asks_first).await;
    assert!(!headers.contains_key("access-control-allow-credentials"), "{headers:?}");

    let post = |path: &str, body: &str| {
        let call = page(Method::POST, path).header("cookie", &pair);
        Call { body: body.to_owned().into(), ..call }
    };
    for elsewhere in [
        post("/v1/embeddings", r#"{"model":"m","input":"x"}"#),
        post("/v1/messages", "{}"),
        post("/v1/chat/completions/batch", "[]"),
        post("/chat/completions", "{}"),
        post("/v1/responses", "{}"),
        asking("/v1/models/m", &pair),
    ] {
        let path = elsewhere.target.clone();
        assert_eq!(status(&mut client, elsewhere).await, 401, "{path}");
    }
    assert_eq!(upstream.log.requests(), 0);

    // A key that is shown counts, and no session beside it.
    let shown = |token: &str| with("authorization", &format!("Bearer {token}"));
    assert_eq!(code_of(&mut client, shown("sk-stranger")).await, (401, "invalid_api_key".to_owned()));
    assert_eq!(code_of(&mut client, shown(TOKEN)).await, (403, "not_an_administrator".to_owned()));
    assert_eq!(
        code_of(&mut client, with("x-api-key", TOKEN)).await,
        (403, "not_an_administrator".to_owned())
    );
    drop(client);
    gateway.stop().await;
}

/// A link of a page as a browser opens it in a tab of its own.
fn opening(path: &str, cookie: &str) -> Call {
    Call::get(path)
        .without("authorization")
        .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
        .header("sec-fetch-site", "same-origin")
        .header("sec-fetch-mode", "navigate")
        .header("sec-fetch-dest", "document")
        .header("cookie", cookie)
}

/// Queries that figures link to open in a tab with the rights of the session's key, and nothing else does.
#[tokio::test]
async fn a_link_to_a_query_opens_in_a_tab() {
    let (gateway, upstream) = serving().await;
    let mut client = gateway.client(Version::H1).await;
    let admin = signed_in(&mut client, ADMIN).await;
    let own = signed_in(&mut client, TOKEN).await;
    let queries = ["/stats?scope=cluster", "/metrics", "/health", "/v1/models"];
    for path in queries {
        for site in ["same-origin", "none"] {
            let call = opening(path, &admin).header("sec-fetch-site", site);
            assert_eq!(status(&mut client, call).await, 200, "{path} {site}");
        }
        let no_metadata = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"]
            .into_iter()
            .fold(opening(path, &admin), Call::without);
        assert_eq!(status(&mut client, no_metadata).await, 200, "{path} over plain HTTP");
    }
    let (_, headers, health) = got(&mut client, opening("/health", &own)).await;
    assert!(health["details"].is_array(), "{health}");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let refused = (403, "not_an_administrator".to_owned());
    assert_eq!(code_of(&mut client, opening("/stats", &own)).await, refused);
    let missing = (401, "missing_api_key".to_owned());
    for other in [
        opening("/stats", &admin).header("sec-fetch-site", "same-site"),
        opening("/stats", &admin).header("sec-fetch-site", "cross-site"),
        opening("/stats", &admin).header("sec-fetch-dest", "iframe"),
        opening("/stats", &admin).header("sec-fetch-dest", "script").header("sec-fetch-mode", "no-cors"),
        opening("/events", &admin),
        opening("/streaming-compare", &admin),
    ] {
        let shown = format!("{other:?}");
        assert_eq!(code_of(&mut client, other).await, missing, "{shown}");
    }
    for (method, path) in [
        (Method::POST, "/v1/reload"),
        (Method::POST, "/v1/keys"),
        (Method::POST, "/v1/keys/tests"),
        (Method::DELETE, "/v1/keys/tests"),
        (Method::POST, "/v1/chat/completions"),
    ] {
        let call = Call { method: method.clone(), body: "{}".into(), ..opening(path, &admin) };
        assert_eq!(code_of(&mut client, call).await, missing, "{method} {path}");
    }
    let out = Call { method: Method::DELETE, ..opening("/session", &admin) };
    assert_eq!(code_of(&mut client, out).await, (403, "not_same_origin".to_owned()));
    assert_eq!(upstream.log.requests(), 0);

    let out = page(Method::DELETE, "/session").header("cookie", &admin);
    assert_eq!(status(&mut client, out).await, 200);
    assert_eq!(code_of(&mut client, opening("/stats", &admin)).await, (401, "session_ended".to_owned()));
    drop(client);
    gateway.stop().await;
}

/// CSRF: neither a form nor a simple request of another page signs in, out, or reloads.
#[tokio::test]
async fn other_pages_can_neither_sign_in_nor_out() {
    let (gateway, _upstream) = serving().await;
    let mut client = gateway.client(Version::H1).await;
    let pair = signed_in(&mut client, ADMIN).await;
    let body = json!({"key": ADMIN}).to_string();
    let form = |call: Call| call.without("x-thalweg-page").header("origin", "http://evil.example");
    for site in ["cross-site", "same-site"] {
        let sign_in = Call { body: body.clone().into(), ..form(signing_in(&json!({}))) };
        let sign_in = sign_in.header("content-type", "text/plain").header("sec-fetch-site", site);
        let (status_, headers, error) = got(&mut client, sign_in).await;
        assert_eq!((status_, &error["error"]["code"]), (403, &"not_same_origin".into()));
        assert!(!headers.contains_key("set-cookie"));
        let out =
            form(page(Method::DELETE, "/session")).header("cookie", &pair).header("sec-fetch-site", site);
        assert_eq!(code_of(&mut client, out).await, (403, "not_same_origin".to_owned()));
        let reload =
            form(page(Method::POST, "/v1/reload")).header("cookie", &pair).header("sec-fetch-site", site);
        assert_eq!(code_of(&mut client, reload).await, (401, "missing_api_key".to_owned()));
    }
    assert_eq!(status(&mut client, asking("/stats", &pair)).await, 200, "it goes on");
    drop(client);
    gateway.stop().await;
}

/// Fixation: a cookie that the gateway did not make becomes none, and a sign-in ends the session before it.
#[tokio::test]
async fn a_sign_in_makes_a_new_cookie() {
    let (gateway, _upstream) = serving().await;
    let mut client = gateway.client(Version::H1).await;
    let given = format!("thalweg-session={}", "0".repeat(64));
    let key = json!({"key": ADMIN});
    let (_, headers, _) = got(&mut client, signing_in(&key).header("cookie", &given)).await;
    let (first, _) = cookie(&headers);
    assert_eq!(code_of(&mut client, asking("/stats", &given)).await, (401, "session_ended".to_owned()));
    let (_, headers, _) = got(&mut client, signing_in(&key).header("cookie", &first)).await;
    let (second, _) = cookie(&headers);
    assert_ne!(first, second);
    assert_eq!(status(&mut client, asking("/stats", &first)).await, 401);
    assert_eq!(status(&mut client, asking("/stats", &second)).await, 200);
    // The other way round: a cookie is no key.
    let value = second.split_once('=').unwrap().1;
    let shown = Call::get("/stats").header("authorization", &format!("Bearer {value}"));
    assert_eq!(status(&mut client, shown).await, 401);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn failures_are_bounded_and_lock_out_no_good_key() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let plan =
        plan(&[&upstream]).with(|settings| settings.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()]);
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let from = |address: &str, key: &str| signing_in(&json!({"key": key})).header("x-forwarded-for", address);
    for wrong in 0..10 {
        let call = from("192.0.2.1", &format!("sk-{wrong}"));
        assert_eq!(code_of(&mut client, call).await, (401, "invalid_api_key".to_owned()));
    }
    let answer = client.send(from("192.0.2.1", "sk-10")).await;
    let wait: u64 = answer.header("retry-after").parse().unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("x-thalweg-error")), (429, "too_many_sign_ins"));
    assert!((200..=300).contains(&wait), "{wait}");
    answer.collect().await;
    for _ in 0..20 {
        let good = from("192.0.2.1", ADMIN);
        assert_eq!(status(&mut client, good).await, 200, "failures of its address refuse no good key");
        assert_eq!(status(&mut client, from("192.0.2.2", ADMIN)).await, 200, "good ones do not count");
    }
    assert_eq!(status(&mut client, from("192.0.2.1", "sk-11")).await, 429, "a good one forgives no others");
    assert_eq!(status(&mut client, from("192.0.2.2", "sk-0")).await, 401);
    for body in ["", "{}", "[]", r#"{"key":1}"#, r#"{"key":"a","code":"b"}"#, r#"{"key":"a","x":1}"#] {
        let call = Call { body: body.to_owned().into(), ..signing_in(&json!({})) };
        assert_eq!(code_of(&mut client, call).await, (400, "invalid_request".to_owned()), "{body}");
    }
    let large = signing_in(&json!({"key": "x".repeat(20_000)}));
    assert_eq!(status(&mut client, large).await, 413);
    drop(client);
    let mut client = gateway.client(Version::H1).await;
    assert_eq!(status(&mut client, page(Method::PUT, "/session")).await, 405);
    drop(client);
    gateway.stop().await;
}

/// A session has no rights of its own: it ends with its key, and with it an open feed of events.
#[tokio::test]
async fn a_session_ends_with_its_key() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let folder = Folder::new();
    let mut editor = thalweg::auth::KeyEditor::open(&folder.database()).await.unwrap();
    for (name, secret) in [("boss", "sk-boss"), ("rotated", "sk-rotated"), ("short", "sk-short")] {
        let key = stored(name, secret, thalweg::auth::KeyLimits::default());
        editor.add(&thalweg::auth::StoredKey { admin: true, ..key }).await.unwrap();
    }
    let plan = plan(&[&upstream]).with(|settings| settings.database = Some(folder.database()));
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let boss = signed_in(&mut client, "sk-boss").await;
    let rotated = signed_in(&mut client, "sk-rotated").await;
    let short = signed_in(&mut client, "sk-short").await;
    let mut watching = gateway.client(Version::H1).await;
    let feed = watching.send(asking("/events", &boss)).await;
    assert_eq!(feed.status, 200);

    editor.revoke("boss", SystemTime::now()).await.unwrap();
    let new = (thalweg::auth::Digest::of(b"sk-new"), String::new());
    editor.rotate("rotated", new, SystemTime::now(), |_| true).await.unwrap();
    editor.limit("short", |limits| limits.expires = Some(SystemTime::now())).await.unwrap();
    for pair in [&boss, &rotated, &short] {
        let begun = Instant::now();
        while status(&mut client, asking("/stats", pair)).await != 401 {
            assert!(begun.elapsed() < Duration::from_secs(1), "not within a second");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(code_of(&mut client, asking("/stats", pair)).await, (401, "session_ended".to_owned()));
    }
    // The feed is checked with each frame.
    assert_eq!(status(&mut client, Call::whole()).await, 200);
    assert!(feed.collect().await.complete);
    drop((client, watching));
    editor.close().await;
    gateway.stop().await;
}

#[tokio::test]
async fn a_link_signs_in_once_and_on_this_machine_alone() {
    let (gateway, _upstream) = serving().await;
    let code = gateway.sign_in_code().expect("on loopback");
    let exchange = |code: &str| signing_in(&json!({"code": code}));
    let mut rebound = naming(&gateway, "evil.example:9000").await;
    assert_eq!(code_of(&mut rebound, exchange(&code)).await, (401, "link_used".to_owned()), "a rebound name");
    let mut client = naming(&gateway, "localhost:9000").await;
    let (status_, headers, session) = got(&mut client, exchange(&code)).await;
    assert_eq!((status_, &session["admin"]), (200, &true.into()), "{session}");
    let (pair, _) = cookie(&headers);
    assert!(pair.starts_with("thalweg-session-9000="), "{pair}");
    assert_eq!(status(&mut client, asking("/stats", &pair)).await, 200);
    assert_eq!(code_of(&mut client, exchange(&code)).await, (401, "link_used".to_owned()));
    assert_eq!(code_of(&mut client, exchange("")).await, (401, "link_used".to_owned()));
    let shown = Call::get("/stats").header("authorization", &format!("Bearer {code}"));
    assert_eq!(status(&mut client, shown).await, 401);
    assert!(!journal::mentions(&code));
    drop((client, rebound));
    gateway.stop().await;
}

#[tokio::test]
async fn a_cookie_is_for_tls_where_the_browser_speaks_it() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{}"));
    for trusts in [false, true] {
        let plan = plan(&[&upstream]).with(|settings| {
            settings.trusted_proxies = if trusts { vec!["127.0.0.0/8".parse().unwrap()] } else { Vec::new() };
        });
        let gateway = plan.start().await;
        let mut client = naming(&gateway, "gw.example").await;
        let mut secure = async |name: &'static str, value: &str| {
            let call = signing_in(&json!({"key": ADMIN})).header(name, value);
            let (_, headers, _) = got(&mut client, call).await;
            let (pair, attributes) = cookie(&headers);
            assert!(pair.starts_with("thalweg-session="), "{pair}");
            attributes.ends_with("; Secure")
        };
        assert!(!secure("accept", "*/*").await);
        assert!(!secure("origin", "http://gw.example").await);
        assert!(secure("origin", "https://gw.example").await);
        assert!(!secure("x-forwarded-proto", "http").await);
        assert_eq!(secure("x-forwarded-proto", "https").await, trusts);
        drop(client);
        gateway.stop().await;
    }
}

/// Neither log nor provider sees a key, a cookie or a page's header; a name with markup stays text.
#[tokio::test]
async fn secrets_go_nowhere() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let secret = "sk-of-the-secrets-test";
    let name = "<img src=x onerror=alert(1)>\"";
    let plan = plan(&[&upstream]).with(|settings| {
        let token = thalweg::base::Secret::new(secret.to_owned());
        settings.tokens.push(thalweg::auth::TokenSettings::plain(name, token));
    });
    let gateway = plan.start().await;
    let mut client = gateway.client(Version::H1).await;
    let (_, headers, session) = got(&mut client, signing_in(&json!({"key": secret}))).await;
    assert_eq!(
        (&headers["content-type"], session["key"]["name"].as_str()),
        (&"application/json".parse().unwrap(), Some(name))
    );
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let (pair, _) = cookie(&headers);
    let chat = Call { body: Call::whole().body, ..page(Method::POST, "/v1/chat/completions") };
    assert_eq!(status(&mut client, chat.header("cookie", &pair)).await, 200);
    let strange = signing_in(&json!({"key": "sk-of-the-secrets-test-wrong"}));
    assert_eq!(status(&mut client, strange).await, 401);
    let sent = |events: &[Event]| {
        events.iter().find_map(|event| match event {
            Event::Request(seen) => Some(format!("{:?}", seen.headers)),
            _ => None,
        })
    };
    let sent = upstream.log.wait_for("a request", sent).await.to_ascii_lowercase();
    let value = pair.split_once('=').unwrap().1;
    for absent in ["cookie", "x-thalweg-page", value] {
        assert!(!sent.contains(absent), "{absent}: {sent}");
    }
    drop(client);
    gateway.stop().await;
    for absent in [secret, value] {
        assert!(!journal::mentions(absent), "{absent}");
    }
}

/// A comparison of a session asks the gateway itself with that session.
#[tokio::test]
async fn a_session_compares() {
    let upstream = Upstream::always(Speaks::H1, script::sse(script::short_stream()));
    let gateway = plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let pair = signed_in(&mut client, TOKEN).await;
    let path = "/streaming-compare?model=m&repeats=1";
    let (status_, _, report) = got(&mut client, asking(path, &pair)).await;
    assert_eq!(status_, 200, "{report}");
    let works = report["legs"].as_array().unwrap().iter().filter(|leg| leg["works"] == true);
    assert!(works.count() >= 5, "{report}");
    assert_eq!(status(&mut client, asking(path, &pair).without("x-thalweg-page")).await, 401);
    drop(client);
    gateway.stop().await;
}

/// On the operators' listener without an administrator's key pages need no session; rebound names and other
/// origins have none of it.
#[tokio::test]
async fn an_open_listener_needs_no_session() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let plan = crate::gateway::Plan::to(&[&upstream]).with(|settings| {
        let listen = thalweg::server::Listen { host: "127.0.0.1".into(), port: 0, tls: None };
        settings.admin_listen = Some(listen);
    });
    let gateway = plan.start().await;
    let address = gateway.admin_address();
    let connect = async |authority: String| {
        let stream = TcpStream::connect(address).await.unwrap();
        Client::over(stream, Version::H1, authority).await
    };
    let mut client = connect(address.to_string()).await;
    let (_, _, session) = got(&mut client, page(Method::GET, "/session")).await;
    assert_eq!(session, json!({"signed_in": true, "key": null, "admin": true, "administration": "open"}));
    let origin = format!("http://{address}");
    assert_eq!(status(&mut client, page(Method::GET, "/stats")).await, 200);
    // There is nothing to load again, but an operator may ask.
    let reload = || page(Method::POST, "/v1/reload");
    assert_eq!(status(&mut client, reload().header("origin", &origin)).await, 400);
    let other = reload().header("origin", "http://127.0.0.1:1").header("sec-fetch-site", "same-site");
    assert_eq!(status(&mut client, other).await, 403);
    let mut rebound = connect("evil.example:9001".to_owned()).await;
    let (_, _, session) = got(&mut rebound, page(Method::GET, "/session")).await;
    assert_eq!(session["signed_in"], false, "{session}");
    assert_eq!(status(&mut rebound, page(Method::GET, "/stats")).await, 403);
    let mut public = gateway.client(Version::H1).await;
    let (_, _, session) = got(&mut public, page(Method::GET, "/session")).await;
    assert_eq!((&session["signed_in"], &session["administration"]), (&false.into(), &"elsewhere".into()));
    drop((client, rebound, public));
    gateway.stop().await;
}

/// A page says how to make an administrator's key where there is none.
#[tokio::test]
async fn a_page_learns_that_there_is_no_administrators_key() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let gateway = crate::gateway::Plan::to(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let (_, _, session) = got(&mut client, page(Method::GET, "/session")).await;
    assert_eq!(session["administration"], "closed");
    let code = gateway.sign_in_code().expect("the only key");
    let (_, _, session) = got(&mut client, signing_in(&json!({"code": code}))).await;
    assert_eq!((&session["admin"], &session["key"]["name"]), (&false.into(), &"tests".into()));
    drop(client);
    gateway.stop().await;
}
