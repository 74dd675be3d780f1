//! From a listening socket to an accepted one. Owns addresses, the accept loop, the limit on connections and
//! the certificates; `conn` takes over each accepted socket.
//!
//! - [`bind`](mod@bind): one set of listening sockets per worker
//! - [`accept`]: the accept loop of a worker, and the drain at its end
//! - [`conn_limit`]: the connections of all workers
//! - [`tls`]: certificates, read again when they change

pub mod accept;
pub mod bind;
pub mod conn_limit;
pub mod tls;

pub use accept::{ServeOptions, serve};
pub use bind::{BindError, BoundListeners, bind, resolve};
pub use conn_limit::ConnLimit;
pub use tls::TlsSource;
