//! `thalweg healthcheck`: requests `/livez` of the gateway whose configuration this is, for containers
//! without a shell. It says nothing of providers: a gateway is not restarted because a provider is down.
//!
//! Exit code 1 means that the gateway does not answer.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use http::Method;

use super::{
    Failure,
    destination::{ask, target},
};
use crate::{
    config::{self, Env},
    server::Listen,
    upstream::Target,
};

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The gateway [default: the address of the configuration]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Certificates to trust instead of the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The configuration file [default: THALWEG_CONFIG, or ./config.json when there is one]
    #[arg(short, long, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Seconds to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

/// # Errors
/// The gateway was not reached, or does not answer 200.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let url = match &options.url {
        Some(url) => url.clone(),
        None => own_url(&config::load_listen(options.config.as_deref(), &Env::of_process()))?,
    };
    let mut target = Target { ca_file: options.ca_file.clone(), ..target(&url)? };
    // `/v1`, which a base URL without a path gets, is not before `/livez`.
    target.base.path = target.base.path.trim_end_matches("/v1").into();
    match ask(&target, Method::GET, "/livez", Duration::from_secs(options.timeout))? {
        (200, _) => Ok(ExitCode::SUCCESS),
        (status, _) => Err(format!("{} answered {status}", target.base).into()),
    }
}

/// The URL by which a gateway with this listener is reached from its own machine.
fn own_url(listen: &Listen) -> Result<String, &'static str> {
    if listen.tls.is_some() {
        return Err("the gateway speaks TLS: its certificate's name is needed, as --url https://NAME:PORT");
    }
    let host = match listen.host.trim_matches(['[', ']']) {
        // By address, because an image made of one program has no file of hosts.
        "0.0.0.0" | "localhost" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    Ok(format!("http://{host}:{}", listen.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_is_that_of_the_listener() {
        let url = |host: &str| own_url(&Listen { host: host.to_owned(), port: 7, tls: None });
        for (host, expected) in [
            ("localhost", "http://127.0.0.1:7"),
            ("0.0.0.0", "http://127.0.0.1:7"),
            ("::", "http://[::1]:7"),
            ("[::]", "http://[::1]:7"),
            ("::1", "http://[::1]:7"),
            ("192.0.2.1", "http://192.0.2.1:7"),
            ("gateway.example", "http://gateway.example:7"),
        ] {
            assert_eq!(url(host).unwrap(), expected);
        }
    }
}
