//! A share of the clients in another process, seen from here.
//!
//! Owns that process and the thread that reads what it says. Must not know other shares. Start at [`Remote::start`].

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::goal::Goal;
use super::news::News;
use super::share::Share;
use super::{Answer, Counts, Holder, Order};
use crate::error::Error;
use crate::helper::{Answers, Helper, Process, Task, line, parse, wait_ended};

/// How long a share may take to answer.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);

/// A share at work in another process.
pub(super) struct Remote {
    name: String,
    process: Arc<Mutex<Process>>,
    known: Arc<Mutex<Known>>,
    answers: Mutex<Receiver<(u64, Vec<Answer>)>>,
    reader: Option<JoinHandle<()>>,
}

/// What the process has said so far.
#[derive(Debug)]
struct Known {
    by_loop: Vec<Counts>,
    first_failure: Option<String>,
    /// Why it ended although nobody wanted it.
    trouble: Option<String>,
    is_closing: bool,
}

impl Remote {
    /// Starts share `number` of `total` in a process of its own.
    pub(super) fn start(
        helper: &Helper,
        share: Share,
        (number, total): (usize, usize),
        goal: Arc<Goal>,
    ) -> Result<Self, Error> {
        let clients = |indexes: Vec<u32>| Counts { clients: indexes.len() as u64, ..Counts::default() };
        let by_loop = share.by_loop().map(clients).collect();
        let known = Known { by_loop, first_failure: None, trouble: None, is_closing: false };
        let known = Arc::new(Mutex::new(known));
        let range = format!("clients {} to {}", share.clients.start, share.clients.end.saturating_sub(1));
        let (process, answers) = helper.start(&Task::HoldClients(Box::new(share)))?;
        let name = format!("process {} of {total} (pid {}, {range})", number + 1, process.id());
        let (process, shown) = (Arc::new(Mutex::new(process)), name.clone());
        let (sender, answers_told) = mpsc::channel();
        let (answers_to, owned) = (sender, (Arc::clone(&process), Arc::clone(&known)));
        let reader = Reader { name, process: owned.0, known: owned.1, answers: answers_to, goal };
        let builder = std::thread::Builder::new().name(format!("share-{number}"));
        let reading = builder.spawn(move || reader.run(answers));
        let reader = Some(reading.map_err(|error| Error::io("reading from a process", &error))?);
        Ok(Self { name: shown, process, known, answers: Mutex::new(answers_told), reader })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("nothing panics while it holds the lock")
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().expect("nothing panics while it holds the lock")
    }
}

impl Holder for Remote {
    fn tell(&self, order: &Order) {
        // A process that is gone needs no telling; its reader says why it is gone.
        let _ = self.process().say(&line(order));
    }

    fn by_loop(&self) -> Vec<Counts> {
        self.known().by_loop.clone()
    }

    fn first_failure(&self) -> Option<String> {
        let known = self.known();
        known.first_failure.clone().or_else(|| known.trouble.clone())
    }

    fn trouble(&self) -> Option<String> {
        self.known().trouble.clone()
    }

    fn answers(&self, question: u64) -> Result<Vec<Answer>, Error> {
        let until = Instant::now() + ANSWERS_WITHIN;
        let told = self.answers.lock().expect("nothing panics while it holds the lock");
        loop {
            match told.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((answered, answers)) if answered == question => return Ok(answers),
                // To a question nobody waits for any more.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    let (name, within) = (&self.name, ANSWERS_WITHIN.as_secs());
                    return Err(Error::new(format!("{name}: no answer to a question within {within} s")));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let trouble = self.trouble().unwrap_or_else(|| format!("{}: it is closing", self.name));
                    return Err(Error::new(trouble));
                }
            }
        }
    }

    fn close(&mut self) {
        self.known().is_closing = true;
        self.process().close();
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.close();
        if wait_ended(|| self.process().ended()).is_none() {
            self.process().kill();
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Reads what the process says until it is gone.
struct Reader {
    name: String,
    process: Arc<Mutex<Process>>,
    known: Arc<Mutex<Known>>,
    answers: Sender<(u64, Vec<Answer>)>,
    goal: Arc<Goal>,
}

impl Reader {
    fn run(self, mut answers: Answers) {
        let why = loop {
            let Some(line) = answers.next_line() else { break self.ending() };
            match parse(&line) {
                Ok(News::Failed(text)) => break text,
                Ok(news) => self.take(news),
                Err(error) => break error.to_string(),
            }
        };
        let Ok(mut known) = self.known.lock() else { return };
        if !known.is_closing {
            known.by_loop.iter_mut().for_each(Counts::lose_all);
            known.trouble = Some(format!("{}: {why}", self.name));
        }
        drop(known);
        self.goal.wake();
        // What cannot be understood any more cannot be used either.
        if let Ok(mut process) = self.process.lock() {
            process.close();
        }
    }

    fn take(&self, news: News) {
        let Ok(mut known) = self.known.lock() else { return };
        match news {
            News::Counts(by_loop) => {
                let messages = |by_loop: &[Counts]| by_loop.iter().map(|counts| counts.messages).sum::<u64>();
                let more = messages(&by_loop).saturating_sub(messages(&known.by_loop));
                known.by_loop = by_loop;
                drop(known);
                self.goal.add(more);
            }
            News::Failure(text) => known.first_failure = Some(text),
            News::Answers(question, answers) => {
                // Whoever asked may have given up.
                let _ = self.answers.send((question, answers));
            }
            News::Failed(_) => {}
        }
    }

    fn ending(&self) -> String {
        match wait_ended(|| self.process.lock().ok()?.ended()) {
            Some(status) => format!("ended with {status}"),
            None => "stopped to answer".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;
    use crate::session::{Protocol, Script};
    use crate::target::Clients;

    /// A share of ten clients in a shell that does `script`.
    fn remote(script: &str) -> Remote {
        let clients = Clients {
            targets: vec!["http://127.0.0.1:1".parse().unwrap()],
            sources: Vec::new(),
            connections: 20,
            opening_max: 2,
            threads: 2,
            processes: 2,
            helper: None,
        };
        let session = Script::new(Protocol::Frames, None);
        let share = Share::split(&clients, &session, 2).unwrap().remove(1);
        let helper = Helper { program: "/bin/sh".into(), arguments: vec!["-c".into(), script.into()] };
        Remote::start(&helper, share, (1, 2), Arc::new(Goal::of_this_thread())).unwrap()
    }

    fn trouble(remote: &Remote) -> String {
        let begun = Instant::now();
        loop {
            if let Some(trouble) = remote.trouble() {
                return trouble;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "no trouble");
            std::thread::yield_now();
        }
    }

    const READY: &str = r#"{"counts":[{"clients":10,"connected":4,"ready":4,"failed":1,"cut":1,"left":0,
        "said":0,"messages":7,"foreign":0,"repeated":0,"late":0,"again":0,"nobody_free":0,"last_arrival_ns":9,"cuts":0,"lost":0,"refused":0,"unavailable":0,"returned":0,"recovered":0,
        "acks":0,"confirmed":0,"bytes":0,"reads":0}]}"#;

    #[test]
    fn a_process_that_dies_is_named_and_its_clients_are_lost() {
        let ready = READY.replace('\n', "");
        let remote = remote(&format!("read task; echo '{ready}'; kill -9 $$"));
        let trouble = trouble(&remote);
        assert!(
            trouble.starts_with("process 2 of 2 (pid ") && trouble.contains("clients 10 to 19): "),
            "{trouble}"
        );
        assert!(trouble.ends_with("ended with signal: 9 (SIGKILL)"), "{trouble}");
        assert_eq!(remote.first_failure(), Some(trouble));
        let counts = remote.by_loop()[0];
        assert_eq!((counts.ready, counts.cut, counts.failed, counts.messages), (4, 4, 6, 7));
        let error = remote.answers(1).unwrap_err().to_string();
        assert!(error.ends_with("(SIGKILL)"), "nobody waits for what it does not say: {error}");
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_not_taken_for_one_to_this() {
        let answers =
            |question: u64| line(&News::Answers(question, vec![Answer::Latencies(Latencies::new())]));
        let said = [answers(1), answers(2)].map(|line| format!("echo '{}'; ", line.trim_end())).concat();
        let remote = remote(&format!("read task; {said} read more"));
        assert_eq!(remote.answers(2).unwrap().len(), 1);
        drop(remote);
    }

    #[test]
    fn a_process_that_talks_nonsense_is_given_up() {
        let remote = remote("read task; echo garbage; read more");
        let trouble = trouble(&remote);
        assert!(
            trouble.contains(
                "): a line that cannot be understood: expected value at line 1 column 1: \"garbage\""
            ),
            "{trouble}"
        );
        assert_eq!(remote.by_loop()[0].failed, 10);
    }

    #[test]
    fn a_process_that_cannot_go_on_says_why() {
        let remote = remote("read task; echo '{\"failed\":\"event loop: no descriptors\"}'");
        assert!(trouble(&remote).ends_with("): event loop: no descriptors"));
    }

    #[test]
    fn a_process_whose_share_is_dropped_ends_without_trouble() {
        let remote = remote("while read order; do :; done");
        let known = Arc::clone(&remote.known);
        drop(remote);
        assert_eq!(known.lock().unwrap().trouble, None);
    }
}
