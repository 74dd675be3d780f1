//! Figures as text: durations and sizes with a fitting unit, and tables with aligned columns. The first
//! columns are text and aligned left, all others are figures and aligned right. Widths are counted in
//! characters, so that letters of several bytes stay aligned.

use std::fmt;

/// Microseconds, shown as `870 µs`, `12.3 ms` or `1.25 s`; with `{:+}` also a sign.
#[derive(Clone, Copy, Debug)]
pub(super) struct Micros(pub(super) f64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(micros) = self;
        let text = match micros.abs() {
            size if size < 1e3 => format!("{micros:.0} µs"),
            size if size < 1e4 => format!("{:.2} ms", micros / 1e3),
            size if size < 1e6 => format!("{:.1} ms", micros / 1e3),
            _ => format!("{:.2} s", micros / 1e6),
        };
        let sign = if f.sign_plus() && *micros >= 0.0 { "+" } else { "" };
        f.pad(&format!("{sign}{text}"))
    }
}

/// A share of 1, shown in percent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share(pub(super) f64);

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:.1} %", self.0 * 100.0))
    }
}

/// A number with separated thousands, as `12,345`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(pub(super) u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let mut shown = String::with_capacity(digits.len() * 4 / 3);
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                shown.push(',');
            }
            shown.push(digit);
        }
        f.pad(&shown)
    }
}

/// A size, shown as `512 B` or `1.25 MiB`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes(pub(super) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let (mut size, mut named) = (self.0 as f64, None);
        let mut larger = UNITS.into_iter();
        while size >= 1024.0 {
            (size, named) = (size / 1024.0, larger.next());
        }
        f.pad(&named.map_or_else(|| format!("{} B", self.0), |unit| format!("{size:.2} {unit}")))
    }
}

/// Rows of cells; the first row is the head.
#[derive(Debug)]
pub(super) struct Table {
    /// The number of text columns.
    text_columns: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new<const COLUMNS: usize>(head: [&str; COLUMNS]) -> Self {
        Self { text_columns: 1, rows: vec![head.map(str::to_owned).into()] }
    }

    /// A table whose first `text_columns` columns are text.
    pub(super) fn with_text_columns(text_columns: usize, head: Vec<String>) -> Self {
        Self { text_columns, rows: vec![head] }
    }

    pub(super) fn add(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    pub(super) fn push<const COLUMNS: usize>(&mut self, row: [String; COLUMNS]) {
        self.rows.push(row.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or_default();
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max()
        };
        (0..columns).map(|column| width(column).unwrap_or_default()).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column < self.text_columns {
                    write!(f, "  {cell:<width$}")?;
                } else {
                    write!(f, "  {cell:>width$}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_that_suits_it() {
        let shown =
            [0.4, 870.0, 1234.0, 12_345.0, 1_250_000.0, -1500.0].map(|micros| Micros(micros).to_string());
        assert_eq!(shown, ["0 µs", "870 µs", "1.23 ms", "12.3 ms", "1.25 s", "-1.50 ms"]);
        assert_eq!([format!("{:+}", Micros(5.0)), format!("{:+}", Micros(-5.0))], ["+5 µs", "-5 µs"]);
        assert_eq!(Share(0.125).to_string(), "12.5 %");
    }

    #[test]
    fn numbers_and_sizes_read_well() {
        assert_eq!(
            [0, 999, 1000, 1_234_567].map(|count| Count(count).to_string()),
            ["0", "999", "1,000", "1,234,567"]
        );
        assert_eq!(
            [1023, 1024, 1_310_720, u64::MAX].map(|size| Bytes(size).to_string()),
            ["1023 B", "1.00 KiB", "1.25 MiB", "16.00 EiB"]
        );
    }

    #[test]
    fn columns_line_up_also_with_wide_letters() {
        let mut table = Table::new(["", "p50", "max"]);
        assert!(table.is_empty());
        table.push(["first byte", "870 µs", "1 s"].map(str::to_owned));
        table.push(["total", "2 s", "10 s"].map(str::to_owned));
        assert_eq!(
            table.to_string(),
            "                 p50   max\n  first byte  870 µs   1 s\n  total          2 s  10 s\n"
        );
    }
}
