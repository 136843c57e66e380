//! A store whose disk goes wrong when a test says so.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use store::disk::{Fault, Faults};

/// A fault that lasts until it is taken away, and tells of each commit that had it.
pub struct Switch {
    fault: Mutex<Option<Fault>>,
    had: Sender<()>,
}

impl Switch {
    pub fn new() -> (Arc<Self>, Receiver<()>) {
        let (had, tries) = channel();
        (Arc::new(Self { fault: Mutex::new(None), had }), tries)
    }

    pub fn set(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
    }
}

impl Faults for Switch {
    fn next_commit(&self) -> Option<Fault> {
        let fault = *self.fault.lock().unwrap();
        if fault.is_some() {
            // The test may be over.
            let _ = self.had.send(());
        }
        fault
    }
}
