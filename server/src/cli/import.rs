//! `trunkline import`: sends a file of users and channels to a running server, with a bar of how far it is.
//!
//! Must not know what is in the file. Start at [`Import::run`].

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use load::{Bar, Console};
use serde_json::Value;

use super::door::{self, Door, Upload};
use super::{Failure, print};

/// Import what users are subscribed to from the start of every session
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A line of FILE is {\"user\":\"u1\",\"channel\":\"news\"}, optionally with \"qos\"; in a file that ends in .csv
it is the user, a comma and the channel, in .tsv with a tab, without quotes. `-` is standard input.
What was stored before a failure stays: the same file can be sent once more.

Examples:
  trunkline import friends.ndjson
  trunkline import friends.csv --mode replace    users in the file have nothing else afterwards
  gzip -dc friends.ndjson.gz | trunkline import -"
)]
pub(super) struct Import {
    /// What to send
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What becomes of what the users of the file had
    #[arg(long, value_enum, default_value_t = Mode::Merge)]
    mode: Mode,
    /// How lines are written [default: by the end of the file's name, else ndjson]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Subscribe every user to the channel of its own id, too
    #[arg(long = "self")]
    with_self: bool,
    #[command(flatten)]
    door: Door,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// It stays
    Merge,
    /// It goes
    Replace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// JSON objects
    Ndjson,
    /// With a comma
    Csv,
    /// With a tab
    Tsv,
}

impl Import {
    /// Sends it, and tells what became of it.
    pub(super) fn run(self) -> Result<(), Failure> {
        let (mut source, total): (Box<dyn Read>, Option<u64>) = match self.is_input() {
            true => (Box::new(io::stdin().lock()), None),
            false => {
                let opened = File::open(&self.file);
                let file = opened.map_err(|error| Failure(format!("{}: {error}", self.file.display())))?;
                let length = file.metadata().ok().map(|data| data.len());
                (Box::new(file), length)
            }
        };
        let bar = Console::detect().bar("imported");
        let mut body = Watched { source: &mut source, read: 0, total, bar: &bar };
        let mode = if self.mode == Mode::Merge { "merge" } else { "replace" };
        let with_self = if self.with_self { "true" } else { "false" };
        let answer = self.door.send(Upload {
            path: "/v1/imports",
            query: &[("mode", mode), ("self", with_self)],
            media: self.format().media(),
            body: &mut body,
        });
        drop(bar);
        let answer = door::json(answer?)?;
        print(&report(&answer))?;
        match answer.get("error").and_then(Value::as_str) {
            None => Ok(()),
            Some(error) => Err(Failure(format!("the import failed: {error}"))),
        }
    }

    fn is_input(&self) -> bool {
        self.file == Path::new("-")
    }

    fn format(&self) -> Format {
        let end = self.file.extension().map(|end| end.to_ascii_lowercase());
        self.format.unwrap_or(match end.as_deref().and_then(|end| end.to_str()) {
            Some("csv") => Format::Csv,
            Some("tsv") => Format::Tsv,
            _ => Format::Ndjson,
        })
    }
}

impl Format {
    fn media(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv",
            Self::Tsv => "text/tab-separated-values",
        }
    }
}

/// A file whose reader is watched: the server takes bytes only as fast as it stores them.
struct Watched<'a> {
    source: &'a mut dyn Read,
    read: u64,
    total: Option<u64>,
    bar: &'a Bar,
}

impl Read for Watched<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(into)?;
        self.read += read as u64;
        self.bar.at(self.read, self.total.unwrap_or(self.read).max(self.read));
        Ok(read)
    }
}

/// Counts, then the lines that were not taken.
fn report(answer: &Value) -> String {
    let count = |name: &str| answer.get(name).and_then(Value::as_u64).unwrap_or_default();
    let seconds = answer.get("seconds").and_then(Value::as_f64).unwrap_or_default();
    let mut text = format!(
        "{} subscriptions of {} lines are stored, {} are new or different, in {seconds:.1} s\n",
        count("pairs"),
        count("lines"),
        count("changed")
    );
    if count("rejected") > 0 {
        text.push_str(&format!("{} lines were not taken:\n", count("rejected")));
    }
    for rejection in answer.get("rejections").and_then(Value::as_array).into_iter().flatten() {
        let line = rejection.get("line").and_then(Value::as_u64).unwrap_or_default();
        let detail = rejection.get("detail").and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("  line {line}: {detail}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_report_names_the_lines_that_were_not_taken() {
        let answer = json!({
            "pairs": 2, "lines": 4, "changed": 1, "rejected": 1, "seconds": 0.25,
            "rejections": [{ "line": 3, "detail": "not a valid channel or filter" }]
        });
        assert_eq!(
            report(&answer),
            "2 subscriptions of 4 lines are stored, 1 are new or different, in 0.2 s\n\
             1 lines were not taken:\n  line 3: not a valid channel or filter\n"
        );
    }
}
