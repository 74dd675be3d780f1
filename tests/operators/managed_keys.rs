//! `/v1/keys`, by which the page `/keys` shows and changes keys: for administrators all, for a client its
//! own.

use std::time::{Duration, Instant, SystemTime};

use http::Method;
use serde_json::{Value, json};
use thalweg::{
    auth::{KeyEditor, KeyLimits, StoredKey, TokenSettings, limit::LimitValues},
    base::Secret,
    config::Settings,
    database::{DatabaseSettings, DatabaseUrl},
};

use super::{
    sessions::{asking, code_of, got, page, signed_in, status},
    statistics::{ADMIN, plan},
};
use crate::{
    client::{Call, Client, Version, call::TOKEN},
    clients::database_keys::{Folder, stored},
    gateway::{Gateway, Plan},
    journal,
    upstream::{Speaks, Upstream, script},
};

fn posting(path: &str, cookie: &str, body: &Value) -> Call {
    let call = page(Method::POST, path).header("cookie", cookie).header("content-type", "application/json");
    Call { body: body.to_string().into(), ..call }
}

fn with(secret: &str, call: Call) -> Call {
    call.header("authorization", &format!("Bearer {secret}"))
}

/// Waits until a completion with this key gets `wanted`; fails after a second.
async fn within_a_second(client: &mut Client, secret: &str, wanted: u16) {
    let begun = Instant::now();
    while status(client, with(secret, Call::whole())).await != wanted {
        assert!(begun.elapsed() < Duration::from_secs(1), "not {wanted} after a second");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The entry of a name in a list.
fn named<'l>(list: &'l Value, name: &str) -> &'l Value {
    let found = list["data"].as_array().unwrap().iter().find(|key| key["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {list}"))
}

async fn serving(folder: &Folder) -> (Gateway, Upstream) {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let limited = TokenSettings {
        limits: KeyLimits {
            allowance: LimitValues { requests: Some(7), ..LimitValues::default() },
            ..KeyLimits::default()
        },
        ..TokenSettings::plain("limited", Secret::new("sk-limited".to_owned()))
    };
    let plan = plan(&[&upstream]).with(|settings| {
        settings.database = Some(folder.database());
        settings.tokens.push(limited);
    });
    (plan.start().await, upstream)
}

/// From making to revoking; the token is in the answer that makes it, and nowhere else.
#[tokio::test]
async fn an_administrator_makes_limits_rotates_and_revokes_a_key() {
    let folder = Folder::new();
    let (gateway, _upstream) = serving(&folder).await;
    let mut client = gateway.client(Version::H1).await;
    let admin = signed_in(&mut client, ADMIN).await;
    let body = json!({"name": "<b>alice</b>", "rpm": 5, "budget": "1.50", "models": ["m"], "expires": "30d"});
    let (status_, headers, made) = got(&mut client, posting("/v1/keys", &admin, &body)).await;
    assert_eq!((status_, &headers["cache-control"]), (200, &"no-store".parse().unwrap()), "{made}");
    let secret = made["key"].as_str().unwrap().to_owned();
    let path = format!("/v1/keys/{}", made["id"].as_str().unwrap());
    within_a_second(&mut client, &secret, 200).await;

    let (_, _, list) = got(&mut client, asking("/v1/keys", &admin)).await;
    let key = named(&list, "<b>alice</b>");
    assert_eq!(
        (&key["rpm"], &key["budget"], &key["models"]),
        (&5.into(), &1.5.into(), &json!(["m"])),
        "{key}"
    );
    assert_eq!(
        (&key["use"]["rpm"], &key["source"], &key["state"]),
        (&1.into(), &"database".into(), &"good".into())
    );
    assert!(key["key"].is_null() && key["use"]["tpm"].is_null(), "{key}");
    let limited = named(&list, "limited");
    assert_eq!((&limited["source"], &limited["rpm"]), (&"configuration".into(), &7.into()), "{limited}");
    assert_eq!((&named(&list, "admin")["state"], &list["changeable"]), (&"admin".into(), &true.into()));

    let change = posting(&path, &admin, &json!({"rpm": null, "models": ["other"]}));
    let (status_, _, changed) = got(&mut client, change).await;
    assert_eq!((status_, &changed["rpm"], &changed["budget"]), (200, &Value::Null, &1.5.into()), "{changed}");
    within_a_second(&mut client, &secret, 403).await;
    let change = posting(&path, &admin, &json!({"models": null}));
    assert_eq!(status(&mut client, change).await, 200);
    within_a_second(&mut client, &secret, 200).await;

    let rotate = posting(&format!("{path}/rotate"), &admin, &json!({"overlap": "1h"}));
    let (_, _, rotated) = got(&mut client, rotate).await;
    let next = rotated["key"].as_str().unwrap().to_owned();
    assert_ne!(next, secret);
    within_a_second(&mut client, &next, 200).await;
    within_a_second(&mut client, &secret, 200).await;
    let rotate = posting(&format!("{path}/rotate"), &admin, &json!({"prefix": rotated["prefix"]}));
    let (_, _, rotated) = got(&mut client, rotate).await;
    let last = rotated["key"].as_str().unwrap().to_owned();
    within_a_second(&mut client, &last, 200).await;
    assert_eq!(status(&mut client, with(&next, Call::whole())).await, 401, "without an overlap");

    let own = signed_in(&mut client, &last).await;
    let revoke = || page(Method::DELETE, &path).header("cookie", &admin);
    assert_eq!(status(&mut client, revoke()).await, 200);
    within_a_second(&mut client, &last, 401).await;
    assert_eq!(code_of(&mut client, asking("/v1/models", &own)).await, (401, "session_ended".to_owned()));
    assert_eq!(code_of(&mut client, revoke()).await, (404, "key_not_found".to_owned()));
    let (_, _, list) = got(&mut client, asking("/v1/keys", &admin)).await;
    assert!(list["data"].as_array().unwrap().iter().all(|key| key["source"] == "configuration"), "{list}");
    let (_, _, list) = got(&mut client, asking("/v1/keys?all=true", &admin)).await;
    assert_eq!(named(&list, "<b>alice</b>")["state"], "revoked");
    for secret in [&secret, &next, &last] {
        assert!(!list.to_string().contains(secret.as_str()) && !journal::mentions(secret));
    }
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn a_client_sees_its_own_key_and_changes_none() {
    let folder = Folder::new();
    let (gateway, _upstream) = serving(&folder).await;
    let mut client = gateway.client(Version::H1).await;
    let admin = signed_in(&mut client, ADMIN).await;
    let (_, _, made) = got(&mut client, posting("/v1/keys", &admin, &json!({"name": "bob", "rpm": 3}))).await;
    let (secret, id) = (made["key"].as_str().unwrap().to_owned(), made["id"].as_str().unwrap().to_owned());
    within_a_second(&mut client, &secret, 200).await;
    let session = signed_in(&mut client, &secret).await;
    for call in [asking("/v1/keys?all=true", &session), with(&secret, Call::get("/v1/keys"))] {
        let (status_, _, list) = got(&mut client, call).await;
        assert_eq!((status_, list["data"].as_array().unwrap().len()), (200, 1), "{list}");
        let own = named(&list, "bob");
        assert_eq!(
            (&own["use"]["rpm"], &own["rpm"], &own["source"]),
            (&1.into(), &3.into(), &"database".into())
        );
        assert_eq!(list["changeable"], false);
    }
    for call in [
        posting("/v1/keys", &session, &json!({"name": "more", "admin": true})),
        posting(&format!("/v1/keys/{id}"), &session, &json!({"rpm": null})),
        posting(&format!("/v1/keys/{id}/rotate"), &session, &json!({})),
        page(Method::DELETE, &format!("/v1/keys/{id}")).header("cookie", &session),
        with(TOKEN, Call::post("/v1/keys", r#"{"name":"more"}"#)),
    ] {
        assert_eq!(code_of(&mut client, call).await, (403, "not_an_administrator".to_owned()));
    }
    assert_eq!(status(&mut client, Call::get("/v1/keys").without("authorization")).await, 401);
    // Another page's form, with an administrator's cookie.
    let forged = posting("/v1/keys", &admin, &json!({"name": "more"})).header("sec-fetch-site", "same-site");
    assert_eq!(status(&mut client, forged).await, 401);
    let forged = page(Method::DELETE, &format!("/v1/keys/{id}")).header("cookie", &admin);
    assert_eq!(status(&mut client, forged.without("x-thalweg-page")).await, 401);
    assert_eq!(status(&mut client, with(&secret, Call::whole())).await, 200);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn mistakes_are_named() {
    let folder = Folder::new();
    let (gateway, upstream) = serving(&folder).await;
    let mut client = gateway.client(Version::H1).await;
    let post = |path: &str, body: &str| with(ADMIN, Call::post(path, body.to_owned()));
    assert_eq!(status(&mut client, post("/v1/keys", r#"{"name":"a"}"#)).await, 200);
    for (path, body, status_, code, param) in [
        ("/v1/keys", r#"{"name":"a"}"#, 409, "name_taken", Some("name")),
        ("/v1/keys", r#"{"name":"b","rpm":-1}"#, 400, "invalid_request", Some("rpm")),
        ("/v1/keys", "x", 400, "invalid_request", None),
        ("/v1/keys/key_none", r#"{"rpm":1}"#, 404, "key_not_found", None),
        ("/v1/keys/config:admin/rotate", "", 404, "key_not_found", None),
    ] {
        let (got_, _, error) = got(&mut client, post(path, body)).await;
        let error = &error["error"];
        assert_eq!(
            (got_, error["code"].as_str(), error["param"].as_str()),
            (status_, Some(code), param),
            "{body}"
        );
    }
    assert_eq!(status(&mut client, with(ADMIN, Call::get("/v1/keys/key_none"))).await, 405);
    drop(client);
    gateway.stop().await;

    let gateway = plan(&[&upstream]).start().await;
    let mut client = gateway.client(Version::H1).await;
    let (_, _, list) = got(&mut client, with(ADMIN, Call::get("/v1/keys"))).await;
    assert_eq!((&list["changeable"], list["data"].as_array().unwrap().len()), (&false.into(), 2), "{list}");
    assert_eq!(
        code_of(&mut client, post("/v1/keys", r#"{"name":"a"}"#)).await,
        (404, "no_database".to_owned())
    );
    let (_, headers, page) = {
        let answer = client.send(Call::get("/keys").without("authorization")).await;
        let headers = answer.headers.clone();
        (answer.status, headers, answer.collect().await.text())
    };
    assert!(headers["content-security-policy"].to_str().unwrap().contains("frame-ancestors 'none'"));
    assert!(page.contains("<h1>Keys</h1>"));
    drop(client);
    gateway.stop().await;
}

/// A rotation that is sent twice, by a person or a proxy, makes one token.
#[tokio::test]
async fn a_repeated_rotation_makes_no_second_token() {
    let folder = Folder::new();
    let (gateway, _upstream) = serving(&folder).await;
    let mut client = gateway.client(Version::H1).await;
    let admin = signed_in(&mut client, ADMIN).await;
    let (_, _, made) = got(&mut client, posting("/v1/keys", &admin, &json!({"name": "carol"}))).await;
    let path = format!("/v1/keys/{}/rotate", made["id"].as_str().unwrap());
    let mut token = made;
    for body in [json!({}), json!({"overlap": "1h", "prefix": null}), json!({"prefix": null})] {
        // One after a moment has to name the token in force.
        let mut body = body;
        if let Some(prefix) = body.get_mut("prefix") {
            *prefix = token["prefix"].clone();
        }
        let (status_, _, rotated) = got(&mut client, posting(&path, &admin, &body)).await;
        assert_eq!(status_, 200, "{rotated}");
        for again in [&body, &json!({}), &json!({"overlap": "1h"})] {
            let (status_, _, error) = got(&mut client, posting(&path, &admin, again)).await;
            let error = &error["error"];
            assert_eq!((status_, &error["code"]), (409, &"rotated_already".into()), "{again}: {error}");
            let prefix = rotated["prefix"].as_str().unwrap();
            assert!(error["message"].as_str().unwrap().contains(prefix), "{error}");
        }
        token = rotated;
        within_a_second(&mut client, token["key"].as_str().unwrap(), 200).await;
    }
    drop(client);
    gateway.stop().await;
}

/// Over HTTP administration cannot be closed; on the machine, by `thalweg keys revoke`, it can.
#[tokio::test]
async fn the_last_administrator_cannot_be_revoked() {
    const SECRETS: [&str; 3] = ["sk-of-the-root", "sk-of-the-deputy", "sk-of-the-past"];
    let folder = Folder::new();
    let mut editor = KeyEditor::open(&folder.database()).await.unwrap();
    for (name, secret) in ["root", "deputy", "past"].into_iter().zip(SECRETS) {
        let expires = (name == "past").then_some(SystemTime::UNIX_EPOCH);
        let limits = KeyLimits { expires, ..KeyLimits::default() };
        editor.add(&StoredKey { admin: true, ..stored(name, secret, limits) }).await.unwrap();
    }
    editor.close().await;
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let keys_alone = |settings: &mut Settings| {
        settings.database = Some(folder.database());
        settings.tokens.retain(|token| !token.admin);
    };
    let gateway = Plan::to(&[&upstream]).with(keys_alone).start().await;
    let mut client = gateway.client(Version::H1).await;
    within_a_second(&mut client, SECRETS[0], 200).await;
    let revoke = |name: &str| with(SECRETS[0], Call::new(Method::DELETE, &format!("/v1/keys/key_{name}")));
    assert_eq!(status(&mut client, revoke("deputy")).await, 200);
    let (status_, _, error) = got(&mut client, revoke("root")).await;
    assert_eq!((status_, &error["error"]["code"]), (409, &"last_administrator".into()), "{error}");
    assert!(error["error"]["message"].as_str().unwrap().contains("thalweg keys revoke"), "{error}");
    assert_eq!(status(&mut client, revoke("past")).await, 200, "an expired one is none");
    within_a_second(&mut client, SECRETS[0], 200).await;
    drop(client);
    gateway.stop().await;

    // Beside an administrator of the configuration it is not the last one.
    let gateway =
        plan(&[&upstream]).with(|settings| settings.database = Some(folder.database())).start().await;
    let mut client = gateway.client(Version::H1).await;
    within_a_second(&mut client, SECRETS[0], 200).await;
    assert_eq!(status(&mut client, revoke("root")).await, 200);
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn without_the_database_the_keys_of_the_configuration_are_listed() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let away = DatabaseSettings::new(DatabaseUrl::Sqlite("/nowhere/at/all/t.db".into()));
    let gateway = plan(&[&upstream]).with(|settings| settings.database = Some(away)).start().await;
    let mut client = gateway.client(Version::H1).await;
    let (status_, _, list) = got(&mut client, with(ADMIN, Call::get("/v1/keys"))).await;
    assert_eq!((status_, list["data"].as_array().unwrap().len()), (200, 2), "{list}");
    assert_eq!(list["unavailable"], "the database of keys does not answer", "{list}");
    assert_eq!(named(&list, "admin")["source"], "configuration");
    let make = with(ADMIN, Call::post("/v1/keys", r#"{"name":"a"}"#));
    assert_eq!(code_of(&mut client, make).await, (503, "keys_unavailable".to_owned()));
    drop(client);
    gateway.stop().await;
}

/// Names, and so ids, may be shared by keys of the configuration: each sees itself.
#[tokio::test]
async fn a_key_sees_itself_and_none_of_the_same_name() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, script::COMPLETION));
    let team = |secret: &str, requests| TokenSettings {
        limits: KeyLimits {
            allowance: LimitValues { requests: Some(requests), ..LimitValues::default() },
            ..KeyLimits::default()
        },
        ..TokenSettings::plain("team", Secret::new(secret.to_owned()))
    };
    let keys = (1..=8).map(|number| team(&format!("sk-of-team-{number}"), number));
    let gateway = plan(&[&upstream]).with(|settings| settings.tokens.extend(keys)).start().await;
    let mut client = gateway.client(Version::H1).await;
    for number in 1..=8 {
        let call = with(&format!("sk-of-team-{number}"), Call::get("/v1/keys"));
        let (_, _, list) = got(&mut client, call).await;
        assert_eq!(named(&list, "team")["rpm"], number, "{list}");
    }
    drop(client);
    gateway.stop().await;
}
