//! The commands and their options, as clap reads them.

use clap::{Parser, Subcommand};

use super::{bench, check};

const EXAMPLES: &str = "\
Examples:
  thalweg check gateway.json           Tell every mistake in a file at once
  thalweg bench --streams 50           Measure the gateway on localhost:9000

Every key of the file: docs/CONFIGURATION.md";

/// A low-latency streaming gateway for LLM APIs
///
/// Clients speak OpenAI's API to thalweg, thalweg speaks to the providers, and the providers' bytes reach the clients
/// the moment they arrive.
#[derive(Debug, Parser)]
#[command(
    name = "thalweg",
    version,
    max_term_width = 100,
    after_help = EXAMPLES
)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a configuration file and say what it would load
    Check(check::Options),
    /// Put load on an endpoint and measure what its streams do
    Bench(Box<bench::Options>),
}

impl Args {
    /// The process's own command line. Ends the process after `--help`, `--version` and mistakes.
    #[must_use]
    pub fn parse_line() -> Self {
        Self::parse()
    }

    pub(super) fn chosen(self) -> Command {
        self.command
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Args::try_parse_from(line.split_whitespace()).map(Args::chosen)
    }

    #[test]
    fn is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn finds_the_command() {
        assert!(matches!(parsed("thalweg check a.json"), Ok(Command::Check(_))));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for line in ["thalweg", "thalweg serv", "thalweg check a b"] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
