//! What the head of the page says of the machine and of the programs.
//!
//! Must not know what is measured. Start at [`head`].

use std::path::Path;
use std::process::Command;

use super::results::Head;
use super::server::{Program, Server};
use super::{mosquitto, nats, nchan};

/// Universal time, to the minute, for `date`.
const DATE: &str = "+%Y-%m-%d %H:%M UTC";

/// Everything but the times. `given`: our program, if it was not built by us.
pub(crate) fn head(root: &Path, build: &str, given: Option<&Path>, servers: &[&'static Server]) -> Head {
    let version = |server: &Server| match (server.program, given) {
        (Program::Ours, Some(program)) => version_of_given(program),
        _ => version(root, server),
    };
    let versions = servers.iter().map(|server| (server.name.to_owned(), version(server)));
    Head {
        began: now(),
        ended: String::new(),
        build: build.to_owned(),
        quick: false,
        machine: machine(),
        versions: versions.collect(),
    }
}

/// Universal time, to the minute.
pub(crate) fn now() -> String {
    said("date", &["-u", DATE], Path::new("."))
}

/// For a folder.
pub(crate) fn stamp() -> String {
    said("date", &["-u", "+%Y-%m-%d-%H%M%S"], Path::new("."))
}

/// Over one minute.
pub(crate) fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or_default()
}

fn machine() -> Vec<(String, String)> {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = after(&cpus, "model name", ':').unwrap_or("unknown");
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes =
        after(&memory, "MemTotal:", ' ').and_then(|text| text.trim_end_matches(" kB").parse::<u64>().ok());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = after(&system, "PRETTY_NAME", '=').unwrap_or("unknown").trim_matches('"');
    let rows = [
        ("processor", format!("{model}, {cores} cores for generator and server together")),
        (
            "memory",
            kilobytes.map_or_else(|| "unknown".to_owned(), |kb| format!("{} GiB", (kb + (1 << 19)) >> 20)),
        ),
        ("kernel", kernel.trim().to_owned()),
        ("system", system.to_owned()),
        ("network", "loopback, no TLS; every run has source addresses of its own".to_owned()),
        ("open files", format!("{} per process", super::running::files_max())),
    ];
    rows.map(|(name, value)| (name.to_owned(), value)).into()
}

/// What follows `separator` on the first line that begins with `name`.
fn after<'a>(text: &'a str, name: &str, separator: char) -> Option<&'a str> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_once(separator).map(|(_, value)| value.trim())
}

/// A program that was not built here says itself what it is; of which commit it is, nobody can say.
fn version_of_given(program: &Path) -> String {
    let version = said(&program.display().to_string(), &["--version"], Path::new("."));
    let date = said("date", &["-u", "-r", &program.display().to_string(), DATE], Path::new("."));
    format!("{version}, a program that was given, its file of {date}")
}

fn version(root: &Path, server: &Server) -> String {
    let unknown = || "unknown".to_owned();
    match server.program {
        Program::Ours => format!("commit {}", said("git", &["describe", "--always", "--dirty"], root)),
        Program::Node(_) => {
            let modules = root.join("xtask/peers/socketio/node_modules");
            let of = |name: &str| package_version(&modules.join(name)).unwrap_or_else(unknown);
            let node = said("node", &["--version"], root);
            format!(
                "socket.io {}, ws {}, bufferutil {}, node {node}",
                of("socket.io"),
                of("ws"),
                of("bufferutil")
            )
        }
        Program::Socketioxide => {
            let lock =
                std::fs::read_to_string(root.join("xtask/peers/socketioxide/Cargo.lock")).unwrap_or_default();
            let of = |name: &str| locked_version(&lock, name).unwrap_or_else(unknown);
            format!("socketioxide {}, axum {}, tokio {}", of("socketioxide"), of("axum"), of("tokio"))
        }
        Program::Nchan => nchan::version().unwrap_or_else(unknown),
        Program::Mosquitto => mosquitto::version().unwrap_or_else(unknown),
        Program::Rumqttd => locked(root, "rumqttd").unwrap_or_else(unknown),
        Program::Rmqtt => locked(root, "rmqtt").unwrap_or_else(unknown),
        Program::Nats => nats::version(root).unwrap_or_else(unknown),
    }
}

/// Name and version of a crate that is a peer, as its program in `xtask/peers` is built.
fn locked(root: &Path, name: &str) -> Option<String> {
    let lock = std::fs::read_to_string(root.join("xtask/peers").join(name).join("Cargo.lock")).ok()?;
    Some(format!("{name} {}", locked_version(&lock, name)?))
}

fn package_version(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    package.get("version")?.as_str().map(str::to_owned)
}

fn locked_version(lock: &str, name: &str) -> Option<String> {
    let lock: toml::Table = lock.parse().ok()?;
    let packages = lock.get("package")?.as_array()?;
    let package =
        packages.iter().find(|package| package.get("name").and_then(toml::Value::as_str) == Some(name))?;
    package.get("version")?.as_str().map(str::to_owned)
}

fn said(program: &str, arguments: &[&str], folder: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(folder).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_behind_their_names() {
        let text = "processor\t: 0\nmodel name\t: A B\nmodel name\t: C\n";
        assert_eq!(after(text, "model name", ':'), Some("A B"));
        assert_eq!(after("PRETTY_NAME=\"Debian\"\n", "PRETTY_NAME", '='), Some("\"Debian\""));
        assert_eq!(after(text, "other", ':'), None);
    }

    #[test]
    fn versions_come_from_lock_files() {
        let lock =
            "[[package]]\nname = \"a\"\nversion = \"1.2\"\n\n[[package]]\nname = \"ab\"\nversion = \"3\"\n";
        assert_eq!(locked_version(lock, "ab").as_deref(), Some("3"));
        assert_eq!(locked_version(lock, "b"), None);
    }

    #[test]
    fn a_program_that_was_given_is_asked() {
        let said = version_of_given(Path::new("/bin/sh"));
        assert!(said.contains("a program that was given, its file of 2") && said.ends_with(" UTC"), "{said}");
    }

    #[test]
    fn a_stamp_is_the_name_of_a_folder() {
        assert!(
            stamp().chars().all(|c| c.is_ascii_digit() || c == '-') && stamp().len() == 17,
            "{}",
            stamp()
        );
    }
}
