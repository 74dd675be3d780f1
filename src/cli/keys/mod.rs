//! `thalweg keys`: client keys in the database. A key is shown once, when it is created; the database stores
//! only its digest. A running gateway applies every change within a second.
//!
//! - `limit_args`: the limits of a key on the command line
//! - `listing`: keys as text and as JSON

mod limit_args;
mod listing;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Subcommand;

use super::{Failure, print_database};
use crate::{
    auth::{self, Digest, KeyEditor, KeyName, KeyStore, StoreError, StoredKey, generate, key_text},
    config::{self, Env},
    database::{DatabaseSettings, DatabaseUrl},
};

#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    command: KeyCommand,
    /// The configuration file, which names the database [default: THALWEG_CONFIG, or ./config.json;
    /// THALWEG_DATABASE_URL goes before it]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key and print it, once
    Create {
        /// What it is called in lists, logs and the ledger; no two keys in force have the same name
        #[arg(long, value_parser = key_text::name)]
        name: String,
        #[command(flatten)]
        limits: limit_args::LimitArgs,
        /// It may also administrate: reload, statistics
        #[arg(long)]
        admin: bool,
    },
    /// List keys
    List {
        /// Those that were revoked, too
        #[arg(long)]
        all: bool,
    },
    /// Change a key's limits; what is not said stays
    Set {
        /// Its name or id
        key: String,
        #[command(flatten)]
        limits: limit_args::LimitArgs,
    },
    /// Put a new secret in the place of a key's and print it, once
    Rotate {
        /// Its name or id
        key: String,
        /// How long the secret before is accepted beside the new one
        #[arg(long, value_name = "TIME", default_value = "0", value_parser = key_text::overlap)]
        overlap: Duration,
    },
    /// Refuse a key from now on
    Revoke {
        /// Its name or id
        key: String,
    },
}

/// # Errors
/// There is no database, it cannot be opened, or there is no such key.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let database = config::load_database(options.config.as_deref(), &Env::of_process())?.ok_or(
        "there is no database to keep keys in: give --config or a ./config.json (whose `database` is not false), or set \
         THALWEG_DATABASE_URL",
    )?;
    print_database(&database.url);
    match (&database.url, &options.command) {
        (DatabaseUrl::Sqlite(_) | DatabaseUrl::Postgres(_), KeyCommand::Create { .. }) => {}
        // The first key or the first start makes a database; a look at one does not.
        (DatabaseUrl::Sqlite(file), _) if !file.exists() => {
            return Err(format!(
                "no key was made yet: {} is not there (a service under systemd keeps it in its STATE_DIRECTORY)",
                file.display()
            )
            .into());
        }
        (DatabaseUrl::Sqlite(_) | DatabaseUrl::Postgres(_), _) => {}
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout().lock();
    match runtime.block_on(options.command.run(&database))? {
        KeyCommandResult::Made { key, secret } => listing::made(&mut out, options.json, &key, &secret)?,
        KeyCommandResult::Changed(key) => listing::changed(&mut out, options.json, &key)?,
        KeyCommandResult::Revoked(key) => listing::revoked(&mut out, options.json, &key)?,
        KeyCommandResult::Listed(keys) => listing::list(&mut out, options.json, &keys)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

enum KeyCommandResult {
    Made { key: StoredKey, secret: String },
    Changed(StoredKey),
    Revoked(KeyName),
    Listed(Vec<StoredKey>),
}

impl KeyCommand {
    async fn run(&self, database: &DatabaseSettings) -> Result<KeyCommandResult, Failure> {
        if let Self::List { all } = self {
            let store = KeyStore::open(database).await?;
            let auth::store::KeyRows { mut keys, unreadable } = store.keys().await?;
            store.close().await;
            for unreadable in unreadable {
                // A closed stderr is no reason to fail.
                let _ = writeln!(io::stderr(), "{unreadable}");
            }
            keys.retain(|key| *all || key.revoked.is_none());
            return Ok(KeyCommandResult::Listed(keys));
        }
        let mut editor = KeyEditor::open(database).await?;
        let outcome = self.change(&mut editor).await;
        editor.close().await;
        outcome
    }

    async fn change(&self, editor: &mut KeyEditor) -> Result<KeyCommandResult, Failure> {
        let now = SystemTime::now();
        Ok(match self {
            Self::Create { name, limits, admin } => {
                let (mut key, secret) = StoredKey::make(name, *admin, now)?;
                limits.apply(&mut key.limits, now);
                editor.add(&key).await?;
                KeyCommandResult::Made { key, secret: secret.expose().clone() }
            }
            Self::Set { key, limits } => {
                let key = editor.limit(key, |changed| limits.apply(changed, now)).await?;
                KeyCommandResult::Changed(key)
            }
            Self::Rotate { key, overlap } => {
                let secret = generate::make(key)?.token.expose().clone();
                let new = (Digest::of(secret.as_bytes()), generate::shown(&secret));
                let key = editor.rotate(key, new, now + *overlap, |_| true).await?;
                KeyCommandResult::Made { key, secret }
            }
            Self::Revoke { key } => KeyCommandResult::Revoked(editor.revoke(key, now).await?),
            Self::List { .. } => return Err(StoreError::Unknown(String::new()).into()),
        })
    }
}
