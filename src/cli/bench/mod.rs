//! `thalweg bench`: puts load on an endpoint and prints the result, as a [`table`] or as JSON. The `load`
//! room measures; an address beyond this machine is refused unless it is allowed explicitly.
//!
//! One request goes first: if it fails, its error is printed and no load is put on anything. Exit code 1
//! means that a request failed or that nothing was received.

mod table;

use std::{
    fs,
    io::{self, Write},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::ValueEnum;

use super::{Failure, destination::Destination, progress::ProgressBar, table::Count};
use crate::{
    base::time,
    load::{self, Arrival, LoadLimit, LoadPlan, Progress, Prompt},
    wire::Dialect,
};
use table::BenchTable;

#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    destination: Destination,
    /// Model to ask
    #[arg(long, default_value = "demo-text")]
    model: String,
    /// Which API to speak
    #[arg(long, value_enum, default_value_t = Api::Chat)]
    endpoint: Api,
    /// Streams at once
    #[arg(long, default_value = "8", value_name = "N")]
    streams: NonZeroU32,
    /// Requests a second, whatever the answers do (open loop); without it each stream asks when it is
    /// answered
    #[arg(long, value_name = "R")]
    rate: Option<f64>,
    /// Longest time that the run may take
    #[arg(long, default_value = "10s", value_name = "TIME", value_parser = read_duration)]
    duration: Duration,
    /// End after so many requests
    #[arg(long, value_name = "N")]
    requests: Option<u64>,
    /// Do not count the first so long; streams begin spread over half of it
    #[arg(long, default_value = "0s", value_name = "TIME", value_parser = read_duration)]
    warmup: Duration,
    /// Ask for whole answers instead of streams
    #[arg(long)]
    no_stream: bool,
    /// What to ask
    #[arg(long, default_value = "Tell me about the thalweg of a river.", value_name = "TEXT")]
    prompt: String,
    /// Pad what is asked to so many bytes
    #[arg(long, default_value = "0", value_name = "N")]
    prompt_bytes: usize,
    /// Send the JSON of a file instead; it names the model, and asks for a stream or not
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "prompt_bytes"])]
    body: Option<PathBuf>,
    /// Tokens that each answer may have
    #[arg(long, default_value = "256", value_name = "N")]
    max_tokens: u32,
    /// Write the result as JSON to a file, or to standard output (-) instead of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Do not send one request before the run
    #[arg(long)]
    no_first_request: bool,
    /// Allow an address that is not this machine: the run will cost a provider's tokens
    #[arg(long)]
    allow_remote: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Api {
    Chat,
    Completions,
    Embeddings,
    Responses,
    Messages,
}

impl From<Api> for Dialect {
    fn from(api: Api) -> Self {
        match api {
            Api::Chat => Self::ChatCompletions,
            Api::Completions => Self::Completions,
            Api::Embeddings => Self::Embeddings,
            Api::Responses => Self::Responses,
            Api::Messages => Self::Messages,
        }
    }
}

/// # Errors
/// The plan is out of bounds, or the result could not be written.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let plan = options.plan()?;
    if !options.no_first_request {
        load::try_once(&plan)?.map_err(|reason| explained(&reason, &plan))?;
    }
    let bar = ProgressBar::new();
    let report = load::run(&plan, |progress| show(&bar, &plan, progress));
    drop(bar);
    let report = report?;
    match options.json.as_deref() {
        Some(file) if file == Path::new("-") => {
            writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&report)?)?;
        }
        Some(file) => {
            fs::write(file, serde_json::to_vec_pretty(&report)?)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            write!(io::stdout().lock(), "{}", BenchTable(&report))?;
        }
        None => write!(io::stdout().lock(), "{}", BenchTable(&report))?,
    }
    let worked = report.requests.failed == 0 && (report.requests.completed > 0 || report.events > 0);
    Ok(if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn plan(&self) -> Result<LoadPlan, Failure> {
        let dialect = Dialect::from(self.endpoint);
        let prompt = Prompt {
            model: self.model.clone(),
            text: self.prompt.clone(),
            max_tokens: self.max_tokens,
            stream: !self.no_stream && dialect != Dialect::Embeddings,
        };
        let stream = prompt.stream;
        let body = match &self.body {
            Some(file) => fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?.into(),
            None => prompt.padded(self.prompt_bytes).body(dialect),
        };
        let plan = LoadPlan {
            target: self.destination.target(dialect)?,
            dialect,
            body,
            stream,
            streams: self.streams,
            arrival: self.rate.map_or(Arrival::Closed, |per_second| Arrival::Open { per_second }),
            bound: LoadLimit { duration: self.duration, requests: self.requests },
            warmup: self.warmup,
        };
        Ok(plan.check(self.allow_remote)?)
    }
}

/// The reason, and the remedy of the most frequent ones.
fn explained(reason: &str, plan: &LoadPlan) -> String {
    let remedy = match () {
        () if reason.contains(" answered 401") && plan.target.key.is_none() => {
            "; give its key by --api-key or OPENAI_API_KEY"
        }
        () if reason.contains("refused") && !reason.contains(" answered ") => {
            "; is a gateway running there? `thalweg` starts one"
        }
        () => "",
    };
    format!("the first request failed, so there is nothing to measure: {reason}{remedy}")
}

fn read_duration(text: &str) -> Result<Duration, &'static str> {
    time::duration::parse(text).ok_or("write it as 500ms, 10s or 2m")
}

fn show(bar: &ProgressBar, plan: &LoadPlan, Progress { elapsed, completed, failed, events }: Progress) {
    let (done, total) = match plan.bound.requests {
        Some(requests) => (completed + failed, requests),
        None => (millis(elapsed), millis(plan.bound.duration)),
    };
    bar.show(done, total, || {
        let failed = if failed > 0 { format!(", {} failed", Count(failed)) } else { String::new() };
        format!("{} answers, {} events{failed}", Count(completed), Count(events))
    });
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::demo::{self, ReplaySpeed};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn options(line: &str) -> Options {
        Line::try_parse_from(line.split_whitespace()).unwrap().options
    }

    #[test]
    fn measures_the_demo_provider_and_shows_it() {
        let demo = demo::start_at(ReplaySpeed::Instant).unwrap();
        for endpoint in ["chat", "completions", "responses", "messages"] {
            let line =
                format!("bench --url {} --endpoint {endpoint} --requests 5 --streams 2", demo.base_url());
            let report = load::run(&options(&line).plan().unwrap(), |_| {}).unwrap();
            assert_eq!((report.requests.completed, report.requests.without_done), (5, 0), "{endpoint}");
            let shown = BenchTable(&report).to_string();
            for part in ["5 completed", "statuses  200: 5", "first token", "between events"] {
                assert!(shown.contains(part), "{part} in\n{shown}");
            }
        }
    }

    #[test]
    fn embeddings_are_asked_for_whole() {
        let demo = demo::start_at(ReplaySpeed::Instant).unwrap();
        let line = format!(
            "bench --url {} --endpoint embeddings --model demo-embedding --requests 3",
            demo.base_url()
        );
        let report = load::run(&options(&line).plan().unwrap(), |_| {}).unwrap();
        assert_eq!((report.requests.completed, report.stream, report.events), (3, false, 0));
    }

    #[test]
    fn refuses_a_remote_address_and_a_bad_duration() {
        let remote = "bench --url https://api.example.com/v1";
        assert!(options(remote).plan().is_err());
        assert!(options(&format!("{remote} --allow-remote")).plan().is_ok());
        assert!(Line::try_parse_from(["bench", "--duration", "soon"]).is_err());
        assert!(options("bench --url http://127.0.0.1:9 --body none.json").plan().is_err());
        assert_eq!(options("bench --duration 1500ms").duration, Duration::from_millis(1500));
    }
}
