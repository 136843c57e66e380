//! A server that is restarted while it is measured: a script that `trunkline bench avalanche` calls.
//!
//! The new process is started by the script, so that it is no child of ours: the script leaves its number in a file, and
//! whoever has the [`Restart`] ends it. Must not know what is measured. Start at [`Restart::prepare`].

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::{signal, within};

/// Where a server's script keeps things, and what it starts.
#[derive(Debug)]
pub(super) struct Plan {
    /// Begins the name of each file.
    pub(super) files: PathBuf,
    /// Where the server is started.
    pub(super) folder: PathBuf,
    /// The command line that starts it at the addresses it has now.
    pub(super) words: Vec<String>,
    /// What is not empty once it is ready; its standard output, unless it writes that file by itself.
    pub(super) ready: Ready,
    /// The process that runs now.
    pub(super) pid: u32,
}

/// See [`Plan::ready`].
#[derive(Debug)]
pub(super) enum Ready {
    /// It writes this file.
    File(PathBuf),
    /// It prints a line.
    Line,
}

/// A written script. Dropping it ends the process that the script started last.
#[derive(Debug)]
pub(super) struct Restart {
    script: PathBuf,
    pid_file: PathBuf,
    first_pid: u32,
    /// Standard input of what the script starts, open as long as we live: a peer ends when it is closed.
    _input: File,
}

impl Restart {
    /// Writes the script.
    pub(super) fn prepare(plan: &Plan) -> Result<Self> {
        let file = |extension: &str| plan.files.with_extension(extension);
        let (script, pid_file, input) = (file("restart.sh"), file("pid"), file("stdin"));
        std::fs::write(&pid_file, plan.pid.to_string()).with_context(|| pid_file.display().to_string())?;
        let _ = std::fs::remove_file(&input);
        let made = Command::new("mkfifo").arg(&input).status().context("mkfifo")?;
        anyhow::ensure!(made.success(), "mkfifo {}: {made}", input.display());
        std::fs::write(&script, plan.text(&pid_file, &input))
            .with_context(|| script.display().to_string())?;
        // For both directions, which blocks neither us nor the script.
        let open = OpenOptions::new().read(true).write(true).open(&input)?;
        Ok(Self { script, pid_file, first_pid: plan.pid, _input: open })
    }

    /// For `--restart-command`.
    pub(super) fn command(&self) -> String {
        format!("sh {}", quoted(&self.script.display().to_string()))
    }

    /// The process that the script started last.
    fn pid(&self) -> Option<u32> {
        let pid = std::fs::read_to_string(&self.pid_file).ok()?.trim().parse().ok()?;
        (pid != self.first_pid).then_some(pid)
    }
}

impl Drop for Restart {
    fn drop(&mut self) {
        let Some(pid) = self.pid() else { return };
        signal("TERM", pid);
        if within(Duration::from_secs(10), || has_ended(pid)).is_err() {
            signal("KILL", pid);
        }
    }
}

impl Plan {
    /// A process that was not waited for yet is a zombie: it has ended all the same, ports included, once no thread of it is left.
    fn text(&self, pid_file: &Path, input: &Path) -> String {
        let path = |path: &Path| quoted(&path.display().to_string());
        let log = self.files.with_extension("log");
        let (ready, output) = match &self.ready {
            Ready::File(file) => (file.clone(), log.clone()),
            Ready::Line => (self.files.with_extension("ready"), self.files.with_extension("ready")),
        };
        let words: Vec<String> = self.words.iter().map(|word| quoted(word)).collect();
        format!(
            "# Ends the server, starts it again at the same addresses, and prints its process when it is ready.
set -e
cd {folder}
old=$(cat {pid_file})
rm -f {ready}
kill -TERM \"$old\"
while [ -e \"/proc/$old\" ] && ! {{ grep -q '^State:[[:space:]]*Z' \"/proc/$old/status\" && [ \"$(ls \"/proc/$old/task\" | wc -l)\" = 1 ]; }}
do sleep 0.01; done 2>/dev/null
{words} <{input} >>{output} 2>>{log} &
echo $! >{pid_file}
tries=0
until [ -s {ready} ]; do
  kill -0 $!
  tries=$((tries + 1))
  [ $tries -lt 3000 ]
  sleep 0.01
done
echo $!
",
            folder = path(&self.folder),
            pid_file = path(pid_file),
            ready = path(&ready),
            words = words.join(" "),
            input = path(input),
            output = path(&output),
            log = path(&log),
        )
    }
}

/// Nobody may wait for it, and then it stays a zombie.
fn has_ended(pid: u32) -> Option<()> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    (status.is_empty() || status.contains("Z (zombie)")).then_some(())
}

/// For a shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;

    #[test]
    fn a_script_ends_the_old_process_and_starts_a_new_one_that_ends_with_its_owner() {
        let folder = std::env::temp_dir().join(format!("xtask-restart-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let server = "echo ready; exec cat >/dev/null";
        let mut old = Command::new("sh").args(["-c", "exec cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let plan = Plan {
            files: folder.join("it's"),
            folder: folder.clone(),
            words: ["sh", "-c", server].map(str::to_owned).into(),
            ready: Ready::Line,
            pid: old.id(),
        };
        let restart = Restart::prepare(&plan).unwrap();
        let output = Command::new("sh").args(["-c", &restart.command()]).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(old.try_wait().unwrap().is_some(), "the old process has ended");
        let new: u32 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
        assert_eq!(has_ended(new), None);
        drop(restart);
        assert_eq!(has_ended(new), Some(()));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
