//! Results read from the last lines of the test programs: cargo test, node's runner, unittest.

/// Tests that passed and failed. Signed: unittest tells how many ran first and takes failures back later.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Counts {
    pub(super) passed: i64,
    pub(super) failed: i64,
}

impl Counts {
    pub(super) fn plus(self, more: Self) -> Self {
        Self { passed: self.passed + more.passed, failed: self.failed + more.failed }
    }
}

/// What one line of output adds; nothing for most.
pub(super) fn of_line(line: &str) -> Counts {
    let line = line.trim();
    if line.starts_with("test result:") {
        return Counts { passed: before(line, "passed"), failed: before(line, "failed") };
    }
    if let Some(count) = node(line, "pass") {
        return Counts { passed: count, failed: 0 };
    }
    if let Some(count) = node(line, "fail") {
        return Counts { passed: 0, failed: count };
    }
    unittest(line)
}

/// The number before a word: `3 passed`.
fn before(line: &str, word: &str) -> i64 {
    let words: Vec<&str> =
        line.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let pairs = words.iter().zip(words.iter().skip(1));
    pairs.filter(|(_, next)| **next == word).find_map(|(count, _)| count.parse().ok()).unwrap_or(0)
}

/// `ℹ pass 3` of node's spec reporter, `# pass 3` of its TAP reporter.
fn node(line: &str, word: &str) -> Option<i64> {
    let rest = line.strip_prefix("ℹ ").or_else(|| line.strip_prefix("# "))?;
    rest.strip_prefix(word)?.strip_prefix(' ')?.parse().ok()
}

/// `Ran 12 tests in 0.3s`, then `OK (skipped=1)` or `FAILED (failures=1, errors=2)`.
fn unittest(line: &str) -> Counts {
    if line.starts_with("Ran ") && line.contains(" in ") {
        let count = before(line, "tests") + before(line, "test");
        return Counts { passed: count, failed: 0 };
    }
    let listed = line.strip_prefix("FAILED (").or_else(|| line.strip_prefix("OK (")).unwrap_or_default();
    let mut counts = Counts::default();
    for (name, count) in listed.trim_end_matches(')').split(", ").filter_map(|pair| pair.split_once('=')) {
        let count: i64 = count.parse().unwrap_or(0);
        counts.passed -= count;
        if matches!(name, "failures" | "errors" | "unexpected successes") {
            counts.failed += count;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[&str]) -> (i64, i64) {
        let sum = lines.iter().fold(Counts::default(), |sum, line| sum.plus(of_line(line)));
        (sum.passed, sum.failed)
    }

    #[test]
    fn every_runner_is_understood() {
        assert_eq!(
            of(&["test result: FAILED. 29 passed; 4 failed; 1 ignored; 0 measured; 0 filtered out"]),
            (29, 4)
        );
        assert_eq!(of(&["ℹ tests 14", "ℹ pass 12", "ℹ fail 2", "ℹ skipped 0"]), (12, 2));
        assert_eq!(of(&["# pass 12", "# fail 2"]), (12, 2));
        assert_eq!(of(&["Ran 12 tests in 3.214s", "FAILED (failures=1, errors=2, skipped=1)"]), (8, 3));
        assert_eq!(of(&["Ran 1 test in 0.001s", "OK"]), (1, 0));
    }

    #[test]
    fn talk_of_tests_is_no_result() {
        assert_eq!(
            of(&["test a::b ... ok", "3 passed by", "FAILED to bind", "Ran away", "# pass the salt"]),
            (0, 0)
        );
    }
}
