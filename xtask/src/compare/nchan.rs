//! nginx with nchan: its configuration, and when it is ready.
//!
//! Owns the text of the configuration. nginx has no port 0, so two free ones are looked up. Must not know what is
//! measured. Start at [`Nchan::prepare`].

use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::running::files_max;
use crate::install;
use crate::process::within;

/// Debian's packages.
const PACKAGES: [&str; 2] = ["nginx-light", "libnginx-mod-nchan"];

/// The module.
const MODULE: &str = "ngx_nchan_module.so";

/// What `nginx` may be called for users whose path has no `sbin`.
const NAMES: [&str; 2] = ["nginx", "/usr/sbin/nginx"];

/// One nginx that is about to be started.
#[derive(Debug)]
pub(super) struct Nchan {
    /// Where subscribers connect.
    pub(super) public: String,
    /// Where publishers connect.
    pub(super) private: String,
    conf: PathBuf,
    folder: PathBuf,
}

/// Installs what is missing.
pub(super) fn install() -> Result<()> {
    if program().and_then(module).is_some() { Ok(()) } else { install::debian_packages(&PACKAGES) }
}

/// Name and version of both, for the page.
pub(super) fn version() -> Option<String> {
    let nginx = said(program()?, &["-v"])?;
    let nginx = nginx.rsplit('/').next()?.trim().to_owned();
    let nchan = said("dpkg-query", &["-W", "-f", "${Version}", "libnginx-mod-nchan"])?;
    Some(format!("nginx {nginx}, nchan {nchan}"))
}

fn program() -> Option<&'static str> {
    NAMES.into_iter().find(|name| crate::process::works(name, &["-v"]))
}

/// Where the module is.
fn module(program: &str) -> Option<PathBuf> {
    let settings = said(program, &["-V"])?;
    let folder = settings.split_whitespace().find_map(|word| word.strip_prefix("--modules-path="))?;
    Some(Path::new(folder).join(MODULE)).filter(|path| path.is_file())
}

/// Both streams: nginx speaks on the one for errors.
pub(super) fn said(program: &str, arguments: &[&str]) -> Option<String> {
    let output =
        Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

impl Nchan {
    /// Writes the configuration into a folder of its own.
    pub(super) fn prepare(folder: &Path) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let module = program().and_then(module).context("nginx with nchan is not installed")?;
        let (public, private) = (free_address()?, free_address()?);
        let nchan = Self { public, private, conf: folder.join("nginx.conf"), folder: folder.to_owned() };
        std::fs::write(&nchan.conf, nchan.configuration(&module, files_max()))?;
        Ok(nchan)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(program().unwrap_or("nginx"));
        command.arg("-c").arg(&self.conf).arg("-p").arg(&self.folder);
        command
    }

    /// Waits until both ports answer and every worker is there; gives all processes.
    pub(super) fn ready(&self, main: u32, time: Duration) -> Result<Vec<u32>> {
        for address in [&self.public, &self.private] {
            within(time, || TcpStream::connect(address).ok())?;
        }
        let path = format!("/proc/{main}/task/{main}/children");
        let mut seen = Seen::default();
        let workers = within(time, || seen.look(&std::fs::read_to_string(&path).ok()?, cores()))?;
        Ok(std::iter::once(main).chain(workers).collect())
    }

    fn configuration(&self, module: &Path, files: u64) -> String {
        let Self { public, private, folder, .. } = self;
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let folders: String = temporary
            .iter()
            .map(|name| format!("  {name}_temp_path {}/{name};\n", folder.display()))
            .collect();
        format!(
            r"load_module {module};
daemon off;
worker_processes {cores};
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections {files}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
{folders}  server {{
    listen {public} backlog=4096;
    location ~ ^/sub/(.+)$ {{
      nchan_subscriber websocket;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
      nchan_websocket_ping_interval 25s;
    }}
    location ~ ^/events/(.+)$ {{
      nchan_subscriber eventsource;
      nchan_channel_id $1;
      nchan_subscriber_first_message newest;
      nchan_eventsource_ping_interval 15s;
    }}
  }}
  server {{
    listen {private};
    location ~ ^/pub/(.+)$ {{
      nchan_publisher http;
      nchan_channel_id $1;
      nchan_message_buffer_length 64;
      nchan_message_timeout 10s;
    }}
  }}
}}
",
            module = module.display(),
            folder = folder.display(),
            cores = cores(),
        )
    }
}

/// Children of the first process, as they were when it was looked before: nginx has a child of another kind, for a moment, when it
/// starts.
#[derive(Debug, Default)]
struct Seen(Vec<u32>);

impl Seen {
    /// The workers, once there are as many as wanted and they are those that were there before.
    fn look(&mut self, children: &str, wanted: usize) -> Option<Vec<u32>> {
        let now: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        let is_steady = now.len() >= wanted && now == self.0;
        self.0.clone_from(&now);
        is_steady.then_some(now)
    }
}

/// As many workers as this machine has cores.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// An address nobody listens at now, for servers that have no port 0.
pub(super) fn free_address() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_there_when_all_are_seen_twice() {
        let mut seen = Seen::default();
        for early in ["", "7", "7 8", "7 9"] {
            assert_eq!(seen.look(early, 2), None, "{early}");
        }
        assert_eq!(seen.look("7 9", 2), Some(vec![7, 9]));
    }

    #[test]
    fn the_configuration_has_its_own_ports_and_folders() {
        let (public, private) = ("127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned());
        let folder = PathBuf::from("run/nchan-0");
        let nchan = Nchan { public, private, conf: folder.join("nginx.conf"), folder };
        let text = nchan.configuration(Path::new("modules/m.so"), 20_000);
        for line in [
            "load_module modules/m.so;",
            "worker_rlimit_nofile 20000;",
            "    listen 127.0.0.1:1 backlog=4096;",
            "    listen 127.0.0.1:2;",
            "  scgi_temp_path run/nchan-0/scgi;",
            "    location ~ ^/sub/(.+)$ {",
            "    location ~ ^/events/(.+)$ {",
        ] {
            assert!(text.lines().any(|each| each == line), "{line} is not in {text}");
        }
        assert_eq!(text.matches('{').count(), text.matches('}').count());
    }
}
