//! Whoever restarts the server: a command of the user, or we, if the server is our own child.
//!
//! Owns the child process, its folder and its signals; ends only what it started, and lets nothing of it outlive us. Must not know what the server is.
//! Start at [`Restart`].

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::Error;

/// How often a child is looked at while we wait for it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// Stands for the server's own folder in arguments and files.
const FOLDER: &str = "{folder}";

/// Stops a server and starts it again at the same addresses.
pub trait Restart: Send {
    /// Returns once the new one accepts connections.
    ///
    /// # Errors
    /// [`Error`] if it does not.
    fn restart(&mut self) -> Result<Restarted, Error>;
}

/// How a restart went.
#[derive(Clone, Debug)]
pub struct Restarted {
    /// From the order to stop until the new server accepted connections.
    pub down: Duration,
    /// How long the old one took to stop, if known.
    pub stop: Option<Duration>,
    /// How long the new one took to start, if known.
    pub start: Option<Duration>,
    /// The new process, if known.
    pub pid: Option<u32>,
    /// When the new one was started, or else when the restart was over.
    pub started: Instant,
}

impl Restarted {
    /// How long the new one has run.
    pub(super) fn since_start(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A shell command that returns when the new server is ready. If it prints a number last, that is the new process.
#[derive(Clone, Debug)]
pub struct ShellRestart {
    /// For `sh -c`.
    pub command: String,
}

impl Restart for ShellRestart {
    fn restart(&mut self) -> Result<Restarted, Error> {
        let tried = |error| Error::io(&self.command, &error);
        let folder = Folder::create().map_err(tried)?;
        // To a file: a server started in the background would keep a pipe open.
        let (path, begun) = (folder.0.join("stdout"), Instant::now());
        let stdout = fs::File::create(&path).map_err(tried)?;
        let mut command = Command::new("sh");
        command.arg("-c").arg(&self.command).stdin(Stdio::null()).stdout(stdout);
        let status = command.status().map_err(tried)?;
        if !status.success() {
            return Err(Error::new(format!("{}: {status}", self.command)));
        }
        let printed = fs::read_to_string(&path).unwrap_or_default();
        let pid = printed.split_whitespace().last().and_then(|word| word.parse().ok());
        Ok(Restarted { down: begun.elapsed(), stop: None, start: None, pid, started: Instant::now() })
    }
}

/// How a child is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// SIGTERM.
    Term,
    /// SIGKILL.
    Kill,
}

impl FromStr for Stop {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "term" => Ok(Self::Term),
            "kill" => Ok(Self::Kill),
            _ => Err("known are term and kill".into()),
        }
    }
}

/// A server as a child of ours. In its arguments and files `{folder}` stands for a folder of its own, which is removed
/// at the end.
#[derive(Clone, Debug)]
pub struct ServerCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments. They make it write `{folder}/ready.json` once it accepts connections.
    pub arguments: Vec<String>,
    /// Names and texts of files that are written into the folder before.
    pub files: Vec<(String, String)>,
    /// How it is restarted.
    pub stop: Stop,
    /// How long it may take to stop, and to start.
    pub within: Duration,
}

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub struct OwnServer {
    command: ServerCommand,
    folder: Folder,
    child: Child,
    guard: Guard,
}

/// Ends the server where we are killed and cannot: a shell that waits for the end of its input, of which we hold the other
/// end.
#[derive(Debug)]
struct Guard(Child);

impl Guard {
    /// The signals of a terminal are for all its processes, and must not end this one before its time.
    const SCRIPT: &str = "trap '' INT TERM HUP; read -r _; kill -TERM \"$1\" || exit 0; for n in 1 2 3 4 5 6 7 8 9 10; do \
                          sleep 1; kill -0 \"$1\" || exit 0; done; kill -KILL \"$1\"";

    fn of(server: &Child) -> std::io::Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", Self::SCRIPT, "guard", &server.id().to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self)
    }
}

impl Drop for Guard {
    /// The server has ended, and its number may soon be another's.
    fn drop(&mut self) {
        // It fails only where the guard has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl OwnServer {
    /// Starts it and waits until it accepts connections.
    ///
    /// # Errors
    /// [`Error`] with the last lines of its standard error if it does not.
    pub fn start(command: ServerCommand) -> Result<Self, Error> {
        let folder = Folder::create().map_err(|error| Error::io("folder of the server", &error))?;
        for (name, text) in &command.files {
            let text = text.replace(FOLDER, &folder.0.display().to_string());
            fs::write(folder.0.join(name), text).map_err(|error| Error::io(name, &error))?;
        }
        let (child, guard) = spawn(&command, &folder.0)?;
        let mut server = Self { command, folder, child, guard };
        server.wait_ready()?;
        Ok(server)
    }

    fn wait_ready(&mut self) -> Result<(), Error> {
        let (ready, until) = (ready_file(&self.folder.0), Instant::now() + self.command.within);
        while !ready.exists() {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > until {
                let how = ended.map_or("is not ready".into(), |status| status.to_string());
                let log = fs::read_to_string(log_file(&self.folder.0)).unwrap_or_default();
                let lines: Vec<_> = log.lines().rev().take(5).collect();
                let said = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
                return Err(Error::new(format!("the server {how}: {said}")));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(())
    }

    /// Waits for the end; false if it does not come in time.
    fn wait_end(&mut self) -> bool {
        let until = Instant::now() + self.command.within;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                return false;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        true
    }

    fn signal(&self, stop: Stop) -> Result<(), Error> {
        let signal = match stop {
            Stop::Term => Signal::TERM,
            Stop::Kill => Signal::KILL,
        };
        let sent = kill_process(Pid::from_child(&self.child), signal);
        sent.map_err(|error| Error::io("stopping the server", &error.into()))
    }
}

impl Restart for OwnServer {
    fn restart(&mut self) -> Result<Restarted, Error> {
        let begun = Instant::now();
        // The new one writes it again.
        fs::remove_file(ready_file(&self.folder.0))
            .map_err(|error| Error::io("the server's ready file", &error))?;
        self.signal(self.command.stop)?;
        if !self.wait_end() {
            let within = self.command.within.as_secs();
            return Err(Error::new(format!("the server did not end within {within} s of the signal")));
        }
        let started = Instant::now();
        (self.child, self.guard) = spawn(&self.command, &self.folder.0)?;
        self.wait_ready()?;
        let ready = Instant::now();
        Ok(Restarted {
            down: ready - begun,
            stop: Some(started - begun),
            start: Some(ready - started),
            pid: Some(self.child.id()),
            started,
        })
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) && self.signal(Stop::Term).is_ok() && !self.wait_end() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn spawn(command: &ServerCommand, folder: &Path) -> Result<(Child, Guard), Error> {
    let tried = |error| Error::io(command.program.display(), &error);
    let log = fs::File::options().create(true).append(true).open(log_file(folder)).map_err(tried)?;
    let shown = folder.display().to_string();
    let mut child = Command::new(&command.program);
    child.args(command.arguments.iter().map(|argument| argument.replace(FOLDER, &shown)));
    child.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut child = child.spawn().map_err(tried)?;
    match Guard::of(&child) {
        Ok(guard) => Ok((child, guard)),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(Error::io("sh", &error))
        }
    }
}

fn ready_file(folder: &Path) -> PathBuf {
    folder.join("ready.json")
}

fn log_file(folder: &Path) -> PathBuf {
    folder.join("stderr")
}

/// A folder that is removed when it is dropped.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// A new one that only its owner may enter.
    fn create() -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let name = format!("trunkline-bench-{}-{:016x}", std::process::id(), fastrand::u64(..));
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Two free addresses of loopback that stay free for as long as this process runs: nobody connects from there.
///
/// # Errors
/// [`Error`] if the system gives none.
pub fn free_addresses() -> Result<[SocketAddr; 2], Error> {
    let own = Ipv4Addr::new(127, (std::process::id() % 250) as u8 + 1, 255, 1);
    let tried = |error| Error::io(format!("an address at {own}"), &error);
    let bind = || TcpListener::bind((IpAddr::V4(own), 0)).map_err(tried);
    let (public, private) = (bind()?, bind()?);
    Ok([public.local_addr().map_err(tried)?, private.local_addr().map_err(tried)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A "server" that is ready at once and ends at SIGTERM.
    fn command(script: &str, stop: Stop) -> ServerCommand {
        let arguments = vec!["-c".into(), script.into()];
        let files = vec![("words".into(), "at {folder}".into())];
        ServerCommand { program: "sh".into(), arguments, files, stop, within: Duration::from_secs(30) }
    }

    #[test]
    fn a_child_is_restarted_and_ended_and_its_folder_removed() {
        for stop in [Stop::Term, Stop::Kill] {
            let script =
                "cp {folder}/words {folder}/seen; : > {folder}/ready.json; read -r _ < {folder}/fifo";
            let script = format!("test -p {{folder}}/fifo || mkfifo {{folder}}/fifo; {script}");
            let mut server = OwnServer::start(command(&script, stop)).unwrap();
            let folder = server.folder.0.clone();
            let seen = fs::read_to_string(folder.join("seen")).unwrap();
            assert_eq!(seen, format!("at {}", folder.display()));
            let before = server.child.id();
            let restarted = server.restart().unwrap();
            assert_eq!(restarted.pid, Some(server.child.id()));
            assert_ne!(restarted.pid, Some(before));
            assert_eq!(restarted.down, restarted.stop.unwrap() + restarted.start.unwrap());
            drop(server);
            assert!(!folder.exists());
        }
    }

    #[test]
    fn a_server_whose_bench_is_gone_is_ended() {
        let mut server =
            OwnServer::start(command(": > {folder}/ready.json; exec sleep 600", Stop::Term)).unwrap();
        // What the system does with it when this process is killed.
        drop(server.guard.0.stdin.take());
        assert!(server.wait_end());
    }

    #[test]
    fn a_server_that_does_not_start_is_told_in_its_words() {
        let error = OwnServer::start(command("echo no such key >&2; exit 3", Stop::Term)).unwrap_err();
        assert!(error.to_string().contains("exit status: 3: no such key"), "{error}");
    }

    #[test]
    fn a_command_may_name_the_new_process() {
        let restart = |command: &str| ShellRestart { command: command.into() }.restart();
        assert_eq!(restart("echo started; echo 4711").unwrap().pid, Some(4711));
        assert_eq!(restart(":").unwrap().pid, None);
        assert!(restart("exit 7").unwrap_err().to_string().contains("exit status: 7"));
    }

    #[test]
    fn addresses_are_two_and_on_loopback() {
        let [public, private] = free_addresses().unwrap();
        assert_ne!(public, private);
        assert!(public.ip().is_loopback() && private.ip().is_loopback());
    }
}
