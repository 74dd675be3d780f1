//! What a person sees once the gateway listens: what was found, and lines that work when they are pasted. A token made
//! for this run is shown here and nowhere else; configured ones never are.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use super::{client, summary};
use crate::{app::Process, auth::TokenSettings, config::Settings, demo};

/// Stands where a configured token would.
const YOURS: &str = "$YOUR_TOKEN";

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
    let made = gateway.made_token();
    let model = offered(settings, gateway).unwrap_or_else(|| "MODEL".to_owned());
    let base = summary::base_url(settings, port);
    out.write_all(recipes(&base, made, &model).as_bytes())?;
    out.flush()
}

/// A model that works: the demo's first, or asked of the gateway itself unless that takes TLS, or out of the settings.
fn offered(settings: &Settings, gateway: &Process) -> Option<String> {
    if gateway.is_demo() && settings.supported_models.is_empty() {
        return demo::models().into_iter().next();
    }
    let token = gateway.made_token().or_else(|| settings.tokens.first());
    let asked = match (&settings.listen.tls, gateway.addresses().first(), token) {
        (None, Some(address), Some(token)) => client::model(*address, token.token.expose()),
        (Some(_), _, _) | (_, None, _) | (_, _, None) => None,
    };
    asked
        .or_else(|| settings.providers.iter().find_map(|provider| provider.models.as_ref()?.first().cloned()))
}

/// Lines to paste.
fn recipes(base: &str, made: Option<&TokenSettings>, model: &str) -> String {
    let token = made.map_or(YOURS, |token| token.token.expose());
    let curl = curl(base, token, model);
    let keep = match made {
        Some(_) => {
            "This token was made for this run. To keep one, set API_KEY or name tokens in config.json.\n\n"
        }
        None => "",
    };
    format!(
        "Try it:\n  {curl}\n\n\
         Point an OpenAI client here:\n  export OPENAI_BASE_URL={base}\n  export OPENAI_API_KEY={token}\n\n{keep}"
    )
}

fn curl(base: &str, token: &str, model: &str) -> String {
    let model = serde_json::Value::from(model);
    let body =
        format!(r#"{{"model":{model},"stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}"#);
    // The only character that ends a single-quoted word of a shell.
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
        let made = TokenSettings::plain("this run", Secret::new("sk-made".to_owned()));
        let text = recipes("http://localhost:9000/v1", Some(&made), "demo/demo-text");
        assert!(text.contains("\n  export OPENAI_BASE_URL=http://localhost:9000/v1\n"), "{text}");
        assert!(text.contains("\n  export OPENAI_API_KEY=sk-made\n"), "{text}");
        assert!(text.contains("curl --no-buffer http://localhost:9000/v1/chat/completions"), "{text}");
        assert!(text.contains("made for this run"), "{text}");
    }

    #[test]
    fn a_configured_token_is_left_to_its_owner_and_names_are_quoted() {
        let text = recipes("https://localhost:9000/v1", None, "it's \"x\"");
        assert!(
            text.contains("Bearer $YOUR_TOKEN\"") && text.contains("OPENAI_API_KEY=$YOUR_TOKEN"),
            "{text}"
        );
        assert!(text.contains(r#""model":"it'\''s \"x\"""#), "{text}");
        assert!(!text.contains("this run"), "{text}");
    }
}
