//! What bridges know of the server that they are part of, and what they tell others of it.
//!
//! Must not know connections. Start at [`Node::new`].

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use hub::{Body, ChannelName, Command, Millis, Query, Report, Target, Traits};

use super::facing::{ID_TOPIC, TO_TOPICS, TOLD_FOR, is_identity};
use crate::back::gather::Outline;
use crate::back::office::{Office, OfficeError};

/// Shared by all bridges of a server.
pub(super) struct Node {
    pub(super) office: Office,
    /// The zero of the shards' clock.
    zero: Instant,
    /// Who this server is.
    pub(super) id: Arc<str>,
    /// Largest packet that it takes.
    pub(super) packet_bytes_max: u32,
}

impl Node {
    /// With the identity that the server has retained; the first time it makes one up.
    pub(super) async fn new(office: Office, zero: Instant, packet_bytes_max: u32) -> Self {
        let id = match retained_id(&office).await {
            Some(id) => id,
            None => {
                let id = made_up();
                let told = async { office.publish(to_retain(ID_TOPIC, (&id, Traits::default()))?).await };
                if let Err(error) = told.await {
                    tracing::warn!(%error, "the identity of this server is not retained: bridges to it do not know it");
                }
                id.into()
            }
        };
        Self { office, zero, id, packet_bytes_max }
    }

    /// Retains for another server what it gets by one of the bridges here, for as long as that is told again.
    pub(super) async fn tell_what_it_sends(&self, (other, bridge): (&str, &str), filters: &str) {
        let now_ms = u64::try_from(self.zero.elapsed().as_millis()).unwrap_or(u64::MAX);
        let lasts_ms = u64::try_from(TOLD_FOR.as_millis()).unwrap_or(u64::MAX);
        let expires = Some(Millis(now_ms.saturating_add(lasts_ms)));
        let traits = Traits { expires, told_anew: true, ..Traits::default() };
        let topic = format!("{TO_TOPICS}{other}/{bridge}");
        let told = async { self.office.publish_only(to_retain(&topic, (filters, traits))?).await };
        if let Err(error) = told.await {
            tracing::warn!(bridge, %error, "the broker cannot be told what this server sends: it may take messages in twice");
        }
    }
}

async fn retained_id(office: &Office) -> Option<Arc<str>> {
    let channel = ChannelName::parse(ID_TOPIC, u32::MAX).ok()?;
    let home = office.home_of_channel(&channel);
    let query = Query::Retained { channel };
    let report = office.ask(home, |token| Command::Query { token, query }).await.ok()?;
    let Report::Retained(Some(message)) = report else { return None };
    let Body::Raw(bytes) = &message.body else { return None };
    std::str::from_utf8(bytes).ok().filter(|text| is_identity(text)).map(Arc::from)
}

/// 64 bits that no other server has.
fn made_up() -> String {
    format!("{:016x}", crate::back::gather::message_id().0 as u64)
}

fn to_retain(topic: &str, (text, traits): (&str, Traits)) -> Result<Outline, OfficeError> {
    let channel = ChannelName::parse(topic, u32::MAX).map_err(OfficeError::Refused)?;
    Ok(Outline {
        target: Target::Channel(channel),
        event: None,
        body: Body::Raw(Bytes::copy_from_slice(text.as_bytes())),
        volatile: false,
        except: None,
        reply_within: None,
        traits: Traits { retain: true, ..traits },
    })
}
