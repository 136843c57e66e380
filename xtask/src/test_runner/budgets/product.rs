//! The product as users get it: the release build, and a running server of it.
//!
//! Owns the processes it starts. Must not know what is measured. Start at [`Product::build`] and [`Product::start`].

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::process::{build_release, signal, within};

/// How long a server may take to start or to end; generous, as valgrind makes it some fifty times slower.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is measured.
pub(super) struct Product {
    pub(super) binary: PathBuf,
    /// For files of the runs; its own, and gone with this value.
    pub(super) folder: PathBuf,
}

/// A running server; it ends with this value.
pub(super) struct Server {
    child: Child,
    log: PathBuf,
    pub(super) public: SocketAddr,
    private: SocketAddr,
}

impl Product {
    /// Builds it in the folder beside the one this program is in.
    pub(super) fn build(root: &Path) -> Result<Self> {
        let binary = build_release(root)?;
        let target =
            binary.parent().and_then(Path::parent).context("a program stands in a folder of a profile")?;
        let folder = target.join(format!("counts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
        Ok(Self { binary, folder })
    }

    /// A file of the runs.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts a server and waits until it accepts connections.
    pub(super) fn start(&self, mut command: Command) -> Result<Server> {
        let (ready, log) = (self.file("ready.json"), self.file("server.log"));
        if ready.exists() {
            std::fs::remove_file(&ready).with_context(|| format!("{}", ready.display()))?;
        }
        let stderr = File::create(&log).with_context(|| format!("{}", log.display()))?;
        command.arg("--ready-file").arg(&ready).stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().with_context(|| format!("{command:?}"))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { child, log, public: nowhere, private: nowhere };
        let addresses = server.wait_for(|server| match server.child.try_wait()? {
            Some(status) => Err(server.ended(status)),
            None => Ok(std::fs::read(&ready).ok()),
        })?;
        let addresses: Value = serde_json::from_slice(&addresses).context("the ready file")?;
        let address = |name: &str| -> Result<SocketAddr> {
            let text = addresses.get(name).and_then(Value::as_str);
            Ok(text.with_context(|| format!("no {name} in the ready file"))?.parse()?)
        };
        (server.public, server.private) = (address("public")?, address("private")?);
        Ok(server)
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // What is left behind is below the folder of builds, where it does no harm.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Server {
    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Write calls to clients so far, as it counts them.
    pub(super) fn writes(&self) -> Result<u64> {
        let mut stream = TcpStream::connect(self.private).context("the private port")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        counter(&page, "trunkline_writes_total").context("no trunkline_writes_total in /metrics")
    }

    /// Ends it as an operator would, so that what was counted is written down.
    pub(super) fn stop(mut self) -> Result<()> {
        signal("TERM", self.pid());
        let status = self.wait_for(|server| Ok(server.child.try_wait()?))?;
        if status.success() { Ok(()) } else { Err(self.ended(status)) }
    }

    /// Looks again and again until there is something.
    fn wait_for<T>(&mut self, look: impl Fn(&mut Self) -> Result<Option<T>>) -> Result<T> {
        let found = within(PATIENCE, || look(self).transpose());
        found.with_context(|| format!("the server took too long\n{}", self.log()))?
    }

    fn ended(&self, status: ExitStatus) -> anyhow::Error {
        anyhow::anyhow!("the server ended: {status}\n{}", self.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The sum of a counter over its labels.
fn counter(page: &str, name: &str) -> Option<u64> {
    let samples = page.lines().filter_map(|line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        (labels.is_empty() || labels.starts_with('{')).then(|| value.trim().parse::<u64>().ok())?
    });
    samples.reduce(|sum, value| sum + value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_added_up_over_shards() {
        let page = "# TYPE a counter\r\na{shard=\"0\"} 3\na{shard=\"1\"} 4\nab 100\nb 5\n";
        assert_eq!((counter(page, "a"), counter(page, "b"), counter(page, "c")), (Some(7), Some(5), None));
    }
}
