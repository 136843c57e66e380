//! What bridges know of the server that they are part of, what they tell others of it, and what it keeps for them.
//!
//! Must not know connections. Start at [`Node::id`].

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hub::{Body, ChannelName, Command, Millis, Quality, Query, Report, Target, Traits};
use tokio::sync::OnceCell;

use super::facing::{ID_TOPIC, Sent, TO_TOPICS, TOLD_FOR, is_identity};
use super::failure::Failure;
use super::pairing::Pairing;
use crate::back::gather::Outline;
use crate::back::office::{Office, OfficeError};

/// Below which is kept what is true of the two sessions of each bridge.
const PAIR_TOPICS: &str = "$bridge/pair/";

/// Shared by all bridges of a server.
pub(super) struct Node {
    pub(super) office: Office,
    /// The zero of the shards' clock.
    zero: Instant,
    id: OnceCell<Arc<str>>,
    /// Largest packet that it takes.
    pub(super) packet_bytes_max: u32,
}

impl Node {
    pub(super) fn new(office: Office, zero: Instant, packet_bytes_max: u32) -> Self {
        Self { office, zero, id: OnceCell::new(), packet_bytes_max }
    }

    /// Who this server is: the identity that it has retained. The first time it makes one up, but only once it is certain that
    /// there is none: under another one the broker would not know its session any more.
    ///
    /// # Errors
    /// It is not certain, or the new one is not kept.
    pub(super) async fn id(&self) -> Result<Arc<str>, Failure> {
        let found = self.id.get_or_try_init(|| self.find_id()).await;
        found.cloned().map_err(|error| Failure::Unsaid("its identity", error))
    }

    async fn find_id(&self) -> Result<Arc<str>, OfficeError> {
        let kept = self.retained(ID_TOPIC).await?;
        let kept = kept.as_deref().and_then(|bytes| std::str::from_utf8(bytes).ok());
        if let Some(id) = kept.filter(|text| is_identity(text)) {
            return Ok(id.into());
        }
        let id = made_up();
        self.keep(ID_TOPIC, &id).await?;
        Ok(id.into())
    }

    /// What is true of the sessions of a bridge.
    ///
    /// # Errors
    /// The server does not say.
    pub(super) async fn pairing(&self, bridge: &str) -> Result<Pairing, Failure> {
        let kept = self.retained(&format!("{PAIR_TOPICS}{bridge}")).await;
        let kept = kept.map_err(|error| Failure::Unsaid("what it keeps for the bridge", error))?;
        Ok(kept.map(|bytes| Pairing::read(&bytes)).unwrap_or_default())
    }

    /// Keeps that.
    ///
    /// # Errors
    /// The server may not have it.
    pub(super) async fn keep_pairing(&self, bridge: &str, pairing: &Pairing) -> Result<(), Failure> {
        let kept = self.keep(&format!("{PAIR_TOPICS}{bridge}"), &pairing.text()).await;
        kept.map_err(|error| Failure::Unsaid("keeping what a bridge has to know", error))
    }

    /// Retains for another server what it gets by one of the bridges here, for as long as that is told again.
    pub(super) async fn tell_what_it_sends(&self, (other, bridge): (&str, &str), sent: &[Sent]) {
        let now_ms = u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX);
        let lasts_ms = u64::try_from(TOLD_FOR.as_millis()).unwrap_or(u64::MAX);
        let expires = Some(Millis(now_ms.saturating_add(lasts_ms)));
        let traits = Traits { expires, told_anew: true, ..Traits::default() };
        let topic = format!("{TO_TOPICS}{other}/{bridge}");
        let text = serde_json::to_string(sent).expect("texts and numbers have a form in JSON");
        let told = async { self.office.publish_only(to_retain(&topic, (&text, traits))?).await };
        if let Err(error) = told.await {
            tracing::warn!(bridge, %error, "the broker cannot be told what this server sends: it may take messages in twice");
        }
    }

    /// The value of one of the server's own channels.
    async fn retained(&self, channel: &str) -> Result<Option<Bytes>, OfficeError> {
        let channel = ChannelName::parse(channel, u32::MAX).map_err(OfficeError::Refused)?;
        let home = self.office.home_of_channel(&channel);
        let query = Query::Retained { channel };
        match self.office.ask(home, |token| Command::Query { token, query }).await? {
            Report::Retained(message) => Ok(message.and_then(|message| match &message.body {
                Body::Raw(bytes) => Some(bytes.clone()),
                Body::Values { .. } => None,
            })),
            _ => Err(OfficeError::Unanswered),
        }
    }

    /// Has it retained, and waits until it is as safe as what clients publish.
    async fn keep(&self, channel: &str, text: &str) -> Result<(), OfficeError> {
        let traits = Traits { quality: Quality::AtLeastOnce, ..Traits::default() };
        self.office.publish(to_retain(channel, (text, traits))?).await.map(drop)
    }
}

/// 64 bits that no other server has.
fn made_up() -> String {
    format!("{:016x}", crate::back::gather::message_id().0 as u64)
}

fn to_retain(topic: &str, (text, traits): (&str, Traits)) -> Result<Outline, OfficeError> {
    let channel = ChannelName::parse(topic, u32::MAX).map_err(OfficeError::Refused)?;
    Ok(Outline {
        version: None,
        target: Target::Channel(channel),
        event: None,
        body: Body::Raw(Bytes::copy_from_slice(text.as_bytes())),
        volatile: false,
        except: None,
        reply_within: None,
        traits: Traits { retain: true, ..traits },
    })
}
