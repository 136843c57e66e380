//! Topic aliases of one connection and direction (MQTT 5.0, 3.3.2.3.4).
//!
//! Owns what an alias stands for. Must not know what the two ends agreed on: each call is told the maximum in force.
//! Start at [`AliasesIn`] and [`AliasesOut`].
//!
//! Most connections never use one, so a connection keeps these tables in a box that it makes at first use. They go with
//! the connection [MQTT-3.3.2-7].

use std::num::NonZeroU16;

use super::error::fault;
use super::{Error, Publish, ReasonCode, TopicForm};

/// Aliases we tell on one connection, whatever a client would take: as many as mosquitto does.
const OUT_MAX: usize = 10;

/// What the peer's aliases stand for: 16 bytes for each up to the highest one it has set, and the topics.
#[derive(Clone, Debug, Default)]
pub struct AliasesIn {
    topics: Vec<Option<Box<str>>>,
}

impl AliasesIn {
    /// The topic of a PUBLISH whose alias may be at most `maximum`. A topic beside an alias is remembered.
    ///
    /// # Errors
    /// The alias is over the maximum (0x94) or has not been set (0x82).
    pub fn resolve<'t>(&'t mut self, maximum: u16, publish: &Publish<'t>) -> Result<&'t str, Error> {
        let Some(alias) = publish.properties.topic_alias() else { return Ok(publish.topic) };
        if alias == 0 || alias > maximum {
            return Err(fault!(with(ReasonCode::TopicAliasInvalid, "topic alias is over the maximum")).into());
        }
        let at = usize::from(alias) - 1;
        if publish.topic.is_empty() {
            let topic = self.topics.get(at).and_then(Option::as_deref);
            return topic.ok_or_else(|| fault!(protocol("topic alias is not set")).into());
        }
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        if let Some(topic) = self.topics.get_mut(at) {
            *topic = Some(publish.topic.into());
        }
        Ok(publish.topic)
    }
}

/// What our own aliases stand for: first come, first served, never moved.
#[derive(Clone, Debug, Default)]
pub struct AliasesOut {
    topics: Vec<Box<str>>,
}

impl AliasesOut {
    /// How to tell the topic to a receiver that takes aliases up to `maximum`. Of a [`TopicForm::NameAndAlias`] that is
    /// really sent, [`AliasesOut::told`] must know before the next call.
    pub fn form(&self, maximum: u16, topic: &str) -> TopicForm {
        if let Some(at) = self.topics.iter().position(|told| **told == *topic) {
            return alias(at).map_or(TopicForm::Name, TopicForm::Alias);
        }
        let free = alias(self.topics.len()).filter(|alias| alias.get() <= maximum);
        match free {
            Some(alias) if self.topics.len() < OUT_MAX => TopicForm::NameAndAlias(alias),
            Some(_) | None => TopicForm::Name,
        }
    }

    /// The topic was sent with the alias that [`AliasesOut::form`] gave it.
    pub fn told(&mut self, topic: &str) {
        if self.topics.len() < OUT_MAX {
            self.topics.push(topic.into());
        }
    }
}

/// The alias of a place in the table.
fn alias(at: usize) -> Option<NonZeroU16> {
    u16::try_from(at + 1).ok().and_then(NonZeroU16::new)
}
