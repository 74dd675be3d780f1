//! Finds providers if none is configured: one for every key that is in the environment under its usual name,
//! and an Ollama that accepts connections on this machine. A client's variables are found there, too, because
//! the start-up lines say to set them: a token of a thalweg, and a base URL that is this gateway, make no
//! provider, so that the gateway neither sends its token to a third party nor calls itself.

use http::{HeaderName, HeaderValue};

use super::{
    administration::is_loopback,
    env::Env,
    http_proxy::ProxyChoice,
    provider,
    settings::{ProviderSettings, Settings},
};
use crate::{
    auth::generate,
    base::Secret,
    server::Listen,
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

/// The variables by which client libraries find another address than the provider's own, by provider.
const BASE_VARIABLES: [(&str, &str); 4] = [
    ("openai", "OPENAI_BASE_URL"),
    ("openai", "OPENAI_API_BASE"),
    ("anthropic", "ANTHROPIC_BASE_URL"),
    (GEMINI, "GOOGLE_GEMINI_BASE_URL"),
];
/// Its variable names the root of Gemini's own API, which no other server has for certain.
const GEMINI: &str = "gemini";

const OLLAMA_PORT: u16 = 11434;

/// The providers found, and the keys that were found and make none.
#[derive(Debug, Default)]
pub struct Discovery {
    pub providers: Vec<ProviderSettings>,
    /// A line for each key that is not used, with the reason.
    pub notes: Vec<String>,
}

/// All providers found; there may be none. `settings`: those in force, with their tokens and address.
#[must_use]
pub fn providers(env: &Env, settings: &Settings) -> Discovery {
    let mut found = Discovery::default();
    for (variable, name, base) in KNOWN {
        let Some(key) = env.variable(variable).and_then(|key| provider::secret(key.to_owned()).ok()) else {
            continue;
        };
        match base_of(name, base, env, settings) {
            _ if is_own_token(&key, settings) => {
                found
                    .notes
                    .push(format!("{variable} holds a token of thalweg itself: no provider is made of it"));
            }
            Err(reason) => found.notes.push(format!("{variable} makes no provider: {reason}")),
            Ok(base) => found.providers.push(with_key(name, base, key)),
        }
    }
    found.providers.extend(ollama(env, &settings.listen));
    for provider in &mut found.providers {
        match ProxyChoice::Environment.server(&provider.target.base, env) {
            Ok(proxy) => provider.target.proxy = proxy,
            Err(problem) => {
                found.notes.push(format!("{problem}; {} is reached without it", provider.target.name))
            }
        }
    }
    found
}

/// The form tells the tokens of earlier runs, and those of the database.
fn is_own_token(key: &Secret<String>, settings: &Settings) -> bool {
    generate::is_made(key.expose()) || settings.tokens.iter().any(|token| token.token == *key)
}

/// The address that a key belongs to: a client's library would send it there, and so must thalweg.
///
/// # Errors
/// Why there is none.
fn base_of(name: &str, known: &str, env: &Env, settings: &Settings) -> Result<BaseUrl, String> {
    let variables = BASE_VARIABLES.iter().filter(|(provider, _)| *provider == name);
    let given = variables.filter_map(|(_, variable)| Some((variable, env.variable(variable)?))).next();
    let usual = || BaseUrl::parse(known).map_err(|_| "its address is not known".to_owned());
    let Some((variable, text)) = given else { return usual() };
    let base = BaseUrl::parse(text).map_err(|_| format!("{variable} beside it is no base URL"))?;
    if is_own(&base, &settings.listen, env) {
        return Err(format!("{variable} beside it is the address of this gateway"));
    }
    if name == GEMINI {
        let usual = usual()?;
        let is_usual = base.host == usual.host;
        return if is_usual { Ok(usual) } else { Err(format!("{variable} beside it names another address")) };
    }
    provider::base_without_user(text).map_err(|mistake| {
        let meant = mistake.suggestion.map(|meant| format!("; did you mean {meant}?")).unwrap_or_default();
        format!("{variable} beside it {}{meant}", mistake.message)
    })
}

/// Whether a client on this machine reaches this gateway by that URL.
pub(super) fn is_own(base: &BaseUrl, listen: &Listen, env: &Env) -> bool {
    let asked = Listen { host: base.host.to_string(), port: base.port, tls: None };
    let is_wildcard = |host: &str| matches!(host, "0.0.0.0" | "::");
    let is_here = is_loopback(&asked)
        || is_wildcard(&asked.host)
        || (is_wildcard(&listen.host) && env.is_own_name(&asked.host));
    let is_local = is_loopback(listen) || is_wildcard(&listen.host);
    base.port == listen.port && ((is_here && is_local) || asked.host.eq_ignore_ascii_case(&listen.host))
}

fn with_key(name: &str, base: BaseUrl, key: Secret<String>) -> ProviderSettings {
    let mut target = Target { key: Some(key), ..Target::plain(name, base) };
    if name == "anthropic" {
        target.key_header = KeyHeader::XApiKey;
        // Anthropic refuses every request without it, even the list of models.
        let version = (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
        target.headers.push(version);
    }
    ProviderSettings::plain(target).with_gemini()
}

/// `OLLAMA_HOST`, or Ollama's default port on this machine, if it accepts connections. `None`: it does not.
fn ollama(env: &Env, listen: &Listen) -> Option<ProviderSettings> {
    let base = ollama_base(env.variable("OLLAMA_HOST").unwrap_or_default())?;
    // The gateway that runs would answer a reload's question itself.
    let found = !is_own(&base, listen, env) && env.listens(&base.host, base.port);
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
    use crate::auth::TokenSettings;

    fn found(env: &Env) -> Vec<ProviderSettings> {
        providers(env, &Settings::default()).providers
    }

    #[test]
    fn finds_every_known_key_and_keeps_it_to_itself() {
        let variables = KNOWN.map(|(variable, _, _)| (variable, "sk-sentinel"));
        let found = found(&Env::new(variables, |_, _| false));
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
        let [provider] = &found(&Env::new([("ANTHROPIC_API_KEY", "k")], |_, _| false))[..] else { panic!() };
        assert_eq!(provider.target.key_header, KeyHeader::XApiKey);
        assert_eq!(provider.target.headers[0].0, "anthropic-version");
    }

    #[test]
    fn finds_nothing_in_empty_surroundings_or_under_an_empty_key() {
        assert!(found(&Env::empty()).is_empty());
        assert!(found(&Env::new([("OPENAI_API_KEY", " ")], |_, _| false)).is_empty());
        assert!(found(&Env::new([("OPENAI_BASE_URL", "http://localhost:9000/v1")], |_, _| false)).is_empty());
    }

    /// CASES F3: the variables that the start-up lines say to set are found by the next start.
    #[test]
    fn a_clients_variables_make_no_provider() {
        let own = Settings {
            tokens: vec![TokenSettings::plain("a", Secret::new("sk-own".to_owned()))],
            ..Settings::default()
        };
        let notes = |variables: &[(&str, &str)]| {
            let found = providers(&Env::new(variables.iter().copied(), |_, _| false), &own);
            let bases: Vec<String> =
                found.providers.iter().map(|provider| provider.target.base.to_string()).collect();
            assert!(!format!("{found:?}").contains("sk-"), "{found:?}");
            (bases, found.notes)
        };
        let token = "holds a token of thalweg itself: no provider is made of it";
        for variable in ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "DEEPSEEK_API_KEY"] {
            for key in ["sk-thalweg-df93eb34127cc4c3df93eb34127cc4c3", "sk-own"] {
                assert_eq!(notes(&[(variable, key)]), (vec![], vec![format!("{variable} {token}")]));
            }
        }
        for url in [
            "http://localhost:9000/v1",
            "http://127.0.0.1:9000",
            "http://[::1]:9000/v1",
            "http://0.0.0.0:9000",
        ] {
            let (bases, notes) = notes(&[("OPENAI_API_KEY", "sk-x"), ("OPENAI_BASE_URL", url)]);
            assert!(
                bases.is_empty()
                    && notes[0].ends_with("OPENAI_BASE_URL beside it is the address of this gateway")
            );
        }
        let (bases, _) =
            notes(&[("ANTHROPIC_API_KEY", "sk-x"), ("ANTHROPIC_BASE_URL", "http://localhost:9000")]);
        assert!(bases.is_empty());
        let (bases, _) = notes(&[("OPENAI_API_KEY", "sk-x"), ("OPENAI_API_BASE", "nonsense")]);
        assert!(bases.is_empty());
        // A key goes to the address that a client's library would send it to, and to no other.
        let elsewhere = "http://localhost:8080/v1";
        assert_eq!(notes(&[("OPENAI_API_KEY", "sk-x"), ("OPENAI_BASE_URL", elsewhere)]).0, [elsewhere]);
        // The root of Gemini's own API, as Google's clients have it.
        for (url, found) in [
            ("http://localhost:9000", None),
            ("http://elsewhere.example", None),
            (
                "https://generativelanguage.googleapis.com",
                Some("https://generativelanguage.googleapis.com/v1beta/openai"),
            ),
        ] {
            let (bases, notes) = notes(&[("GEMINI_API_KEY", "AIza-x"), ("GOOGLE_GEMINI_BASE_URL", url)]);
            assert_eq!(
                (bases.first().map(String::as_str), notes.len()),
                (found, usize::from(found.is_none()))
            );
        }
        let full = "https://api.example/v1/chat/completions";
        let (bases, notes_of) = notes(&[("OPENAI_API_KEY", "sk-x"), ("OPENAI_BASE_URL", full)]);
        assert!(bases.is_empty());
        assert!(notes_of[0].contains("/chat/completions, which thalweg adds by itself"), "{notes_of:?}");
        assert!(notes_of[0].ends_with("did you mean https://api.example/v1?"), "{notes_of:?}");
        // Another provider's key is not concerned.
        let (bases, _) = notes(&[("GROQ_API_KEY", "sk-x"), ("OPENAI_BASE_URL", "http://localhost:9000/v1")]);
        assert_eq!(bases, ["https://api.groq.com/openai/v1"]);
    }

    /// A reload is asked while the gateway listens.
    #[test]
    fn the_gateway_itself_is_no_ollama() {
        let mut settings = Settings::default();
        let found = |settings: &Settings, variables: &[(&str, &str)]| {
            providers(&Env::new(variables.iter().copied(), |_, _| true), settings).providers.len()
        };
        assert_eq!(found(&settings, &[]), 1);
        assert_eq!(found(&settings, &[("OLLAMA_HOST", "localhost:9000")]), 0);
        settings.listen.port = OLLAMA_PORT;
        assert_eq!(found(&settings, &[]), 0);
    }

    /// F6: a client's full address, or half of one, is no base URL.
    #[test]
    fn endpoints_are_no_part_of_a_base_url() {
        for (text, endpoint) in [
            ("https://h/v1/chat/completions", Some("/chat/completions")),
            ("https://h/v1/chat", Some("/chat")),
            ("https://h/v1/rerank", Some("/rerank")),
            ("https://h/v2/Rerank", Some("/rerank")),
            ("https://h/v1/images/edits", Some("/images/edits")),
            ("https://h/chat", None),
            ("https://h/chat/v1", None),
        ] {
            let message = provider::base_without_user(text).err().map(|mistake| mistake.message);
            let expected =
                endpoint.map(|path| format!("ends in the endpoint {path}, which thalweg adds by itself"));
            assert_eq!(message, expected, "{text}");
        }
    }

    /// F3: where every address is listened on, the host's own name is one of them.
    #[test]
    fn the_hosts_own_name_is_this_gateway() {
        let env = Env::empty().on_host("box");
        let listen = |host: &str| Listen { host: host.to_owned(), port: 9000, tls: None };
        for (base, host, is) in [
            ("http://box:9000/v1", "0.0.0.0", true),
            ("http://BOX:9000/v1", "::", true),
            ("http://box:9001/v1", "0.0.0.0", false),
            ("http://box.example:9000/v1", "0.0.0.0", false),
            ("http://box:9000/v1", "127.0.0.1", false),
        ] {
            assert_eq!(is_own(&BaseUrl::parse(base).unwrap(), &listen(host), &env), is, "{base} {host}");
        }
        let nameless = BaseUrl::parse("http://box:9000/v1").unwrap();
        assert!(!is_own(&nameless, &listen("0.0.0.0"), &Env::empty()));
    }

    #[test]
    fn finds_an_ollama_that_answers() {
        let [ollama] = &found(&Env::new([("X", "")], |host, port| (host, port) == ("127.0.0.1", 11434)))[..]
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
