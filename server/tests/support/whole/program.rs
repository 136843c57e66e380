//! The program, run by its name, and ended by a signal or killed.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::Value;

use super::folder::Folder;
use super::until::until;

/// A running one. It is killed with this value.
pub struct Program {
    child: Child,
    pub public: SocketAddr,
    pub private: SocketAddr,
}

/// The program with a configuration file in the folder, and nothing of this environment. It writes `ready` once it serves.
pub fn command(folder: &Folder, (word, config): (&str, &str), ready: &Path, settings: &[&str]) -> Command {
    let config = folder.file("trunkline.toml", config);
    let mut program = Command::new(env!("CARGO_BIN_EXE_trunkline"));
    program.env_clear().args([word, "--config", &config, "--ready-file"]).arg(ready);
    for setting in settings {
        program.args(["--set", setting]);
    }
    program
}

impl Program {
    /// Starts it and waits until it serves.
    pub fn start(mut command: Command, ready: &Path) -> Self {
        let _not_there_the_first_time = std::fs::remove_file(ready);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The file appears complete and at once, but nothing tells when.
        let told: Value = until("the program is ready", || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("the program ended before it was ready: {status}");
            }
            serde_json::from_slice(&std::fs::read(ready).ok()?).ok()
        });
        let address = |name: &str| told[name].as_str().unwrap().parse().unwrap();
        Self { child, public: address("public"), private: address("private") }
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        let kill = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(kill.success());
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Ends it in order.
    pub fn stop(mut self) {
        self.terminate();
        assert!(until("the program ends", || self.ended()).success());
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Of a test that failed; otherwise it has ended.
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}
