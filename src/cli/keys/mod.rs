//! `thalweg keys`: client keys in the database. A key is shown once, when it is made; the database has its digest. A
//! running gateway sees every change within a second.
//!
//! - `said`: limits as they are written on the command line
//! - `sheet`: keys as they are shown, to people and to programs

mod said;
mod sheet;

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::Subcommand;

use super::{Failure, tell_database};
use crate::{
    auth::{self, Digest, Limits, Named, Registrar, Store, StoreError, StoredKey, maker},
    config::{self, Env, Overrides},
    database::DatabaseSettings,
};

#[derive(clap::Args, Debug)]
pub struct Options {
    #[command(subcommand)]
    errand: Errand,
    /// The configuration file, which names the database [default: THALWEG_CONFIG, or ./config.json; DATABASE_URL goes
    /// before it]
    #[arg(short, long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Errand {
    /// Make a key and print it, once
    Create {
        /// What it is called in lists, logs and the ledger; no two keys in force have the same name
        #[arg(long, value_parser = said::name)]
        name: String,
        #[command(flatten)]
        limits: said::Said,
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
        limits: said::Said,
    },
    /// Put a new secret in the place of a key's and print it, once
    Rotate {
        /// Its name or id
        key: String,
        /// How long the secret before is accepted beside the new one
        #[arg(long, value_name = "TIME", default_value = "0", value_parser = said::duration)]
        overlap: Duration,
    },
    /// Refuse a key from now on
    Revoke {
        /// Its name or id
        key: String,
    },
}

/// # Errors
/// There is no database, it cannot be had, or there is no such key.
pub fn run(options: &Options) -> Result<ExitCode, Failure> {
    let settings = config::load(options.config.as_deref(), &Overrides::default(), &Env::of_process())?;
    let database = settings.database.ok_or(
        "there is no database to keep keys in: give --config or a ./config.json (whose `database` is not false), or set \
         DATABASE_URL",
    )?;
    tell_database(&database.site);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut out = io::stdout().lock();
    match runtime.block_on(options.errand.run(&database))? {
        Outcome::Made { key, secret } => sheet::made(&mut out, options.json, &key, &secret)?,
        Outcome::Changed(key) => sheet::changed(&mut out, options.json, &key)?,
        Outcome::Revoked(key) => sheet::revoked(&mut out, options.json, &key)?,
        Outcome::Listed(keys) => sheet::list(&mut out, options.json, &keys)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

enum Outcome {
    Made { key: StoredKey, secret: String },
    Changed(StoredKey),
    Revoked(Named),
    Listed(Vec<StoredKey>),
}

impl Errand {
    async fn run(&self, database: &DatabaseSettings) -> Result<Outcome, Failure> {
        if let Self::List { all } = self {
            let store = Store::open(database).await?;
            let auth::store::Found { mut keys, unreadable } = store.keys().await?;
            store.close().await;
            for unreadable in unreadable {
                // With stderr gone there is nobody left to tell.
                let _ = writeln!(io::stderr(), "{unreadable}");
            }
            keys.retain(|key| *all || key.revoked.is_none());
            return Ok(Outcome::Listed(keys));
        }
        let mut registrar = Registrar::open(database).await?;
        let outcome = self.change(&mut registrar).await;
        registrar.close().await;
        outcome
    }

    async fn change(&self, registrar: &mut Registrar) -> Result<Outcome, Failure> {
        let now = SystemTime::now();
        Ok(match self {
            Self::Create { name, limits, admin } => {
                let secret = maker::make(name)?.token.expose().clone();
                let mut key = StoredKey {
                    id: maker::make_id()?,
                    name: name.clone(),
                    shown: maker::shown(&secret),
                    digest: Digest::of(secret.as_bytes()),
                    old: None,
                    admin: *admin,
                    limits: Limits::default(),
                    created: now,
                    revoked: None,
                    spent: 0,
                };
                limits.apply(&mut key.limits, now);
                registrar.add(&key).await?;
                Outcome::Made { key, secret }
            }
            Self::Set { key, limits } => {
                let key = registrar.limit(key, |changed| limits.apply(changed, now)).await?;
                Outcome::Changed(key)
            }
            Self::Rotate { key, overlap } => {
                let secret = maker::make(key)?.token.expose().clone();
                let new = (Digest::of(secret.as_bytes()), maker::shown(&secret));
                let key = registrar.rotate(key, new, now + *overlap).await?;
                Outcome::Made { key, secret }
            }
            Self::Revoke { key } => Outcome::Revoked(registrar.revoke(key, now).await?),
            Self::List { .. } => return Err(StoreError::Unknown(String::new()).into()),
        })
    }
}
