//! What was measured, as it is saved: every turn of every server, and medians over them.
//!
//! Owns the shape of `results.json`. Must not know how it came about or how it is shown. Start at [`Results`].

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::scenario::{Run, Section};

/// The name of what the kernel allows, among the servers of a run.
pub(crate) const FLOOR: &str = "floor";

/// A whole comparison.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) head: Head,
    pub(crate) runs: Vec<RunResult>,
}

/// Where and with what it was made.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) began: String,
    pub(crate) ended: String,
    /// `release`, `debug`, or `given` for one that was built elsewhere.
    pub(crate) build: String,
    /// Whether it was only a try: everything very small.
    pub(crate) quick: bool,
    /// Name and value.
    pub(crate) machine: Vec<(String, String)>,
    /// Name of the server and its versions.
    pub(crate) versions: Vec<(String, String)>,
}

/// One run with everybody who took part.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunResult {
    pub(crate) section: String,
    pub(crate) run: String,
    /// Of the machine when it began, over one minute.
    pub(crate) load_average: f64,
    pub(crate) servers: Vec<ServerResult>,
}

/// One server, or the floor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerResult {
    pub(crate) server: String,
    /// What a reader types.
    pub(crate) command: String,
    pub(crate) turns: Vec<Turn>,
}

/// One measurement.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Turn {
    pub(crate) figures: BTreeMap<String, f64>,
    /// Why the figures prove nothing.
    pub(crate) void: Vec<String>,
    /// What the server did not do.
    pub(crate) failures: Vec<String>,
    /// Why there is no report at all.
    pub(crate) trouble: Option<String>,
    /// The report, beside `results.json`.
    pub(crate) report: Option<String>,
}

impl Results {
    /// What an earlier comparison saved.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("results.json");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join("results.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)?).with_context(|| path.display().to_string())
    }

    /// To be added to by a comparison of the same programs on the same machine.
    pub(crate) fn continued(self, head: Head) -> Result<Self> {
        let same = |head: &Head| (head.build.clone(), head.quick, head.machine.clone());
        anyhow::ensure!(
            same(&self.head) == same(&head),
            "what was measured there was of another build, size or machine"
        );
        let find = |name: &str| self.head.versions.iter().find(|earlier| earlier.0 == name);
        let mut versions = self.head.versions.clone();
        for now in &head.versions {
            match find(&now.0) {
                Some(then) => anyhow::ensure!(then == now, "{} was {} and is {} now", now.0, then.1, now.1),
                None => versions.push(now.clone()),
            }
        }
        Ok(Self { head: Head { versions, ..self.head }, runs: self.runs })
    }

    /// Adds a run, in the place of one of the same name.
    pub(crate) fn put(&mut self, run: RunResult) {
        self.runs.retain(|each| (&each.section, &each.run) != (&run.section, &run.run));
        self.runs.push(run);
    }

    /// A run, if it was made.
    pub(crate) fn run(&self, section: &Section, run: &Run) -> Option<&RunResult> {
        self.named(section.name, run.name)
    }

    /// The same by names.
    pub(crate) fn named(&self, section: &str, run: &str) -> Option<&RunResult> {
        self.runs.iter().find(|each| each.section == section && each.run == run)
    }
}

impl RunResult {
    pub(crate) fn server(&self, name: &str) -> Option<&ServerResult> {
        self.servers.iter().find(|each| each.server == name)
    }

    /// The median of a figure of one server.
    pub(crate) fn median(&self, server: &str, figure: &str) -> Option<f64> {
        self.server(server)?.median(figure)
    }
}

impl ServerResult {
    /// The median over the turns that prove something; of an even number, the mean of the two in the middle.
    pub(crate) fn median(&self, figure: &str) -> Option<f64> {
        median(self.values(figure).into_iter().flatten().collect())
    }

    /// The same over the turns in which, besides, nothing failed.
    pub(crate) fn sound_median(&self, figure: &str) -> Option<f64> {
        let sound = self.turns.iter().filter(|turn| turn.is_sound());
        median(sound.filter_map(|turn| turn.figures.get(figure).copied()).collect())
    }

    /// How many turns proved nothing or failed.
    pub(crate) fn unsound_turns(&self) -> usize {
        self.turns.iter().filter(|turn| !turn.is_sound()).count()
    }

    /// The figure of each turn; none where a turn proves nothing.
    pub(crate) fn values(&self, figure: &str) -> Vec<Option<f64>> {
        let value = |turn: &Turn| turn.figures.get(figure).copied().filter(|_| turn.is_valid());
        self.turns.iter().map(value).collect()
    }

    /// Whether every turn is valid and nothing failed in any.
    pub(crate) fn is_sound(&self) -> bool {
        self.turns.iter().all(Turn::is_sound)
    }

    /// The report of the turn whose figure is nearest to the median.
    pub(crate) fn median_report(&self, figure: &str) -> Option<&str> {
        let median = self.median(figure)?;
        let valid = self.turns.iter().filter(|turn| turn.is_valid());
        let far = |turn: &&Turn| Some((turn.figures.get(figure)? - median).abs());
        let turns = valid.filter_map(|turn| Some((far(&turn)?, turn)));
        let (_, nearest) = turns.min_by(|a, b| a.0.total_cmp(&b.0))?;
        nearest.report.as_deref()
    }
}

impl Turn {
    /// One that came to no report.
    pub(crate) fn without_report(trouble: impl Into<String>) -> Self {
        Self { trouble: Some(trouble.into()), ..Self::default() }
    }

    /// Out of the JSON that `trunkline bench --json` prints.
    pub(crate) fn from_report(report: &serde_json::Value) -> Self {
        let texts = |name: &str| {
            let list = report.get(name).and_then(serde_json::Value::as_array).into_iter().flatten();
            list.filter_map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let figures = report.get("figures").and_then(serde_json::Value::as_object).into_iter().flatten();
        Self {
            figures: figures.filter_map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect(),
            void: texts("void"),
            failures: texts("failures"),
            trouble: None,
            report: None,
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.trouble.is_none() && self.void.is_empty()
    }

    /// Whether it proves something and the server did all it should.
    pub(crate) fn is_sound(&self) -> bool {
        self.is_valid() && self.failures.is_empty()
    }

    /// What is to be said of it, if anything.
    pub(crate) fn remark(&self) -> Option<String> {
        let void = self.void.iter().map(|reason| format!("void: {reason}"));
        let failures = self.failures.iter().map(|reason| format!("failed: {reason}"));
        let trouble = self.trouble.iter().map(|reason| format!("no report: {reason}"));
        let all: Vec<String> = trouble.chain(void).chain(failures).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let (low, high) = (values.get(last / 2)?, values.get(last.div_ceil(2))?);
    Some(f64::midpoint(*low, *high))
}

#[cfg(test)]
pub(super) mod testing {
    use super::*;

    /// A turn with these figures.
    pub(in super::super) fn turn(figures: &[(&str, f64)]) -> Turn {
        let figures = figures.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        Turn { figures, ..Turn::default() }
    }

    /// A server whose turns gave these values of one figure.
    pub(in super::super) fn server(name: &str, figure: &str, values: &[f64]) -> ServerResult {
        let turns = values.iter().map(|value| turn(&[(figure, *value)])).collect();
        ServerResult { server: name.into(), command: format!("trunkline bench for {name}"), turns }
    }

    /// A comparison of one run.
    pub(in super::super) fn results(section: &str, run: &str, servers: Vec<ServerResult>) -> Results {
        let run = RunResult { section: section.into(), run: run.into(), load_average: 0.5, servers };
        Results { head: Head::default(), runs: vec![run] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use testing::{results, server, turn};

    #[test]
    fn medians_leave_out_what_proves_nothing() {
        let mut server = server("a", "rate", &[3.0, 1.0, 2.0]);
        assert_eq!(server.median("rate"), Some(2.0));
        server.turns.push(Turn { void: vec!["saturated".into()], ..turn(&[("rate", 0.1)]) });
        server.turns.push(Turn::without_report("timed out"));
        assert_eq!(server.median("rate"), Some(2.0));
        assert_eq!(server.values("rate"), [Some(3.0), Some(1.0), Some(2.0), None, None]);
        assert!(!server.is_sound());
        assert_eq!(server.median("other"), None);
    }

    #[test]
    fn only_the_same_programs_are_added_to() {
        let head = |versions: &[(&str, &str)]| {
            let owned = versions.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned()));
            Head { build: "release".into(), versions: owned.collect(), ..Head::default() }
        };
        let earlier = |runs| Results { head: head(&[("a", "1")]), runs };
        let mut both = earlier(results("s", "r", Vec::new()).runs).continued(head(&[("b", "2")])).unwrap();
        assert_eq!(both.head, head(&[("a", "1"), ("b", "2")]));
        assert!(earlier(Vec::new()).continued(head(&[("a", "2")])).is_err());
        assert!(earlier(Vec::new()).continued(Head { quick: true, ..head(&[("a", "1")]) }).is_err());
        both.put(results("s", "r", vec![server("a", "rate", &[1.0])]).runs.remove(0));
        assert_eq!((both.runs.len(), both.runs[0].servers.len()), (1, 1));
    }

    #[test]
    fn an_even_number_of_turns_favours_nobody() {
        let mut server = server("a", "rate", &[4.0, 1.0]);
        assert_eq!(server.median("rate"), Some(2.5));
        for (turn, name) in server.turns.iter_mut().zip(["four", "one"]) {
            turn.report = Some(name.into());
        }
        server.turns.push(Turn { failures: vec!["1 is lost".into()], ..turn(&[("rate", 9.0)]) });
        assert_eq!((server.median("rate"), server.sound_median("rate")), (Some(4.0), Some(2.5)));
        assert_eq!((server.median_report("rate"), server.unsound_turns()), (Some("four"), 1));
    }

    #[test]
    fn a_report_is_read_and_saved_and_read_again() {
        let report = serde_json::json!({
            "scenario": "fanout", "figures": {"rate": 5, "word": "x"}, "void": [], "failures": ["3 are missing"],
        });
        let turn = Turn::from_report(&report);
        assert_eq!((turn.figures.get("rate"), turn.figures.len()), (Some(&5.0), 1));
        assert_eq!(turn.remark().as_deref(), Some("failed: 3 are missing"));
        let servers =
            vec![ServerResult { server: "a".into(), command: "c".into(), turns: vec![turn.clone()] }];
        let results = testing::results("fanout", "x", servers);
        let folder = std::env::temp_dir().join(format!("xtask-results-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        results.write(&folder).unwrap();
        let read = Results::read(&folder).unwrap();
        assert_eq!(read.named("fanout", "x").unwrap().server("a").unwrap().turns, [turn]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
