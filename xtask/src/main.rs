//! Repository chores: `cargo xtask tidy | test | docs | fuzz`. Start at [`Task`].
//!
//! Knows the repository, never the product's code: it reads sources as text and runs programs.

mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;

/// Repository chores.
#[derive(Parser)]
#[command(name = "cargo xtask", about)]
enum Task {
    /// Check the measurable rules of the style.
    Tidy {
        /// Print the rules and stop.
        #[arg(long)]
        list: bool,
    },
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let root = repository()?;
    match task {
        Task::Tidy { list: true } => {
            for (rule, asks) in tidy::RULES {
                println!("{rule:<18} {asks}");
            }
            Ok(ExitCode::SUCCESS)
        }
        Task::Tidy { list: false } => tidy(&root),
    }
}

fn tidy(root: &Path) -> Result<ExitCode> {
    let findings = tidy::run(root)?;
    for finding in &findings {
        println!("{finding}");
    }
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The repository around the current folder.
fn repository() -> Result<PathBuf> {
    let current = std::env::current_dir().context("the current folder")?;
    let found = current.ancestors().find(|folder| folder.join("xtask/Cargo.toml").is_file());
    found.map(Path::to_path_buf).context("not inside the repository: no xtask/Cargo.toml above")
}
