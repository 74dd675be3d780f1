//! Many requests in one: each is a completion like any other, through the same door, and each has an answer
//! of its own. Knows no path and no connection.
//!
//! - [`settings`]: the bounds of batches
//! - [`line`]: the answer to one item, as a line of OpenAI's output files
//! - [`answer`]: the body of the answer to a batch in one request

pub mod answer;
pub mod line;
pub mod settings;

pub use answer::{BatchAnswer, BatchForm, BatchRun, ItemFuture};
pub use line::AnswerLine;
pub use settings::BatchSettings;
