//! `trunkline store`: looks after a store, in its directory while no server uses it, or through the server that does.
//!
//! Must not know what is stored. Start at [`Store::run`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use load::Console;
use serde_json::{Value, json};
use store::WallClock;
use store::disk::{self, Disk, DiskOptions, OpenError, Progress};

use super::door::{self, Door, Patience};
use super::status::{ANSWER_WITHIN, table};
use super::{Failure, print};

/// Check, look at, copy and compact what `store.dir` holds
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With DIR the directory of a store is opened, which no server may use meanwhile; without it the
running server at --url is asked. Exit status: 0 done, 1 not done or damaged, 2 wrong usage.

Examples:
  trunkline store check /var/lib/trunkline/store
  trunkline store stats
  trunkline store backup --to monday.db
  trunkline store compact /var/lib/trunkline/store"
)]
pub(super) struct Store {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Check(Check),
    Stats(Stats),
    Backup(Backup),
    Compact(Compact),
}

/// Read everything and compare it with its sums
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Changes nothing that is stored. What is damaged is printed with its place; then the exit status
is 1.

Examples:
  trunkline store check /var/lib/trunkline/store"
)]
struct Check {
    /// Directory of the store, which no server may use meanwhile
    directory: PathBuf,
}

/// Show how much there is and what it takes; of a running server also what the disk does
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  trunkline store stats /var/lib/trunkline/store --json | jq .records
  TRUNKLINE_KEY=$(cat key) trunkline store stats --url http://10.0.0.5:9000")]
struct Stats {
    /// Directory of a store that no server uses; without it the running server is asked
    directory: Option<PathBuf>,
    /// Print them as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    door: Door,
}

/// Copy it into one file, also while it is used
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The copy is what was stored at its end, complete and synced. To go on from it put it as
`trunkline.db` into an empty directory and let `store.dir` name that. Nothing is overwritten.

Examples:
  trunkline store backup --to monday.db
  trunkline store backup /var/lib/trunkline/store --to /mnt/backup/monday.db"
)]
struct Backup {
    /// Directory of a store that no server uses; without it the running server is asked
    directory: Option<PathBuf>,
    /// The file; of a running server its name in `store.backup_dir` on the server's machine
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    #[command(flatten)]
    door: Door,
}

/// Give space that nothing uses back to the file system
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A running server goes on meanwhile; it gives back space by itself when most of the file is free.

Examples:
  trunkline store compact
  trunkline store compact /var/lib/trunkline/store"
)]
struct Compact {
    /// Directory of a store that no server uses; without it the running server is asked
    directory: Option<PathBuf>,
    #[command(flatten)]
    door: Door,
}

impl Store {
    /// Does what is asked and prints what came of it.
    pub(super) fn run(self) -> Result<(), Failure> {
        match self.what {
            What::Check(check) => check.run(),
            What::Stats(stats) => stats.run(),
            What::Backup(backup) => backup.run(),
            What::Compact(compact) => compact.run(),
        }
    }
}

impl Check {
    fn run(self) -> Result<(), Failure> {
        let directory = there(&self.directory)?;
        let shown = directory.display();
        let report = with_bar("checked", |bar| disk::check(directory, bar)).map_err(refused)?;
        if report.problems.is_empty() {
            let (records, rows) = (report.records, report.rows);
            return print(&format!(
                "{shown}: OK, {records} records and {rows} rows are as they were written\n"
            ));
        }
        Err(Failure(format!("{shown} is damaged:\n{}", report.problems.join("\n"))))
    }
}

impl Stats {
    fn run(self) -> Result<(), Failure> {
        let answer = match &self.directory {
            Some(directory) => figures(directory, &open(directory)?)?,
            None => door::json(self.door.read("/v1/store", &[], Patience::Within(ANSWER_WITHIN))?)?,
        };
        print(&if self.json { format!("{answer}\n") } else { table(&answer) })
    }
}

impl Backup {
    fn run(self) -> Result<(), Failure> {
        let Some(directory) = &self.directory else { return self.of_a_server() };
        let (disk, to) = (open(directory)?, &self.to);
        let copied = with_bar("pages copied", |bar| disk.backup(to, bar));
        copied.map_err(|error| format!("{}: {error}", to.display()))?;
        print(&format!("{}: {} bytes\n", to.display(), std::fs::metadata(to)?.len()))
    }

    fn of_a_server(&self) -> Result<(), Failure> {
        let body = json!({ "name": self.to.to_str().ok_or("the name is no text")? });
        let answer = door::json(self.door.post("/v1/store/backup", &body, Patience::Endless)?)?;
        let member = |name: &str| answer.get(name).unwrap_or(&Value::Null);
        let path = member("path").as_str().unwrap_or_default();
        print(&format!("{path}: {} bytes\n", member("bytes")))
    }
}

impl Compact {
    fn run(self) -> Result<(), Failure> {
        let answer = match &self.directory {
            Some(directory) => {
                let disk = open(directory)?;
                with_bar("pages freed", |bar| disk.compact(bar)).map_err(|error| error.to_string())?;
                figures(directory, &disk)?
            }
            None => door::json(self.door.post("/v1/store/compact", &json!({}), Patience::Endless)?)?,
        };
        print(&table(&answer))
    }
}

/// Opening would begin a store where there is none.
fn there(directory: &Path) -> Result<&Path, Failure> {
    if disk::is_there(directory) {
        return Ok(directory);
    }
    Err(Failure(format!("{}: there is no store", directory.display())))
}

fn open(directory: &Path) -> Result<Disk, Failure> {
    Disk::open(there(directory)?, DiskOptions::default(), Arc::new(WallClock)).map_err(refused)
}

fn refused(error: OpenError) -> Failure {
    let hint = match error {
        OpenError::Locked { .. } => "\nAsk the server that uses it, without DIR, or stop it.",
        _ => "",
    };
    Failure(format!("{error}{hint}"))
}

/// Of a store that does nothing: what it holds.
fn figures(directory: &Path, disk: &Disk) -> Result<Value, Failure> {
    let stats = disk.stats().map_err(|error| error.to_string())?;
    Ok(json!({
        "directory": directory.display().to_string(),
        "records": stats.records,
        "rows": stats.rows,
        "database_bytes": stats.database_bytes,
        "free_bytes": stats.free_bytes,
    }))
}

fn with_bar<T>(label: &'static str, work: impl FnOnce(&mut dyn FnMut(Progress)) -> T) -> T {
    let bar = Console::detect().bar(label);
    work(&mut |progress| bar.at(progress.done, progress.total))
}
