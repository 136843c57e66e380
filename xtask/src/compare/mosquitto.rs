//! mosquitto: its configuration.
//!
//! Owns the text of it. mosquitto has no port 0, so a free one is looked up. Must not know what is measured. Start at
//! [`prepare`].

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::nchan::{free_address, said};
use crate::install;

/// What `mosquitto` may be called for users whose path has no `sbin`.
const NAMES: [&str; 2] = ["mosquitto", "/usr/sbin/mosquitto"];

/// Debian's package.
const PACKAGE: &str = "mosquitto";

/// Installs it if it is missing.
pub(super) fn install() -> Result<()> {
    if program().is_some() { Ok(()) } else { install::debian_packages(&[PACKAGE]) }
}

/// For the page.
pub(super) fn version() -> Option<String> {
    said("dpkg-query", &["-W", "-f", "mosquitto ${Version}", PACKAGE])
}

/// It says what it is and fails.
fn program() -> Option<&'static str> {
    NAMES.into_iter().find(|name| Command::new(name).arg("-h").output().is_ok())
}

/// Writes the configuration into a folder of its own; gives where clients connect, and what to start.
pub(super) fn prepare(folder: &Path) -> Result<(String, Command)> {
    std::fs::create_dir_all(folder)?;
    let (address, path) = (free_address()?, folder.join("mosquitto.conf"));
    std::fs::write(&path, configuration(&address))?;
    let mut command = Command::new(program().unwrap_or(PACKAGE));
    command.arg("-c").arg(path);
    Ok((address, command))
}

fn configuration(address: &str) -> String {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "1883"));
    format!(
        "listener {port} {host}\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n\
         max_inflight_messages 100\nmax_queued_messages 0\nlog_dest stderr\nlog_type error\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_has_its_own_port() {
        let text = configuration("127.0.0.1:77");
        for line in ["listener 77 127.0.0.1", "allow_anonymous true", "max_queued_messages 0"] {
            assert!(text.lines().any(|each| each == line), "{line} is not in {text}");
        }
    }
}
