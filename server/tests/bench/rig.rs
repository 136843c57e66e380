//! What tests of `trunkline bench` share: the program, and a server to measure. Start at [`Dev`].

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use crate::whole::until::until;

pub(crate) fn trunkline(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trunkline")).arg("bench").args(arguments).output().unwrap()
}

pub(crate) fn report(arguments: &[&str]) -> Value {
    let output = trunkline(arguments);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{out}{err}");
    assert_eq!(err, "", "progress is for terminals only");
    serde_json::from_str(&out).unwrap()
}

/// A server of its own, and a folder for it. Ends with this value.
pub(crate) struct Dev {
    process: Child,
    pub(crate) folder: PathBuf,
    pub(crate) public: String,
    pub(crate) private: String,
}

impl Dev {
    pub(crate) fn start(name: &str) -> Self {
        Self::configured(name, "")
    }

    /// With a configuration file of its own.
    pub(crate) fn configured(name: &str, config: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("trunkline-bench-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (ready, file) = (folder.join("ready.json"), folder.join("trunkline.toml"));
        std::fs::write(&file, config).unwrap();
        let dev = ["dev", "--public", "127.0.0.1:0", "--private", "127.0.0.1:0", "--ready-file"];
        let mut command = Command::new(env!("CARGO_BIN_EXE_trunkline"));
        command.args(dev).arg(&ready).arg("--config").arg(&file);
        command.stdout(Stdio::null()).stderr(Stdio::null()).stdin(Stdio::null());
        let process = command.spawn().unwrap();
        let addresses: Value = until("the server is ready", || {
            serde_json::from_str(&std::fs::read_to_string(&ready).ok()?).ok()
        });
        let url = |name: &str| format!("http://{}", addresses[name].as_str().unwrap());
        Self { process, folder, public: url("public"), private: url("private") }
    }

    pub(crate) fn pid(&self) -> String {
        self.process.id().to_string()
    }

    /// The report of a scenario that passes; `words` hold PUBLIC and PRIVATE where the addresses belong.
    pub(crate) fn measure(&self, words: &str) -> Value {
        let words = format!("{words} --target PUBLIC --server-pid {} --json", self.pid());
        let words = words.replace("PUBLIC", &self.public).replace("PRIVATE", &self.private);
        report(&words.split(' ').collect::<Vec<_>>())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}
