//! thalweg: a low-latency streaming gateway for LLM APIs.
//!
//! The modules in reading order. A request is accepted by [`server`], routed by [`web`], parsed by [`wire`],
//! admitted by [`auth`], planned by [`routing`], sent by [`upstream`] and relayed by [`relay`]; [`proxy`]
//! joins them, and its `handle` follows this order from top to bottom. The record of a request is kept in
//! [`exchange`]; [`settlement`] turns it into log lines, statistics, spans and a row of the [`ledger`]. The
//! [`database`] stores rows and keys, [`cluster`] is the way to the Redis of all replicas. [`http1`]
//! finds the ends of heads and bodies for [`server`] and [`upstream`]. [`base`] may be imported by all and
//! imports none. [`config`] turns a file into every room's settings, [`app`] turns settings into a running
//! process, [`cli`] is the command line. [`prober`] checks the providers in the background. [`web`] also
//! serves the operator's pages, [`telemetry`] holds gauges, statistics and the log. [`dialect`] translates
//! between the APIs' dialects. [`batch`] runs many requests that came as one, [`cache`] holds answers that
//! were given before. [`demo`] is a built-in provider, [`load`] the engine that measures providers.
//!
//! `tests/architecture/law.rs` checks which room may import which.

pub mod base;
pub mod cluster;
pub mod database;
pub mod http1;

pub mod auth;
pub mod cache;
pub mod exchange;
pub mod ledger;
pub mod relay;
pub mod routing;
pub mod telemetry;
pub mod upstream;
pub mod wire;

pub mod prober;
pub mod proxy;
pub mod server;
pub mod settlement;

pub mod demo;
pub mod dialect;
pub mod load;
pub mod web;

pub mod batch;

pub mod app;
pub mod cli;
pub mod config;
