//! A share of the clients in this process: its event loops.
//!
//! Owns the threads. Must not know other shares. Start at [`Local::start`].

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, Thread};

use super::goal::Goal;
use super::share::Share;
use super::worker::{Setup, Wires, Worker};
use super::{Answer, Command, Counts, Holder, Order};
use crate::error::Error;

/// Event loops at work.
pub(super) struct Local {
    loops: Vec<Loop>,
}

struct Loop {
    /// Gone when the loop is to end.
    commands: Option<Sender<Command>>,
    answers: Mutex<Receiver<Answer>>,
    waker: mio::Waker,
    shown: Arc<Shown>,
    thread: Option<JoinHandle<()>>,
}

/// What a loop shows while it works.
#[derive(Debug)]
pub(super) struct Shown {
    counts: Mutex<Counts>,
    first_failure: Mutex<Option<String>>,
    watcher: Watcher,
}

/// Who is told that something changed.
#[derive(Clone, Debug)]
pub(super) enum Watcher {
    /// This thread is unparked for every change.
    Thread(Thread),
    /// Whoever waits for messages, when they have come.
    Goal(Arc<Goal>),
}

impl Local {
    /// Starts to open all clients of the share.
    pub(super) fn start(share: Share, watcher: &Watcher) -> Result<Self, Error> {
        let (route, script) = (Arc::new(share.route.clone()), Arc::new(share.script.clone()));
        let start_one = |(number, indexes): (usize, Vec<u32>)| {
            let setup = Setup {
                route: Arc::clone(&route),
                script: Arc::clone(&script),
                indexes,
                opening_max: (share.opening_max / share.loops).max(1),
            };
            let (counts, first_failure) = Default::default();
            let shown = Shown { counts, first_failure, watcher: watcher.clone() };
            Loop::start(number, setup, shown).map_err(|error| Error::io("event loop", &error))
        };
        let loops = share.by_loop().enumerate().map(start_one).collect::<Result<_, _>>()?;
        Ok(Self { loops })
    }

    /// An event loop is gone although it was wanted.
    fn ended(&self) -> Error {
        let failure = self.first_failure().unwrap_or_else(|| "no reason given".into());
        Error::new(format!("an event loop has ended; the first failure: {failure}"))
    }
}

impl Holder for Local {
    fn tell(&self, order: &Order) {
        self.loops.iter().for_each(|each| each.tell(order.command.clone()));
    }

    fn by_loop(&self) -> Vec<Counts> {
        let counts = |each: &Loop| *each.shown.counts.lock().expect("nothing panics while it holds the lock");
        self.loops.iter().map(counts).collect()
    }

    fn first_failure(&self) -> Option<String> {
        let failure = |each: &Loop| each.shown.first_failure.lock().ok()?.clone();
        self.loops.iter().find_map(failure)
    }

    fn trouble(&self) -> Option<String> {
        self.loops.iter().any(Loop::has_ended).then(|| self.ended().to_string())
    }

    /// In this process they come in the order of the questions.
    fn answers(&self, _question: u64) -> Result<Vec<Answer>, Error> {
        let answer = |each: &Loop| each.answers.lock().ok()?.recv().ok();
        self.loops.iter().map(|each| answer(each).ok_or_else(|| self.ended())).collect()
    }

    fn close(&mut self) {
        for each in &mut self.loops {
            each.commands = None;
            let _ = each.waker.wake();
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.close();
        for thread in self.loops.iter_mut().filter_map(|each| each.thread.take()) {
            let _ = thread.join();
        }
    }
}

impl Loop {
    fn start(number: usize, setup: Setup, shown: Shown) -> std::io::Result<Self> {
        let (sender, commands) = mpsc::channel();
        let (answers, answers_told) = mpsc::channel();
        let shown = Arc::new(shown);
        let wires = Wires { commands, answers, shown: Arc::clone(&shown) };
        let (worker, waker) = Worker::new(setup, wires)?;
        let builder = std::thread::Builder::new().name(format!("clients-{number}"));
        let thread = Some(builder.spawn(move || worker.run())?);
        Ok(Self { commands: Some(sender), answers: Mutex::new(answers_told), waker, shown, thread })
    }

    fn has_ended(&self) -> bool {
        self.commands.is_some() && self.thread.as_ref().is_some_and(JoinHandle::is_finished)
    }

    /// A loop that has ended needs no telling.
    fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            let _ = commands.send(command);
        }
        let _ = self.waker.wake();
    }
}

impl Shown {
    /// Shows how far a loop is.
    pub(super) fn counts(&self, now: Counts) {
        let Ok(mut counts) = self.counts.lock() else { return };
        if *counts == now {
            return;
        }
        let more = now.messages - counts.messages;
        *counts = now;
        drop(counts);
        match &self.watcher {
            Watcher::Thread(thread) => thread.unpark(),
            Watcher::Goal(goal) => goal.add(more),
        }
    }

    /// Keeps why a client failed, if it is the first one.
    pub(super) fn failure(&self, text: &str) {
        if let Ok(mut first) = self.first_failure.lock() {
            first.get_or_insert_with(|| text.to_owned());
        }
        if let Watcher::Thread(thread) = &self.watcher {
            thread.unpark();
        }
    }
}
