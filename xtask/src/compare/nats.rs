//! nats-server as a server of MQTT: where its program comes from, and its configuration.
//!
//! Owns the text of it. Its MQTT keeps sessions in JetStream, which needs a folder. Must not know what is measured. Start at
//! [`prepare`].

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::nchan::{free_address, said};
use crate::install;

/// Below `target/peers`.
const FOLDER: &str = "nats";

/// Installs the program out of the package that `xtask/peers/nats` names, into a virtual environment.
pub(super) fn install(root: &Path) -> Result<()> {
    let list = root.join("xtask/peers/nats/requirements.txt");
    install::python_packages(&list, &root.join("target/peers").join(FOLDER))
}

/// For the page.
pub(super) fn version(root: &Path) -> Option<String> {
    let program = program(&root.join("target/peers"));
    let said = said(&program.display().to_string(), &["--version"])?;
    Some(said.trim().replace(": v", " "))
}

fn program(peers: &Path) -> PathBuf {
    peers.join(FOLDER).join("bin/nats-server")
}

/// Writes the configuration into a folder of its own; gives where clients connect, and what to start.
pub(super) fn prepare(peers: &Path, folder: &Path) -> Result<(String, Command)> {
    // What an earlier run stored would be read again.
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder)?;
    let (address, own, path) = (free_address()?, free_address()?, folder.join("nats.conf"));
    let folder = folder.canonicalize().with_context(|| folder.display().to_string())?;
    std::fs::write(&path, configuration(&address, &own, &folder))?;
    let mut command = Command::new(program(peers));
    command.arg("-c").arg(path);
    Ok((address, command))
}

/// `own` is the port of NATS itself, which nobody uses.
fn configuration(address: &str, own: &str, folder: &Path) -> String {
    format!(
        "server_name: compare\nlisten: {own:?}\nmax_connections: 100000\nwrite_deadline: \"60s\"\n\
         jetstream {{ store_dir: {:?} }}\nmqtt {{ listen: {address:?}, max_ack_pending: 100 }}\n",
        folder.join("jetstream").display().to_string()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_its_own_ports_and_folder() {
        let text = configuration("127.0.0.1:1", "127.0.0.1:2", Path::new("run/nats-0"));
        for part in
            ["listen: \"127.0.0.1:2\"\n", "mqtt { listen: \"127.0.0.1:1\"", "\"run/nats-0/jetstream\""]
        {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
