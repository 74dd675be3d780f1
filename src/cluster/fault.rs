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
    /// The certificate file of the authority cannot be read.
    #[error("the file of the authority's certificate cannot be read: {0}")]
    Authority(String),
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
