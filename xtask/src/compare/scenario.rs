//! What is measured: every command of the comparison as a row.
//!
//! Owns the tables of sections and runs, and how a command line is read. A new scenario is one [`Section`], another size of one is
//! one [`Run`]. Must not know how servers are started or what a page looks like. Start at [`SECTIONS`].
//!
//! A command is what stands behind `trunkline bench`, without `--json`. Where a word has the form `full|quick`, the second
//! half is for `--quick`. Placeholders in braces are filled by `Reach::fill`.

mod sections;
mod streams;

pub(crate) use sections::SECTIONS;

use super::server::{Recovery, Server, Speaks};

/// A part of the page: one question, one table.
#[derive(Debug)]
pub(crate) struct Section {
    /// On the command line.
    pub(crate) name: &'static str,
    /// On the page.
    pub(crate) title: &'static str,
    /// What is done and how figures are to be read.
    pub(crate) about: &'static str,
    /// Columns; servers are ranked by the first.
    pub(crate) figures: &'static [Figure],
    pub(crate) runs: &'static [Run],
}

/// A figure of a report.
#[derive(Debug)]
pub(crate) struct Figure {
    /// In the JSON.
    pub(crate) name: &'static str,
    /// Head of the column, with its unit.
    pub(crate) title: &'static str,
    pub(crate) better: Better,
}

/// Which of two values is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    Lower,
    Higher,
}

/// One command and the servers it is run against.
#[derive(Debug)]
pub(crate) struct Run {
    /// Unique within the section.
    pub(crate) name: &'static str,
    /// On the page.
    pub(crate) title: &'static str,
    pub(crate) command: &'static str,
    /// What the kernel allows, measured in the same turns.
    pub(crate) floor: Option<Floor>,
    pub(crate) who: Who,
    pub(crate) mode: Mode,
    /// Independent processes of the server, each with ports of its own. 0: the command starts the server by itself.
    pub(crate) processes: u16,
    /// How often everybody has a turn.
    pub(crate) rounds: u16,
    /// After so long a turn is ended.
    pub(crate) minutes_max: u64,
}

/// See [`Run::floor`].
#[derive(Debug)]
pub(crate) struct Floor {
    pub(crate) command: &'static str,
    /// The figure that is compared with the section's first.
    pub(crate) figure: &'static str,
}

/// How servers are set up for a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Plain,
    /// With connection state recovery.
    Recovery,
    /// The same where a server has it, and with a script that restarts the server.
    Restart,
}

/// Which servers take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Ours alone.
    Ours,
    /// Whoever speaks Socket.IO.
    SocketIo,
    /// Whoever has connection state recovery.
    Recovering,
    /// Whoever speaks MQTT, and all of them do.
    Mqtt,
    /// Whoever has streams of server-sent events.
    Events,
    /// Whoever has streams of lines of JSON.
    Lines,
    /// Whoever has streams of CloudEvents.
    CloudEvents,
    /// Whoever does not speak MQTT alone.
    All,
}

impl Who {
    pub(crate) fn includes(self, server: &Server) -> bool {
        match self {
            Self::Ours => server.name == super::server::OURS,
            Self::SocketIo => server.does_speak(Speaks::SocketIo),
            Self::Recovering => server.recovery == Recovery::Has,
            Self::Mqtt => server.does_speak(Speaks::Mqtt),
            Self::Events => server.does_speak(Speaks::Events) || server.does_speak(Speaks::EventsByPath),
            Self::Lines => server.does_speak(Speaks::Lines),
            Self::CloudEvents => server.does_speak(Speaks::CloudEvents),
            Self::All => server.speaks != [Speaks::Mqtt],
        }
    }

    /// What clients of a server that takes part speak.
    pub(crate) fn speaks(self, server: &Server) -> Speaks {
        match (self, server.speaks) {
            (Self::Mqtt, _) | (_, []) => Speaks::Mqtt,
            (Self::Lines, _) => Speaks::Lines,
            (Self::CloudEvents, _) => Speaks::CloudEvents,
            (Self::Events, _) if server.does_speak(Speaks::Events) => Speaks::Events,
            (Self::Events, _) => Speaks::EventsByPath,
            (_, [first, ..]) => *first,
        }
    }
}

/// How large everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Full,
    /// So small that the figures mean nothing: to try the comparison itself.
    Quick,
}

impl Size {
    /// The words of a command.
    pub(crate) fn words(self, command: &str) -> Vec<String> {
        let choose = |word: &str| match (word.split_once('|'), self) {
            (Some((full, _)), Self::Full) => full.to_owned(),
            (Some((_, quick)), Self::Quick) => quick.to_owned(),
            (None, _) => word.to_owned(),
        };
        command.split_whitespace().map(choose).collect()
    }
}

impl Section {
    /// Whether `name` means this section: its name, or the part of it before a dash, as `growth` means `growth-idle`.
    pub(crate) fn is_meant_by(&self, name: &str) -> bool {
        self.name == name || self.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('-'))
    }
}

impl Better {
    /// Whether `a` is better than `b`.
    pub(crate) fn is_better(self, a: f64, b: f64) -> bool {
        match self {
            Self::Lower => a < b,
            Self::Higher => a > b,
        }
    }

    /// How many times better `a` is than `b`; below 1 it is worse.
    pub(crate) fn times(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Lower => b / a,
            Self::Higher => a / b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::server::{Reach, SERVERS};

    #[test]
    fn words_have_two_sizes() {
        let words = |size: Size| size.words("fanout --connections 1000|100 {target}").join(" ");
        assert_eq!(words(Size::Full), "fanout --connections 1000 {target}");
        assert_eq!(words(Size::Quick), "fanout --connections 100 {target}");
    }

    #[test]
    fn sections_are_meant_by_their_first_word() {
        let section = |name| Section { name, title: "", about: "", figures: &[], runs: &[] };
        assert!(section("growth-idle").is_meant_by("growth") && section("idle").is_meant_by("idle"));
        assert!(!section("growthy").is_meant_by("growth") && !section("idle").is_meant_by("growth"));
    }

    #[test]
    fn rows_are_complete() {
        let mut names = Vec::new();
        for section in SECTIONS {
            assert!(!section.figures.is_empty() && !section.runs.is_empty(), "{}", section.name);
            for run in section.runs {
                names.push(format!("{}.{}", section.name, run.name));
                assert!(run.rounds > 0 && run.minutes_max > 0, "{} {}", section.name, run.name);
                let command = Size::Full.words(run.command);
                let first = SERVERS.iter().find(|server| run.who.includes(server)).unwrap();
                let speaks = run.who.speaks(first);
                let filled = Reach::nominal(run.processes.max(1)).fill(&command, speaks).join(" ");
                assert!(!filled.contains('{') || filled.contains("%{i"), "{filled}");
                let is_reached = command.iter().any(|word| word == "{target}");
                assert_eq!(is_reached, run.processes > 0, "{}: who is started is to be reached", run.command);
            }
        }
        let count = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), count, "two runs have one name");
    }
}
