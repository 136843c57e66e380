//! The end of a scenario whose clients come and go: until everybody is back and nothing arrives any more.
//!
//! Start at [`settle`].

use std::time::Duration;

use crate::console::Console;
use crate::pool::{Counts, Pool};
use crate::still::Still;

/// How often waiting looks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Waits until the clients of the pool are all there and have received `messages` different numbers in all; or until
/// nobody has come back and no message has arrived for as long as `patience`.
pub(crate) fn settle(pool: &Pool, messages: u64, patience: Duration, console: Console) {
    let bar = console.progress("settling", messages);
    // Not bytes and refusals: pings and attempts go on for ever.
    let moving = |counts: &Counts| (counts.messages, counts.repeated, counts.returned);
    let mut still = Still::new(moving(&pool.counts()));
    loop {
        let counts = pool.counts();
        bar.set_position(counts.distinct());
        let complete = counts.away() == 0 && counts.distinct() >= messages;
        if complete || still.look(moving(&counts)) > patience || pool.check().is_err() {
            return bar.finish_and_clear();
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
