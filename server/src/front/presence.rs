//! Who comes to a channel and leaves it, as messages of event `presence` on the channel.
//!
//! Owns what they say. Must not know who is told, nor who counts: that is the hub's. Start at [`publish`].

use hub::{Attendance, Body, ChannelName, Command, Millis, PresenceMember, Publish, Target, Traits};
use serde::Serialize;
use serde_json::value::RawValue;
use wire::cloudevent::timestamp;

use super::message_id;
use crate::auth::unix_now;
use crate::shard::Cx;

/// What a message says. Of the members of a channel with more than `limits.presence_members_max` there is only the count.
#[derive(Serialize)]
struct Told<'a> {
    action: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    info: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u32>,
}

/// Publishes it on the channel, whose home this shard is, behind what is being done.
pub(super) fn publish(cx: &mut Cx<'_>, channel: ChannelName, attendance: &Attendance) {
    let now = cx.io.now();
    let told = match attendance {
        Attendance::Joined(member) => of_member("join", member, now),
        Attendance::Left(member) => of_member("leave", member, now),
        Attendance::Count(count) => {
            Told { action: "count", session: None, user: None, info: None, since: None, count: Some(*count) }
        }
    };
    let json = serde_json::to_vec(&[told]).unwrap_or_else(|_| b"[]".to_vec());
    let publish = Publish {
        id: message_id(cx),
        target: Target::Channel(channel),
        event: Some("presence".into()),
        body: Body::Values { json: json.into(), attachments: Vec::new() },
        volatile: false,
        except: None,
        reply_within_ms: None,
        token: None,
        traits: Traits::default(),
        receipt: None,
    };
    cx.hub.commands.push_back(Command::Publish(Box::new(publish)));
}

fn of_member<'a>(action: &'static str, member: &'a PresenceMember, now: Millis) -> Told<'a> {
    let info = member.info.as_deref().and_then(|json| serde_json::from_slice(json).ok());
    let age_ms = now.0.saturating_sub(member.since.0);
    Told {
        action,
        session: Some(member.session.to_string()),
        user: member.user.as_deref(),
        info,
        since: Some(timestamp(unix_now().0.saturating_sub(age_ms))),
        count: None,
    }
}
