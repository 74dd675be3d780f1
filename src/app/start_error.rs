//! Why a process did not start. The texts are for a person at a terminal; the cause is the error's source.

use std::io;

use crate::{auth::generate::NoRandomness, base::pem::PemError, server::BindError};

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(BindError),
    #[error("cannot use the TLS files")]
    Tls(#[source] PemError),
    /// The demo provider could not listen on loopback.
    #[error("cannot start the demo provider")]
    Demo(#[source] io::Error),
    #[error("cannot make a token")]
    Token(#[source] NoRandomness),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}
