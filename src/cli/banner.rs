//! The start-up lines, printed when the gateway listens: the summary of the settings, and commands to paste.
//! A token generated for this run is shown only here; configured tokens are never shown. Errors of the
//! terminal are left to the caller, because a gateway without a terminal must serve.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use super::{client, summary};
use crate::{app::Process, auth::TokenSettings, config::Settings, demo};

/// Replaces a configured token.
const TOKEN_PLACEHOLDER: &str = "$YOUR_TOKEN";

pub(super) fn show(out: &mut impl Write, settings: &Settings, gateway: &Process) -> io::Result<()> {
    let port = gateway.addresses().first().map_or(settings.listen.port, SocketAddr::port);
    let admin_port = gateway.admin_addresses().first().map(SocketAddr::port);
    let stored_admin = gateway.has_stored_admin();
    writeln!(
        out,
        "thalweg {}\n\n{}",
        env!("CARGO_PKG_VERSION"),
        summary::StartSummary { settings, port, admin_port, stored_admin }
    )?;
    out.flush()?;
    let generated = gateway.made_token();
    let model = example_model(settings, gateway).unwrap_or_else(|| "MODEL".to_owned());
    let base = summary::base_url(settings, port);
    out.write_all(commands(&base, generated, &model).as_bytes())?;
    out.flush()
}

/// The model of the example: the demo's first one, or the first in the gateway's list (not over TLS), or the
/// first in the settings. `None`: no model is known.
fn example_model(settings: &Settings, gateway: &Process) -> Option<String> {
    if gateway.is_demo() && settings.supported_models.is_empty() {
        return demo::models().into_iter().next();
    }
    let token = gateway.made_token().or_else(|| settings.tokens.first());
    let listed = match (&settings.listen.tls, gateway.addresses().first(), token) {
        (None, Some(address), Some(token)) => client::model(*address, token.token.expose()),
        (Some(_), _, _) | (_, None, _) | (_, _, None) => None,
    };
    listed
        .or_else(|| settings.providers.iter().find_map(|provider| provider.models.as_ref()?.first().cloned()))
}

/// The commands to paste.
fn commands(base: &str, generated: Option<&TokenSettings>, model: &str) -> String {
    let token = generated.map_or(TOKEN_PLACEHOLDER, |token| token.token.expose());
    let curl = curl(base, token, model);
    let keep_hint = match generated {
        Some(_) => {
            "This token was made for this run. To keep one, set API_KEY or name tokens in config.json.\n\n"
        }
        None => "",
    };
    format!(
        "Try it:\n  {curl}\n\n\
         Point an OpenAI client here:\n  export OPENAI_BASE_URL={base}\n  export OPENAI_API_KEY={token}\n\n{keep_hint}"
    )
}

fn curl(base: &str, token: &str, model: &str) -> String {
    let model = serde_json::Value::from(model);
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
    fn a_token_of_this_run_is_shown_with_lines_that_work() {
        let generated = TokenSettings::plain("this run", Secret::new("sk-made".to_owned()));
        let text = commands("http://localhost:9000/v1", Some(&generated), "demo/demo-text");
        assert!(text.contains("\n  export OPENAI_BASE_URL=http://localhost:9000/v1\n"), "{text}");
        assert!(text.contains("\n  export OPENAI_API_KEY=sk-made\n"), "{text}");
        assert!(text.contains("curl --no-buffer http://localhost:9000/v1/chat/completions"), "{text}");
        assert!(text.contains("made for this run"), "{text}");
    }

    #[test]
    fn a_configured_token_is_left_to_its_owner_and_names_are_quoted() {
        let text = commands("https://localhost:9000/v1", None, "it's \"x\"");
        assert!(
            text.contains("Bearer $YOUR_TOKEN\"") && text.contains("OPENAI_API_KEY=$YOUR_TOKEN"),
            "{text}"
        );
        assert!(text.contains(r#""model":"it'\''s \"x\"""#), "{text}");
        assert!(!text.contains("this run"), "{text}");
    }
}
