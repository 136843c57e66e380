//! One call of `trunkline bench`: started, waited for, ended when it takes too long, its report read.
//!
//! Whatever goes wrong is a [`Turn`] that says so, never the end of the comparison. Start at [`bench`].

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::results::Turn;
use super::running::end;
use crate::process::within;

/// How long a generator may take to end its processes and write what it has, before it is killed.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Characters of an error that are kept.
const TROUBLE_CHARACTERS_MAX: usize = 400;

/// Runs it; `name` is the report's name in `folder`.
pub(crate) fn bench(trunkline: &Path, arguments: &[String], time: Duration, report: &Path) -> Turn {
    let mut command = Command::new(trunkline);
    command.arg("bench").args(arguments).arg("--json").stdin(Stdio::null());
    match output(command, time) {
        Ok((stdout, stderr)) => turn(&stdout, &stderr, report),
        Err(trouble) => Turn::without_report(trouble),
    }
}

/// Both streams of a process that ended in time.
fn output(mut command: Command, time: Duration) -> Result<(String, String), String> {
    let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.map_err(|error| error.to_string())?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        let (stdout, stderr) = (scope.spawn(|| text(stdout)), scope.spawn(|| text(stderr)));
        let ended = within(time, || child.try_wait().transpose());
        if ended.is_err() {
            end(&mut child, END_WITHIN);
            return Err(format!("ended after {} s without a report", time.as_secs()));
        }
        let read = |thread: std::thread::ScopedJoinHandle<'_, String>| thread.join().unwrap_or_default();
        Ok((read(stdout), read(stderr)))
    })
}

fn text(from: Option<impl Read>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A report counts whatever the exit status: a void or failed one says so itself.
fn turn(stdout: &str, stderr: &str, path: &Path) -> Turn {
    let Ok(report) = serde_json::from_str::<serde_json::Value>(stdout) else {
        let said = stderr.trim();
        let skipped = said.chars().count().saturating_sub(TROUBLE_CHARACTERS_MAX);
        let last: String = said.chars().skip(skipped).collect();
        return Turn::without_report(last.split_whitespace().collect::<Vec<_>>().join(" "));
    };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
    let saved = std::fs::write(path, stdout).is_ok();
    Turn { report: name.filter(|_| saved), ..Turn::from_report(&report) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    /// A program that ignores its arguments and does what the script says.
    fn double(name: &str, script: &str) -> (PathBuf, PathBuf) {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = std::env::temp_dir().join(format!("xtask-bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("trunkline");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        (program, folder)
    }

    fn run(name: &str, script: &str, time: Duration) -> Turn {
        let (program, folder) = double(name, script);
        let turn = bench(&program, &["idle".into()], time, &folder.join("idle.json"));
        std::fs::remove_dir_all(&folder).unwrap();
        turn
    }

    #[test]
    fn a_report_of_a_failed_run_is_a_report() {
        let script = r#"echo '{"figures":{"rate":2},"void":["nothing connected"]}'; exit 1"#;
        let turn = run("void", script, Duration::from_secs(60));
        assert_eq!(turn.figures["rate"], 2.0);
        assert_eq!(turn.void, ["nothing connected"]);
        assert_eq!(turn.report.as_deref(), Some("idle.json"));
    }

    #[test]
    fn what_prints_no_report_tells_its_last_words() {
        let turn = run("words", "echo 'error: no such scenario' >&2; exit 2", Duration::from_secs(60));
        assert_eq!(turn.trouble.as_deref(), Some("error: no such scenario"));
    }

    #[test]
    fn what_does_not_end_is_ended() {
        let turn = run("endless", "exec cat /dev/zero >/dev/null", Duration::from_millis(50));
        assert_eq!(turn.trouble.as_deref(), Some("ended after 0 s without a report"));
    }
}
