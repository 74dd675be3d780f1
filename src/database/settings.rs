//! The database to use: a file for SQLite, a URL for PostgreSQL.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::ConnectionBound;
use crate::base::Secret;

/// The two numbers with the bound on connections as their sum (S4.1).
pub const POOL_SIZE: u32 = 25;
pub const MAX_OVERFLOW: u32 = 50;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseSettings {
    pub url: DatabaseUrl,
    /// A copy for the ledger's queries, which may lag behind. `None`: they go to `url`.
    pub read_url: Option<DatabaseUrl>,
    /// The connections of all parts of the process together.
    pub connections: ConnectionBound,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(PathBuf),
    /// The URL includes the password.
    Postgres(Secret<String>),
}

impl DatabaseSettings {
    #[must_use]
    pub fn new(url: DatabaseUrl) -> Self {
        Self { url, read_url: None, connections: ConnectionBound::new(POOL_SIZE + MAX_OVERFLOW) }
    }
}

impl DatabaseSettings {
    /// The copy for reading, with the same bound on connections. `None`: there is none.
    #[must_use]
    pub fn copy(&self) -> Option<Self> {
        let url = self.read_url.clone()?;
        Some(Self { url, read_url: None, connections: self.connections.clone() })
    }
}

impl DatabaseUrl {
    /// Reads `thalweg.db`, `sqlite:thalweg.db`, `sqlite:///var/lib/thalweg.db`, `postgres://…` or
    /// `postgresql://…`. A driver's name behind a plus (`postgresql+asyncpg`), as Python programs write it,
    /// is ignored. A relative file starts at `folder`.
    ///
    /// # Errors
    /// The expected form. The text is not repeated, because it may hold a password.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "expected a file, or a URL that begins with sqlite:, postgres:// or postgresql://";
        let Some((scheme, rest)) = text.split_once(':').filter(|(scheme, _)| scheme.len() > 1) else {
            return if text.trim().is_empty() { Err(EXPECTED) } else { Ok(Self::Sqlite(folder.join(text))) };
        };
        let (scheme, driver) = scheme.split_once('+').map_or((scheme, false), |(scheme, _)| (scheme, true));
        match scheme {
            "sqlite" => {
                let path = rest.split('?').next().unwrap_or_default();
                // SQLAlchemy uses one slash more than others: three begin a relative name.
                let path = path.strip_prefix(if driver { "///" } else { "//" }).unwrap_or(path);
                let path = path.strip_prefix("/./").unwrap_or(path);
                if path.is_empty() { Err(EXPECTED) } else { Ok(Self::Sqlite(folder.join(path))) }
            }
            "postgres" | "postgresql" if rest.starts_with("//") => match has_good_port(rest) {
                true => Ok(Self::Postgres(Secret::new(format!("postgres:{rest}")))),
                false => {
                    Err("names no port where one stands; / ? # @ : of a password are %2F %3F %23 %40 %3A")
                }
            },
            _ => Err(EXPECTED),
        }
    }
}

/// Whether `//user:password@host:port/…` has a number as its port, if it has one. Where a character that ends
/// the host stands in a password, or no host follows it, the password stands there.
fn has_good_port(rest: &str) -> bool {
    let authority = rest.trim_start_matches('/').split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.rsplit_once('@').map_or(authority, |(_, address)| address);
    let outside = address.rsplit_once(']').map_or(address, |(_, outside)| outside);
    outside.split_once(':').is_none_or(|(_, port)| port.is_empty() || port.parse::<u16>().is_ok())
}

/// For people: the file, or the URL without user, password and options.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => write!(f, "SQLite, {}", file.display()),
            Self::Postgres(url) => {
                let rest = url.expose().split_once("://").map_or("", |(_, rest)| rest);
                // With an `@` behind it, the question mark may be a password's.
                let rest = match rest.split_once('?') {
                    Some((_, options)) if options.contains('@') => "***",
                    Some((rest, _)) => rest,
                    None => rest,
                };
                let shown = rest.rsplit_once('@').map_or(rest, |(_, shown)| shown);
                write!(f, "PostgreSQL, {shown}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_files_and_urls() {
        let folder = Path::new("/etc/thalweg");
        for (text, file) in [
            ("thalweg.db", "/etc/thalweg/thalweg.db"),
            ("/var/t.db", "/var/t.db"),
            ("sqlite:t.db", "/etc/thalweg/t.db"),
            ("sqlite://t.db?mode=rwc", "/etc/thalweg/t.db"),
            ("sqlite:///var/t.db", "/var/t.db"),
            ("sqlite:///./t.db", "/etc/thalweg/t.db"),
            ("sqlite+aiosqlite:///./t.db", "/etc/thalweg/./t.db"),
            ("sqlite+aiosqlite:////var/t.db", "/var/t.db"),
        ] {
            assert_eq!(DatabaseUrl::parse(text, folder), Ok(DatabaseUrl::Sqlite(file.into())), "{text}");
        }
        for text in ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+asyncpg://u:p@h/d"] {
            let Ok(url @ DatabaseUrl::Postgres(_)) = DatabaseUrl::parse(text, folder) else {
                panic!("{text}")
            };
            assert_eq!(url.to_string(), "PostgreSQL, h/d");
            assert!(!format!("{url:?}").contains("u:p"), "{url:?}");
        }
        for text in ["", "sqlite:", "mysql://h/d", "postgres:h"] {
            assert!(DatabaseUrl::parse(text, folder).is_err(), "{text}");
        }
    }

    /// A password that is not encoded, or stands without a host behind it.
    #[test]
    fn a_password_is_shown_by_no_url() {
        let parse = |text: &str| DatabaseUrl::parse(text, Path::new(""));
        for text in [
            "postgres://u:s3cret?x@db/d",
            "postgres://u:s3cret",
            "postgres://u:s3/t@db/d",
            "postgres://u:s#t@db",
        ] {
            assert!(parse(text).is_err_and(|error| !error.contains("s3")), "{text}");
        }
        for (text, shown) in [
            ("postgres://u:12?x@db/d", "***"),
            ("postgres://u:12/x@db/d", "db/d"),
            ("postgres://u:p@[::1]:5432/d?sslmode=require", "[::1]:5432/d"),
            ("postgres://u:p@db:5432/d", "db:5432/d"),
            ("postgres:///d?host=/run/postgresql", "/d"),
        ] {
            assert_eq!(parse(text).unwrap().to_string(), format!("PostgreSQL, {shown}"), "{text}");
        }
    }
}
