//! What a scenario found: settings, figures, reasons why they prove nothing; as text or as JSON.
//!
//! Must not know scenarios. Names carry their unit last, so a figure needs no further legend. Start at [`Report`].

use std::fmt;

use serde_json::{Map, Value, json};

/// The outcome of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    scenario: &'static str,
    settings: Vec<(String, Value)>,
    figures: Vec<(String, Value)>,
    void: Vec<String>,
    failures: Vec<String>,
    notes: Vec<String>,
    table: Vec<Vec<String>>,
}

impl Report {
    /// An empty report of `scenario` that says on what machine it was made.
    pub(crate) fn new(scenario: &'static str) -> Self {
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let mut report = Self {
            scenario,
            settings: Vec::new(),
            figures: Vec::new(),
            void: Vec::new(),
            failures: Vec::new(),
            notes: Vec::new(),
            table: Vec::new(),
        };
        report.setting("generator", env!("CARGO_PKG_VERSION"));
        report.setting("kernel", kernel.trim());
        report.setting("cores", cores());
        report
    }

    /// What was asked for.
    pub(crate) fn setting(&mut self, name: &str, value: impl Into<Value>) {
        self.settings.push((name.into(), value.into()));
    }

    /// A whole number that was counted.
    pub(crate) fn count(&mut self, name: &str, value: u64) {
        self.figures.push((name.into(), value.into()));
    }

    /// A figure that was measured; kept to three decimals, small ones to six.
    pub(crate) fn number(&mut self, name: &str, value: f64) {
        let scale = if value.abs() < 0.1 { 1e6 } else { 1e3 };
        self.figures.push((name.into(), json!((value * scale).round() / scale)));
    }

    /// A reason why the figures prove nothing.
    pub(crate) fn void(&mut self, reason: impl Into<String>) {
        self.void.push(reason.into());
    }

    /// A condition the server did not meet.
    pub(crate) fn failure(&mut self, text: impl Into<String>) {
        self.failures.push(text.into());
    }

    /// What a reader should know.
    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// A row of the scenario's table; the first one names the columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.push(cells.into_iter().collect());
    }

    /// A figure by its name.
    pub fn figure(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|(known, _)| known == name)?.1.as_f64()
    }

    /// Why the figures prove nothing; empty for a good run.
    pub fn void_reasons(&self) -> &[String] {
        &self.void
    }

    /// Conditions the server did not meet; empty when it passed.
    pub fn failures(&self) -> &[String] {
        &self.failures
    }

    /// Whether the run is valid and the server met every condition.
    pub fn passed(&self) -> bool {
        self.void.is_empty() && self.failures.is_empty()
    }

    /// One object: `scenario`, `settings`, `figures`, `table` (objects by column), `void`, `failures`, `notes`.
    pub fn json(&self) -> Value {
        let mut rows = self.table.iter();
        let columns = rows.next().cloned().unwrap_or_default();
        let named = |row: &Vec<String>| -> Value {
            Value::Object(columns.iter().cloned().zip(row.iter().map(|cell| json!(cell))).collect())
        };
        json!({
            "scenario": self.scenario,
            "settings": object(&self.settings),
            "figures": object(&self.figures),
            "table": rows.map(named).collect::<Vec<_>>(),
            "void": self.void,
            "failures": self.failures,
            "notes": self.notes,
        })
    }
}

fn object(pairs: &[(String, Value)]) -> Value {
    Value::Object(pairs.iter().cloned().collect::<Map<_, _>>())
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bare = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let settings: Vec<_> =
            self.settings.iter().map(|(name, value)| format!("{name}={}", bare(value))).collect();
        writeln!(f, "{}: {}", self.scenario, settings.join(" "))?;
        let width = self.figures.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in &self.figures {
            writeln!(f, "  {name:width$}  {}", bare(value))?;
        }
        write_table(&self.table, f)?;
        for (label, lines) in [("VOID", &self.void), ("FAILED", &self.failures), ("note", &self.notes)] {
            for line in lines {
                writeln!(f, "{label}: {line}")?;
            }
        }
        Ok(())
    }
}

fn write_table(table: &[Vec<String>], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let columns = table.first().map_or(0, Vec::len);
    let width = |column: usize| table.iter().filter_map(|row| row.get(column)).map(String::len).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    for row in table {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        writeln!(f, "  {}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json_say_the_same() {
        let mut report = Report::new("idle");
        report.setting("connections", 100);
        report.number("bytes_per_session", 812.3456);
        report.row(["kind".to_owned(), "peak".to_owned()]);
        report.row(["half-open".to_owned(), "1".to_owned()]);
        report.void("nothing connected");
        let text = report.to_string();
        assert!(text.contains("connections=100") && text.contains("bytes_per_session  812.346"), "{text}");
        assert!(text.contains("  half-open  1\n") && text.contains("VOID: nothing connected\n"), "{text}");
        let json = report.json();
        assert_eq!(json["figures"]["bytes_per_session"], 812.346);
        assert_eq!(json["table"][0]["kind"], "half-open");
        assert!(!report.passed());
    }
}
