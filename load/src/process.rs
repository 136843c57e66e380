//! What `/proc` says about the measured process and the kernel.
//!
//! Must not know scenarios. The measured process is a number given by the user, usually on the same machine; without
//! one the figures are left out. Start at [`Pids`].

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::report::Report;

/// The processes of the measured server: none, one, or all its workers. Their figures are added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pids(pub Vec<u32>);

/// Resident memory of one process. Bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Resident {
    pub(crate) pid: u32,
    /// Resident pages.
    pub(crate) rss: u64,
    /// Resident pages, shared ones in proportion; 0 if it cannot be read.
    pub(crate) pss: u64,
}

/// Memory of all measured processes together, and of the kernel for the whole machine. Bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident pages.
    pub(crate) rss: u64,
    /// Resident pages, shared ones in proportion.
    pub(crate) pss: u64,
    /// Slab of the whole machine.
    pub(crate) slab: u64,
    /// Socket buffers of TCP, whole machine (network name space).
    pub(crate) tcp_buffers: u64,
    /// TCP sockets in use.
    pub(crate) tcp_sockets: u64,
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a process has used since its start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Time on a processor, nanoseconds, user and system; see [`merged_ns`].
    pub(crate) cpu_ns: u64,
    /// The same in ticks, with the threads that have ended.
    ticks_ns: u64,
    /// By how much it may be wrong.
    ticks_error_ns: u64,
    /// Calls of write and writev; send and sendmsg are not in it.
    pub(crate) write_calls: u64,
    /// Number, name and processor time of each thread that is there.
    pub(crate) threads: Vec<(u32, String, u64)>,
}

impl Pids {
    /// Whether there is anything to measure.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses numbers of processes that are not there, before anything is started.
    pub(crate) fn check(&self) -> Result<(), Error> {
        self.memory().map(|_| ())
    }

    /// Memory now.
    pub(crate) fn memory(&self) -> Result<Memory, Error> {
        let mut memory = kernel();
        for process in self.resident()? {
            memory.rss += process.rss;
            memory.pss += process.pss;
        }
        Ok(memory)
    }

    /// Resident memory of each process now.
    pub(crate) fn resident(&self) -> Result<Vec<Resident>, Error> {
        let one = |pid: &u32| {
            let rss = kilobytes(&read(*pid, "status")?, "VmRSS:");
            // Not readable for processes of other users; the resident size then has to do.
            let pss = kilobytes(&read(*pid, "smaps_rollup").unwrap_or_default(), "Pss:");
            Ok(Resident { pid: *pid, rss, pss })
        };
        self.0.iter().map(one).collect()
    }

    /// Only the resident size: cheap enough for twenty samples a second.
    pub(crate) fn rss(&self) -> Result<u64, Error> {
        self.0.iter().try_fold(0, |sum, pid| Ok(sum + kilobytes(&read(*pid, "status")?, "VmRSS:")))
    }

    /// Processor time and calls so far.
    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let mut usage = Usage::default();
        for pid in &self.0 {
            let io = read(*pid, "io").unwrap_or_default();
            usage.write_calls += number_after(&io, "syscw:");
            usage.ticks_ns += ticks_ns(&read(*pid, "stat")?).unwrap_or(0);
            usage.ticks_error_ns += TICKS_ERROR_NS;
            usage.threads.extend(threads(*pid)?);
        }
        usage.cpu_ns = merged_ns(&usage);
        Ok(usage)
    }

    /// Waits until the resident size moves by less than one part in a thousand over a second, at most `within`.
    pub(crate) fn settle(&self, within: Duration) -> Result<(), Error> {
        let until = Instant::now() + within;
        let mut before = self.rss()?;
        while Instant::now() < until && !self.is_empty() {
            std::thread::sleep(Duration::from_secs(1));
            let now = self.rss()?;
            if now.abs_diff(before) <= now / 1000 {
                break;
            }
            before = now;
        }
        Ok(())
    }
}

impl Usage {
    /// What was used between `earlier` and this. Threads that ended in between are missing from the list only.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |tid: u32| earlier.threads.iter().find(|(id, _, _)| *id == tid).map_or(0, |t| t.2);
        let threads =
            self.threads.iter().map(|(tid, name, ns)| (*tid, name.clone(), ns - before(*tid).min(*ns)));
        let mut used = Self {
            cpu_ns: 0,
            ticks_ns: self.ticks_ns.saturating_sub(earlier.ticks_ns),
            ticks_error_ns: self.ticks_error_ns,
            write_calls: self.write_calls.saturating_sub(earlier.write_calls),
            threads: threads.collect(),
        };
        used.cpu_ns = merged_ns(&used);
        used
    }

    /// The threads that did something, the busiest first, as a note.
    pub(crate) fn report_threads(&self, report: &mut Report) {
        let mut busy: Vec<_> = self.threads.iter().filter(|(_, _, ns)| *ns >= 1_000_000).collect();
        busy.sort_by_key(|(_, _, ns)| std::cmp::Reverse(*ns));
        let shown = busy.iter().take(8).map(|(_, name, ns)| format!("{name} {:.2} s", *ns as f64 / 1e9));
        report.note(format!("CPU by thread: {}", shown.collect::<Vec<_>>().join(", ")));
    }
}

/// The kernel rounds the user's and the system's part of a process down to ticks of 10 ms.
const TICKS_ERROR_NS: u64 = 2 * TICK_NS;

/// Of two accounts the better one. The scheduler's is exact to the nanosecond, but only of threads that are there; the
/// ticks of the process have those that have ended, too. So where the ticks say more than their rounding explains, threads
/// have ended and the ticks count, good to 20 ms for each process; otherwise the exact account is complete.
fn merged_ns(usage: &Usage) -> u64 {
    let exact_ns: u64 = usage.threads.iter().map(|(_, _, ns)| ns).sum();
    if usage.ticks_ns > exact_ns + usage.ticks_error_ns { usage.ticks_ns } else { exact_ns }
}

/// Numbers of threads with their names and nanoseconds on a processor.
fn threads(pid: u32) -> Result<Vec<(u32, String, u64)>, Error> {
    let path = format!("/proc/{pid}/task");
    let entries = std::fs::read_dir(&path).map_err(|error| Error::io(&path, &error))?;
    let tids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let thread = |tid: u32| {
        // A thread may end between the listing and this.
        let name = read(pid, &format!("task/{tid}/comm")).ok()?;
        Some((tid, name.trim().to_owned(), cpu_ns(pid, tid)?))
    };
    Ok(tids.filter_map(thread).collect())
}

/// Nanoseconds from the scheduler's own account; where the kernel keeps none, the ticks of `stat`.
fn cpu_ns(pid: u32, tid: u32) -> Option<u64> {
    let schedstat = read(pid, &format!("task/{tid}/schedstat")).unwrap_or_default();
    let exact = schedstat.split_whitespace().next().and_then(|field| field.parse().ok());
    exact.filter(|ns| *ns > 0).or_else(|| ticks_ns(&read(pid, &format!("task/{tid}/stat")).ok()?))
}

/// A tick is 10 ms on every platform Linux runs user programs on.
const TICK_NS: u64 = 10_000_000;

/// utime and stime: fields 14 and 15, counted behind the name, which may hold anything.
fn ticks_ns(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 =
        fields.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(ticks * TICK_NS)
}

/// The kernel's share, which belongs to no process.
fn kernel() -> Memory {
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let sockstat = std::fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let tcp = sockstat.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    Memory {
        slab: kilobytes(&meminfo, "Slab:"),
        // Pages of 4 KiB, as on x86-64 and nearly every arm64.
        tcp_buffers: number_after(tcp, "mem ") * 4096,
        tcp_sockets: number_after(tcp, "inuse "),
        ..Memory::default()
    }
}

fn kilobytes(text: &str, name: &str) -> u64 {
    number_after(text, name) * 1024
}

/// The number behind the first `name`; 0 if there is none.
fn number_after(text: &str, name: &str) -> u64 {
    let rest = text.split_once(name).map(|(_, rest)| rest).unwrap_or_default();
    rest.split_whitespace().next().and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn read(pid: u32, file: &str) -> Result<String, Error> {
    let path = PathBuf::from(format!("/proc/{pid}/{file}"));
    std::fs::read_to_string(&path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let hint = if missing { " (is --server-pid right, and on this machine?)" } else { "" };
        Error::io(format!("{}{hint}", path.display()), &error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_and_uses_its_processor() {
        let pids = Pids(vec![std::process::id()]);
        let before = pids.usage().unwrap();
        let held: Vec<u8> = (0..32 << 20).map(|i| i as u8).collect();
        let memory = pids.memory().unwrap();
        assert!(memory.rss > held.len() as u64, "{memory:?}");
        assert!(pids.usage().unwrap().since(&before).cpu_ns > 1_000_000);
        assert_eq!(held.iter().map(|byte| u64::from(*byte)).sum::<u64>(), (32 << 20) / 256 * (255 * 128));
    }

    #[test]
    fn threads_that_end_do_not_take_their_time_away() {
        let pids = Pids(vec![std::process::id()]);
        let before = pids.usage().unwrap();
        let burn = || {
            let until_ns = cpu_of_this_thread() + 150_000_000;
            while cpu_of_this_thread() < until_ns {
                std::hint::spin_loop();
            }
        };
        std::thread::spawn(burn).join().unwrap();
        let used = pids.usage().unwrap().since(&before);
        assert!(used.cpu_ns >= 150_000_000 - TICKS_ERROR_NS, "{used:?}");
    }

    fn cpu_of_this_thread() -> u64 {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }

    #[test]
    fn the_exact_account_counts_as_long_as_it_explains_the_ticks() {
        let usage = |exact_ns, ticks_ns| {
            let threads = vec![(1, "a".into(), exact_ns)];
            merged_ns(&Usage { ticks_ns, ticks_error_ns: TICKS_ERROR_NS, threads, ..Usage::default() })
        };
        assert_eq!((usage(7_000_000, 20_000_000), usage(7_000_000, 0)), (7_000_000, 7_000_000));
        assert_eq!(usage(7_000_000, 30_000_000), 30_000_000);
    }

    #[test]
    fn a_process_that_is_not_there_is_named() {
        let error = Pids(vec![u32::MAX]).check().unwrap_err().to_string();
        assert!(error.contains("4294967295") && error.contains("--server-pid"), "{error}");
    }

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "7 (a) b ) S 1 1 1 0 -1 4194560 9 0 0 0 12 3 0 0 20 0 1 0 55 1 1";
        assert_eq!(ticks_ns(stat), Some(150_000_000));
    }
}
