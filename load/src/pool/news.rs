//! A share of the clients as a process: what it does with the lines of its parent, and the lines it says itself.
//!
//! The first line was the share. Then the parent writes an [`Order`] a line, and this side [`News`] a line. Must not know
//! what a scenario wants. Start at [`serve_share`].

use std::io::Write;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::local::{Local, Watcher};
use super::share::Share;
use super::{Answer, Counts, Holder as _, Order};
use crate::error::Error;
use crate::helper::{Orders, line, parse, say};

/// Between two lines of counts at least. What changes after a quiet time is told at once.
const COUNTS_EVERY: Duration = Duration::from_millis(1);

/// What a share says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum News {
    /// Everything so far, for each event loop.
    Counts(Vec<Counts>),
    /// Why the first client failed.
    Failure(String),
    /// What the event loops answer to the question of that number.
    Answers(u64, Vec<Answer>),
    /// The last line: why the share has to give up. See [`crate::helper::Trouble`].
    Failed(String),
}

/// Is a share of the clients until the parent says no more.
pub(crate) fn serve_share(share: Share, orders: &Orders, out: &mut impl Write) -> Result<(), Error> {
    let local = Local::start(share, &Watcher::Thread(std::thread::current()))?;
    let mut told = Told { counts: Vec::new(), failure: None };
    loop {
        if !obey(&local, orders, out)? {
            return Ok(());
        }
        // Whoever changes something after this look unparks this thread.
        if told.tell(&local, out)? {
            std::thread::sleep(COUNTS_EVERY);
        } else {
            std::thread::park();
        }
    }
}

/// Does what was asked; false when the parent is gone.
fn obey(local: &Local, orders: &Orders, out: &mut impl Write) -> Result<bool, Error> {
    loop {
        let order: Order = match orders.try_recv() {
            Ok(order) => parse(&order)?,
            Err(TryRecvError::Empty) => return Ok(true),
            Err(TryRecvError::Disconnected) => return Ok(false),
        };
        local.tell(&order);
        if order.question > 0 {
            say(out, &line(&News::Answers(order.question, local.answers(order.question)?)))?;
        }
    }
}

/// What the parent knows.
struct Told {
    counts: Vec<Counts>,
    failure: Option<String>,
}

impl Told {
    /// Tells what changed; whether there was anything. The failure goes first, so that whoever sees it counted knows why.
    fn tell(&mut self, local: &Local, out: &mut impl Write) -> Result<bool, Error> {
        let (counts, failure) = (local.by_loop(), local.first_failure());
        let (more, failed) = (counts != self.counts, failure != self.failure);
        if failed {
            failure.iter().try_for_each(|text| say(out, &line(&News::Failure(text.clone()))))?;
            self.failure = failure;
        }
        if more {
            say(out, &line(&News::Counts(counts.clone())))?;
            self.counts = counts;
        }
        Ok(more || failed)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::super::{Command, Findings, Measured};
    use super::*;
    use crate::helper::{Task, Trouble, serve_helper};
    use crate::latency::Latencies;
    use crate::session::{Join, Protocol, Script};
    use crate::target::Clients;

    fn share() -> Share {
        // Nobody listens on port 1.
        let clients = Clients {
            targets: vec!["http://127.0.0.1:1/path".parse().unwrap()],
            sources: Vec::new(),
            connections: 3,
            opening_max: 2,
            threads: 1,
            processes: 1,
            helper: None,
        };
        let join = Some(Join { event: "join".into(), room: "r\"%{i}\n".into() });
        let script = Script::new(Protocol::SocketIoPoll, join);
        Share::split(&clients, &script, 1).unwrap().remove(0)
    }

    fn asked(question: u64, measured: Measured) -> Order {
        Order { question, command: Command::Latencies(measured) }
    }

    fn round_trip<T>(value: &T)
    where
        T: Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let text = line(value);
        assert_eq!(text.find('\n'), Some(text.len() - 1), "one line: {text}");
        assert_eq!(&parse::<T>(&text).unwrap(), value);
    }

    #[test]
    fn every_line_is_read_as_it_was_meant() {
        round_trip(&Task::HoldClients(Box::new(share())));
        round_trip(&Order::new(Command::Leave));
        round_trip(&asked(3, Measured::Message(5)));
        let mut latencies = Latencies::new();
        latencies.arrived(1_000, 7_001_000);
        latencies.arrived(2, 1);
        let news = [
            News::Counts(vec![
                Counts { clients: 3, bytes: u64::MAX, ..Counts::default() },
                Counts::default(),
            ]),
            News::Failure("client 1: closed\nby the server".into()),
            News::Answers(7, vec![Answer::Latencies(latencies), Answer::Findings(Findings::default())]),
        ];
        news.iter().for_each(round_trip);
        let trouble = line(&Trouble { failed: "no loop".into() });
        assert_eq!(parse::<News>(&trouble).unwrap(), News::Failed("no loop".into()));
    }

    #[test]
    fn a_line_that_is_no_command_is_told_with_its_place() {
        for (text, expected) in [
            ("dance", "expected value at line 1 column 1: \"dance\""),
            (
                "{\"question\":0,\"command\":\"dance\"}",
                "unknown variant `dance`, expected one of `leave`, `latencies`",
            ),
            ("", "EOF while parsing a value at line 1 column 0: \"\""),
        ] {
            let error = parse::<Order>(text).unwrap_err().to_string();
            assert!(
                error.starts_with("a line that cannot be understood: ") && error.contains(expected),
                "{error}"
            );
        }
        let long = parse::<Order>(&"x".repeat(5000)).unwrap_err().to_string();
        assert!(long.len() < 200, "{long}");
    }

    /// What a helper answers to these lines.
    fn served(lines: &[String]) -> Vec<News> {
        let mut out = Vec::new();
        serve_helper(Cursor::new(lines.concat()), &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(|line| parse(line).unwrap()).collect()
    }

    #[test]
    fn a_share_obeys_answers_and_ends_with_its_input() {
        let news =
            served(&[line(&Task::HoldClients(Box::new(share()))), line(&asked(4, Measured::Messages))]);
        assert!(news.contains(&News::Answers(4, vec![Answer::Latencies(Latencies::new())])), "{news:?}");
    }

    #[test]
    fn a_share_that_is_told_nonsense_says_so_and_ends() {
        let news = served(&[line(&Task::HoldClients(Box::new(share()))), "nonsense\n".into()]);
        assert!(matches!(news.last(), Some(News::Failed(text)) if text.contains("\"nonsense\"")), "{news:?}");
        let news = served(&["{\"hold_clients\":{}}\n".into()]);
        let [News::Failed(text)] = news.as_slice() else { panic!("{news:?}") };
        assert!(text.contains("missing field `clients`"), "{text}");
    }

    #[test]
    fn counts_and_the_first_failure_are_told_without_a_question() {
        let (mut input, lines) = pipe();
        let (told, mut out) = pipe();
        let serving = std::thread::spawn(move || serve_helper(std::io::BufReader::new(lines), &mut out));
        input.write_all(line(&Task::HoldClients(Box::new(share()))).as_bytes()).unwrap();
        let (mut failure, mut failed) = (None, 0);
        let mut answers = std::io::BufRead::lines(std::io::BufReader::new(told));
        while failed < 3 {
            match parse(&answers.next().unwrap().unwrap()).unwrap() {
                News::Counts(counts) => failed = counts.iter().map(|each| each.failed).sum(),
                News::Failure(text) => failure = Some(text),
                other => panic!("{other:?}"),
            }
        }
        assert!(failure.unwrap().contains("client "));
        drop(input);
        serving.join().unwrap().unwrap();
    }

    fn pipe() -> (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream) {
        std::os::unix::net::UnixStream::pair().unwrap()
    }
}
