//! Response bytes on their way down: the body that the client's connection pulls, what is observed as it passes, the
//! commit point, the buffered fallback, and the one end of every request.
//!
//! - [`body`]: what the client's connection is given
//! - [`commit`]: before and after the commit point
//! - [`stream`]: a stream that is pulled through `tap`, `hold` and `gather` under its `clock`; `passage` times it
//! - [`digest`]: what bytes came and went; `closing`: the comment that tells of a stream to whoever asked
//! - [`drain`]: a stream whose client has left, read on for its usage
//! - [`whole`]: a body that is collected within its limit
//! - [`caller`]: who asked
//! - [`end`]: the end, told once; [`reckon`]: what the request used

pub mod body;
pub mod caller;
mod clock;
mod closing;
pub mod commit;
pub mod digest;
pub mod drain;
pub mod end;
mod gather;
mod hold;
mod pace;
mod passage;
pub mod reckon;
pub mod settings;
pub mod stream;
mod tap;
pub mod whole;

pub use body::Body;
pub use caller::Caller;
pub use commit::{Committed, OnFault, Uncommitted};
pub use digest::Digests;
pub use drain::Orphans;
pub use end::{Added, End, Ending, Ends, Figures, Outcome, Story};
pub use pace::Acknowledge;
pub use reckon::UsageSource;
pub use settings::{CommitPoint, Mode, OnDisconnect, StreamSettings};
pub use stream::{Manner, Source};
