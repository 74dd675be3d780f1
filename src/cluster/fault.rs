//! Why a call to Redis failed. No message holds a password: the client library's do not, and ours name no
//! URL.

use redis::{ErrorKind, RedisError, ServerErrorKind};

#[derive(Clone, Debug, thiserror::Error)]
pub enum RedisFault {
    /// No connection is open. Nothing was sent.
    #[error("there is no connection")]
    Away,
    /// Too many calls are under way. Nothing was sent.
    #[error("too many calls are under way")]
    Crowded,
    /// No answer in time. The call may have been carried out, or may be later.
    #[error("no answer in time")]
    Late,
    /// An answer of another form than the call has.
    #[error("an answer of another form")]
    Form,
    /// No sentinel could be asked, by this reason of one of them.
    #[error("no sentinel answers: {0}")]
    NoSentinel(Box<Self>),
    /// Those that answer know no master of the name.
    #[error("the sentinels know no master of this name")]
    NoMaster,
    /// The client library's or the server's own error.
    #[error(transparent)]
    Driver(#[from] RedisError),
}

impl RedisFault {
    /// The connection is of no use any more: it is cut, or its server takes no writes.
    pub(super) fn ends_connection(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        let takes_no_writes = matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading,
            )
        );
        takes_no_writes || error.is_unrecoverable_error() || error.is_io_error()
    }

    /// The server refuses writes for now: its memory is full, it cannot store them, or too few replicas
    /// follow it. It goes on to answer other calls.
    pub(super) fn refuses_writes(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        matches!(error.code(), Some("OOM" | "MISCONF" | "NOREPLICAS"))
    }

    /// A node of a cluster was asked that does not have the key, so that nothing was carried out.
    pub(super) fn is_redirection(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        matches!(
            error.kind(),
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask | ServerErrorKind::TryAgain)
        )
    }

    /// The server does not know a script by its digest.
    pub(super) fn is_unknown_script(&self) -> bool {
        let Self::Driver(error) = self else { return false };
        error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
    }
}

#[cfg(test)]
mod tests {
    use redis::parse_redis_value;

    use super::*;

    /// As a server and its scripts say it.
    fn said(line: &str) -> RedisFault {
        let answer = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        answer.extract_error().unwrap_err().into()
    }

    #[test]
    fn a_server_that_refuses_writes_is_known_by_its_words() {
        for line in [
            "OOM command not allowed when used memory > 'maxmemory'. script: 7a, on @user_script:1.",
            "MISCONF Errors writing to the AOF file: No space left on device",
            "NOREPLICAS Not enough good replicas to write.",
        ] {
            assert!(said(line).refuses_writes() && !said(line).ends_connection(), "{line}");
        }
        for line in ["READONLY You can't write against a read only replica.", "LOADING x", "MASTERDOWN x"] {
            assert!(said(line).ends_connection(), "{line}");
        }
        for line in ["ERR OOM", "WRONGTYPE x", "NOPERM x", "NOSCRIPT x", "MOVED 1 127.0.0.1:7000"] {
            assert!(!said(line).refuses_writes() && !said(line).ends_connection(), "{line}");
        }
    }
}
