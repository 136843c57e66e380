//! Running programs: shown as they run, their lines read along, results as errors.

use std::io::{BufRead as _, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Cargo in the repository; the one that runs us, when one does.
pub(crate) fn cargo(root: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command.args(arguments).current_dir(root);
    command
}

/// Builds every binary and example as the tests of the workspace do, so that nothing is built for a second time with other
/// features or another profile. Gives the folder they are in: this program's own.
pub(crate) fn build(root: &Path) -> Result<PathBuf> {
    run(&mut cargo(root, &["build", "--quiet", "--workspace", "--bins", "--examples"]))?;
    let own = std::env::current_exe().context("the path of this program")?;
    own.parent().map(Path::to_path_buf).context("a program stands in a folder")
}

/// Builds the product as users get it. Gives the program, beside the folder that this one is in.
pub(crate) fn build_release(root: &Path) -> Result<PathBuf> {
    run(&mut cargo(
        root,
        &["build", "--quiet", "--release", "--package", "trunkline", "--bin", "trunkline"],
    ))?;
    let own = std::env::current_exe().context("the path of this program")?;
    let target = own.parent().and_then(Path::parent).context("a program stands in a folder of a profile")?;
    Ok(target.join("release/trunkline"))
}

/// A program in a folder.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>, arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(folder);
    command
}

/// Whether the program starts and is content with the arguments; prints nothing.
pub(crate) fn works(name: &str, arguments: &[&str]) -> bool {
    let mut quiet = Command::new(name);
    quiet.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// Runs to the end with our own output. Fails when the program does.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    println!("$ {shown}");
    let status = command.status().with_context(|| shown.clone())?;
    anyhow::ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

/// Runs to the end and gives what it printed; errors are shown. Fails when the program does.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let shown = shown(command);
    println!("$ {shown}");
    let output = command.stderr(Stdio::inherit()).output().with_context(|| shown.clone())?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    anyhow::ensure!(output.status.success(), "{shown}: {}\n{text}", output.status);
    Ok(text)
}

/// Runs to the end, prints every line and hands it to `each`. Fails when the program does.
pub(crate) fn run_reading(command: &mut Command, each: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let shown = shown(command);
    println!("$ {shown}");
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().with_context(|| shown.clone())?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(|| lines(stdout, |line| println!("{line}"), each));
        scope.spawn(|| lines(stderr, |line| eprintln!("{line}"), each));
    });
    let status = child.wait().with_context(|| shown.clone())?;
    anyhow::ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

fn lines(from: Option<impl Read>, print: impl Fn(&str), each: &(dyn Fn(&str) + Sync)) {
    let Some(from) = from else { return };
    let mut reader = BufReader::new(from);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line);
        print(text.trim_end());
        each(text.trim_end());
        line.clear();
    }
}

/// TERM or KILL, which the standard library cannot send to a number.
pub(crate) fn signal(name: &str, pid: u32) {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("kill -{name} {pid}")]).stdin(Stdio::null()).stderr(Stdio::null());
    let _ = command.status();
}

/// Asks again and again until there is an answer.
pub(crate) fn within<T>(time: Duration, mut ask: impl FnMut() -> Option<T>) -> Result<T> {
    let until = Instant::now() + time;
    loop {
        if let Some(answer) = ask() {
            return Ok(answer);
        }
        anyhow::ensure!(Instant::now() < until, "nothing after {} s", time.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
