//! `thalweg top`: the requests under way at a running gateway, live in a terminal. Follows `/events` and only
//! shows; the gateway decides which requests need a look first. Without a terminal it prints one view as
//! text.
//!
//! - `feed`: the subscription, begun again after each break; `view`: the contents of its events
//! - `state`: rows in their order, the choice, the filter; `keys`: the effect of each key
//! - `screen`: the picture of it; `columns`: its columns, also those of the text
//! - `terminal`: the terminal, taken over and given back

mod columns;
mod feed;
mod keys;
mod screen;
mod state;
mod terminal;
mod view;

use std::{
    env,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use tokio::{
    runtime::{Builder, LocalOptions},
    sync::mpsc,
    time::{Duration, MissedTickBehavior, interval, timeout},
};

use super::{
    Failure,
    destination::{GivenKey, target},
    signals::Signals,
    table::{Count, Table},
};
use crate::{base::spawn::Tasks, upstream::Target};
use columns::{COLUMNS, REPLICA};
use feed::FeedNews;
use keys::KeyOutcome;
use state::TopState;
use terminal::TerminalSession;
use view::TopView;

/// News of the gateway that wait to be shown.
const MAX_WAITING: usize = 256;
/// Between two pictures, unless a key is pressed.
const DRAW_INTERVAL: Duration = Duration::from_millis(100);
/// For the first view, where it is printed as text.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(clap::Args, Debug)]
pub struct Options {
    /// The gateway, or its `admin_listen` address
    #[arg(long, default_value = "http://localhost:9000", value_name = "URL")]
    url: String,
    /// An administrator's key, or a client's, which sees its own requests [default: OPENAI_API_KEY, too]
    #[arg(long, env = "THALWEG_ADMIN_KEY", hide_env_values = true, value_name = "KEY", value_parser = GivenKey::of)]
    key: Option<GivenKey>,
    /// Certificates to trust instead of the system's (PEM)
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Show only requests with these words from the start
    #[arg(long, default_value = "", value_name = "WORDS")]
    filter: String,
    /// Print one view as text, as without a terminal
    #[arg(long)]
    once: bool,
}

/// # Errors
/// The gateway refused the request, or without a terminal was not reached; or the terminal failed.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let usual = || GivenKey::of(&env::var("OPENAI_API_KEY").ok()?).ok();
    let key = match GivenKey::read(options.key.as_ref())? {
        Some(key) => Some(key),
        None => GivenKey::read(usual().as_ref())?,
    };
    let mut target = Target { key, ca_file: options.ca_file.clone(), ..target(&options.url)? };
    // The path of the events is beside the API's base path, not below it.
    target.base.path = target.base.path.trim_end_matches("/v1").into();
    let mut state = TopState::new(target.base.to_string(), &options.filter);
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    let is_live = !options.once && io::stdout().is_terminal() && io::stdin().is_terminal();
    runtime.block_on(async {
        let (news, receiver) = mpsc::channel(MAX_WAITING);
        let tasks = Tasks::new();
        tasks.spawn(feed::follow(target, if is_live { feed::OF_ALL } else { feed::OF_ONE }, news));
        if is_live { watch(&mut state, receiver).await } else { print(&mut state, receiver).await }
    })
}

/// Shows the gateway until the user quits.
async fn watch(state: &mut TopState, mut news: mpsc::Receiver<FeedNews>) -> Result<ExitCode, Failure> {
    let mut signals = Signals::register()?;
    let mut terminal = TerminalSession::open()?;
    let mut keys = terminal.keys();
    let mut ticks = interval(DRAW_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_new, mut quiet) = (true, 0);
    loop {
        tokio::select! {
            biased;
            event = keys.recv() => match event.map(|event| state.press(&event)) {
                Some(KeyOutcome::Quit) | None => return Ok(ExitCode::SUCCESS),
                Some(KeyOutcome::Changed) => terminal.draw(|frame| screen::draw(frame, state))?,
                Some(KeyOutcome::Nothing) => {}
            },
            () = signals.end_or_hangup() => return Ok(ExitCode::SUCCESS),
            _ = ticks.tick() => {
                quiet += 1;
                // Ages and waits grow also without news.
                if std::mem::take(&mut is_new) || quiet >= 10 {
                    quiet = 0;
                    terminal.draw(|frame| screen::draw(frame, state))?;
                }
            }
            Some(one) = news.recv() => {
                if let FeedNews::Refused(reason) = one {
                    return Err(reason.into());
                }
                state.take(one);
                is_new = true;
            }
        }
    }
}

/// Prints the first view as text.
async fn print(state: &mut TopState, mut news: mpsc::Receiver<FeedNews>) -> Result<ExitCode, Failure> {
    let first = async {
        loop {
            match news.recv().await {
                Some(FeedNews::View(view)) => return Ok(view),
                Some(FeedNews::Refused(reason) | FeedNews::Away { reason, .. }) => return Err(reason),
                Some(FeedNews::Live | FeedNews::Sums(_) | FeedNews::Ended(_) | FeedNews::Lost(_)) => {}
                None => return Err("the gateway has ended the events".to_owned()),
            }
        }
    };
    let view = timeout(PATIENCE, first).await.map_err(|_| "the gateway showed nothing in ten seconds")??;
    state.take(FeedNews::View(view));
    let rows = state.shown();
    let mut out = io::stdout().lock();
    writeln!(out, "{}", summary(&state.view))?;
    if !rows.is_empty() {
        let columns = &COLUMNS[..REPLICA];
        let text_columns = columns.iter().filter(|column| !column.is_figure).count();
        let titles = columns.iter().map(|column| column.title.to_owned()).collect();
        let mut table = Table::with_text_columns(text_columns, titles);
        for row in rows {
            table.add(columns.iter().map(|column| (column.text)(row)).collect());
        }
        write!(out, "{table}")?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The sums of a view in words.
fn summary(view: &TopView) -> String {
    let mut text = format!("{} under way", Count(view.requests));
    for (count, state) in [
        (view.stalled, "stalled"),
        (view.waiting, "waiting"),
        (view.left_out, "not listed"),
        (view.workers_missing, "of the workers missing"),
    ] {
        if count > 0 {
            text.push_str(&format!(", {} {state}", Count(count)));
        }
    }
    text
}
