//! The downstream side: listeners, connections, TLS, limits and drain. Generic over a [`Handler`]: the room
//! does not know the content that it serves. Invariant: a connection stays on the worker that accepted it.
//!
//! - [`handler`]: the interface to the content; [`cut`]: why the server ends a response before its end
//! - [`peer`]: the other end of a connection
//! - [`refusal`]: reasons for which the server answers without the handler; `host`: one of them
//! - [`settings`]: addresses, limits and deadlines
//! - [`drain`]: the process stops its workers in steps
//! - [`listen`]: from a listening socket to an accepted one
//!   - [`listen::bind`], [`listen::accept`], [`listen::conn_limit`], [`listen::tls`]
//! - `conn`: common to both protocols: state, deadlines, socket, TLS handshake
//!   - `state`, `table`, `socket`, `open`, `request_body`, `discard`
//! - `h1`: HTTP/1.1, by a loop of our own over httparse
//!   - `head`, `reader`, `wire`, `read_readiness`, `body`, `response`, `linger`, `connection`
//! - `h2`: HTTP/2, by hyper
//!   - `state`, `activity`, `held_frames`, `content`, `connection`, `service`, `unread`
//!
//! Files import downwards: `listen`, `conn::open`, the protocols' `connection`, `conn::request_body`, the
//! protocols' other files, `conn`. `conn::state` knows HTTP/2's `state` and no other protocol file.

mod conn;
pub mod cut;
pub mod drain;
mod h1;
mod h2;
pub mod handler;
mod host;
pub mod listen;
pub mod peer;
pub mod refusal;
pub mod settings;
#[cfg(test)]
mod tests;

pub use conn::RequestBody;
pub use cut::{CutCause, Cuttable};
pub use drain::{Drain, Phase};
pub use h1::{HeadLimits, ParsedHead, RefusedHead, RequestReader};
pub use handler::{Handler, PendingResponse};
pub use listen::{BindError, BoundListeners, ConnLimit, ServeOptions, TlsSource, bind, resolve, serve};
pub use peer::Peer;
pub use refusal::{Ambiguity, RefusalReason};
pub use settings::{Listen, ServerLimits, TlsFiles};
