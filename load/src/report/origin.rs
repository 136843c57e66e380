//! Where a report comes from: what was typed, when, on what machine, by which generator.
//!
//! Must not know scenarios or the command line's options; it only keeps secrets out of what is saved.
//! Start at [`Origin::here`].

use std::fs::read_to_string;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Endings of options whose value is a secret.
const SECRETS: [&str; 4] = ["key", "token", "secret", "password"];

/// What is printed in place of a secret.
const HIDDEN: &str = "***";

/// The circumstances of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Origin {
    /// The program and its arguments as typed, secrets replaced.
    pub(super) command: Vec<String>,
    /// Begin of the run: UTC, RFC 3339, whole seconds.
    pub(super) date: String,
    /// Version of the generator.
    pub(super) generator: String,
    pub(super) machine: Machine,
}

/// The machine of the generator; empty or 0 where the system does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Machine {
    /// Release of the kernel.
    pub(super) kernel: String,
    /// Cores this process may use.
    pub(super) cores: usize,
    /// The processor's name for itself.
    pub(super) cpu: String,
    pub(super) memory_bytes: u64,
}

impl Origin {
    /// This process, now.
    pub(super) fn here() -> Self {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            command: without_secrets(std::env::args_os().map(|word| word.to_string_lossy().into_owned())),
            date: rfc3339(seconds),
            generator: env!("CARGO_PKG_VERSION").into(),
            machine: Machine::here(),
        }
    }

    /// The command, quoted so that a shell reads it back; empty if it is not known.
    pub(super) fn typed(&self) -> String {
        self.command.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }

    /// Generator, machine and date in a line.
    pub(super) fn line(&self) -> String {
        let Machine { kernel, cores, cpu, memory_bytes } = &self.machine;
        let mut parts = Vec::new();
        let mut part = |known: bool, text: String| parts.extend(known.then_some(text));
        part(!self.date.is_empty(), self.date.clone());
        part(!self.generator.is_empty(), format!("generator {}", self.generator));
        part(!kernel.is_empty(), format!("Linux {kernel}"));
        part(*cores > 0, format!("{cores} cores"));
        part(!cpu.is_empty(), cpu.clone());
        part(*memory_bytes > 0, format!("{:.1} GiB", *memory_bytes as f64 / f64::from(1 << 30)));
        parts.join(", ")
    }
}

impl Machine {
    fn here() -> Self {
        let read = |path: &str| read_to_string(path).unwrap_or_default();
        let kilobytes: Option<u64> = value_of(&read("/proc/meminfo"), "MemTotal")
            .and_then(|text| text.split_whitespace().next()?.parse().ok());
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            cores: crate::process::cores(),
            cpu: value_of(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            memory_bytes: kilobytes.unwrap_or(0) * 1024,
        }
    }
}

/// What stands behind `name` and a colon.
fn value_of(text: &str, name: &str) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.filter(|(known, _)| known.trim() == name).map(|(_, value)| value.trim().to_owned()).next()
}

fn without_secrets(words: impl Iterator<Item = String>) -> Vec<String> {
    let mut hide_next = false;
    let hidden = words.map(|word| {
        if std::mem::take(&mut hide_next) {
            return HIDDEN.to_owned();
        }
        let (option, value) =
            word.split_once('=').map_or((word.as_str(), None), |(option, value)| (option, Some(value)));
        if !option.starts_with("--") || !SECRETS.iter().any(|ending| option.ends_with(ending)) {
            return word;
        }
        hide_next = value.is_none();
        value.map_or_else(|| option.to_owned(), |_| format!("{option}={HIDDEN}"))
    });
    hidden.collect()
}

fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A Unix time in UTC. Days are counted from March in eras of 400 years, so that the leap day is the last one of its year.
pub(crate) fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400 + 719_468, seconds % 86_400);
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (seconds, date) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_102_444_800, "2100-01-01T00:00:00Z"),
            (1_795_651_323, "2026-11-26T00:02:03Z"),
        ] {
            assert_eq!(rfc3339(seconds), date);
        }
    }

    #[test]
    fn secrets_are_not_saved() {
        let typed = "trunkline bench fanout --key s3cret --api-token=abc --connections 5";
        let kept = without_secrets(typed.split(' ').map(str::to_owned)).join(" ");
        assert_eq!(kept, "trunkline bench fanout --key *** --api-token=*** --connections 5");
    }

    #[test]
    fn a_command_can_be_typed_again() {
        let command = ["a", "--room", "r-%{i}", "it's", ""].map(str::to_owned).to_vec();
        let origin = Origin { command, ..Origin::default() };
        assert_eq!(origin.typed(), r"a --room 'r-%{i}' 'it'\''s' ''");
    }

    #[test]
    fn this_machine_says_what_it_is() {
        let Origin { machine, date, command, .. } = Origin::here();
        assert!(machine.cores > 0 && machine.memory_bytes > 1 << 20 && !machine.kernel.is_empty());
        assert!(date.ends_with('Z') && !command.is_empty());
    }
}
