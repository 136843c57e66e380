//! What holds for whatever is published and asked for.

use proptest::prelude::*;

use super::reader::read;
use crate::http::percent_encode;
use crate::stream::{Entry, Form, Mark, Params, Position, Positions, Token};

fn position() -> impl Strategy<Value = Position> {
    (any::<u64>(), any::<u64>()).prop_map(|(epoch, offset)| Position { epoch, offset })
}

fn name() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("[ -~\r\n\u{e9}:]{0,12}")
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40),
        "[ -~\r\n\u{20ac}]{0,40}".prop_map(String::into_bytes),
        "\\{\"[a-z ]{0,4}\" ?:\n?\\[1, \"[ -!#-\\[\\]-~]{0,6}\"\\]\\}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn whatever_is_published_an_event_source_hears_one_event(
        event in name(), payload in payload(), position in proptest::option::of(position()),
    ) {
        let entry = Entry { channel: "c", event: event.as_deref(), payload: &payload };
        let mut out = Vec::new();
        Form::Sse.message(&entry, position, &mut out);
        let text = std::str::from_utf8(&out).unwrap();
        let (heard, last_id) = read(text);
        prop_assert_eq!(heard.len(), 1);
        prop_assert_eq!(last_id, position.map(|at| at.to_string()).unwrap_or_default());
        prop_assert_ne!(&heard[0].name, "trunkline");
        if let Ok(text) = std::str::from_utf8(&payload) {
            let expected = text.replace("\r\n", "\n").replace('\r', "\n");
            prop_assert_eq!(&heard[0].data, &expected);
        }
    }

    #[test]
    fn whatever_is_published_a_line_is_one_object(
        channel in "[ -~\u{1}\u{20ac}]{1,12}", event in name(), payload in payload(), position in position(),
    ) {
        let entry = Entry { channel: &channel, event: event.as_deref(), payload: &payload };
        let mut out = Vec::new();
        Form::Ndjson.message(&entry, Some(position), &mut out);
        prop_assert_eq!(out.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        prop_assert_eq!(line["channel"].as_str(), Some(channel.as_str()));
        prop_assert_eq!(line["event"].as_str(), event.as_deref());
        let token = position.to_string();
        prop_assert_eq!(line["position"].as_str(), Some(token.as_str()));
        match (std::str::from_utf8(&payload), serde_json::from_slice::<serde_json::Value>(&payload)) {
            (_, Ok(value)) => prop_assert_eq!(&line["data"], &value),
            (Ok(text), Err(_)) => prop_assert_eq!(line["data"].as_str(), Some(text)),
            (Err(_), Err(_)) => prop_assert!(line["data_base64"].is_string()),
        }
        let mut object = Vec::new();
        Form::SseEnvelope.message(&entry, Some(position), &mut object);
        let (heard, _) = read(std::str::from_utf8(&object).unwrap());
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&heard[0].data).unwrap(), line);
    }

    #[test]
    fn tokens_come_back(places in proptest::collection::btree_map("[a-z]{1,8}", position(), 0..20)) {
        let mut positions = Positions::default();
        places.iter().for_each(|(channel, position)| positions.set(Mark::of(channel), *position));
        let text = positions.to_string();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"~-_".contains(&byte)));
        prop_assert_eq!(Token::parse(&text), Some(Token::Several(positions)));
    }

    #[test]
    fn no_text_is_taken_for_a_token_but_what_is_written_for_it(text in "[~A-Za-z0-9_=-]{0,40}") {
        match Token::parse(&text) {
            Some(Token::One(position)) => prop_assert_eq!(position.to_string(), text),
            Some(Token::Several(positions)) => prop_assert_eq!(positions.to_string(), text),
            None => {}
        }
    }

    #[test]
    fn any_channel_can_be_asked_for(channels in proptest::collection::btree_set(".{1,12}", 0..5)) {
        let mut query = String::new();
        for channel in &channels {
            query.push_str("channel=");
            percent_encode(channel, &mut query);
            query.push('&');
        }
        let params = Params::read(&query, None).unwrap();
        prop_assert!(params.channels.iter().eq(channels.iter()));
    }
}
