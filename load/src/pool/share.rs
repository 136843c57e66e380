//! What one process needs to know to be a share of the clients, and how clients are split.
//!
//! Must not know processes or event loops. Start at [`Share::split`].

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::process::cores;
use crate::session::Script;
use crate::target::{Clients, Route};

/// The clients of one process. It can be sent to another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    /// Their numbers, of those of all shares.
    pub(super) clients: Range<u32>,
    /// The same in all shares: which source address a client has follows from its number.
    pub(super) route: Route,
    pub(super) script: Script,
    /// How many of this share may open at the same time.
    pub(super) opening_max: u32,
    /// Event loops.
    pub(super) loops: u32,
}

impl Share {
    /// Splits clients, event loops and simultaneous openings evenly.
    pub(super) fn split(clients: &Clients, script: &Script, processes: u32) -> Result<Vec<Self>, Error> {
        let route = Route::new(clients)?;
        let processes = processes.clamp(1, clients.connections.max(1));
        let threads = if clients.threads == 0 { cores() } else { clients.threads };
        let loops = u32::try_from(threads).unwrap_or(u32::MAX).div_ceil(processes);
        // A share of a number is below the number.
        let bound = |n: u32| (u64::from(clients.connections) * u64::from(n) / u64::from(processes)) as u32;
        let share = |n: u32| {
            let clients_of_it = bound(n)..bound(n + 1);
            Self {
                loops: loops.clamp(1, (clients_of_it.len() as u32).max(1)),
                clients: clients_of_it,
                route: route.clone(),
                script: script.clone(),
                opening_max: (clients.opening_max / processes).max(1),
            }
        };
        Ok((0..processes).map(share).collect())
    }

    /// Numbers of the clients of each event loop.
    pub(super) fn by_loop(&self) -> impl Iterator<Item = Vec<u32>> {
        (0..self.loops).map(|number| {
            let rest = self.clients.clone().skip(number as usize);
            rest.step_by(self.loops as usize).collect()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::session::Protocol;

    fn shares(connections: u32, processes: u32, threads: usize) -> Vec<Share> {
        let targets = ["8000", "8001"].map(|port| format!("http://127.0.0.1:{port}").parse().unwrap());
        let clients = Clients {
            targets: targets.to_vec(),
            sources: Vec::new(),
            connections,
            opening_max: 256,
            threads,
            processes,
            helper: None,
        };
        let script = Script::new(Protocol::SocketIo, None);
        Share::split(&clients, &script, processes).unwrap()
    }

    #[test]
    fn every_client_is_in_one_loop_of_one_share() {
        for (connections, processes, threads) in [(10, 3, 2), (1, 4, 8), (60_000, 4, 2), (0, 1, 0), (7, 1, 3)]
        {
            let shares = shares(connections, processes, threads);
            let mut all: Vec<u32> = shares.iter().flat_map(Share::by_loop).flatten().collect();
            all.sort_unstable();
            assert!(all.iter().copied().eq(0..connections), "{connections} {processes} {threads}");
            let sizes = shares.iter().map(|share| share.clients.len());
            assert!(sizes.clone().max().unwrap() - sizes.min().unwrap() <= 1);
        }
    }

    #[test]
    fn threads_and_openings_are_those_of_all_shares() {
        let four = shares(60_000, 4, 8);
        assert_eq!(four.iter().map(|share| share.loops).sum::<u32>(), 8);
        assert_eq!(four.iter().map(|share| share.opening_max).sum::<u32>(), 256);
        assert!(
            shares(100, 4, 1).iter().all(|share| share.loops == 1),
            "a share without a loop does nothing"
        );
    }

    #[test]
    fn no_source_address_runs_out_of_ports_over_all_shares() {
        let mut connections: HashMap<_, u32> = HashMap::new();
        for share in shares(60_000, 4, 2) {
            share.clients.clone().for_each(|index| {
                *connections.entry(share.route.source(index).unwrap()).or_default() += 1;
            });
        }
        assert_eq!(connections.len(), 12);
        assert!(connections.values().all(|count| *count == 5_000), "{connections:?}");
    }
}
