//! Waiting for what announces itself by no event: asked for again and again, but not for ever.

use std::time::{Duration, Instant};

/// Longer than anything takes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What `look` finds, as soon as it finds something; `what` is told when that takes too long.
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not in {PATIENCE:?}");
        // What is waited for wants the processor, too.
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The same for what is so or not.
pub fn until_so(what: &str, mut is_so: impl FnMut() -> bool) {
    until(what, || is_so().then_some(()));
}
