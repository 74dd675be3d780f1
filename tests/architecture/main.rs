//! Checks of the repository's own text: the rules that no compiler holds. Reads files and runs nothing of the
//! crate. Each check is a function that returns the violations of the text that it is given, so each has a
//! test of its own that shows it fail on a bad example.
//!
//! - `source_reader`: the files of the repository; source without comments, strings and tests, as tokens
//! - `module_paths`: imports and paths in source, resolved to modules
//! - `circles`: files of one room that import each other
//! - `law`: which room may import which
//! - `hidden_paths`: paths that the law could not read
//! - `deploy`: the compose file and the systemd unit
//! - `documents`: paths and tests that the documents name exist
//! - `doors`: each `mod.rs` names the modules of its folder
//! - `type_names`: each type name stands for one type
//! - `programs`: programs that tests start are on every Debian
//! - `width`: lines of prose and comments, cells of tables
//! - `build_profile`: the compiler gets a profile of its own version, in release builds alone
//! - `words`: pronouns in comments, counted by `tests/words.sh`
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
#![expect(unreachable_pub, reason = "a binary: nothing is reachable")]

mod build_profile;
mod circles;
mod deploy;
mod documents;
mod doors;
mod hidden_paths;
mod law;
mod module_paths;
mod programs;
mod source_reader;
mod type_names;
mod width;
mod words;
