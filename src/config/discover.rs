//! Finds providers if none is configured: one for every key that is in the environment under its usual name,
//! and an Ollama that accepts connections on this machine. `OPENAI_BASE_URL` is not read on purpose: it
//! points clients to this gateway, so the gateway would call itself.

use http::{HeaderName, HeaderValue};

use super::{env::Env, provider, settings::ProviderSettings};
use crate::{
    base::Secret,
    upstream::{BaseUrl, KeyHeader, Target},
};

/// Variable, name, base URL as the provider documents it for OpenAI's API. The order is the order of
/// preference.
const KNOWN: [(&str, &str, &str); 17] = [
    ("OPENAI_API_KEY", "openai", "https://api.openai.com/v1"),
    ("ANTHROPIC_API_KEY", "anthropic", "https://api.anthropic.com/v1"),
    ("DEEPSEEK_API_KEY", "deepseek", "https://api.deepseek.com/v1"),
    ("GEMINI_API_KEY", "gemini", "https://generativelanguage.googleapis.com/v1beta/openai"),
    ("GROQ_API_KEY", "groq", "https://api.groq.com/openai/v1"),
    ("MISTRAL_API_KEY", "mistral", "https://api.mistral.ai/v1"),
    ("OPENROUTER_API_KEY", "openrouter", "https://openrouter.ai/api/v1"),
    ("TOGETHER_API_KEY", "together", "https://api.together.xyz/v1"),
    ("FIREWORKS_API_KEY", "fireworks", "https://api.fireworks.ai/inference/v1"),
    ("XAI_API_KEY", "xai", "https://api.x.ai/v1"),
    ("CEREBRAS_API_KEY", "cerebras", "https://api.cerebras.ai/v1"),
    ("DASHSCOPE_API_KEY", "dashscope", "https://dashscope.aliyuncs.com/compatible-mode/v1"),
    ("MOONSHOT_API_KEY", "moonshot", "https://api.moonshot.ai/v1"),
    ("ZAI_API_KEY", "zai", "https://api.z.ai/api/paas/v4"),
    ("ZHIPUAI_API_KEY", "zhipuai", "https://open.bigmodel.cn/api/paas/v4"),
    ("LINGYIWANWU_API_KEY", "lingyiwanwu", "https://api.lingyiwanwu.com/v1"),
    ("SILICONFLOW_API_KEY", "siliconflow", "https://api.siliconflow.cn/v1"),
];

const OLLAMA_PORT: u16 = 11434;

/// All providers found; may be empty.
#[must_use]
pub fn providers(env: &Env) -> Vec<ProviderSettings> {
    let by_key = KNOWN.iter().filter_map(|(variable, name, base)| {
        let key = provider::secret(env.variable(variable)?.to_owned()).ok()?;
        let base = BaseUrl::parse(base).ok()?;
        Some(with_key(name, base, key))
    });
    by_key.chain(ollama(env)).collect()
}

fn with_key(name: &str, base: BaseUrl, key: Secret<String>) -> ProviderSettings {
    let mut target = Target { key: Some(key), ..Target::plain(name, base) };
    if name == "anthropic" {
        target.key_header = KeyHeader::XApiKey;
        // Anthropic refuses every request without it, even the list of models.
        let version = (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
        target.headers.push(version);
    }
    ProviderSettings::plain(target)
}

/// `OLLAMA_HOST`, or Ollama's default port on this machine, if it accepts connections. `None`: it does not.
fn ollama(env: &Env) -> Option<ProviderSettings> {
    let base = ollama_base(env.variable("OLLAMA_HOST").unwrap_or_default())?;
    let found = env.listens(&base.host, base.port);
    found.then(|| ProviderSettings::plain(Target::plain("ollama", base)))
}

/// Parses Ollama's forms: `host`, `:port`, `host:port`, a URL. A wildcard address means this machine.
fn ollama_base(text: &str) -> Option<BaseUrl> {
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let (scheme, rest) = with_scheme.split_once("://")?;
    let rest = if rest.is_empty() || rest.starts_with([':', '/']) {
        format!("127.0.0.1{rest}")
    } else {
        rest.to_owned()
    };
    let mut base = BaseUrl::parse(&format!("{scheme}://{rest}")).ok()?;
    let authority = rest.split('/').next().unwrap_or_default();
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
    if !has_port && !text.contains("://") {
        base.port = OLLAMA_PORT;
    }
    match &*base.host {
        "0.0.0.0" => base.host = "127.0.0.1".into(),
        "::" => base.host = "::1".into(),
        _ => {}
    }
    Some(base)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn finds_every_known_key_and_keeps_it_to_itself() {
        let variables = KNOWN.map(|(variable, _, _)| (variable, "sk-sentinel"));
        let found = providers(&Env::new(variables, |_, _| false));
        let names: HashSet<&str> = found.iter().map(|provider| &*provider.target.name).collect();
        assert_eq!((found.len(), names.len()), (KNOWN.len(), KNOWN.len()));
        for (provider, (_, _, base)) in found.iter().zip(KNOWN) {
            assert_eq!(provider.target.base.to_string(), base);
        }
        assert!(!format!("{found:?}").contains("sentinel"));
    }

    #[test]
    fn the_page_lists_them_all() {
        let page = include_str!("../../docs/CONFIGURATION.md");
        for (variable, name, base) in KNOWN {
            assert!(page.contains(&format!("| `{variable}` | `{name}` | `{base}` |")), "{variable}");
        }
    }

    #[test]
    fn speaks_to_anthropic_as_it_wants() {
        let [provider] = &providers(&Env::new([("ANTHROPIC_API_KEY", "k")], |_, _| false))[..] else {
            panic!()
        };
        assert_eq!(provider.target.key_header, KeyHeader::XApiKey);
        assert_eq!(provider.target.headers[0].0, "anthropic-version");
    }

    #[test]
    fn finds_nothing_in_empty_surroundings_or_under_an_empty_key() {
        assert!(providers(&Env::empty()).is_empty());
        assert!(providers(&Env::new([("OPENAI_API_KEY", " ")], |_, _| false)).is_empty());
        assert!(
            providers(&Env::new([("OPENAI_BASE_URL", "http://localhost:9000/v1")], |_, _| false)).is_empty()
        );
    }

    #[test]
    fn finds_an_ollama_that_answers() {
        let [ollama] =
            &providers(&Env::new([("X", "")], |host, port| (host, port) == ("127.0.0.1", 11434)))[..]
        else {
            panic!()
        };
        assert_eq!((&*ollama.target.name, &ollama.target.key), ("ollama", &None));
    }

    #[test]
    fn reads_ollamas_forms_of_an_address() {
        for (text, base) in [
            ("", "http://127.0.0.1:11434/v1"),
            (":8080", "http://127.0.0.1:8080/v1"),
            ("0.0.0.0", "http://127.0.0.1:11434/v1"),
            ("box:1234", "http://box:1234/v1"),
            ("[::1]", "http://[::1]:11434/v1"),
            ("[::]:99", "http://[::1]:99/v1"),
            ("https://ollama.example", "https://ollama.example/v1"),
        ] {
            assert_eq!(ollama_base(text).map(|base| base.to_string()).as_deref(), Some(base), "{text}");
        }
    }
}
