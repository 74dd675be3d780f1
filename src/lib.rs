//! thalweg: a low-latency streaming gateway for LLM APIs.
//!
//! The crate's map, in reading order. A request is accepted by [`server`], understood by [`wire`], admitted by
//! [`auth`], planned by [`routing`], sent by [`upstream`] and relayed by [`relay`]; [`proxy`] is the corridor that
//! joins them, and its `handle` reads top to bottom in that order. [`ledger`] books what was served, in the [`database`]
//! where keys are kept too. [`http1`] finds the ends of heads and bodies for [`server`] and
//! [`upstream`]. [`base`] is known to all and knows nobody.
//! [`config`] turns a file into every room's settings, [`app`] turns settings into a running process, [`cli`] is the
//! command line. [`demo`] is a provider for those who have none, [`load`] the engine that measures any of them.
//!
//! Who may know whom is held by `tests/rooms.rs`.

pub mod base;
pub mod database;
pub mod http1;

pub mod auth;
pub mod ledger;
pub mod relay;
pub mod routing;
pub mod telemetry;
pub mod upstream;
pub mod wire;

pub mod proxy;
pub mod server;

pub mod demo;
pub mod load;
pub mod web;

pub mod app;
pub mod cli;
pub mod config;
