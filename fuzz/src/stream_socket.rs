//! Streams in WebSockets: what a client says comes to the same at any split, a wish that was read is read the same again however it is
//! written, and a message that one client publishes is one that every other can read.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wire::cloudevent::Received;
use wire::stream::{Around, Deed, Entry, Form, MessageEvent, Notice, Said, Token, Wanted, Wish, WishError};
use wire::websocket::{Decoded, Decoder, Event, Opcode, Role, masked_frame};

use crate::Split;

/// Longest message, in the place of what a server computes from its own limit.
const MESSAGE_BYTES_MAX: u32 = 1_000;

/// What one frame came to.
type Heard = Result<Wish, WishError>;

/// The target. The first byte chooses what the rest is.
pub fn stream_socket(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    match choice % 4 {
        0 => drop(heard(&String::from_utf8_lossy(rest))),
        1 => frames(rest),
        2 => lines(rest),
        _ => said(rest),
    }
}

/// Bytes as they come, be they frames or not.
fn frames(rest: &[u8]) {
    let Some((input, split)) = Split::new(rest) else { return };
    assert_eq!(run(split), run([input].into_iter()));
}

/// Each line in a frame of its own, so that several wishes come in one read and one in several.
fn lines(rest: &[u8]) {
    let Some((input, _)) = Split::new(rest) else { return };
    let text = String::from_utf8_lossy(input);
    let mut bytes = rest[..2].to_vec();
    let mut whole = Vec::new();
    for line in text.lines().filter(|line| line.len() <= MESSAGE_BYTES_MAX as usize) {
        masked_frame(Opcode::Text, line.as_bytes(), [1, 2, 3, 4], &mut bytes);
        whole.push(heard(line));
    }
    let Some((_, split)) = Split::new(&bytes) else { return };
    assert_eq!(run(split), whole);
}

/// The wishes in what a client sends, up to what is no text frame, at which a server hangs up.
fn run<'d>(pieces: impl Iterator<Item = &'d [u8]>) -> Vec<Heard> {
    let mut decoder = Decoder::new(Role::Server, MESSAGE_BYTES_MAX);
    let (mut pending, mut wishes) = (Vec::new(), Vec::new());
    for piece in pieces {
        pending.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut pending) {
                Ok(Decoded::Event { event, consumed }) => {
                    match event {
                        Event::Text(text) => wishes.push(heard(&text)),
                        Event::Binary(_) | Event::Close { .. } => return wishes,
                        Event::Ping(_) | Event::Pong(_) => {}
                    }
                    pending.drain(..consumed);
                }
                Ok(Decoded::NeedMore { consumed, .. }) => {
                    pending.drain(..consumed);
                    break;
                }
                Err(_) => return wishes,
            }
        }
    }
    wishes
}

/// Reads one frame, and holds what comes of it against what must be true of it.
fn heard(text: &str) -> Heard {
    let wish = Wish::read(text);
    match &wish {
        Ok(wish) => {
            assert!(!wish.channel.is_empty() && !wish.id.is_empty());
            assert_eq!(Wish::read(&written(wish)).as_ref(), Ok(wish));
            if let Deed::Publish { event, media, payload } = &wish.deed {
                published(&wish.channel, event.as_deref(), media.as_deref(), payload);
            }
        }
        Err(error) => {
            assert!(!error.text.is_empty());
            let id = Received::from_json(text.as_bytes()).ok().map(|event| event.id);
            assert_eq!(error.id, id, "who cannot be served is told by the name that it gave");
        }
    }
    wish
}

/// A wish as a client could have written it.
fn written(wish: &Wish) -> String {
    let mut event =
        json!({"specversion": "1.0", "id": wish.id, "source": "/client", "subject": wish.channel});
    let mut put = |name: &str, value: Value| event[name] = value;
    match &wish.deed {
        Deed::Publish { event, media, payload } => {
            put("type", "trunkline.channel.publish".into());
            put("event", event.clone().into());
            put("datacontenttype", media.clone().into());
            put("data_base64", STANDARD.encode(payload).into());
        }
        Deed::Subscribe { after, history, retained } => {
            put("type", "trunkline.channel.subscribe".into());
            let after = after.as_ref().map(|after| match after {
                Token::One(position) => position.to_string(),
                Token::Several(positions) => positions.to_string(),
            });
            put("after", after.into());
            put("history", history.to_string().into());
            put("retained", (*retained == Wanted::Yes).into());
        }
        Deed::Unsubscribe => put("type", "trunkline.channel.unsubscribe".into()),
    }
    event.to_string()
}

/// What readers get of a message: over `/ws` an event with the same content, elsewhere one object on one line.
fn published(channel: &str, event: Option<&str>, media: Option<&str>, payload: &[u8]) {
    let place = Some(("00000000000000000007", "e1-7"));
    let text = MessageEvent { id: "1", time_ms: 0, channel, event, media, payload, place }.to_json();
    let again = Wish::read(&text).expect("what is told can be said again");
    assert_eq!(again.channel, channel);
    let Deed::Publish { event: name, payload: content, .. } = again.deed else { panic!("{text}") };
    assert_eq!(name.as_deref(), event);
    // White space around JSON is none of its value.
    assert_eq!(content.trim_ascii(), payload.trim_ascii(), "{text}");
    let mut line = Vec::new();
    Form::Ndjson.message(&Entry { channel, event, payload }, None, &mut line);
    let object: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!(object["channel"].as_str(), Some(channel));
}

/// Whatever a client named its event and channel, the answer is an event that names them.
fn said(rest: &[u8]) {
    let text = String::from_utf8_lossy(rest);
    let (id, channel) = text.split_once('\n').unwrap_or((&text, ""));
    let notice = Notice { recovered: Some(false), channel: None, position: Some(id) };
    let position = (!channel.is_empty()).then_some(channel);
    let all = [
        Said::Opened(notice),
        Said::Lost(Notice { channel: position, ..notice }),
        Said::Subscribed(notice),
        Said::Unsubscribed,
        Said::Published { message: id, position },
        Said::Refused { problem: "{}" },
    ];
    for said in all {
        let text = said.to_json(&Around { id: "1", time_ms: 0, channel, answers: Some(id) });
        let event = Received::from_json(text.as_bytes()).expect("an event");
        assert_eq!((event.other("answers"), event.subject.as_deref().unwrap_or("")), (Some(id), channel));
    }
}
