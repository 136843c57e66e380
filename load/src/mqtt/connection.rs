//! A client that waits for its server: for a program that has one of them.
//!
//! Owns when to give up, and the signs of life. Must not know what messages are for. Start at [`Connection::open`].

use std::time::{Duration, Instant};

use wire::mqtt::{Disconnect, PropertyBuf, ReasonCode, RetainHandling, SubscribeOptions};

use super::stream::Stream;
use super::{Address, Client, Event, Login, Message, Qos, Received, Trust, named};
use crate::error::Error;

/// Longest wait of one read when nothing else limits it.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// A connected client. Dropping it breaks the connection, so that the server publishes its will; [`Connection::close`] does
/// not.
pub struct Connection {
    stream: Stream,
    client: Client,
    address: Address,
    start: Start,
    keep_alive: Option<Duration>,
    /// When something was said last.
    said: Instant,
    /// Since when a sign of life is awaited.
    asked: Option<Instant>,
    /// What came while something else was waited for.
    received: std::collections::VecDeque<Received>,
    /// Answers to subscriptions, each with the codes of its filters.
    answers: Vec<Vec<ReasonCode>>,
    /// What became of messages since it was asked last.
    outcomes: Vec<ReasonCode>,
    /// Signs of life so far.
    signs: u64,
}

/// What the server said to CONNECT.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Whether it goes on with an earlier session.
    pub is_resumed: bool,
    /// The id that it chose, if it did.
    pub client_id: Option<String>,
}

impl Connection {
    /// Connects and logs in, within that time.
    ///
    /// # Errors
    /// [`Error`] if there is no server, it does not answer in time, or it refuses, with the name of the reason.
    pub fn open(address: &Address, trust: &Trust, login: &Login, within: Duration) -> Result<Self, Error> {
        let until = Instant::now() + within;
        let mut this = Self {
            stream: Stream::open(address, trust, until)?,
            client: Client::new(login.version.level().version()),
            address: address.clone(),
            start: Start::default(),
            keep_alive: seconds(login.keep_alive_seconds),
            said: Instant::now(),
            asked: None,
            received: std::collections::VecDeque::new(),
            answers: Vec::new(),
            outcomes: Vec::new(),
            signs: 0,
        };
        let mut out = Vec::new();
        let connected = login.connect(|connect| this.client.connect(connect, &mut out));
        connected.map_err(|error| this.failed(&error))?.map_err(|unsent| this.failed(&unsent))?;
        this.say(&out)?;
        match this.wait(Some(until), |this| this.client.is_connected())? {
            true => Ok(this),
            false => Err(this.failed(&"no answer to CONNECT")),
        }
    }

    /// What the server said to CONNECT.
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Publishes. At QoS 1 and 2 it is on its way until [`Connection::wait_published`] says otherwise.
    ///
    /// # Errors
    /// [`Error`] if the message has no form, for what is in it or for its size, or the connection broke.
    pub fn publish(&mut self, message: &Message) -> Result<(), Error> {
        let mut out = Vec::new();
        let client = &mut self.client;
        let published = message.publish(|publish| client.publish(publish, &mut out));
        published.map_err(|error| self.failed(&error))?.map_err(|unsent| self.failed(&unsent))?;
        self.say(&out)
    }

    /// Messages of QoS 1 and 2 that are on their way.
    pub fn on_their_way(&self) -> usize {
        self.client.unacknowledged()
    }

    /// Waits until at most `rest` messages are on their way; returns how many nobody was subscribed to, where the server says
    /// so.
    ///
    /// # Errors
    /// [`Error`] if one was refused, with the name of the reason, or it takes too long, or the connection broke.
    pub fn wait_published(&mut self, rest: usize, within: Duration) -> Result<u64, Error> {
        let until = Instant::now() + within;
        let all_said = self.wait(Some(until), |this| this.on_their_way() <= rest)?;
        let outcomes = std::mem::take(&mut self.outcomes);
        if let Some(reason) = outcomes.iter().find(|reason| reason.is_failure()) {
            return Err(self.failed(&format!("the message was refused: {}", named(*reason))));
        }
        if !all_said {
            return Err(
                self.failed(&format!("{} messages were not acknowledged in time", self.on_their_way()))
            );
        }
        let is_alone = |reason: &&ReasonCode| **reason == ReasonCode::NoMatchingSubscribers;
        Ok(outcomes.iter().filter(is_alone).count() as u64)
    }

    /// Waits until the server has read everything that was said: it answers a ping after what came before. That is all there is
    /// to know of a message of QoS 0.
    ///
    /// # Errors
    /// [`Error`] if there is no answer in time, or the server ended the connection, with the name of the reason.
    pub fn settle(&mut self, within: Duration) -> Result<(), Error> {
        let (mut out, signs) = (Vec::new(), self.signs);
        self.client.ping(&mut out);
        self.say(&out)?;
        match self.wait(Some(Instant::now() + within), |this| this.signs > signs)? {
            true => Ok(()),
            false => Err(self.failed(&"the server shows no sign of life")),
        }
    }

    /// Subscribes to filters at a QoS; `retained` says whether what the server kept is wanted, too, which in version 3 it
    /// always is. Returns the granted QoS of each.
    ///
    /// # Errors
    /// [`Error`] if one was refused, with its name and that of the reason, or there is no answer in time.
    pub fn subscribe(
        &mut self,
        filters: &[String],
        (qos, retained): (Qos, Retained),
        within: Duration,
    ) -> Result<Vec<Qos>, Error> {
        let retain_handling = match retained {
            Retained::Wanted => RetainHandling::Send,
            Retained::Unwanted => RetainHandling::DoNotSend,
        };
        let options = SubscribeOptions { qos: qos.into(), retain_handling, ..SubscribeOptions::default() };
        let subscriptions: Vec<_> = filters.iter().map(|filter| (filter.as_str(), options)).collect();
        let (mut out, properties) = (Vec::new(), PropertyBuf::new());
        let asked = self.client.subscribe(&subscriptions, properties.as_properties(), &mut out);
        asked.map_err(|unsent| self.failed(&unsent))?;
        self.say(&out)?;
        if !self.wait(Some(Instant::now() + within), |this| !this.answers.is_empty())? {
            return Err(self.failed(&"no answer to SUBSCRIBE"));
        }
        let codes = self.answers.pop().unwrap_or_default();
        let granted = |(filter, code): (&String, &ReasonCode)| match code {
            ReasonCode::Success => Ok(Qos::AtMostOnce),
            ReasonCode::GrantedQos1 => Ok(Qos::AtLeastOnce),
            ReasonCode::GrantedQos2 => Ok(Qos::ExactlyOnce),
            code => Err(self.failed(&format!("the filter {filter:?} was refused: {}", named(*code)))),
        };
        filters.iter().zip(&codes).map(granted).collect()
    }

    /// The next message; `None` if none came until then.
    ///
    /// # Errors
    /// [`Error`] if the connection broke or the server ended it, with the name of the reason.
    pub fn receive(&mut self, until: Option<Instant>) -> Result<Option<Received>, Error> {
        self.wait(until, |this| !this.received.is_empty())?;
        Ok(self.received.pop_front())
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// [`Error`] if the connection is broken already.
    pub fn close(mut self) -> Result<(), Error> {
        let mut out = Vec::new();
        self.client.disconnect(&Disconnect::new(ReasonCode::Success), &mut out);
        self.say(&out)
    }

    /// Deals with what comes until `is_over`, or the time is over; says which.
    fn wait(&mut self, until: Option<Instant>, is_over: impl Fn(&Self) -> bool) -> Result<bool, Error> {
        loop {
            self.deal()?;
            if is_over(self) {
                return Ok(true);
            }
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(false);
            }
            let due = self.keep_alive.map(|keep_alive| self.asked.unwrap_or(self.said) + keep_alive);
            let wake = [until, due].into_iter().flatten().min().unwrap_or(now + LOOK_EVERY);
            self.stream.read(wake)?;
            self.show_life()?;
        }
    }

    /// Every whole packet.
    fn deal(&mut self) -> Result<(), Error> {
        let mut out = Vec::new();
        let mut bytes = 0;
        loop {
            let rest = self.stream.packets().get(bytes..).unwrap_or_default();
            let next = self.client.next(rest, &mut out);
            let next = next.map_err(|ending| Error::new(format!("{}: {ending}", self.address)))?;
            let Some((event, packet_bytes)) = next else { break };
            bytes += packet_bytes;
            self.asked = None;
            match event {
                Event::Nothing => {}
                Event::Pong => self.signs += 1,
                Event::Connected { ack, .. } => {
                    self.start.is_resumed = ack.session_present;
                    self.start.client_id = ack.properties.assigned_client_identifier().map(str::to_owned);
                    if let Some(keep_alive) = ack.properties.server_keep_alive_seconds() {
                        self.keep_alive = seconds(keep_alive);
                    }
                }
                Event::Answered(ack) => self.answers.push(ack.codes.iter().collect()),
                Event::Message(publish) => self.received.push_back(Received::from(&publish)),
                Event::Published(reason) => self.outcomes.push(reason),
            }
        }
        self.stream.release(bytes);
        if out.is_empty() { Ok(()) } else { self.say(&out) }
    }

    fn show_life(&mut self) -> Result<(), Error> {
        let Some(keep_alive) = self.keep_alive else { return Ok(()) };
        match self.asked {
            Some(asked) if asked.elapsed() >= keep_alive => {
                Err(self.failed(&"the server shows no sign of life"))
            }
            None if self.said.elapsed() >= keep_alive => {
                let mut out = Vec::new();
                self.client.ping(&mut out);
                self.asked = Some(Instant::now());
                self.say(&out)
            }
            _ => Ok(()),
        }
    }

    fn say(&mut self, packets: &[u8]) -> Result<(), Error> {
        self.said = Instant::now();
        self.stream.say(packets)
    }

    fn failed(&self, what: &dyn std::fmt::Display) -> Error {
        Error::new(format!("{}: {what}", self.address))
    }
}

fn seconds(seconds: u16) -> Option<Duration> {
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// Whether messages that the server kept are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retained {
    /// Yes.
    Wanted,
    /// No; needs version 5.
    Unwanted,
}
