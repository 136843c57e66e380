//! Random bytes from the operating system, fetched a page at a time.
//!
//! Must not know what they are for. Start at [`Entropy::take`].

/// Bytes fetched at once: one system call for some thirty session ids.
const PORTION_BYTES: usize = 512;

/// A buffer of random bytes, each given out once.
pub(super) struct Entropy {
    bytes: [u8; PORTION_BYTES],
    used: usize,
}

impl Entropy {
    pub(super) fn new() -> Self {
        Self { bytes: [0; PORTION_BYTES], used: PORTION_BYTES }
    }

    /// `N` random bytes.
    pub(super) fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        for byte in &mut out {
            if self.used == PORTION_BYTES {
                getrandom::fill(&mut self.bytes).expect("the operating system has a random generator");
                self.used = 0;
            }
            // What was given out is wiped, so that it cannot be read from memory later.
            if let Some(fresh) = self.bytes.get_mut(self.used) {
                *byte = std::mem::take(fresh);
            }
            self.used += 1;
        }
        out
    }
}

impl std::fmt::Debug for Entropy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Entropy(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_draws_are_alike_across_portions() {
        let mut entropy = Entropy::new();
        let draws: std::collections::HashSet<[u8; 15]> = (0..1000).map(|_| entropy.take()).collect();
        assert_eq!(draws.len(), 1000);
    }
}
