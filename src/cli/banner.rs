//! The start-up lines, printed when the gateway listens: the summary of the settings, and commands to paste.
//! A token generated for this run is shown only here; configured tokens are never shown. With a log in JSON
//! they are one object, so that a reader of both streams finds nothing but JSON. Errors of the terminal are
//! left to the caller, because a gateway without a terminal must serve.

use std::{
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    time::SystemTime,
};

use serde_json::{Map, Value, json};

use super::summary;
use crate::{
    app::{Process, StartReport},
    auth::TokenSettings,
    base::time::Rfc3339,
    config::Settings,
    demo,
    telemetry::LogFormat,
};

/// Replaces a configured token.
const TOKEN_PLACEHOLDER: &str = "$YOUR_TOKEN";

/// Replaces a model when no provider has listed one.
const MODEL_PLACEHOLDER: &str = "MODEL";

/// Parts of the names of models without chat.
const NO_CHAT: [&str; 9] =
    ["embed", "whisper", "tts", "audio", "image", "dall-e", "moderation", "realtime", "rerank"];

pub(super) fn show(out: &mut impl Write, settings: &Settings, gateway: &Process) -> io::Result<()> {
    let report = gateway.start_report();
    match settings.log.format {
        LogFormat::Human => show_text(out, settings, gateway, &report)?,
        LogFormat::Json => writeln!(out, "{}", object(settings, gateway, &report))?,
    }
    out.flush()
}

fn show_text(
    out: &mut impl Write,
    settings: &Settings,
    gateway: &Process,
    report: &StartReport,
) -> io::Result<()> {
    let summary = summary::StartSummary {
        settings,
        addresses: gateway.addresses(),
        admin_port: gateway.admin_addresses().first().map(SocketAddr::port),
        stored_admin: gateway.has_stored_admin(),
        database_refusal: gateway.database_refusal(),
        down: &report.down,
    };
    writeln!(out, "thalweg {}\n\n{summary}", env!("CARGO_PKG_VERSION"))?;
    let model = example_model(settings, gateway, report);
    let base = summary::base_url(settings, gateway.addresses());
    // Lines that are not read as they come are kept, as a service's are; a made token is among them anyway.
    let is_read = gateway.made_token().is_some() || io::stdout().is_terminal();
    let code = is_read.then(|| gateway.sign_in_code()).flatten();
    let code = code.as_ref().map(|code| code.expose().as_str());
    let model_name = model.as_deref().unwrap_or(MODEL_PLACEHOLDER);
    let text = commands(&base, (gateway.made_token(), code), model_name);
    out.write_all(text.as_bytes())?;
    if model.is_none() {
        writeln!(
            out,
            "No provider has listed a model yet: put a model's name in the place of {MODEL_PLACEHOLDER}.\n"
        )?;
    }
    Ok(())
}

/// The same as one line of a log in JSON.
fn object(settings: &Settings, gateway: &Process, report: &StartReport) -> Value {
    let names: Vec<&str> = settings.providers.iter().map(|provider| &*provider.target.name).collect();
    let down: Map<String, Value> = report
        .down
        .iter()
        .map(|failure| (failure.provider.to_string(), failure.reason.clone().into()))
        .collect();
    let mut object = json!({
        "timestamp": Rfc3339(SystemTime::now()).to_string(),
        "level": "INFO",
        "message": "listening",
        "version": env!("CARGO_PKG_VERSION"),
        "instance": gateway.instance(),
        "url": summary::base_url(settings, gateway.addresses()),
        "addresses": gateway.addresses(),
        "admin_addresses": gateway.admin_addresses(),
        "workers": settings.workers,
        "config": settings.file,
        "providers": if gateway.is_demo() { vec!["demo"] } else { names },
        "down": down,
        "tokens": settings.tokens.iter().map(|token| &token.description).collect::<Vec<_>>(),
        "database_refusal": gateway.database_refusal(),
        "database": settings.database.as_ref().map(|database| database.url.to_string()),
        "limits_in": settings.redis.as_ref().and_then(|redis| redis.limits.as_ref()).map(ToString::to_string),
        "notes": settings.notes,
    });
    if let (Some(token), Some(object)) = (gateway.made_token(), object.as_object_mut()) {
        object.insert("made_token".to_owned(), token.token.expose().as_str().into());
    }
    object
}

/// The model of the example: the demo's first one, or the first with chat that is offered, or else the first.
/// `None`: no model is known.
fn example_model(settings: &Settings, gateway: &Process, report: &StartReport) -> Option<String> {
    if gateway.is_demo() && settings.supported_models.is_empty() {
        return demo::models().into_iter().next();
    }
    chat_model(&report.models)
}

fn chat_model(models: &[String]) -> Option<String> {
    let chats = |name: &&String| !NO_CHAT.iter().any(|part| name.to_ascii_lowercase().contains(part));
    models.iter().find(chats).or_else(|| models.first()).cloned()
}

/// The commands to paste. `code` signs a browser in.
fn commands(base: &str, (generated, code): (Option<&TokenSettings>, Option<&str>), model: &str) -> String {
    let token = generated.map_or(TOKEN_PLACEHOLDER, |token| token.token.expose());
    let curl = curl(base, token, model);
    let keep_hint = match generated {
        Some(_) => {
            "This token was made for this run. To keep one, set API_KEY or name tokens in config.json.\n\n"
        }
        None => "",
    };
    let page = base.strip_suffix("v1").unwrap_or(base);
    // What stands behind the `#` is in no request.
    let page = match code {
        Some(code) => format!("{page}#code={code}\n  (this link signs in once, within ten minutes)"),
        None => page.to_owned(),
    };
    format!(
        "Look at it in a browser:\n  {page}\n\nTry it:\n  {curl}\n\n\
         Point an OpenAI client here:\n  export OPENAI_BASE_URL={base}\n  export OPENAI_API_KEY={token}\n\n{keep_hint}"
    )
}

fn curl(base: &str, token: &str, model: &str) -> String {
    let model = Value::from(model);
    let body =
        format!(r#"{{"model":{model},"stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}"#);
    // A single quote is the only character that ends a single-quoted word in a shell.
    let body = body.replace('\'', r"'\''");
    format!(
        "curl --no-buffer {base}/chat/completions -H \"Authorization: Bearer {token}\" \
         -H 'Content-Type: application/json' -d '{body}'"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Secret;

    #[test]
    fn the_example_asks_a_model_that_chats() {
        let model =
            |names: &[&str]| chat_model(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(model(&["embed-1", "chat", "other"]).as_deref(), Some("chat"));
        assert_eq!(model(&["Text-Embedding"]).as_deref(), Some("Text-Embedding"));
        assert_eq!(model(&[]), None);
    }

    #[test]
    fn a_token_of_this_run_is_shown_with_lines_that_work() {
        let generated = TokenSettings::plain("this run", Secret::new("sk-made".to_owned()));
        let text = commands("http://localhost:9000/v1", (Some(&generated), Some("c0de")), "demo/demo-text");
        assert!(text.contains("\n  export OPENAI_BASE_URL=http://localhost:9000/v1\n"), "{text}");
        assert!(text.contains("\n  export OPENAI_API_KEY=sk-made\n"), "{text}");
        assert!(text.contains("curl --no-buffer http://localhost:9000/v1/chat/completions"), "{text}");
        assert!(text.contains("made for this run"), "{text}");
        assert!(text.contains("\n  http://localhost:9000/#code=c0de\n"), "{text}");
    }

    #[test]
    fn a_configured_token_is_left_to_its_owner_and_names_are_quoted() {
        let text = commands("https://localhost:9000/v1", (None, None), "it's \"x\"");
        assert!(
            text.contains("Bearer $YOUR_TOKEN\"") && text.contains("OPENAI_API_KEY=$YOUR_TOKEN"),
            "{text}"
        );
        assert!(text.contains(r#""model":"it'\''s \"x\"""#), "{text}");
        assert!(!text.contains("this run"), "{text}");
        assert!(text.contains("\n  https://localhost:9000/\n"), "{text}");
    }
}
