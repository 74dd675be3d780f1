//! `thalweg reload`: makes a running gateway load its configuration again, and prints the changes or all
//! problems. With `--check` nothing changes: without `--url` the local file is checked, with it the gateway
//! reports what would change.

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use http::Method;
use serde_json::Value;

use super::{
    Failure, check,
    destination::{GivenKey, ask, target},
};
use crate::{base::Deadlines, upstream::Target};

/// The default address of a gateway.
const DEFAULT_URL: &str = "http://localhost:9000";

#[derive(clap::Args, Debug)]
pub struct Options {
    /// Say what would change, and change nothing; without --url only the file is looked at
    #[arg(long)]
    check: bool,
    /// The gateway, or its `admin_listen` address [default: http://localhost:9000]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// An administrator's key
    #[arg(long, env = "THALWEG_ADMIN_KEY", hide_env_values = true, value_name = "KEY", value_parser = GivenKey::of)]
    admin_key: Option<GivenKey>,
    /// Certificates to trust instead of the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The file that --check looks at [default: THALWEG_CONFIG, or ./config.json when there is one]
    #[arg(short, long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
}

/// # Errors
/// The gateway was not reached or refused the request. Problems of the configuration give exit code 1
/// instead.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    if options.check && options.url.is_none() {
        return check::run(&check::Options { file: options.config.clone(), quiet: false });
    }
    if options.config.is_some() {
        return Err("a running gateway loads its own file: --config goes with --check alone".into());
    }
    let url = options.url.as_deref().unwrap_or(DEFAULT_URL);
    let key = GivenKey::read(options.admin_key.as_ref())?;
    let target = Target { key, ca_file: options.ca_file.clone(), ..target(url)? };
    let path = if options.check { "/reload?check=true" } else { "/reload" };
    let (status, body) = ask(&target, Method::POST, path, Deadlines::default().non_stream)?;
    let reply: Value = serde_json::from_slice(&body)
        .map_err(|_| format!("{} answered something else than a gateway does", target.base))?;
    let mut out = io::stdout().lock();
    if status == 200 {
        write!(out, "{}", ReloadText(&reply))?;
        return Ok(ExitCode::SUCCESS);
    }
    let error = &reply["error"];
    let message = error["message"].as_str().unwrap_or("no reason given");
    if error["code"] != "invalid_configuration" {
        return Err(format!("{message} ({status})").into());
    }
    writeln!(out, "Not reloaded, the old configuration stays in force: {message}")?;
    for problem in error["errors"].as_array().into_iter().flatten() {
        writeln!(out, "  {}", ProblemLine(problem))?;
    }
    Ok(ExitCode::FAILURE)
}

/// A gateway's response as lines of text.
struct ReloadText<'a>(&'a Value);

impl fmt::Display for ReloadText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(reply) = self;
        let changes = &reply["changes"];
        let is_reloaded = reply["status"] == "reloaded";
        writeln!(f, "{}", if is_reloaded { "Reloaded." } else { "The configuration is good." })?;
        let mut is_unchanged = true;
        for kind in ["providers", "tokens"] {
            for what in ["added", "removed", "changed"] {
                if let Some(names) = listed(&changes[kind][what]) {
                    writeln!(f, "  {kind} {what}: {names}")?;
                    is_unchanged = false;
                }
            }
        }
        if changes["provider_order"] == true {
            writeln!(f, "  order of providers changed")?;
            is_unchanged = false;
        }
        if changes["supported_models"] == true {
            writeln!(f, "  supported_models changed")?;
            is_unchanged = false;
        }
        if let Some(level) = changes["log_level"].as_str() {
            writeln!(f, "  log level: {level}")?;
            is_unchanged = false;
        }
        if let Some(keys) = listed(&changes["settings"]) {
            writeln!(f, "  settings changed: {keys}")?;
            is_unchanged = false;
        }
        if let Some(keys) = listed(&changes["restart_needed"]) {
            writeln!(f, "  only a restart applies: {keys}")?;
            is_unchanged = false;
        }
        if is_unchanged {
            writeln!(f, "  nothing changed")?;
        }
        Ok(())
    }
}

/// The names of a list, joined by commas. `None`: it is empty.
fn listed(value: &Value) -> Option<String> {
    let names: Vec<&str> = value.as_array()?.iter().filter_map(Value::as_str).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

struct ProblemLine<'a>(&'a Value);

impl fmt::Display for ProblemLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key: &str| self.0[key].as_str().filter(|text| !text.is_empty());
        if let Some(path) = text("path") {
            write!(f, "{path}: ")?;
        }
        f.write_str(text("message").unwrap_or_default())?;
        match text("suggestion") {
            Some(suggestion) => write!(f, "; did you mean {suggestion:?}?"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn says_what_changed_line_by_line() {
        let reply = json!({"status": "reloaded", "changes": {
            "providers": {"added": ["b", "c"], "removed": [], "changed": ["a"]},
            "tokens": {"added": [], "removed": ["t"], "changed": []},
            "provider_order": true, "supported_models": true, "log_level": "INFO to WARN", "settings": ["failover"], "restart_needed": ["port"],
        }});
        assert_eq!(
            ReloadText(&reply).to_string(),
            "Reloaded.\n  providers added: b, c\n  providers changed: a\n  tokens removed: t\n  order of providers \
             changed\n  supported_models \
             changed\n  log level: INFO to WARN\n  settings changed: failover\n  only a restart applies: port\n"
        );
        let reply = json!({"changes": {"provider_order": true}});
        assert_eq!(
            ReloadText(&reply).to_string(),
            "The configuration is good.\n  order of providers changed\n"
        );
        assert_eq!(ReloadText(&json!({})).to_string(), "The configuration is good.\n  nothing changed\n");
        let problem = json!({"path": "prot", "message": "unknown key", "suggestion": "port"});
        assert_eq!(ProblemLine(&problem).to_string(), "prot: unknown key; did you mean \"port\"?");
    }
}
