//! `thalweg compare`: requests a comparison from a running gateway and prints the report, as a [`table`] or
//! as JSON. The gateway measures; this command only shows.
//!
//! - `exchange`: the request, its progress and its report
//! - `table`: the tables

mod exchange;
mod table;

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use super::{Failure, destination::Destination, progress::ProgressBar};
use crate::{
    web::compare::{Params, ProgressEvent, params::MAX_REPEATS, picture},
    wire::Dialect,
};
use table::CompareTable;

#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(flatten)]
    destination: Destination,
    /// Model to ask
    #[arg(long, default_value = "demo-text")]
    model: String,
    /// What to ask [default: something about rivers]
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// How often each way is tried
    #[arg(long, default_value = "3", value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(MAX_REPEATS)))]
    repeats: u8,
    /// Write the result as JSON to a file, or to standard output (-) instead of the tables
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw the result as an SVG picture, into a file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// # Errors
/// The gateway was not reached or refused the request, or the result could not be written.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let mut target = options.destination.target(Dialect::ChatCompletions)?;
    // The path of the comparison is beside the API's base path, not below it.
    if let Some(above) = target.base.path.strip_suffix("/v1") {
        target.base.path = above.into();
    }
    let bar = ProgressBar::new();
    let outcome = exchange::run(&target, &options.params(), |progress| show(&bar, progress));
    drop(bar);
    let report = outcome?;
    if let Some(file) = &options.svg {
        fs::write(file, picture::svg(&report, picture::DEFAULT_WIDTH))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    match options.json.as_deref() {
        Some(file) if file == Path::new("-") => {
            writeln!(io::stdout().lock(), "{}", serde_json::to_string_pretty(&report)?)?;
        }
        Some(file) => {
            fs::write(file, serde_json::to_vec_pretty(&report)?)
                .map_err(|error| format!("{}: {error}", file.display()))?;
            write!(io::stdout().lock(), "{}", CompareTable(&report))?;
        }
        None => write!(io::stdout().lock(), "{}", CompareTable(&report))?,
    }
    Ok(if report.recommended.leg.is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Options {
    fn params(&self) -> Params {
        let params = Params::new(self.model.clone(), self.repeats);
        match &self.prompt {
            Some(prompt) => Params { prompt: prompt.clone(), ..params },
            None => params,
        }
    }
}

fn show(bar: &ProgressBar, ProgressEvent { done, of, leg }: ProgressEvent) {
    bar.show(done as u64, of as u64, || format!("{done}/{of}  {}", leg.label()));
}
