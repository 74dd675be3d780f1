//! The key table's rows, with any value in any column: a row is a key with the limits that are written in
//! it, or is refused by the name of a column; and no row changes the reading of another. Input: values.
#![no_main]

use std::{
    collections::HashMap,
    time::{Duration, SystemTime},
};

use libfuzzer_sys::fuzz_target;
use thalweg::{
    auth::{
        Digest,
        store::{COLUMNS, KeyRows, StoredKey, read_spending},
    },
    database::{Cell, ResultRow},
};

const ID: usize = 0;
const MODELS: usize = 7;
const REVOKED: usize = 14;
const STRATEGIES: usize = 15;
const WIDTH: usize = 16;

fuzz_target!(|input: &[u8]| {
    let mut values = Values(input);
    let rows: Vec<ResultRow> = (0..=values.byte() % 4).map(|_| values.row()).collect();
    let spending: Vec<ResultRow> = (0..values.byte() % 6)
        .map(|_| ResultRow(vec![values.cell(ID), values.cell(WIDTH)]))
        .collect();
    let model = String::from_utf8_lossy(values.0);
    let sums = read_spending(&spending);
    check_sums(&spending, &sums);
    let found = KeyRows::read(&rows, &sums);
    let (mut keys, mut unreadable) = (found.keys.iter(), found.unreadable.iter());
    for row in &rows {
        match plain(&row.0, &sums) {
            Some(expected) => {
                let key = keys.next().expect("a key for a row that can be read");
                assert_eq!(*key, expected);
                let _ = key.limits.allow_model(&model, |name| name.len() < 4);
            }
            None if matches!(row.0.get(REVOKED), Some(Some(Cell::Int(Some(_))))) => {}
            None => {
                let refused = unreadable.next().expect("a reason");
                assert_eq!(refused.id, text(row.0.first()).flatten().unwrap_or_default());
                assert!(COLUMNS.split(", ").any(|column| column == refused.column), "{refused}");
            }
        }
        let alone = KeyRows::read(std::slice::from_ref(row), &sums);
        assert!(alone.keys.iter().all(|key| found.keys.contains(key)));
    }
    assert_eq!((keys.next(), unreadable.next()), (None, None));
});

/// The number in a column; `None`: it is something else.
fn int(cell: Option<&Option<Cell>>) -> Option<Option<i64>> {
    match cell? {
        Some(Cell::Int(value)) => Some(*value),
        Some(Cell::Text(None) | Cell::Blob(None)) => Some(None),
        _ => None,
    }
}

fn text(cell: Option<&Option<Cell>>) -> Option<Option<String>> {
    match cell? {
        Some(Cell::Text(value)) => Some(value.clone()),
        Some(Cell::Int(None) | Cell::Blob(None)) => Some(None),
        _ => None,
    }
}

/// The key of a row, read plainly. `None`: it is none.
fn plain(row: &[Option<Cell>], sums: &HashMap<String, i64>) -> Option<StoredKey> {
    let limit = |column: usize| match int(row.get(column))? {
        Some(value @ 0..=0xffff_ffff) => Some(Some(value as u32)),
        None => Some(None),
        Some(_) => None,
    };
    let time = |column: usize| {
        let millis = int(row.get(column))?.map(|millis| millis.max(0) as u64);
        Some(millis.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis)))
    };
    let list = |column: usize| match text(row.get(column))? {
        None => Some(None),
        Some(json) => {
            let serde_json::Value::Array(names) = serde_json::from_str(&json).ok()? else { return None };
            names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>().map(Some)
        }
    };
    let digest = |text: String| Digest::from_hex(&text);
    let id = text(row.first())??;
    let budget = int(row.get(11))?;
    if budget.is_some_and(|budget| budget < 0) {
        return None;
    }
    let mut key = StoredKey {
        name: text(row.get(1))??,
        shown: text(row.get(2))??,
        digest: digest(text(row.get(3))??)?,
        old: None,
        admin: int(row.get(6))?? != 0,
        limits: thalweg::auth::KeyLimits {
            models: list(MODELS)??,
            strategies: list(STRATEGIES)?,
            expires: time(12)?,
            ..Default::default()
        },
        created: time(13)?.unwrap_or(SystemTime::UNIX_EPOCH),
        revoked: time(REVOKED)?,
        spent: sums.get(&id).copied().unwrap_or(0),
        id,
    };
    if let (Some(old), Some(until)) = (text(row.get(4))?.and_then(digest), time(5)?) {
        key.old = Some((old, until));
    }
    let allowance = &mut key.limits.allowance;
    (allowance.requests, allowance.tokens, allowance.concurrent) = (limit(8)?, limit(9)?, limit(10)?);
    allowance.budget = budget;
    Some(key)
}

/// Spending that cannot be read leaves nothing of a budget.
fn check_sums(rows: &[ResultRow], sums: &HashMap<String, i64>) {
    for (id, sum) in sums {
        let own = rows.iter().filter(|row| text(row.0.first()).flatten().as_ref() == Some(id));
        let parts: Vec<Option<i64>> = own.map(|row| int(row.0.get(1)).flatten()).collect();
        assert!(!parts.is_empty());
        let is_known = parts.iter().all(Option::is_some);
        let total: i128 = parts.iter().map(|part| i128::from(part.unwrap_or(i64::MAX))).sum();
        let has_negative = parts.iter().any(|part| part.is_some_and(i64::is_negative));
        if is_known && !has_negative {
            assert_eq!(i128::from(*sum), total.min(i64::MAX.into()));
        } else if !has_negative {
            assert_eq!(*sum, i64::MAX);
        }
    }
}

struct Values<'a>(&'a [u8]);

impl Values<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn row(&mut self) -> ResultRow {
        let length = if self.byte() == 255 { usize::from(self.byte()) % WIDTH } else { WIDTH };
        ResultRow((0..length).map(|column| self.cell(column)).collect())
    }

    /// A value: one that fits the column, or any other.
    fn cell(&mut self, column: usize) -> Option<Cell> {
        let kind = self.byte();
        let fitting = match column {
            ID | 1 | 2 => Cell::text(["a", "b", "c"][usize::from(kind % 3)]),
            3 | 4 => Cell::text(&Digest::of(&[kind]).to_hex()),
            MODELS => Cell::text(r#"["gpt-*","a/b?"]"#),
            STRATEGIES => Cell::text(r#"["race:2"]"#),
            _ => Cell::Int(Some(kind.into())),
        };
        match kind {
            0..128 => Some(fitting),
            128..160 => {
                let mut bytes = [0; 8];
                bytes.iter_mut().for_each(|byte| *byte = self.byte());
                Some(Cell::Int(Some(i64::from_be_bytes(bytes))))
            }
            160..208 => {
                let length = usize::from(self.byte()).min(self.0.len());
                let (text, rest) = self.0.split_at(length);
                self.0 = rest;
                Some(match kind {
                    160..200 => Cell::text(&String::from_utf8_lossy(text)),
                    _ => Cell::Blob(Some(text.to_vec())),
                })
            }
            208..224 => Some(Cell::Int(None)),
            224..240 => Some(Cell::Text(None)),
            _ => None,
        }
    }
}
