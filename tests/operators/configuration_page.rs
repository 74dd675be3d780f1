//! `/v1/configuration`, by which the page `/configuration` shows the configuration in force: without secrets,
//! with the last reload, for administrators.

use std::fs;

use http::Method;
use serde_json::{Value, json};

use super::{
    reload::{ADMIN, File},
    sessions::{asking, code_of, got, page, signed_in, status},
};
use crate::{
    client::{Call, Version, call::TOKEN},
    gateway::Plan,
    upstream::{Speaks, Upstream, script},
};

fn config(upstream: &Upstream) -> Value {
    json!({
        "providers": [
            {"name": "p0", "base_url": upstream.base(), "protocol": "http1", "models": ["m"], "api_key": "sk-of-p0"},
            "p1|http://127.0.0.1:1/v1|sk-of-p1",
        ],
        "tokens": [format!("tests|{TOKEN}"), {"description": "admin", "token": ADMIN, "admin": true}],
        "state_file": false,
        "health": {"interval": 0, "precheck": 0, "warmup": 0},
        "watch": false,
    })
}

#[tokio::test]
async fn the_configuration_in_force_is_shown_without_secrets() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let file = File::new(&config(&upstream));
    let gateway = Plan::file(&file.0).start().await;
    let mut client = gateway.client(Version::H1).await;
    let admin = signed_in(&mut client, ADMIN).await;
    let (status_, headers, shown) = got(&mut client, asking("/v1/configuration", &admin)).await;
    assert_eq!((status_, &headers["cache-control"]), (200, &"no-store".parse().unwrap()), "{shown}");
    for secret in [TOKEN, ADMIN, "sk-of-p0", "sk-of-p1"] {
        assert!(!shown.to_string().contains(secret), "{secret}: {shown}");
    }
    let file_ = &shown["configuration"];
    assert_eq!(file_["providers"][0]["api_key"], "***", "{shown}");
    assert_eq!(file_["providers"][1], "p1|http://127.0.0.1:1/v1|***", "{shown}");
    assert_eq!(
        file_["tokens"],
        json!(["tests|***", {"description": "admin", "token": "***", "admin": true}])
    );
    assert_eq!(
        (&shown["in_force"]["providers"], &shown["last_reload"]),
        (&json!(["p0", "p1"]), &Value::Null)
    );
    assert_eq!(
        (&shown["reloadable"], &shown["watched"], &shown["generation"]),
        (&true.into(), &false.into(), &0.into())
    );

    // A reload that fails shows its mistakes, and leaves the configuration in force as it is.
    let mut wrong = config(&upstream);
    wrong["prot"] = 1.into();
    wrong["failover"] = false.into();
    file.write(wrong.to_string());
    let reload = |check: bool| {
        let path = if check { "/v1/reload?check=true" } else { "/v1/reload" };
        page(Method::POST, path).header("cookie", &admin)
    };
    let (status_, _, error) = got(&mut client, reload(true)).await;
    assert_eq!((status_, &error["error"]["errors"][0]["path"]), (400, &"prot".into()));
    let (_, _, shown) = got(&mut client, asking("/v1/configuration", &admin)).await;
    assert_eq!(shown["last_reload"], Value::Null, "a check is no reload");
    assert_eq!(status(&mut client, reload(false)).await, 400);
    let (_, _, shown) = got(&mut client, asking("/v1/configuration", &admin)).await;
    let last = &shown["last_reload"];
    assert_eq!((&last["by"], &last["errors"][0]["path"]), (&"request".into(), &"prot".into()), "{shown}");
    assert!(last["at"].as_str().unwrap().ends_with('Z') && shown["configuration"]["failover"].is_null());

    wrong.as_object_mut().unwrap().remove("prot");
    file.write(wrong.to_string());
    assert_eq!(status(&mut client, reload(false)).await, 200);
    let (_, _, shown) = got(&mut client, asking("/v1/configuration", &admin)).await;
    assert_eq!(shown["last_reload"]["changes"]["settings"], json!(["failover"]), "{shown}");
    assert_eq!(
        (&shown["configuration"]["failover"], &shown["generation"]),
        (&false.into(), &1.into()),
        "{shown}"
    );
    fs::remove_file(&file.0).unwrap();
    assert_eq!(status(&mut client, reload(false)).await, 400);
    let (_, _, shown) = got(&mut client, asking("/v1/configuration", &admin)).await;
    assert!(shown["last_reload"]["message"].as_str().unwrap().starts_with("cannot read "), "{shown}");
    drop(client);
    gateway.stop().await;
}

#[tokio::test]
async fn only_an_administrator_sees_the_configuration() {
    let upstream = Upstream::always(Speaks::H1, script::json(200, "{}"));
    let file = File::new(&config(&upstream));
    let gateway = Plan::file(&file.0).start().await;
    let mut client = gateway.client(Version::H1).await;
    let session = signed_in(&mut client, TOKEN).await;
    let refused = (403, "not_an_administrator".to_owned());
    assert_eq!(code_of(&mut client, asking("/v1/configuration", &session)).await, refused);
    assert_eq!(code_of(&mut client, Call::get("/v1/configuration")).await, refused);
    let none = Call::get("/v1/configuration").without("authorization");
    assert_eq!(code_of(&mut client, none).await, (401, "missing_api_key".to_owned()));
    let admin = signed_in(&mut client, ADMIN).await;
    let other = asking("/v1/configuration", &admin).header("sec-fetch-site", "cross-site");
    assert_eq!(status(&mut client, other).await, 401);
    let own_page = Call::get("/configuration").without("authorization");
    assert_eq!(status(&mut client, own_page).await, 200);
    drop(client);
    gateway.stop().await;
}
