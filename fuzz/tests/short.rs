//! A short run of every target on stable: the seeds as they are, then mutations of them from a fixed seed.

use std::path::Path;

use trunkline_fuzz::{TARGETS, Target};

/// xorshift64: enough randomness to mutate, the same on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        const TELLING: &[u8] = b"\0\x01\x02\x08\x7d\x7e\x7f\x80\x81\x82\x88\x89\x8a\xfd\xfe\xff\r\n :;,0";
        match self.below(2) {
            0 => TELLING[self.below(TELLING.len())],
            _ => self.below(256) as u8,
        }
    }
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of seeds")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a seed")).collect()
}

fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut data = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(data.len() + 1);
        let end = (at + random.below(8)).min(data.len());
        match random.below(6) {
            0 => data.insert(at, random.byte()),
            1 => drop(data.drain(at..end)),
            2 => data.truncate(at.max(4)),
            3 => {
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                data.truncate(at.max(3));
                data.extend_from_slice(&other[from..]);
            }
            4 => data.extend_from_within(at..end),
            _ => {
                if let Some(byte) = data.get_mut(at) {
                    *byte = random.byte();
                }
            }
        }
    }
    data
}

fn short_run((name, mutations, target): Target) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has seeds");
    seeds.iter().for_each(|seed| target(seed));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..mutations {
        let data = mutate(&mut random, &seeds);
        if std::panic::catch_unwind(|| target(&data)).is_err() {
            panic!("{name} fails on {}", data.escape_ascii());
        }
    }
}

#[test]
fn every_target_holds_on_mutated_seeds() {
    TARGETS.iter().for_each(|target| short_run(*target));
}
