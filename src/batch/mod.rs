//! Many requests in one: each is a completion like any other, through the same door, and each has an answer
//! of its own. Knows no path and no connection.
//!
//! - [`settings`]: the bounds of batches
//! - [`line`]: the answer to one item, as a line of OpenAI's output files
//! - [`answer`]: the body of the answer to a batch in one request
//! - [`store`]: files and batches in the database; [`desk`]: the way of other threads to it
//! - [`runner`]: the batches that this replica runs; `run`: one of them, after `validate` has checked its
//!   input; `headroom`: when the key's limits leave room for an item; `verdict`: whether an answer is final

pub mod answer;
pub mod desk;
mod headroom;
pub mod line;
mod run;
pub mod runner;
pub mod settings;
pub mod store;
mod validate;
mod verdict;

pub use answer::{BatchAnswer, BatchForm, BatchRun, ItemFuture};
pub use desk::{BatchDesk, DeskError, DeskQueue};
pub use line::AnswerLine;
pub use run::ENDPOINTS;
pub use runner::BatchRunner;
pub use settings::BatchSettings;
pub use store::{BatchJob, BatchStatus, BatchStore, FileKind, StoredFile, Upload};
