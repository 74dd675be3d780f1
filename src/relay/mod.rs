//! Response bytes on their way down: the body that the client's connection pulls, what is observed as it passes, the
//! commit point, the buffered fallback, and the one end of every stream.

pub mod settings;

pub use settings::{CommitPoint, Mode, StreamSettings};
