//! Streams: whatever a request asks for is taken or refused, tokens have one text, and whatever is published is one event and one
//! object on one line.

use wire::stream::{Entry, Form, Params, Resume, Token};

/// The target. One byte chooses what the rest is.
pub fn stream(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    match choice % 3 {
        0 => request(rest),
        1 => token(&String::from_utf8_lossy(rest)),
        _ => message(rest),
    }
}

/// A query, and the header in the next line.
fn request(rest: &[u8]) {
    let text = String::from_utf8_lossy(rest);
    let (query, header) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(params) = Params::read(query, Some(header)) else { return };
    for (place, channel) in params.channels.iter().enumerate() {
        assert!(!params.channels[..place].contains(channel));
    }
    assert!(params.limit != Some(0));
    if let Resume::After(place) = params.resume {
        token(&text_of(&place));
    }
}

fn token(text: &str) {
    if let Some(place) = Token::parse(text) {
        assert_eq!(text_of(&place), text);
    }
}

fn text_of(token: &Token) -> String {
    match token {
        Token::One(position) => position.to_string(),
        Token::Several(positions) => positions.to_string(),
    }
}

/// Channel and event in a line each, then a payload.
fn message(rest: &[u8]) {
    let mut parts = rest.splitn(3, |byte| *byte == b'\n');
    let mut text = || String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
    let (channel, event) = (text(), text());
    let payload = parts.next().unwrap_or_default();
    let event = (!event.is_empty()).then_some(event.as_str());
    let entry = Entry { channel: &channel, event, payload };
    let mut line = Vec::new();
    Form::Ndjson.message(&entry, None, &mut line);
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1));
    let object: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!((object["channel"].as_str(), object["event"].as_str()), (Some(channel.as_str()), event));
    for form in [Form::Sse, Form::SseEnvelope] {
        let mut block = Vec::new();
        form.message(&entry, None, &mut block);
        let text = std::str::from_utf8(&block).expect("UTF-8");
        let lines: Vec<&str> = text.strip_suffix("\n\n").expect("an empty line").split('\n').collect();
        let is_known = |line: &&str| line.starts_with("event: ") || line.starts_with("data: ");
        assert!(lines.iter().all(|line| is_known(line) && !line.contains('\r')), "{text:?}");
        assert!(lines.last().is_some_and(|line| line.starts_with("data: ")));
    }
}
