//! The commands and their options, parsed by clap, which derives the help texts from the comments on options.
//! `serve` runs if no command is named, so its options may be given alone. An unknown option or value ends
//! the process with a message and exit code 2.

use clap::{Parser, Subcommand};

use super::{bench, check, compare, healthcheck, keys, reload, serve, top, usage};

const EXAMPLES: &str = "\
Examples:
  thalweg                              Serve what is found: ./config.json, keys in the environment,
                                       a local Ollama, or the built-in demo provider
  thalweg --config gateway.json        Serve by a file
  thalweg check gateway.json           Tell every mistake in a file at once
  thalweg usage --by key --since 30d   Say what was asked for and what it cost
  thalweg top                          Watch the requests under way at localhost:9000
  thalweg bench --streams 50           Measure the gateway on localhost:9000
  thalweg compare --model demo-text    Compare its modes with the provider itself
  thalweg keys create --name alice --rpm 60 --budget 5.00 --expires 30d
  API_KEY=sk-mine thalweg --host 0.0.0.0 --port 8080

Environment (flags go first, then these, then the file):
  THALWEG_CONFIG, THALWEG_HOST, THALWEG_PORT, THALWEG_WORKERS, THALWEG_LOG_FORMAT, THALWEG_LOG_FILE,
  LOG_LEVEL
  API_KEY                              One more client token
  THALWEG_ADMIN_KEY                    One more, which may also administrate
  OPENAI_API_KEY, DEEPSEEK_API_KEY, ... Providers, when the file names none

Every key of the file: docs/CONFIGURATION.md";

/// A low-latency streaming gateway for LLM APIs
///
/// Clients speak OpenAI's API to thalweg, thalweg speaks to the providers, and the providers' bytes reach the
/// clients the moment they arrive.
#[derive(Debug, Parser)]
#[command(
    name = "thalweg",
    version,
    max_term_width = 100,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXAMPLES
)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Options,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway; this is what happens without a command, too
    Serve(serve::Options),
    /// Check a configuration file and say what it would load
    Check(check::Options),
    /// Have a running gateway load its configuration again
    Reload(reload::Options),
    /// Ask a running gateway for /livez: exit code 0 if it answers, for containers without a shell
    Healthcheck(healthcheck::Options),
    /// Say what was asked for and what it cost, out of the ledger
    Usage(usage::Options),
    /// Show the requests under way, live, in a terminal
    Top(top::Options),
    /// Put load on an endpoint and measure what its streams do
    Bench(Box<bench::Options>),
    /// Send one prompt through every mode of a running gateway and straight to the provider
    Compare(compare::Options),
    /// Make, list, change, rotate and revoke client keys, in the database that the configuration names
    Keys(Box<keys::Options>),
    /// Print the JSON schema of the configuration file, for editors
    Schema,
}

impl Args {
    /// Parses the command line of the process. Ends the process after `--help`, `--version` and errors.
    #[must_use]
    pub fn parse_line() -> Self {
        Self::parse()
    }

    pub(super) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Command, clap::Error> {
        Args::try_parse_from(line.split_whitespace()).map(Args::into_command)
    }

    #[test]
    fn is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn serving_needs_no_command() {
        for line in ["thalweg --port 1 --log-level warning", "thalweg serve --port 1 --log-level WARN"] {
            let Ok(Command::Serve(options)) = parsed(line) else { panic!("{line}") };
            let overrides = options.overrides();
            assert_eq!(
                (overrides.port, overrides.log_level),
                (Some(1), Some(tracing::Level::WARN)),
                "{line}"
            );
        }
        assert!(matches!(parsed("thalweg check a.json"), Ok(Command::Check(_))));
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for line in [
            "thalweg --port x",
            "thalweg --workers 0",
            "thalweg --log-level loud",
            "thalweg serv",
            "thalweg check a b",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
    }
}
