//! What the gateway owes its users, one file per subject. Each test's comment cites the rows that it proves.

mod answers;
mod clocks;
mod departure;
mod edges;
mod failover;
mod health;
mod hygiene;
mod intake;
mod keys;
mod misbehaviour;
mod modes;
mod pools;
mod precheck;
mod pressure;
mod race;
mod relay;
mod reload;
mod reload_signals;
mod state;
mod statistics;
mod storm;
mod story;
mod tls;
mod usage;
mod verdicts;
mod warmup;
