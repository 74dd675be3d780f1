//! A row: one request in the database. Times are in microseconds unless a name says nanoseconds, money in
//! micro-units. A row holds no prompt, no completion and no key; texts from clients and providers are cut to
//! a length. An unknown value is null, never zero.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

#[cfg(test)]
use crate::database::Cell;
use crate::{
    base::control::is_display_control,
    database::{ColumnKind, RowBatch, RowCells, TableRow},
};

/// The most characters of a text from outside (S3.6 for the user agent).
pub const MAX_TEXT_LENGTH: usize = 500;

/// A row's id: a UUID of version 7, so that ids are ordered by time and two processes never make the same. A
/// client's request id may come twice, this one does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RowId(pub [u8; 16]);

impl RowId {
    /// The least id of that millisecond: `at` is in microseconds since 1970.
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

/// Makes ids of the time, 42 random bits of the process, and a counter.
#[derive(Debug)]
pub struct RowIds {
    random: [u8; 6],
    next: u32,
}

impl Default for RowIds {
    fn default() -> Self {
        let mut random = [0; 6];
        if getrandom::getrandom(&mut random).is_err() {
            random.copy_from_slice(&(u64::from(std::process::id()) << 16).to_be_bytes()[2..]);
        }
        Self { random, next: 0 }
    }
}

impl RowIds {
    /// An id for a request that came at `at`, in microseconds since 1970.
    pub fn make(&mut self, at: i64) -> RowId {
        self.next = self.next.wrapping_add(1);
        let millis = u64::try_from(at.max(0) / 1000).unwrap_or(0);
        let mut rest = [0; 10];
        rest[..6].copy_from_slice(&self.random);
        rest[6..].copy_from_slice(&self.next.to_be_bytes());
        RowId(uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid().into_bytes())
    }
}

macro_rules! row {
    ($($(#[$doc:meta])* $name:ident: $kind:ident,)*) => {
        /// Its texts are its own, or those of the request or the batch that it is read from.
        #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
        pub struct Row<'a> {
            pub id: RowId,
            /// When the request came, in microseconds since 1970.
            pub at: i64,
            $($(#[$doc])* #[serde(default, skip_serializing_if = "Option::is_none")] pub $name: row!(@type $kind),)*
        }

        impl<'a> Row<'a> {
            /// All columns but `id` and `at`, in order.
            pub const COLUMNS: &'static [(&'static str, ColumnKind)] =
                &[$((stringify!($name), ColumnKind::$kind)),*];

            /// A row without any other value.
            #[must_use]
            pub const fn new(id: RowId, at: i64) -> Self {
                Self { id, at, $($name: None),* }
            }

            /// A row of a batch, counted from 0.
            #[must_use]
            pub fn of(batch: &'a RowBatch, row: usize) -> Self {
                let id = batch.blob(row, ID).and_then(|id| id.try_into().ok()).unwrap_or_default();
                let mut column = AT;
                $(
                    column += 1;
                    let $name = row!(@read $kind batch, row, column);
                )*
                Self { id: RowId(id), at: batch.int(row, AT).unwrap_or_default(), $($name),* }
            }

            /// `id`, `at` and all other columns, in order.
            #[cfg(test)]
            pub(super) fn cells(&self) -> Vec<Cell> {
                let mut cells = Vec::with_capacity(2 + Self::COLUMNS.len());
                cells.push(self.id.0.to_vec().into());
                cells.push(self.at.into());
                $(cells.push(row!(@own $kind self.$name));)*
                cells
            }
        }

        /// The columns are `id`, `at` and [`Row::COLUMNS`].
        impl TableRow for Row<'_> {
            fn put(&self, mut row: RowCells<'_>) {
                row.blob(Some(&self.id.0));
                row.int(Some(self.at));
                $(row!(@put $kind row, self.$name);)*
            }
        }
    };
    (@read Int $batch:expr, $row:expr, $column:expr) => { $batch.int($row, $column) };
    (@read Text $batch:expr, $row:expr, $column:expr) => { $batch.text($row, $column).map(Cow::Borrowed) };
    (@put Int $row:expr, $value:expr) => { $row.int($value) };
    (@put Text $row:expr, $value:expr) => { $row.text($value.as_deref()) };
    (@own Int $value:expr) => { Cell::Int($value) };
    (@own Text $value:expr) => { Cell::Text($value.as_deref().map(str::to_owned)) };
    (@type Int) => { Option<i64> };
    (@type Text) => { Option<Cow<'a, str>> };
}

/// Columns of a batch of rows.
pub(super) const ID: usize = 0;
pub(super) const AT: usize = 1;

/// The column of that name in a batch of rows. It is for constants: with another name the program is not
/// compiled.
pub(super) const fn column(name: &str) -> usize {
    let mut at = 0;
    while !is_same_text(Row::COLUMNS[at].0, name) {
        at += 1;
    }
    at + AT + 1
}

const fn is_same_text(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

row! {
    /// The client's name for the request, or the gateway's.
    request_id: Text,
    /// The owner of the key.
    principal: Text,
    key_id: Text,
    /// As in the client's request.
    model_asked: Text,
    /// The model's name at the provider; null if no provider was found for it.
    model: Text,
    /// The template of the route.
    path: Text,
    dialect: Text,
    /// The client's dialect and the provider's, `messages>chat`; null where the provider was asked in the
    /// client's.
    dialects: Text,
    /// `cached` or `coalesced`: the answer is an equal request's; null where it is the request's own.
    reuse: Text,
    /// Tokens that the provider counted for that request.
    tokens_saved: Int,
    provider: Text,
    /// The API of the provider.
    provider_kind: Text,
    region: Text,
    strategy: Text,
    attempts: Int,
    /// Attempts with an answer that was not used.
    wasted: Int,
    /// Tokens that failed attempts are known to have used. Few providers report them before their first
    /// content.
    wasted_tokens: Int,
    /// `non-streaming`, `asgi` or `buffered`.
    mode: Text,
    /// As sent to the client; 499 if it left.
    status: Int,
    /// `ok`, `refused`, `failed` or `gone`.
    outcome: Text,
    /// The error's code.
    fault: Text,
    /// `client`, `gateway` or `provider`.
    fault_side: Text,
    /// The phase that the request had reached, if it did not succeed.
    phase: Text,
    first_byte_us: Int,
    ttft_us: Int,
    total_us: Int,
    /// Waiting for a connection to the provider.
    queue_us: Int,
    /// From the request to the provider until the head of its answer, without the wait for a connection.
    upstream_us: Int,
    added_first_ns: Int,
    added_p50_ns: Int,
    added_p99_ns: Int,
    added_max_ns: Int,
    frames: Int,
    events: Int,
    request_bytes: Int,
    bytes: Int,
    /// Digests of the bytes from the provider and of the bytes to the client.
    digest_up: Text,
    digest_down: Text,
    /// All input, including the part from the provider's cache.
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

/// The result of a request in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RowOutcome {
    Ok,
    /// The request was wrong.
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

/// The beginning of a text from outside. Control characters become spaces, because they command a terminal
/// and PostgreSQL's text takes no NUL.
#[must_use]
pub fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= MAX_TEXT_LENGTH && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.into();
    }
    let letters = text.chars().take(MAX_TEXT_LENGTH);
    letters.map(|letter| if is_display_control(letter) { ' ' } else { letter }).collect()
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
        row.model = Some("m\"é".into());
        row.cost = Some(-1);
        let text = serde_json::to_string(&row).unwrap();
        assert_eq!(serde_json::from_str::<Row<'_>>(&text).unwrap(), row);
        let later = text.replacen('{', r#"{"unheard_of":1,"#, 1);
        assert_eq!(serde_json::from_str::<Row<'_>>(&later).unwrap(), row);
        assert_eq!(row.cells().len(), 2 + Row::COLUMNS.len());
        let batch: RowBatch = [&Row::new(row.id, 5), &row].into_iter().cloned().collect();
        assert_eq!([0, 1].map(|at| Row::of(&batch, at)), [Row::new(row.id, 5), row.clone()]);
        for (at, cell) in row.cells().iter().enumerate() {
            let is_null = matches!(cell, Cell::Int(None) | Cell::Text(None));
            assert_eq!(batch.cell(1, at).is_null(), is_null, "{at}");
        }
        assert_eq!((batch.int(1, column("cost")), batch.text(1, column("model"))), (Some(-1), Some("m\"é")));
    }

    #[test]
    fn a_strangers_text_is_cut_and_made_harmless() {
        assert_eq!(cut("a\u{1b}[2J\0b"), "a [2J b");
        assert_eq!(cut(&"é".repeat(900)).chars().count(), MAX_TEXT_LENGTH);
    }

    #[test]
    fn an_id_is_of_version_seven_and_holds_time_process_and_count() {
        let mut ids = RowIds { random: [0xff; 6], next: 0x0102_0303 };
        let id = ids.make(1_763_483_643_500_999).0;
        assert_eq!(hex::encode(id), "019a97d0ee6c7fffbfffffff01020304");
        assert_eq!(hex::encode(RowId::floor(1_763_483_643_500_000).0), "019a97d0ee6c00000000000000000000");
    }
}
