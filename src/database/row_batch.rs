//! Rows of one table in memory, column by column. A value that all rows have in common is stored once, and a
//! text that follows an equal one refers to it: rows that are much alike take the room of the values in which
//! they differ. A cleared batch keeps its memory for the next rows.
//!
//! Invariant: a column has a value for each row, or one that stands for all of them.

use std::{mem, ops::Range, str::from_utf8};

use super::{CellRef, ColumnKind};

/// All rows have as many columns, and a column's cells have one type.
#[derive(Clone, Debug, Default)]
pub struct RowBatch {
    /// Made by the first row.
    columns: Vec<BatchColumn>,
    len: usize,
}

/// A row of a table with these columns.
pub trait TableRow {
    /// Puts the row's cells, one for each column and in order.
    fn put(&self, row: RowCells<'_>);
}

/// Takes the cells of one row in the order of the columns.
#[derive(Debug)]
pub struct RowCells<'a> {
    columns: &'a mut Vec<BatchColumn>,
    next: usize,
    /// The number of rows before this one.
    at: usize,
}

/// What the rows of a batch have in a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ColumnUse {
    Null,
    /// The same in all rows.
    Same,
    Differs,
}

#[derive(Clone, Debug)]
enum BatchColumn {
    Int(Values<Option<i64>>),
    /// Texts and blobs: where each is in `bytes`.
    Bytes {
        kind: ColumnKind,
        spans: Values<Option<ByteSpan>>,
        bytes: Vec<u8>,
    },
}

/// A value for each row, or one for all.
#[derive(Clone, Debug)]
struct Values<T> {
    is_same: bool,
    list: Vec<T>,
}

/// The offsets of a text or a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct ByteSpan {
    start: u32,
    end: u32,
}

impl RowBatch {
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The cell of a row, both counted from 0. One that is not there is null.
    #[must_use]
    pub fn cell(&self, at: usize, column: usize) -> CellRef<'_> {
        self.columns.get(column).map_or(CellRef::Int(None), |column| column.cell(at))
    }

    /// The number in a cell. `None`: it is null, or has another type.
    #[must_use]
    pub fn int(&self, at: usize, column: usize) -> Option<i64> {
        match self.columns.get(column)? {
            BatchColumn::Int(values) => values.get(at)?,
            BatchColumn::Bytes { .. } => None,
        }
    }

    /// The text in a cell. `None`: it is null, or has another type.
    #[must_use]
    pub fn text(&self, at: usize, column: usize) -> Option<&str> {
        self.cell(at, column).text()
    }

    /// The bytes in a cell. `None`: it is null, or has another type.
    #[must_use]
    pub fn blob(&self, at: usize, column: usize) -> Option<&[u8]> {
        self.cell(at, column).blob()
    }

    /// Whether a row, which is not the first, has the value of the row before it.
    #[must_use]
    pub fn repeats(&self, at: usize, column: usize) -> bool {
        self.columns.get(column).is_none_or(|column| match column {
            BatchColumn::Int(values) => values.repeats(at),
            BatchColumn::Bytes { spans, .. } => spans.repeats(at),
        })
    }

    pub(super) fn uses(&self) -> impl Iterator<Item = ColumnUse> {
        self.columns.iter().map(|column| match (column.is_same(), column.cell(0).is_null()) {
            (true, true) => ColumnUse::Null,
            (true, false) => ColumnUse::Same,
            (false, _) => ColumnUse::Differs,
        })
    }

    pub fn push(&mut self, row: &impl TableRow) {
        row.put(RowCells { columns: &mut self.columns, next: 0, at: self.len });
        self.len += 1;
    }

    /// Adds rows of another batch.
    pub fn extend(&mut self, other: &Self, rows: Range<usize>) {
        for (place, from) in other.columns.iter().enumerate() {
            if let Some(to) = column(&mut self.columns, place, from.kind()) {
                to.extend(self.len, from, rows.clone());
            }
        }
        self.len += rows.len();
    }

    /// Moves the rows of another batch behind these. If there are none, the batches change places instead.
    pub fn append(&mut self, other: &mut Self) {
        if !self.is_empty() {
            self.extend(other, 0..other.len);
        } else if !other.is_empty() || other.room() > self.room() {
            mem::swap(self, other);
        }
        other.clear();
    }

    /// Takes the rows from `at` on into a batch of their own.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let mut rest = Self::default();
        if at < self.len {
            rest.extend(self, at..self.len);
            self.truncate(at);
        }
        rest
    }

    /// Keeps the first `len` rows.
    pub fn truncate(&mut self, len: usize) {
        if len < self.len {
            self.len = len;
            self.columns.iter_mut().for_each(|column| column.truncate(len));
        }
    }

    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// The most rows that a column has memory for.
    #[must_use]
    pub fn room(&self) -> usize {
        self.columns.iter().map(BatchColumn::room).max().unwrap_or(0)
    }

    /// Gives back memory if there is far more than that of `needed` rows.
    pub fn give_back_room(&mut self, needed: usize) {
        if self.room() <= needed.saturating_mul(4) {
            return;
        }
        *self = self.split_off(0);
    }
}

impl<R: TableRow> FromIterator<R> for RowBatch {
    fn from_iter<T: IntoIterator<Item = R>>(rows: T) -> Self {
        let mut batch = Self::default();
        rows.into_iter().for_each(|row| batch.push(&row));
        batch
    }
}

impl RowCells<'_> {
    #[inline]
    pub fn int(&mut self, value: Option<i64>) {
        let at = self.at;
        if let Some(column) = self.column(ColumnKind::Int) {
            column.push_int(at, value);
        }
    }

    #[inline]
    pub fn text(&mut self, value: Option<&str>) {
        let at = self.at;
        if let Some(column) = self.column(ColumnKind::Text) {
            column.push_bytes(at, value.map(str::as_bytes));
        }
    }

    #[inline]
    pub fn blob(&mut self, value: Option<&[u8]>) {
        let at = self.at;
        if let Some(column) = self.column(ColumnKind::Blob) {
            column.push_bytes(at, value);
        }
    }

    #[inline]
    fn column(&mut self, kind: ColumnKind) -> Option<&mut BatchColumn> {
        let place = self.next;
        self.next += 1;
        column(self.columns, place, kind)
    }
}

/// The column at `place`, made if it is the next.
#[inline]
fn column(columns: &mut Vec<BatchColumn>, place: usize, kind: ColumnKind) -> Option<&mut BatchColumn> {
    if place == columns.len() {
        columns.push(BatchColumn::new(kind));
    }
    columns.get_mut(place)
}

impl BatchColumn {
    fn new(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Int => Self::Int(Values::default()),
            ColumnKind::Text | ColumnKind::Blob => {
                Self::Bytes { kind, spans: Values::default(), bytes: Vec::new() }
            }
        }
    }

    const fn kind(&self) -> ColumnKind {
        match self {
            Self::Int(_) => ColumnKind::Int,
            Self::Bytes { kind, .. } => *kind,
        }
    }

    fn cell(&self, at: usize) -> CellRef<'_> {
        match (self, self.bytes(at)) {
            (Self::Int(values), _) => CellRef::Int(values.get(at).flatten()),
            (Self::Bytes { kind: ColumnKind::Blob, .. }, bytes) => CellRef::Blob(bytes),
            // Pushed as a text, so this check finds nothing.
            (Self::Bytes { .. }, bytes) => CellRef::Text(bytes.and_then(|bytes| from_utf8(bytes).ok())),
        }
    }

    fn bytes(&self, at: usize) -> Option<&[u8]> {
        match self {
            Self::Int(_) => None,
            Self::Bytes { spans, bytes, .. } => spans.get(at)??.of(bytes),
        }
    }

    /// Adds the value of a row behind `at` others.
    #[inline]
    fn push_int(&mut self, at: usize, value: Option<i64>) {
        if let Self::Int(values) = self {
            values.push(at, value);
        }
    }

    fn push_bytes(&mut self, at: usize, value: Option<&[u8]>) {
        let Self::Bytes { spans, bytes, .. } = self else { return };
        let last = at.checked_sub(1).and_then(|last| spans.get(last));
        match last {
            Some(last) if last.and_then(|last| last.of(bytes)) == value => {
                if !spans.is_same {
                    spans.list.push(last);
                }
            }
            Some(_) | None => spans.push(at, value.and_then(|value| ByteSpan::append(value, bytes))),
        }
    }

    /// Adds the values of some rows of another column behind `at` others.
    fn extend(&mut self, at: usize, other: &Self, rows: Range<usize>) {
        for (at, row) in (at..).zip(rows) {
            match other {
                Self::Int(values) => self.push_int(at, values.get(row).flatten()),
                Self::Bytes { .. } => self.push_bytes(at, other.bytes(row)),
            }
            // The first of them stands for the others.
            if other.is_same() && self.is_same() {
                return;
            }
        }
    }

    const fn is_same(&self) -> bool {
        match self {
            Self::Int(values) => values.is_same,
            Self::Bytes { spans, .. } => spans.is_same,
        }
    }

    fn truncate(&mut self, len: usize) {
        match self {
            Self::Int(values) => values.truncate(len),
            Self::Bytes { spans, bytes, .. } => {
                spans.truncate(len);
                let end = spans.list.iter().flatten().map(|span| span.end as usize).max();
                bytes.truncate(end.unwrap_or(0));
            }
        }
    }

    const fn room(&self) -> usize {
        match self {
            Self::Int(values) => values.list.capacity(),
            Self::Bytes { spans, .. } => spans.list.capacity(),
        }
    }
}

impl<T> Default for Values<T> {
    fn default() -> Self {
        Self { is_same: true, list: Vec::new() }
    }
}

impl<T: Copy + PartialEq> Values<T> {
    fn get(&self, at: usize) -> Option<T> {
        self.list.get(if self.is_same { 0 } else { at }).copied()
    }

    fn repeats(&self, at: usize) -> bool {
        self.is_same || at.checked_sub(1).is_some_and(|last| self.list.get(last) == self.list.get(at))
    }

    /// Adds the value of a row behind `at` others.
    #[inline]
    fn push(&mut self, at: usize, value: T) {
        if self.is_same && at > 0 {
            match self.list.first() {
                Some(first) if *first == value => return,
                Some(first) => self.list.resize(at, *first),
                None => {}
            }
            self.is_same = false;
        }
        self.list.push(value);
    }

    fn truncate(&mut self, len: usize) {
        self.list.truncate(len);
        self.is_same |= len == 0;
    }
}

impl ByteSpan {
    /// `None`: offsets end at 4 GiB.
    fn append(value: &[u8], bytes: &mut Vec<u8>) -> Option<Self> {
        let offset = |offset: usize| u32::try_from(offset).ok();
        let span = Self { start: offset(bytes.len())?, end: offset(bytes.len().checked_add(value.len())?)? };
        bytes.extend_from_slice(value);
        Some(span)
    }

    fn of(self, bytes: &[u8]) -> Option<&[u8]> {
        bytes.get(self.start as usize..self.end as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Thing(Option<i64>, Option<&'static str>, Option<[u8; 2]>);

    impl TableRow for Thing {
        fn put(&self, mut row: RowCells<'_>) {
            row.int(self.0);
            row.text(self.1);
            row.blob(self.2.as_ref().map(|bytes| &bytes[..]));
        }
    }

    fn assert_rows(batch: &RowBatch, things: &[Thing]) {
        assert_eq!(batch.len(), things.len());
        for (at, thing) in things.iter().enumerate() {
            let blob = thing.2.as_ref().map(|bytes| &bytes[..]);
            let cells = [CellRef::Int(thing.0), CellRef::Text(thing.1), CellRef::Blob(blob)];
            assert_eq!([0, 1, 2].map(|column| batch.cell(at, column)), cells, "{at}");
            assert_eq!((batch.int(at, 0), batch.text(at, 1)), (thing.0, thing.1));
            let is_repeated = |column| at > 0 && batch.cell(at, column) == batch.cell(at - 1, column);
            assert_eq!(
                [0, 1, 2].map(|column| at > 0 && batch.repeats(at, column)),
                [0, 1, 2].map(is_repeated)
            );
        }
    }

    /// Every sequence of four rows in which each column has one of two values or null, in pieces of every
    /// size.
    #[test]
    fn rows_are_as_they_were_put_in() {
        let value = |digit: usize| match digit {
            0 => Thing(None, Some("é"), None),
            1 => Thing(Some(-1), None, Some([0, 255])),
            _ => Thing(Some(2), Some(""), Some([7, 7])),
        };
        for form in 0..81_usize {
            let things: Vec<Thing> = [1, 3, 9, 27].map(|weight| value(form / weight % 3)).to_vec();
            let mut whole: RowBatch = things.iter().cloned().collect();
            assert_rows(&whole, &things);
            for at in 0..=4 {
                let mut first = whole.clone();
                let mut rest = first.split_off(at);
                assert_rows(&first, &things[..at]);
                assert_rows(&rest, &things[at..]);
                // Behind rows that were cut off, and in memory that had others.
                first.append(&mut rest);
                assert_rows(&first, &things);
                assert!(rest.is_empty());
                rest.extend(&whole, at..4);
                assert_rows(&rest, &things[at..]);
                rest.push(&things[0]);
                assert_eq!(rest.cell(4 - at, 1), CellRef::Text(things[0].1));
            }
            whole.clear();
            things.iter().rev().for_each(|thing| whole.push(thing));
            assert_rows(&whole, &things.iter().rev().cloned().collect::<Vec<_>>());
        }
        assert_eq!(RowBatch::default().cell(0, 0), CellRef::Int(None));
    }

    #[test]
    fn equal_values_take_room_once() {
        let thing = |number, text| Thing(Some(number), Some(text), Some([1, 2]));
        let mut batch: RowBatch = (0..1000).map(|_| thing(1, "alike")).collect();
        assert!(batch.room() < 10);
        assert!(batch.uses().all(|found| found == ColumnUse::Same));
        batch.push(&thing(2, "alike"));
        let uses: Vec<ColumnUse> = batch.uses().collect();
        assert_eq!(uses, [ColumnUse::Differs, ColumnUse::Same, ColumnUse::Same]);
        batch.extend(&(0..1000).map(|_| thing(1, "other")).collect(), 0..1000);
        let BatchColumn::Bytes { bytes, .. } = &batch.columns[1] else { unreachable!() };
        assert_eq!(bytes, b"alikeother");
        batch.give_back_room(600);
        assert!(batch.room() > 2000, "it is needed");
        batch.give_back_room(100);
        assert_eq!((batch.len(), batch.int(1000, 0), batch.text(1001, 1)), (2001, Some(2), Some("other")));
        batch.clear();
        assert!(batch.room() > 2000, "it is for the next rows");
        batch.push(&thing(3, "alike"));
        batch.push(&thing(3, "alike"));
        assert!(batch.uses().all(|found| found == ColumnUse::Same));
        batch.clear();
        batch.give_back_room(0);
        assert_eq!(batch.room(), 0);
    }
}
