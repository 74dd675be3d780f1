//! The listener for operators (`admin_listen`): a worker of its own, so that it answers when the others are full, with
//! connections counted apart and nothing that clients come for.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use super::{StartError, worker};
use crate::{
    config::administration::is_loopback,
    server::{self, ConnLimit, Listen, ServeOptions},
    telemetry::WorkerGauges,
    web::ListenerRole,
};

/// Operators, their dashboards and their scrapers.
const CONNECTIONS: usize = 256;

/// Where it listens, and its thread.
pub(super) type AdminListener = (Vec<SocketAddr>, JoinHandle<()>);

/// Starts it, if there is to be one.
pub(super) fn start(
    listen: Option<&Listen>,
    outfit: &worker::WorkerConfig,
) -> Result<Option<AdminListener>, StartError> {
    let Some(listen) = listen else { return Ok(None) };
    let mut bound = server::bind(listen, 1).map_err(StartError::Bind)?;
    let terms = ServeOptions {
        limits: Arc::clone(&outfit.terms.limits),
        drain: outfit.terms.drain.clone(),
        census: ConnLimit::at_most(CONNECTIONS),
        tls: None,
    };
    let entrance = ListenerRole::Administration { open: is_loopback(listen) };
    let outfit = worker::WorkerConfig { terms, entrance, warms_up: false, ..outfit.clone() };
    let listeners = bound.per_worker.pop().unwrap_or_default();
    let thread = worker::start("admin".to_owned(), listeners, outfit, WorkerGauges::default())
        .map_err(StartError::Thread)?;
    Ok(Some((bound.addresses, thread)))
}
