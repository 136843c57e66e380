//! Repository chores: `cargo xtask tidy | test | docs | fuzz | crash | startup | compare`. Start at [`Task`].
//!
//! Knows the repository, never the product's code: it reads sources as text and runs programs.

mod compare;
mod crash;
mod docs;
mod fuzz;
mod install;
mod process;
mod startup;
mod test_runner;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

/// Repository chores.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about)]
enum Task {
    /// Check the measurable rules of the style.
    Tidy {
        /// Print the rules and stop.
        #[arg(long)]
        list: bool,
    },
    /// Run the whole suite, or some stages of it; the first failure ends it.
    Test {
        /// Names of stages.
        stages: Vec<String>,
        /// Print the stages and stop.
        #[arg(long)]
        list: bool,
    },
    /// Write the generated references.
    Docs {
        /// Only say which are stale.
        #[arg(long)]
        check: bool,
    },
    /// Fuzz with libFuzzer, one target or all.
    Fuzz {
        /// A target of fuzz/Cargo.toml.
        target: Option<String>,
        /// How long, for each target.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    Crash(crash::Options),
    Startup(startup::Options),
    Compare(compare::Options),
}

fn main() -> ExitCode {
    match repository().and_then(|root| run(&root, Task::parse())) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Gives whether the task found nothing wrong.
fn run(root: &Path, task: Task) -> Result<bool> {
    match task {
        Task::Tidy { list: true } => {
            for (rule, asks) in tidy::RULES {
                println!("{rule:<18} {asks}");
            }
            Ok(true)
        }
        Task::Tidy { list: false } => Ok(print(&tidy::run(root)?)),
        Task::Test { list: true, .. } => {
            test_runner::list();
            Ok(true)
        }
        Task::Test { stages, list: false } => test_runner::run(root, &stages),
        Task::Docs { check: true } => Ok(print(&docs::run(root, docs::Mode::Check)?)),
        Task::Docs { check: false } => {
            print(&docs::run(root, docs::Mode::Write)?);
            Ok(true)
        }
        Task::Fuzz { target, seconds } => fuzz::fuzz(root, target, seconds).map(|()| true),
        Task::Crash(options) => crash::run(root, &options).map(|()| true),
        Task::Startup(options) => startup::run(root, &options).map(|()| true),
        Task::Compare(options) => compare::run(root, &options).map(|()| true),
    }
}

/// One line each; gives whether there was none.
fn print<T: std::fmt::Display>(lines: &[T]) -> bool {
    for line in lines {
        println!("{line}");
    }
    lines.is_empty()
}

/// The repository around the current folder.
fn repository() -> Result<PathBuf> {
    let current = std::env::current_dir().context("the current folder")?;
    let found = current.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file());
    found.map(Path::to_path_buf).context("not inside the repository: no xtask/Cargo.toml above")
}
