//! Rates of the store on the disk beside the disk's own: `cargo run --release -p trunkline-store --example disk_rates
//! [DIRECTORY]`. It writes in a new folder there and removes it.
//!
//! A cycle is a record that is appended in one write and removed in a later one, as a queue's message that is received and
//! settled. Figures of one run on one machine; run it on a machine that does nothing else.

use std::collections::{HashMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use trunkline_store::contract::Sink;
use trunkline_store::disk::{Disk, DiskOptions, Stats};
use trunkline_store::{
    Append, Completion, Done, Entity, Log as _, ManualClock, Max, Partition, RecordId, Token, Write,
};

/// As many bodies as a backlog that is worth measuring has.
const BACKLOG: u64 = 1_000_000;
const BODY_BYTES: usize = 100;
/// Writes that wait for their results at the same time: with more than one the writer always finds one, and makes groups of
/// several of them.
const IN_FLIGHT: [usize; 2] = [1, 8];

fn main() -> io::Result<()> {
    let base = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = base.join(format!("trunkline-disk-rates-{}", std::process::id()));
    std::fs::create_dir(&folder)?;
    let measured = measure(&folder);
    std::fs::remove_dir_all(&folder)?;
    measured
}

fn measure(folder: &Path) -> io::Result<()> {
    println!("{BODY_BYTES} B bodies, fsync always");
    for group in [1, 16, 256, 1024] {
        println!("fdatasync of {group:4} x {BODY_BYTES} B   {:9.0} /s", syncs(folder, group)?);
    }
    for partitions in [1, 64] {
        for in_flight in IN_FLIGHT {
            for group in [1, 16, 256, 1024] {
                let place = folder.join(format!("cycles-{partitions}-{in_flight}-{group}"));
                cycles(&mut Bench::open(&place, in_flight)?, partitions, group)?;
            }
        }
    }
    backlog(&folder.join("backlog"))
}

/// How often the disk alone takes that much.
fn syncs(folder: &Path, group: u64) -> io::Result<f64> {
    let path = folder.join("syncs");
    let mut file: File = OpenOptions::new().create(true).write(true).truncate(true).open(&path)?;
    let bytes = vec![7; BODY_BYTES * usize::try_from(group).unwrap_or(1)];
    let (begun, mut count) = (Instant::now(), 0.0);
    while begun.elapsed() < Duration::from_secs(1) {
        file.write_all(&bytes)?;
        file.sync_data()?;
        count += 1.0;
    }
    let rate = count / begun.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

type Results = HashMap<Token, Completion>;

/// A store and what is asked of it.
struct Bench {
    store: Disk,
    sink: Arc<Sink<Results>>,
    in_flight: usize,
    asked: u64,
    waiting: VecDeque<Token>,
    next: HashMap<u16, u64>,
}

impl Bench {
    fn open(folder: &Path, in_flight: usize) -> io::Result<Self> {
        let store = Disk::open(folder, DiskOptions::default(), Arc::new(ManualClock::default()));
        let store = store.map_err(io::Error::other)?;
        let (waiting, next) = (VecDeque::new(), HashMap::new());
        Ok(Self { store, sink: Sink::new(), in_flight, asked: 0, waiting, next })
    }

    fn write(&mut self, batch: Vec<Write>) {
        while self.waiting.len() >= self.in_flight {
            self.wait();
        }
        self.asked += 1;
        self.store.write(batch, Done::new(self.sink.clone(), Token(self.asked)));
        self.waiting.push_back(Token(self.asked));
    }

    fn wait(&mut self) {
        let Some(token) = self.waiting.pop_front() else { return };
        let completion = self.sink.wait("a completion", |results| results.remove(&token));
        let Completion::Written(results) = completion else { unreachable!("a write is completed as one") };
        assert!(results.iter().all(Result::is_ok), "a write failed");
    }

    fn finish(&mut self) {
        while !self.waiting.is_empty() {
            self.wait();
        }
    }

    /// The next record of a partition, and its place.
    fn append(&mut self, partition: u16) -> (Write, (u16, u64)) {
        let next = self.next.entry(partition).or_default();
        *next += 1;
        let entity = Entity { partition: Partition(partition), name: Bytes::new() };
        let id = RecordId(u128::from(*next));
        let body = Bytes::from(vec![b'x'; BODY_BYTES]);
        (Append { entity, id, expect: None, ttl: None, body }.into(), (partition, *next))
    }
}

fn cycles(bench: &mut Bench, partitions: u16, group: u64) -> io::Result<()> {
    let (begun, mut count, mut partition) = (Instant::now(), 0, 0);
    let mut places: VecDeque<Vec<(u16, u64)>> = VecDeque::new();
    while begun.elapsed() < Duration::from_secs(3) {
        let mut batch = Vec::new();
        let mut appended = Vec::new();
        for _ in 0..group {
            partition = (partition + 1) % partitions;
            let (write, place) = bench.append(partition);
            batch.push(write);
            appended.push(place);
        }
        places.push_back(appended);
        // Some writes back: what is removed was acknowledged, as a consumer's would be.
        if places.len() > bench.in_flight + 1 {
            let settled = places.pop_front().unwrap_or_default();
            batch.extend(settled.iter().map(|(partition, offset)| Write::Remove {
                partition: Partition(*partition),
                offset: *offset,
            }));
        }
        bench.write(batch);
        count += group;
    }
    bench.finish();
    let seconds = begun.elapsed().as_secs_f64();
    let stats = bench.store.stats().map_err(io::Error::other)?;
    println!(
        "{partitions:2} partitions, {} x {group:4}   {:9.0} cycles/s   {:6.0} commits/s, p99 below {} ms, {} checkpoints of {:.1} ms",
        bench.in_flight,
        count as f64 / seconds,
        stats.commits as f64 / seconds,
        percentile(&stats, 0.99),
        stats.checkpoints,
        stats.checkpoint_time.as_secs_f64() * 1000.0 / (stats.checkpoints.max(1) as f64),
    );
    Ok(())
}

/// Upper end of the bucket that holds it, in milliseconds.
fn percentile(stats: &Stats, part: f64) -> f64 {
    let (mut seen, mut end) = (0, 0.016);
    for count in stats.commit_buckets {
        seen += count;
        if seen as f64 >= stats.commits as f64 * part {
            break;
        }
        end *= 2.0;
    }
    end
}

/// Loads records, opens again, replays, and drains.
fn backlog(folder: &Path) -> io::Result<()> {
    let mut bench = Bench::open(folder, 8)?;
    let begun = Instant::now();
    for _ in 0..BACKLOG / 1000 {
        let batch = (0..1000).map(|n| bench.append(n % 64).0).collect();
        bench.write(batch);
    }
    bench.finish();
    rate("backlog: append", BACKLOG, begun);
    let stats = bench.store.stats().map_err(io::Error::other)?;
    println!("backlog: {} MB of database, {} MB resident", stats.database_bytes >> 20, resident()? >> 20);
    let next = std::mem::take(&mut bench.next);
    drop(bench);
    let begun = Instant::now();
    let mut bench = Bench::open(folder, 8)?;
    println!("backlog: open {:.3} s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let mut seen = 0;
    for partition in 0..64 {
        let mut after = None;
        loop {
            let max = Max { records: 4096, bytes: 4 << 20 };
            let page = bench.store.replay(Partition(partition), after, max).map_err(io::Error::other)?;
            seen += page.records.len() as u64;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    assert_eq!(seen, BACKLOG, "records are missing");
    rate("backlog: replay", seen, begun);
    let begun = Instant::now();
    let fetched = (0..64).flat_map(|partition| (1..1000).map(move |offset| (Partition(partition), offset)));
    let places: Vec<(Partition, u64)> = fetched.collect();
    for some in places.chunks(10) {
        assert!(
            bench.store.fetch(some).iter().all(|found| matches!(found, Ok(Some(_)))),
            "a record is missing"
        );
    }
    rate("backlog: fetch, 10 at once", places.len() as u64, begun);
    let begun = Instant::now();
    let all: Vec<Write> = (1..=*next.values().max().unwrap_or(&0))
        .flat_map(|offset| {
            (0..64).map(move |partition| Write::Remove { partition: Partition(partition), offset })
        })
        .collect();
    for batch in all.chunks(1000) {
        bench.write(batch.to_vec());
    }
    bench.finish();
    rate("backlog: remove", BACKLOG, begun);
    let begun = Instant::now();
    bench.store.compact(&mut |_| {}).map_err(io::Error::other)?;
    let stats = bench.store.stats().map_err(io::Error::other)?;
    println!(
        "backlog: compact {:.3} s, {} MB left, {} MB resident",
        begun.elapsed().as_secs_f64(),
        stats.database_bytes >> 20,
        resident()? >> 20
    );
    Ok(())
}

fn rate(what: &str, count: u64, begun: Instant) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what:28} {count} in {seconds:.2} s, {:.0} /s", count as f64 / seconds);
}

/// Of this process, in bytes.
fn resident() -> io::Result<u64> {
    let pages = std::fs::read_to_string("/proc/self/statm")?;
    let pages: u64 = pages.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(pages * 4096)
}
