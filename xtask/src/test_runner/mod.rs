//! `cargo xtask test`: the whole suite in stages, cheapest first, one summary at the end.
//!
//! Owns order, selection, time and counts. What a stage does stands in `stages`, how results are read in `results`.

mod acceptance;
mod budgets;
mod results;
mod stages;

use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::Result;

use results::Counts;

/// One stage.
pub(crate) struct Stage {
    name: &'static str,
    about: &'static str,
    run: fn(&Suite<'_>) -> Result<Outcome>,
}

/// In the order they run.
pub(crate) const STAGES: [Stage; 7] = [
    Stage { name: "tidy", about: "measurable rules of the style", run: stages::tidy },
    Stage { name: "lint", about: "cargo fmt --check and clippy without warnings", run: stages::lint },
    Stage { name: "unit", about: "every test of the workspace", run: stages::unit },
    Stage { name: "docs", about: "generated references are up to date", run: stages::docs },
    Stage { name: "fuzz", about: "short deterministic runs of the fuzz targets", run: stages::fuzz },
    Stage { name: "acceptance", about: "foreign clients against the binary", run: acceptance::run },
    Stage { name: "counts", about: "instructions, writes and bytes of the release build", run: budgets::run },
];

/// How a stage that did not fail ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Passed,
    /// There is nothing to run.
    Skipped(&'static str),
    Failed,
    /// An earlier stage failed.
    NotRun,
}

/// What stages share.
pub(crate) struct Suite<'a> {
    root: &'a Path,
    /// Locked by the threads that read a program's output.
    counts: Mutex<Counts>,
}

impl Suite<'_> {
    /// Runs a program that prints results of its own and adds them up.
    fn tests(&self, command: &mut std::process::Command) -> Result<()> {
        let before = self.counts().failed;
        let result = crate::process::run_reading(command, &|line| self.add(results::of_line(line)));
        if result.is_err() && self.counts().failed == before {
            // It never came to its tests.
            self.add(Counts { passed: 0, failed: 1 });
        }
        result
    }

    /// Counts something that passes or fails as a whole.
    fn check(&self, result: Result<()>) -> Result<()> {
        let failed = i64::from(result.is_err());
        self.add(Counts { passed: 1 - failed, failed });
        result
    }

    fn add(&self, more: Counts) {
        let mut counts = self.counts.lock().expect("no reader panics while it adds");
        *counts = counts.plus(more);
    }

    fn counts(&self) -> Counts {
        *self.counts.lock().expect("no reader panics while it adds")
    }
}

/// Prints the stages.
pub(crate) fn list() {
    for stage in &STAGES {
        println!("{:<12} {}", stage.name, stage.about);
    }
}

/// Runs the named stages, all when there is no name; stops at the first failure. Gives whether all passed.
pub(crate) fn run(root: &Path, names: &[String]) -> Result<bool> {
    let chosen = choose(names)?;
    let suite = Suite { root, counts: Mutex::default() };
    let mut report = Vec::new();
    let mut going = true;
    for stage in chosen {
        let (outcome, time) = if going { timed(stage, &suite) } else { (Outcome::NotRun, Duration::ZERO) };
        going = going && outcome != Outcome::Failed;
        report.push((stage, outcome, time));
    }
    println!();
    for (stage, outcome, time) in report {
        println!("{:<12} {:<8} {:>7.1} s", stage.name, word(outcome), time.as_secs_f64());
    }
    let Counts { passed, failed } = suite.counts();
    println!("{passed} passed, {failed} failed");
    Ok(going)
}

fn timed(stage: &Stage, suite: &Suite<'_>) -> (Outcome, Duration) {
    println!("\n== {}: {}", stage.name, stage.about);
    let (start, failed_before) = (Instant::now(), suite.counts().failed);
    let outcome = (stage.run)(suite).unwrap_or_else(|error| {
        println!("{}: {error:#}", stage.name);
        if suite.counts().failed == failed_before {
            suite.add(Counts { passed: 0, failed: 1 });
        }
        Outcome::Failed
    });
    if let Outcome::Skipped(reason) = outcome {
        println!("skipped: {reason}");
    }
    (outcome, start.elapsed())
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "ok",
        Outcome::Skipped(_) => "skipped",
        Outcome::Failed => "FAILED",
        Outcome::NotRun => "not run",
    }
}

fn choose(names: &[String]) -> Result<Vec<&'static Stage>> {
    for name in names {
        anyhow::ensure!(
            STAGES.iter().any(|stage| stage.name == name),
            "no stage `{name}`; `cargo xtask test --list` names them"
        );
    }
    Ok(STAGES
        .iter()
        .filter(|stage| names.is_empty() || names.iter().any(|name| name == stage.name))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Vec<&'static str> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        choose(&names).unwrap().iter().map(|stage| stage.name).collect()
    }

    #[test]
    fn stages_run_in_their_own_order() {
        assert_eq!(chosen(&["acceptance", "tidy"]), ["tidy", "acceptance"]);
        assert_eq!(chosen(&[]).len(), STAGES.len());
        assert!(choose(&["unti".to_owned()]).is_err());
    }

    #[test]
    fn a_program_that_dies_before_its_tests_counts_as_one_failure() {
        let suite = Suite { root: Path::new("."), counts: Mutex::default() };
        let mut dies =
            crate::process::program("sh", &["-c", "echo 'error: no such crate' >&2; exit 1"], suite.root);
        assert!(suite.tests(&mut dies).is_err());
        assert_eq!(suite.counts(), Counts { passed: 0, failed: 1 });
    }

    #[test]
    fn results_of_a_program_are_added_up_from_both_streams() {
        let suite = Suite { root: Path::new("."), counts: Mutex::default() };
        let script = "echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored'; echo 'Ran 4 tests in 0.1s' >&2; exit 1";
        assert!(suite.tests(&mut crate::process::program("sh", &["-c", script], suite.root)).is_err());
        assert_eq!(suite.counts(), Counts { passed: 7, failed: 2 });
    }
}
