//! The listener for operators (`admin_listen`): a worker of its own, so that it answers when the others are
//! overloaded. Its connections have their own limit, and it serves no client endpoint. `None` everywhere: it
//! is not configured, and operators use the clients' listeners.

use std::{net::SocketAddr, sync::Arc, thread::JoinHandle};

use super::{StartError, worker};
use crate::{
    config::administration::is_loopback,
    server::{self, ConnLimit, Listen, ServeOptions},
    telemetry::WorkerGauges,
    web::ListenerRole,
};

/// Connections of operators, their dashboards and their scrapers.
const MAX_CONNECTIONS: usize = 256;

/// Its addresses and its thread.
pub(super) type AdminListener = (Vec<SocketAddr>, JoinHandle<()>);

/// Starts it with the configuration of the other workers.
pub(super) fn start(
    listen: Option<&Listen>,
    config: &worker::WorkerConfig,
) -> Result<Option<AdminListener>, StartError> {
    let Some(listen) = listen else { return Ok(None) };
    let mut bound = server::bind(listen, 1).map_err(StartError::Bind)?;
    let serve = ServeOptions {
        limits: Arc::clone(&config.serve.limits),
        drain: config.serve.drain.clone(),
        conn_limit: ConnLimit::at_most(MAX_CONNECTIONS),
        tls: None,
    };
    let role = ListenerRole::Administration { open: is_loopback(listen) };
    let config = worker::WorkerConfig { serve, role, warms_up: false, ..config.clone() };
    let listeners = bound.per_worker.pop().unwrap_or_default();
    let thread = worker::start("admin".to_owned(), listeners, config, WorkerGauges::default())
        .map_err(StartError::Thread)?;
    Ok(Some((bound.addresses, thread)))
}
