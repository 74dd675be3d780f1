//! A summary of the settings in a few aligned lines. Shows no key and no token, only whether there is one.
//! The same text serves `thalweg check`, before anything listens, and the start-up lines. It reads the
//! settings only and starts nothing.

use std::fmt;

use crate::config::{ProviderSettings, Settings};

/// Models of one provider that are named; the others are counted.
const MAX_NAMED_MODELS: usize = 4;

pub(super) struct StartSummary<'a> {
    pub(super) settings: &'a Settings,
    /// The port of the listener, or the configured one before the gateway listens.
    pub(super) port: u16,
    /// The same for `admin_listen`. `None`: the configured one.
    pub(super) admin_port: Option<u16>,
    /// Whether a key of the database may administrate. `None`: unknown.
    pub(super) stored_admin: Option<bool>,
}

impl fmt::Display for StartSummary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { settings, port, admin_port, stored_admin } = self;
        let workers = settings.workers;
        writeln!(
            f,
            "  listens    {} ({workers} worker{})",
            base_url(settings, *port),
            plural(workers.get())
        )?;
        match &settings.file {
            Some(file) => writeln!(f, "  config     {}", file.display())?,
            None => writeln!(f, "  config     none (no ./config.json)")?,
        }
        providers(f, &settings.providers)?;
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
        writeln!(f, "  ledger     {}", ledger(settings))?;
        match settings.supported_models.len() {
            0 => Ok(()),
            count => writeln!(f, "  models     those that match one of {count} expression{}", plural(count)),
        }
    }
}

/// The ledger's database, or why there is none.
fn ledger(settings: &Settings) -> String {
    match &settings.database {
        Some(database) if settings.ledger.enabled => database.url.to_string(),
        Some(_) => "off".to_owned(),
        None if settings.file.is_none() => "none: no configuration file, no DATABASE_URL".to_owned(),
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

/// The base URL for clients. A wildcard address is shown as `localhost`.
pub(super) fn base_url(settings: &Settings, port: u16) -> String {
    let scheme = if settings.listen.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{}:{port}/v1", shown_host(&settings.listen.host))
}

fn shown_host(host: &str) -> String {
    match host {
        "0.0.0.0" | "::" => "localhost".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    }
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
            "  {label:9}  {:names$}  {base:bases$}  {key:6}  {}",
            target.name,
            models(provider.models.as_deref())
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

const fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
