//! A summary of the settings in a few aligned lines. Shows no key and no token, only whether there is one.
//! The same text serves `thalweg check`, before anything listens, and the start-up lines. It reads the
//! settings only and starts nothing.

use std::{fmt, net::SocketAddr};

use crate::{
    app::start_report::ProviderFailure,
    base::Endpoint,
    config::{ProviderSettings, Settings, administration::is_loopback},
};

/// Models of one provider that are named; the others are counted.
const MAX_NAMED_MODELS: usize = 4;

pub(super) struct StartSummary<'a> {
    pub(super) settings: &'a Settings,
    /// The addresses that are listened on. Empty: before that.
    pub(super) addresses: &'a [SocketAddr],
    /// The same for `admin_listen`. `None`: the configured one.
    pub(super) admin_port: Option<u16>,
    /// Whether a key of the database may administrate. `None`: unknown.
    pub(super) stored_admin: Option<bool>,
    /// Why the database is not used.
    pub(super) database_refusal: Option<&'a str>,
    /// Providers that cannot be used.
    pub(super) down: &'a [ProviderFailure],
}

impl fmt::Display for StartSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, addresses, admin_port, stored_admin, database_refusal, down } = self;
        let workers = settings.workers;
        let bound = bound_host(settings, addresses);
        writeln!(
            f,
            "  listens    {} ({}{workers} worker{})",
            url(settings, bound, addresses),
            if is_wildcard(bound) { "every address of this machine, " } else { "" },
            plural(workers.get())
        )?;
        match &settings.file {
            Some(file) => writeln!(f, "  config     {}", file.display())?,
            None => writeln!(f, "  config     none (no ./config.json)")?,
        }
        providers(f, &settings.providers)?;
        for (index, ProviderFailure { provider, reason }) in down.iter().enumerate() {
            writeln!(f, "  {:9}  {provider}: {reason}", if index == 0 { "down" } else { "" })?;
        }
        match &settings.tokens[..] {
            [] => writeln!(
                f,
                "  tokens     none: one is made for each run, and only this machine is listened to"
            )?,
            tokens => {
                let names: Vec<_> = tokens.iter().map(|token| token.description.as_str()).collect();
                writeln!(f, "  tokens     {}", names.join(", "))?;
            }
        }
        writeln!(f, "  admin      {}", administration(settings, *admin_port, *stored_admin))?;
        match (&settings.database, database_refusal) {
            (Some(database), Some(refusal)) => writeln!(f, "  ledger     none: {}: {refusal}", database.url)?,
            (Some(_), None) | (None, _) => writeln!(f, "  ledger     {}", ledger(settings))?,
        }
        for (name, server) in redis(settings) {
            writeln!(f, "  {name:9}  {server}")?;
        }
        match settings.supported_models.len() {
            0 => {}
            count => writeln!(f, "  models     those that match one of {count} expression{}", plural(count))?,
        }
        let forced = is_forced_to_loopback(settings, addresses).then(|| {
            format!(
                "without a token {} is not listened on: set API_KEY, or name tokens",
                settings.listen.host
            )
        });
        for (index, note) in settings.notes.iter().chain(&forced).enumerate() {
            writeln!(f, "  {:9}  {note}", if index == 0 { "note" } else { "" })?;
        }
        Ok(())
    }
}

/// The shared stores, and their servers without passwords.
fn redis(settings: &Settings) -> Vec<(&'static str, String)> {
    let Some(redis) = &settings.redis else { return Vec::new() };
    let named = [("limits", &redis.limits), ("cache", &redis.cache)];
    named.into_iter().filter_map(|(name, url)| Some((name, url.as_ref()?.to_string()))).collect()
}

/// The ledger's database, or why there is none.
fn ledger(settings: &Settings) -> String {
    match &settings.database {
        Some(database) if settings.ledger.enabled => database.url.to_string(),
        Some(_) => "off".to_owned(),
        None if settings.file.is_none() => "none: no configuration file, no THALWEG_DATABASE_URL".to_owned(),
        None => "none: \"database\" is false".to_owned(),
    }
}

/// The address of administration, and the keys that may use it.
fn administration(settings: &Settings, port: Option<u16>, stored_admin: Option<bool>) -> String {
    let admins = settings.tokens.iter().filter(|token| token.admin);
    let names: Vec<_> = admins.map(|token| token.description.as_str()).collect();
    let key = match (&names[..], stored_admin) {
        ([], Some(true)) => Some("with an administrator's key of the database".to_owned()),
        ([], Some(false) | None) => None,
        (names, Some(_) | None) => Some(format!("with the key of {}", names.join(", "))),
    };
    match (&settings.admin_listen, key) {
        (Some(listen), key) => {
            let port = port.unwrap_or(listen.port);
            let host = shown_host(&listen.host);
            format!("http://{host}:{port}, {}", key.as_deref().unwrap_or("without a key"))
        }
        (None, Some(key)) => key,
        (None, None) if settings.tokens.is_empty() => "with the token of each run".to_owned(),
        (None, None) if settings.database.is_some() && stored_admin.is_none() => {
            "with an administrator's key of the database, if there is one".to_owned()
        }
        (None, None) => {
            "closed: no THALWEG_ADMIN_KEY, no token with \"admin\": true, no admin_listen".to_owned()
        }
    }
}

/// The base URL for clients on this machine: no client can call a wildcard address.
pub(super) fn base_url(settings: &Settings, addresses: &[SocketAddr]) -> String {
    let host = bound_host(settings, addresses);
    url(settings, if is_wildcard(host) { "localhost" } else { host }, addresses)
}

fn url(settings: &Settings, host: &str, addresses: &[SocketAddr]) -> String {
    let scheme = if settings.listen.tls.is_some() { "https" } else { "http" };
    let port = addresses.first().map_or(settings.listen.port, SocketAddr::port);
    format!("{scheme}://{}:{port}/v1", shown_host(host))
}

/// The host that is listened on, or will be.
fn bound_host<'a>(settings: &'a Settings, addresses: &[SocketAddr]) -> &'a str {
    if is_forced_to_loopback(settings, addresses) { "localhost" } else { &settings.listen.host }
}

/// Without a token only loopback is listened on, whatever is configured. Before the start it is unknown
/// whether the database has keys.
fn is_forced_to_loopback(settings: &Settings, addresses: &[SocketAddr]) -> bool {
    !is_loopback(&settings.listen)
        && match addresses {
            [] => settings.tokens.is_empty() && settings.database.is_none(),
            addresses => {
                settings.tokens.is_empty() && addresses.iter().all(|address| address.ip().is_loopback())
            }
        }
}

fn is_wildcard(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::")
}

fn shown_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn providers(f: &mut fmt::Formatter<'_>, providers: &[ProviderSettings]) -> fmt::Result {
    if providers.is_empty() {
        return writeln!(f, "  providers  none found: the built-in demo provider answers");
    }
    let width = |text: fn(&ProviderSettings) -> usize| providers.iter().map(text).max().unwrap_or_default();
    let names = width(|provider| provider.target.name.chars().count());
    let bases = width(|provider| provider.target.base.to_string().len());
    for (index, provider) in providers.iter().enumerate() {
        let label = if index == 0 { "providers" } else { "" };
        let target = &provider.target;
        let (base, key) = (target.base.to_string(), if target.key.is_some() { "key" } else { "no key" });
        writeln!(
            f,
            "  {label:9}  {:names$}  {base:bases$}  {key:6}  {}{}",
            target.name,
            models(provider.models.as_deref()),
            dialects(provider)
        )?;
    }
    Ok(())
}

fn models(models: Option<&[String]>) -> String {
    match models {
        None => "its own list of models".to_owned(),
        Some(models) if models.len() > MAX_NAMED_MODELS => {
            format!("{} and {} more", models[..MAX_NAMED_MODELS].join(", "), models.len() - MAX_NAMED_MODELS)
        }
        Some(models) => models.join(", "),
    }
}

/// The dialects that are known before the first answer, and the source of that.
fn dialects(provider: &ProviderSettings) -> String {
    let (endpoints, source): (Vec<Endpoint>, _) = match (provider.dialects, provider.known) {
        (Some(said), _) => (Endpoint::MAIN.into_iter().filter(|one| said.contains(*one)).collect(), "said"),
        (None, Some(known)) => (known.has.to_vec(), "known"),
        (None, None) => return String::new(),
    };
    let words: Vec<&str> = endpoints.into_iter().map(Endpoint::as_str).collect();
    format!("; {} ({source})", words.join(", "))
}

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{auth::TokenSettings, base::Secret};

    fn summary(settings: &Settings, addresses: &[&str]) -> String {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        StartSummary {
            settings,
            addresses: &addresses,
            admin_port: None,
            stored_admin: None,
            database_refusal: None,
            down: &[],
        }
        .to_string()
    }

    /// The dialects of a provider are shown with their source: said, or known by its address.
    #[test]
    fn dialects_are_shown_with_their_source() {
        let base = |url: &str| crate::upstream::BaseUrl::parse(url).unwrap();
        let provider = |name: &str, url: &str| {
            let name: std::sync::Arc<str> = name.into();
            ProviderSettings::plain(crate::upstream::Target::plain(name, base(url)))
        };
        let mut settings = Settings { workers: std::num::NonZeroUsize::MIN, ..Settings::default() };
        settings.providers.push(provider("a", "https://api.groq.com/openai/v1"));
        settings.providers.push(provider("b", "http://localhost:8080"));
        settings.providers.push(provider("c", "http://localhost:8081"));
        settings.providers[1].dialects = Some([Endpoint::Messages].into_iter().collect());
        let text = summary(&settings, &[]);
        let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap().to_owned();
        assert!(line("api.groq.com").ends_with("its own list of models; chat, responses (known)"), "{text}");
        assert!(line(":8080").ends_with("its own list of models; messages (said)"), "{text}");
        assert!(line(":8081").ends_with("its own list of models"), "{text}");
    }

    /// CASES F8.
    #[test]
    fn the_bound_address_is_the_one_that_is_shown() {
        let mut settings = Settings { workers: std::num::NonZeroUsize::MIN, ..Settings::default() };
        let listens = |settings: &Settings, addresses: &[&str]| {
            let text = summary(settings, addresses);
            text.lines().next().unwrap().trim().to_owned()
        };
        assert_eq!(
            listens(&settings, &["127.0.0.1:7", "[::1]:7"]),
            "listens    http://localhost:7/v1 (1 worker)"
        );
        settings.listen.host = "0.0.0.0".to_owned();
        // Without a token.
        for addresses in [&[][..], &["127.0.0.1:9000", "[::1]:9000"]] {
            assert_eq!(listens(&settings, addresses), "listens    http://localhost:9000/v1 (1 worker)");
            assert!(
                summary(&settings, addresses)
                    .contains("note       without a token 0.0.0.0 is not listened on")
            );
        }
        settings.tokens.push(TokenSettings::plain("a", Secret::new("sk".to_owned())));
        for addresses in [&[][..], &["0.0.0.0:9000"]] {
            let line = "listens    http://0.0.0.0:9000/v1 (every address of this machine, 1 worker)";
            assert_eq!(listens(&settings, addresses), line);
        }
        assert!(!summary(&settings, &[]).contains("note"));
        settings.listen.host = "::".to_owned();
        assert!(listens(&settings, &["[::]:9000"]).contains("http://[::]:9000/v1 (every"));
        let bound = ["[::]:9000".parse().unwrap()];
        assert_eq!(
            base_url(&settings, &bound),
            "http://localhost:9000/v1",
            "a client cannot call a wildcard"
        );
    }
}
