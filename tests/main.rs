//! One binary that tests the real gateway, in this process and on ports that the kernel picks, against one
//! scriptable upstream. No test sleeps: each waits for an event (bytes seen, a connection closed, a line
//! logged) and fails when it does not come. Folders by subject; `docs/TESTING.md` maps behaviours to tests.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]
#![expect(clippy::disallowed_methods, reason = "the test's own runtime, not a worker's")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]
#![expect(unreachable_pub, reason = "a binary: nothing is reachable")]

mod clients;
mod cluster;
mod operators;
mod providers;
mod relay;
mod routing;
mod soak;

mod client;
mod command;
#[path = "../src/base/free_port.rs"]
mod free_port;
mod gateway;
mod journal;
mod transcripts;
mod upstream;
