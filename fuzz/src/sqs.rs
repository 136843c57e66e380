//! SQS: whatever a request holds, it is taken or refused in the form its sender reads, and what is taken comes back
//! unharmed from storage and in answers of both protocols.

use wire::sqs::{
    Clock, Content, Encoding, Entry, Error, Incoming, MessageAttributes, NewMessage, QueueAddress, QueueArn,
    ReceiptKey, ReceivedMessage, Request, Response, Settings, Signature, SignedRequest, TaskHandle, Uuid,
    decode, encode_error, encode_response,
};

/// The target. One byte chooses what the rest is.
pub fn sqs(data: &[u8]) {
    let Some((&choice, rest)) = data.split_first() else { return };
    match choice % 4 {
        0 => json(rest),
        1 => form(rest),
        2 => signed(rest),
        _ => names(rest),
    }
}

/// The action in a line, then a body.
fn json(rest: &[u8]) {
    let (target, body) = line(rest);
    let target = String::from_utf8_lossy(target);
    request(&Incoming {
        path: "/",
        content_type: Some("application/x-amz-json-1.0"),
        target: Some(&target),
        body,
        ..Incoming::default()
    });
}

/// Path and query string in a line each, then a form.
fn form(rest: &[u8]) {
    let (path, rest) = line(rest);
    let (query, body) = line(rest);
    let (path, query) = (String::from_utf8_lossy(path), String::from_utf8_lossy(query));
    request(&Incoming { path: &path, query: &query, host: "h", body, ..Incoming::default() });
}

fn request(incoming: &Incoming<'_>) {
    let Ok(encoding) = Encoding::of(incoming) else { return };
    match decode(incoming, encoding) {
        Ok(request) => taken(request),
        Err(error) => refused(&error),
    }
}

/// An error is told in every form, and says little more than what came.
fn refused(error: &Error) {
    assert!(error.message.len() <= 4 * 1024);
    for encoding in [Encoding::Json, Encoding::JsonPlain, Encoding::Query, Encoding::QueryJson] {
        let mut out = Vec::new();
        let head = encode_error(encoding, error, "r", &mut out);
        assert!((400..500).contains(&head.status));
        well_formed(encoding, &out);
    }
}

fn taken(request: Request<'_>) {
    assert!(request.queue().is_none_or(|queue| queue.name.len() <= 80));
    match request {
        Request::SendMessage(request) => message(request.message),
        Request::SendMessageBatch(request) => {
            assert!((1..=10).contains(&request.entries.len()));
            for Entry { content, .. } in request.entries {
                match content {
                    Ok(content) => message(content),
                    Err(error) => refused(&error),
                }
            }
        }
        Request::ReceiveMessage(request) => {
            assert!((1..=10).contains(&request.max) && request.wait_s.is_none_or(|wait| wait <= 20));
        }
        Request::CreateQueue(request) => settings(&request.settings),
        Request::SetQueueAttributes(request) => settings(&request.settings),
        Request::CancelMessageMoveTask(handle) => {
            assert_eq!(TaskHandle::parse(&handle.to_string()), Ok(handle));
        }
        _ => {}
    }
}

/// What is stored is read again.
fn settings(settings: &Settings) {
    let pairs: Vec<_> = settings.iter().map(|(attribute, value)| (attribute.name(), value)).collect();
    assert_eq!(Settings::restore(pairs), *settings);
    assert_eq!(settings.first_difference(settings), None);
    if let Some(policy) = settings.redrive_policy() {
        assert!((1..=1000).contains(&policy.receive_count_max));
    }
}

fn message(message: NewMessage<'_>) {
    assert!(!message.body.is_empty() && message.bytes() <= 1_048_576);
    assert!(message.attributes.iter().len() <= 10);
    assert_eq!(message.attributes.md5().is_none(), message.attributes.is_empty());
    let bytes = Content::of(message.clone(), "sender").encode();
    let content = Content::decode(&bytes).expect("what was written");
    assert_eq!((&content.body, &content.attributes), (&message.body, &message.attributes));
    received(content);
}

/// A received message is well-formed and the same in JSON.
fn received(content: Content<'_>) {
    let body = content.body.clone();
    let message = ReceivedMessage {
        id: Uuid(1),
        receipt_handle: "h".into(),
        body: content.body,
        body_md5: content.body_md5,
        attributes: content.attributes,
        system_attributes: Vec::new(),
    };
    let response = Response::ReceiveMessage(vec![message]);
    for encoding in [Encoding::Json, Encoding::Query, Encoding::QueryJson] {
        let mut out = Vec::new();
        encode_response(encoding, &response, "r", &mut out);
        let json = well_formed(encoding, &out);
        if encoding == Encoding::Json {
            assert_eq!(json["Messages"][0]["Body"].as_str(), Some(body.as_ref()));
        }
    }
}

/// JSON that parses, or XML whose tags are balanced and whose text holds no markup.
fn well_formed(encoding: Encoding, out: &[u8]) -> serde_json::Value {
    let text = std::str::from_utf8(out).expect("UTF-8");
    if encoding != Encoding::Query {
        return serde_json::from_str(text).expect("JSON");
    }
    let mut open: Vec<&str> = Vec::new();
    let mut rest = text.strip_prefix("<?xml version=\"1.0\"?>").expect("a declaration");
    while let Some(start) = rest.find('<') {
        let (before, tag) = rest.split_at(start);
        assert!(!before.contains('>') && before.chars().all(|char| char >= ' ' || char == '\t'));
        let (tag, after) = tag[1..].split_once('>').expect("the end of a tag");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
        } else if !tag.ends_with('/') {
            open.push(tag.split(' ').next().expect("a name"));
        }
    }
    assert!(open.is_empty() && rest.is_empty());
    serde_json::Value::Null
}

/// Method, path and query string in a line, fields in lines, an empty line, a body. Nobody guesses the secret.
fn signed(rest: &[u8]) {
    let text = String::from_utf8_lossy(rest);
    let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ');
    let mut word = || words.next().unwrap_or_default();
    let (method, path, query) = (word(), word(), word());
    let fields: Vec<(&str, &[u8])> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name, value.as_bytes()))
        .collect();
    let request = SignedRequest { method, path, query, fields: &fields, body: body.as_bytes() };
    match Signature::find(&request) {
        Ok(Some(signature)) => {
            let clock = Clock { now_s: 1_795_741_044, skew_s_max: 900 };
            refused(&signature.verify(&request, "not the secret", clock).expect_err("another secret"));
        }
        Ok(None) => {}
        Err(error) => refused(&error),
    }
}

/// URLs, ARNs, handles and stored messages.
fn names(rest: &[u8]) {
    let text = String::from_utf8_lossy(rest);
    match QueueAddress::parse(text.as_ref().into()) {
        Ok(address) => {
            let arn = address.resolve(None, None);
            assert_eq!(QueueArn::parse(&arn.to_string()), Some(arn));
        }
        Err(error) => refused(&error),
    }
    refused(&ReceiptKey::new(&[7; 32]).open(&text).expect_err("nobody guesses a handle"));
    if let Err(error) = TaskHandle::parse(&text) {
        refused(&error);
    }
    if let Some(content) = Content::decode(rest) {
        let is_sorted = content.attributes.iter().is_sorted_by(|a, b| a.name < b.name);
        assert!(is_sorted);
        assert_eq!(Content::decode(&content.encode()), Some(content.clone()));
        let none = MessageAttributes::default();
        assert!(content.attributes != none || content.encode() == rest);
    }
}

fn line(rest: &[u8]) -> (&[u8], &[u8]) {
    match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&rest[..end], &rest[end + 1..]),
        None => (rest, &[]),
    }
}
