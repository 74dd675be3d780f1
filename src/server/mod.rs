//! The downstream side: listeners, accept loops, TLS, HTTP/1.1 and HTTP/2 connections, limits and drain. Generic over
//! a handler: it does not know what is served.

pub mod settings;

pub use settings::{Limits, Listen, TlsFiles};
