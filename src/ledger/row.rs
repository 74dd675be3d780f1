//! One request as it is kept: a row. Times are in microseconds unless their name says nanoseconds, money in micro-units.
//! A row holds no prompt, no completion and no key; texts that a client or a provider chose are cut to a length. What is
//! not known is nothing, never zero.

use serde::{Deserialize, Serialize};

use crate::database::{Cell, ColumnKind};

/// What of a text that strangers chose is kept, in characters (S3.6 for the user agent).
pub const LONGEST: usize = 500;

/// A row's own name: a UUID of version 7, so that ids follow time and two processes never make the same. A client's
/// request id may come twice, this does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowId(pub [u8; 16]);

impl RowId {
    /// The least id of that microsecond and later ones.
    #[must_use]
    pub fn floor(at: i64) -> Self {
        let mut id = [0; 16];
        let millis = u64::try_from(at.max(0) / 1000).unwrap_or(0).to_be_bytes();
        if let (Some(head), [_, _, low @ ..]) = (id.get_mut(..6), millis) {
            head.copy_from_slice(&low);
        }
        Self(id)
    }
}

/// Makes ids: the time, 42 random bits of the process, a count.
#[derive(Debug)]
pub struct RowIds {
    own: [u8; 6],
    next: u32,
}

impl Default for RowIds {
    fn default() -> Self {
        let mut own = [0; 6];
        if getrandom::getrandom(&mut own).is_err() {
            own.copy_from_slice(&(u64::from(std::process::id()) << 16).to_be_bytes()[2..]);
        }
        Self { own, next: 0 }
    }
}

impl RowIds {
    /// An id for a request that came at `at`.
    pub fn make(&mut self, at: i64) -> RowId {
        self.next = self.next.wrapping_add(1);
        let millis = u64::try_from(at.max(0) / 1000).unwrap_or(0);
        let mut rest = [0; 10];
        rest[..6].copy_from_slice(&self.own);
        rest[6..].copy_from_slice(&self.next.to_be_bytes());
        RowId(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid().into_bytes())
    }
}

macro_rules! row {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)*) => {
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Row {
            pub id: RowId,
            /// When the request arrived, since 1970.
            pub at: i64,
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: row!(@type $kind),)*
        }

        impl Row {
            /// All columns but `id` and `at`, in order.
            pub const COLUMNS: &[(&str, ColumnKind)] = &[$((stringify!($name), ColumnKind::$kind)),*];

            /// A row of which nothing is known.
            #[must_use]
            pub const fn new(id: RowId, at: i64) -> Self {
                Self { id, at, $($name: None),* }
            }

            /// `id`, `at` and all other columns, in order.
            #[must_use]
            pub fn cells(&self) -> Vec<Cell> {
                let mut cells = Vec::with_capacity(2 + Self::COLUMNS.len());
                cells.push(self.id.0.to_vec().into());
                cells.push(self.at.into());
                $(cells.push(Cell::$kind(self.$name.clone()));)*
                cells
            }
        }
    };
    (@type Int) => { Option<i64> };
    (@type Text) => { Option<String> };
}

row! {
    /// As the client or the gateway named the request.
    request_id: Text,
    /// Whose key it was.
    principal: Text,
    key_id: Text,
    /// As the client wrote it.
    model_asked: Text,
    /// The model's name at the provider; nothing if no provider was found for it.
    model: Text,
    /// The route's template.
    path: Text,
    dialect: Text,
    provider: Text,
    /// How the provider is spoken to.
    provider_kind: Text,
    region: Text,
    strategy: Text,
    attempts: Int,
    /// Calls whose answer was not used.
    wasted: Int,
    /// What calls that came to nothing are known to have taken: few providers say so before their first content.
    wasted_tokens: Int,
    /// `non-streaming`, `asgi` or `buffered`.
    mode: Text,
    /// As told to the client; 499 if it left.
    status: Int,
    /// `ok`, `refused`, `failed` or `gone`.
    outcome: Text,
    /// The error's code.
    fault: Text,
    /// `client`, `gateway` or `provider`.
    fault_side: Text,
    /// How far it had come, if it did not end well.
    phase: Text,
    first_byte_us: Int,
    ttft_us: Int,
    total_us: Int,
    /// Waiting for a provider's connection.
    queue_us: Int,
    /// From the provider's being asked to its answer's head, without the wait for a connection.
    upstream_us: Int,
    added_first_ns: Int,
    added_p50_ns: Int,
    added_p99_ns: Int,
    added_max_ns: Int,
    frames: Int,
    events: Int,
    request_bytes: Int,
    bytes: Int,
    /// Digests of what the provider sent and of what the client was given.
    digest_up: Text,
    digest_down: Text,
    /// All input, what came from the provider's cache among it.
    tokens_in: Int,
    tokens_out: Int,
    tokens_cached: Int,
    tokens_reasoning: Int,
    /// `reported`, `estimated` or `partial`.
    usage_source: Text,
    cost: Int,
    client: Text,
    user_agent: Text,
    trace_id: Text,
}

/// How a request ended, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowOutcome {
    Ok,
    /// The request was at fault.
    Refused,
    Failed,
    /// The client left.
    Gone,
}

impl RowOutcome {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Gone => "gone",
        }
    }
}

/// The beginning of a stranger's text, without what would move a terminal's cursor or what PostgreSQL takes in no text.
#[must_use]
pub fn cut(text: &str) -> String {
    text.chars().take(LONGEST).map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_time_and_never_repeat() {
        let (mut here, mut there) = (RowIds::default(), RowIds::default());
        let at = 1_763_719_000_123_456;
        let (first, second, other) = (here.make(at), here.make(at), there.make(at));
        assert!(first != second && first != other && second != other);
        assert!(RowId::floor(at) <= first && first < RowId::floor(at + 1000));
        assert_eq!(first.0[..6], (at as u64 / 1000).to_be_bytes()[2..]);
        assert_eq!((first.0[6] >> 4, first.0[8] >> 6), (7, 2), "version and variant of RFC 9562");
        assert_eq!(RowId::floor(-1), RowId([0; 16]));
    }

    #[test]
    fn a_row_survives_its_own_text_and_an_older_one() {
        let mut row = Row::new(RowIds::default().make(5), 5);
        row.model = Some("m\"é".to_owned());
        row.cost = Some(-1);
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
        let later = text.replacen('{', r#"{"unheard_of":1,"#, 1);
        assert_eq!(serde_json::from_str::<Row>(&later).unwrap(), row);
        assert_eq!(row.cells().len(), 2 + Row::COLUMNS.len());
    }

    #[test]
    fn a_strangers_text_is_cut_and_made_harmless() {
        assert_eq!(cut("a\u{1b}[2J\0b"), "a [2J b");
        assert_eq!(cut(&"é".repeat(900)).chars().count(), LONGEST);
    }

    #[test]
    fn an_id_is_of_version_seven_and_holds_time_process_and_count() {
        let mut ids = RowIds { own: [0xff; 6], next: 0x0102_0303 };
        let id = ids.make(1_763_483_643_500_999).0;
        assert_eq!(hex::encode(id), "019a97d0ee6c7fffbfffffff01020304");
        assert_eq!(hex::encode(RowId::floor(1_763_483_643_500_000).0), "019a97d0ee6c00000000000000000000");
    }
}
