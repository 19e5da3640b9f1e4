//! The result, as a README shows it.

use std::fmt;
use std::time::Duration;

/// One column for each size, one row for each thing that is measured.
pub(crate) struct Table {
    sizes: Vec<u64>,
    rows: Vec<(String, Vec<String>)>,
}

impl Table {
    pub(crate) fn new(sizes: &[u64]) -> Self {
        Self {
            sizes: sizes.to_vec(),
            rows: Vec::new(),
        }
    }

    /// Writes a cell; rows stand in the order in which they are first written to.
    pub(crate) fn set(&mut self, size: u64, row: &str, cell: String) {
        let at = self.rows.iter().position(|(name, _)| name == row);
        let at = at.unwrap_or_else(|| {
            let cells = vec!["–".to_owned(); self.sizes.len()];
            self.rows.push((row.to_owned(), cells));
            self.rows.len() - 1
        });
        if let Some(column) = self.sizes.iter().position(|it| *it == size) {
            self.rows[at].1[column] = cell;
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sizes: Vec<_> = self.sizes.iter().map(|it| count(*it)).collect();
        writeln!(f, "| stopped containers | {} |", sizes.join(" | "))?;
        writeln!(f, "| --- |{}", " ---: |".repeat(sizes.len()))?;
        for (name, cells) in &self.rows {
            writeln!(f, "| {name} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

/// 100,000
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    String::from_utf8_lossy(&groups.join(&b',')).into_owned()
}

/// Three digits, and the unit that makes them readable.
pub(crate) fn time(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.001 {
        format!("{} µs", digits(seconds * 1e6))
    } else if seconds < 1.0 {
        format!("{} ms", digits(seconds * 1e3))
    } else {
        format!("{} s", digits(seconds))
    }
}

/// Millions of bytes.
#[allow(clippy::cast_precision_loss)] // Three digits are shown.
pub(crate) fn megabytes(bytes: u64) -> String {
    format!("{} MB", digits(bytes as f64 / 1e6))
}

/// The first three digits of a number, and all before the point.
pub(crate) fn digits(number: f64) -> String {
    if number >= 100.0 {
        format!("{number:.0}")
    } else if number >= 10.0 {
        format!("{number:.1}")
    } else {
        format!("{number:.2}")
    }
}
