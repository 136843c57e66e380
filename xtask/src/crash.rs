//! `cargo xtask crash`: the release build is killed again and again while foreign clients work, and nothing that was
//! acknowledged may be missing.
//!
//! Builds and installs what `acceptance/py/crash.py` needs and runs it. Must not know what clients do. Start at [`run`].

use std::path::Path;

use anyhow::Result;

use crate::install;
use crate::process::{build_release, program, run as run_program};

/// Kill the server again and again under clients, and look for what is lost.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {
    /// What the clients do, by name; everything they can do without one.
    works: Vec<String>,
    /// Times that the server is killed, in each work.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// Repeats the times between, which a run prints.
    #[arg(long)]
    seed: Option<u32>,
}

/// The work whose clients run in Node.js.
const NODE_WORK: &str = "socketio";

const PYTHON: [install::Program; 2] =
    [("python3", &["--version"], "python3"), ("python3", &["-m", "ensurepip", "--version"], "python3-venv")];

const NODE: [install::Program; 2] = [("node", &["--version"], "nodejs"), ("npm", &["--version"], "npm")];

/// Runs to the end, or to the first thing that is lost.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    if needs_node(options) {
        install::debian(&NODE)?;
        install::node_modules(&root.join("acceptance"))?;
    }
    against_release(root, "py.crash", &words(options))
}

/// Runs a module of `acceptance` against the release build.
pub(crate) fn against_release(root: &Path, module: &str, words: &[String]) -> Result<()> {
    install::debian(&PYTHON)?;
    let folder = root.join("acceptance");
    install::python_clients(&folder)?;
    let binary = build_release(root)?;
    let mut python = program(folder.join(".venv/bin/python3"), &[], &folder);
    run_program(python.args(["-m", module, "--binary"]).arg(binary).args(words))
}

fn needs_node(options: &Options) -> bool {
    options.works.is_empty() || options.works.iter().any(|work| work == NODE_WORK)
}

fn words(options: &Options) -> Vec<String> {
    let mut words = vec!["--rounds".to_owned(), options.rounds.to_string()];
    words.extend(options.seed.map(|seed| format!("--seed={seed}")));
    words.extend(options.works.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_handed_on() {
        let mut options = Options { works: Vec::new(), rounds: 7, seed: None };
        assert_eq!(words(&options), ["--rounds", "7"]);
        options.seed = Some(5);
        options.works = vec!["mqtt-1".to_owned(), "mqtt-2".to_owned()];
        assert_eq!(words(&options), ["--rounds", "7", "--seed=5", "mqtt-1", "mqtt-2"]);
    }

    #[test]
    fn node_is_there_for_those_who_run_in_it() {
        let needs = |works: &[&str]| {
            let works = works.iter().map(|work| (*work).to_owned()).collect();
            needs_node(&Options { works, rounds: 1, seed: None })
        };
        assert!(needs(&[]) && needs(&["queues", "socketio"]));
        assert!(!needs(&["mqtt-1", "queues"]));
    }
}
