//! What holds for any request and any answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

/// A value as both protocols can carry it, with its name where that is one name in a form.
#[derive(Clone, Debug)]
enum Value {
    Text(String),
    Number(i64),
    /// Of texts, and what each is called in a form.
    List(Vec<String>, &'static str),
    /// Keys and values, what each pair is called in a form, and what the key.
    Map(Vec<(String, String)>, &'static str, &'static str),
    /// Of message attributes, and what each is called in a form.
    Attributes(Vec<(String, Members)>, &'static str),
    /// Of structures, and what each is called in a form.
    Entries(Vec<Members>, &'static str),
}

type Members = Vec<(&'static str, Value)>;

fn to_json(members: &Members) -> serde_json::Value {
    let value = |value: &Value| -> serde_json::Value {
        match value {
            Value::Text(text) => text.as_str().into(),
            Value::Number(number) => (*number).into(),
            Value::List(list, _) => list.clone().into(),
            Value::Map(pairs, ..) => {
                let pairs = pairs.iter().map(|(key, value)| (key.clone(), value.as_str().into()));
                serde_json::Value::Object(pairs.collect())
            }
            Value::Attributes(pairs, _) => {
                let pairs = pairs.iter().map(|(name, members)| (name.clone(), to_json(members)));
                serde_json::Value::Object(pairs.collect())
            }
            Value::Entries(list, _) => list.iter().map(to_json).collect(),
        }
    };
    serde_json::Value::Object(members.iter().map(|(name, it)| ((*name).to_owned(), value(it))).collect())
}

fn push_form(prefix: &str, members: &Members, out: &mut String) {
    let mut parameter = |name: &str, value: &str| {
        out.push('&');
        out.push_str(name);
        out.push('=');
        crate::http::percent_encode(value, out);
    };
    let mut inner = Vec::new();
    for (name, value) in members {
        match value {
            Value::Text(text) => parameter(&format!("{prefix}{name}"), text),
            Value::Number(number) => parameter(&format!("{prefix}{name}"), &number.to_string()),
            Value::List(list, element) => {
                for (at, text) in list.iter().enumerate() {
                    parameter(&format!("{prefix}{element}.{}", at + 1), text);
                }
            }
            Value::Map(pairs, element, key_name) => {
                for (at, (key, value)) in pairs.iter().enumerate() {
                    parameter(&format!("{prefix}{element}.{}.{key_name}", at + 1), key);
                    parameter(&format!("{prefix}{element}.{}.Value", at + 1), value);
                }
            }
            Value::Attributes(pairs, element) => {
                for (at, (name, members)) in pairs.iter().enumerate() {
                    parameter(&format!("{prefix}{element}.{}.Name", at + 1), name);
                    inner.push((format!("{prefix}{element}.{}.Value.", at + 1), members));
                }
            }
            Value::Entries(list, element) => {
                let entry = |(at, members)| (format!("{prefix}{element}.{}.", at + 1), members);
                inner.extend(list.iter().enumerate().map(entry));
            }
        }
    }
    for (prefix, members) in inner {
        push_form(&prefix, members, out);
    }
}

/// Texts that are fine, and texts that are not.
fn some_text() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => "[a-zA-Z0-9_-]{1,12}",
        1 => "[ -~]{0,12}",
        1 => "[\t\r\n\u{e9}\u{1f980}&=%+.\u{0}\u{fffe}]{0,6}",
        1 => Just("All".to_owned()),
        1 => Just("true".to_owned()),
    ]
}

fn some_number() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 1..11_i64, 2 => -2..50_000_i64, 1 => any::<i64>()]
}

fn attribute() -> impl Strategy<Value = (String, Members)> {
    let text = |data_type, values: &'static str| {
        let member = |text| vec![("StringValue", Value::Text(text))];
        values.prop_map(move |value| (data_type, member(value)))
    };
    let value = prop_oneof![
        4 => text("String.x", "[ -~]{1,12}"),
        4 => text("Number", "-?[0-9]{1,38}"),
        1 => text("Number", "-?[0-9]{0,45}(\\.[0-9]{0,3})?(e[0-9]{1,3})?"),
        1 => text("Binary", "[ -~]{0,3}"),
        1 => text("Else", "[ -~]{0,3}"),
        4 => prop::collection::vec(any::<u8>(), 1..9)
            .prop_map(|bytes| ("Binary", vec![("BinaryValue", Value::Text(STANDARD.encode(bytes)))])),
        1 => "[A-Za-z0-9+/]{0,8}=?".prop_map(|text| ("Binary", vec![("BinaryValue", Value::Text(text))])),
        1 => Just(("", Vec::new())),
    ];
    let name = prop_oneof![4 => some_text(), 1 => Just("AWSTraceHeader".to_owned())];
    (name, value).prop_map(|(name, (data_type, mut members))| {
        members.push(("DataType", Value::Text(data_type.to_owned())));
        (name, members)
    })
}

fn optional(
    name: &'static str,
    value: impl Strategy<Value = Value> + 'static,
) -> impl Strategy<Value = Members> {
    prop::option::of(value).prop_map(move |value| value.map(|value| (name, value)).into_iter().collect())
}

fn message() -> BoxedStrategy<Members> {
    let attributes = |count, element| {
        prop::collection::vec(attribute(), 1..count).prop_map(move |list| Value::Attributes(list, element))
    };
    let text = || some_text().prop_map(Value::Text);
    (
        prop_oneof![
            9 => text().prop_map(|text| vec![("MessageBody", text)]),
            1 => Just(Vec::new()),
        ],
        optional("DelaySeconds", some_number().prop_map(Value::Number)),
        optional("MessageAttributes", attributes(4, "MessageAttribute")),
        optional("MessageSystemAttributes", attributes(2, "MessageSystemAttribute")),
        optional("MessageDeduplicationId", text()),
        optional("MessageGroupId", text()),
    )
        .prop_map(|(a, b, c, d, e, f)| [a, b, c, d, e, f].concat())
        .boxed()
}

fn entries(of: BoxedStrategy<Members>, element: &'static str) -> BoxedStrategy<Members> {
    let id = prop_oneof!["[a-z]{1,4}", some_text()].prop_map(|id| ("Id", Value::Text(id)));
    let entry = (id, of).prop_map(|(id, mut members)| {
        members.push(id);
        members
    });
    prop::collection::vec(entry, 1..6)
        .prop_map(move |list| vec![("Entries", Value::Entries(list, element))])
        .boxed()
}

fn receive() -> BoxedStrategy<Members> {
    let list =
        |element| prop::collection::vec(some_text(), 1..3).prop_map(move |list| Value::List(list, element));
    let number = || some_number().prop_map(Value::Number);
    (
        optional("AttributeNames", list("AttributeName")),
        optional("MessageSystemAttributeNames", list("MessageSystemAttributeName")),
        optional("MessageAttributeNames", list("MessageAttributeName")),
        optional("MaxNumberOfMessages", number()),
        optional("VisibilityTimeout", number()),
        optional("WaitTimeSeconds", number()),
        optional("ReceiveRequestAttemptId", some_text().prop_map(Value::Text)),
    )
        .prop_map(|(a, b, c, d, e, f, g)| [a, b, c, d, e, f, g].concat())
        .boxed()
}

fn settings(names: (&'static str, &'static str, &'static str)) -> BoxedStrategy<Members> {
    let (name, element, key) = names;
    let attribute = prop_oneof![
        prop::sample::select(QueueAttribute::ALL).prop_map(|attribute| attribute.name().to_owned()),
        some_text()
    ];
    let value = prop_oneof![some_text(), some_number().prop_map(|number| number.to_string())];
    prop::collection::vec((attribute, value), 1..4)
        .prop_map(move |pairs| vec![(name, Value::Map(pairs, element, key))])
        .boxed()
}

/// An action with members that belong to it, right or wrong.
fn request() -> impl Strategy<Value = (&'static str, Members)> {
    let receipt = || optional("ReceiptHandle", some_text().prop_map(Value::Text)).boxed();
    let change = || {
        (receipt(), optional("VisibilityTimeout", some_number().prop_map(Value::Number)))
            .prop_map(|(a, b)| [a, b].concat())
            .boxed()
    };
    let of = |action: &'static str, members: BoxedStrategy<Members>| {
        members.prop_map(move |members| (action, members)).boxed()
    };
    let with_name = |members: BoxedStrategy<Members>| {
        (some_text(), members)
            .prop_map(|(name, mut members)| {
                members.push(("QueueName", Value::Text(name)));
                members
            })
            .boxed()
    };
    let request = prop_oneof![
        of("SendMessage", message()),
        of("SendMessageBatch", entries(message(), "SendMessageBatchRequestEntry")),
        of("DeleteMessageBatch", entries(receipt(), "DeleteMessageBatchRequestEntry")),
        of("ChangeMessageVisibilityBatch", entries(change(), "ChangeMessageVisibilityBatchRequestEntry")),
        of("ChangeMessageVisibility", change()),
        of("DeleteMessage", receipt()),
        of("ReceiveMessage", receive()),
        of("SetQueueAttributes", settings(("Attributes", "Attribute", "Name"))),
        of("CreateQueue", with_name(settings(("Attributes", "Attribute", "Name")))),
        of("CreateQueue", with_name(settings(("tags", "Tag", "Key")))),
        of("TagQueue", settings(("Tags", "Tag", "Key"))),
    ];
    let queue = prop_oneof![9 => Just("http://h/1/q.fifo".to_owned()), 1 => some_text()];
    (request, queue).prop_map(|((action, mut members), queue)| {
        members.push(("QueueUrl", Value::Text(queue)));
        (action, members)
    })
}

/// Bytes an attacker would choose, and bytes he would not.
fn hostile() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        ",",
        ":",
        "QueueUrl",
        "Entries",
        "Id",
        "MessageBody",
        "null",
        "1e400",
        "\\u",
        "\\ud800",
        "Action=SendMessageBatch",
        "&",
        "=",
        "%",
        "%F",
        "+",
        ".",
        "1",
        "4294967296",
        "MessageAttribute",
        "Value",
        "SendMessageBatchRequestEntry.1.Id",
        "\u{0}",
        "\u{1f980}",
    ]);
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..100),
        prop::collection::vec(pieces, 0..40).prop_map(|pieces| pieces.concat().into_bytes()),
    ]
}

proptest! {
    #[test]
    fn both_protocols_say_the_same((action, members) in request()) {
        let body = to_json(&members).to_string();
        let mut parameters = format!("Action={action}");
        push_form("", &members, &mut parameters);
        let (json, form) = (read_json(action, &body), read(&form(&parameters)));
        prop_assert_eq!(json, form);
    }

    #[test]
    fn no_bytes_make_it_panic(
        path in "(/[a-z0-9.%]{0,5}){0,5}",
        query in "[a-zA-Z0-9=&%+.-]{0,40}",
        action in prop::sample::select(Action::ALL),
        body in hostile(),
    ) {
        for content_type in [Some("application/x-amz-json-1.0"), None] {
            let incoming = Incoming {
                path: &path, query: &query, content_type, target: Some(action.name()), body: &body,
                ..Incoming::default()
            };
            if let Ok(encoding) = Encoding::of(&incoming)
                && let Err(error) = decode(&incoming, encoding)
            {
                let mut out = Vec::new();
                let head = encode_error(encoding, &error, "r", &mut out);
                prop_assert!((400..500).contains(&head.status));
                prop_assert!(str::from_utf8(&out).is_ok());
            }
        }
        let fields: [(&str, &[u8]); 3] = [("host", b"h"), ("authorization", &body), ("x-amz-date", &body)];
        for query in [query.as_str(), &String::from_utf8_lossy(&body)] {
            let request = SignedRequest { method: "POST", path: &path, query, fields: &fields, body: &body };
            if let Ok(Some(signature)) = Signature::find(&request) {
                let clock = Clock { now_s: 0, skew_s_max: u64::MAX };
                prop_assert!(signature.verify(&request, SECRET, clock).is_err());
            }
        }
        prop_assert_eq!(Content::decode(&body).is_some_and(|content| content.encode() != body), false);
        prop_assert!(ReceiptKey::new(&[0; 32]).open(&String::from_utf8_lossy(&body)).is_err());
    }

    #[test]
    fn what_is_received_is_what_was_sent(
        members in message(),
        sender in "[A-Z0-9]{0,20}",
        id in any::<u128>(),
    ) {
        let mut members = members;
        members.push(("QueueUrl", Value::Text("q".to_owned())));
        let body = to_json(&members).to_string();
        let Ok(Request::SendMessage(request)) = read_json("SendMessage", &body) else { return Ok(()) };
        let sent = request.message;
        prop_assert_eq!(sent.bytes(), sent.body.len() + sent.attributes.bytes());
        let bytes = Content::of(sent.clone(), &sender).encode();
        let content = Content::decode(&bytes).expect("what was written");
        prop_assert_eq!(&content.body, &sent.body);
        prop_assert_eq!(&content.attributes, &sent.attributes);
        prop_assert_eq!(content.sender_id.as_ref(), sender.as_str());
        let message = ReceivedMessage {
            id: Uuid(id),
            receipt_handle: "h".into(),
            body: content.body.clone(),
            body_md5: content.body_md5,
            attributes: content.attributes.clone(),
            system_attributes: Vec::new(),
        };
        prop_assert_eq!(Uuid::parse(&message.id.to_string()), Some(Uuid(id)));
        let response = Response::ReceiveMessage(vec![message]);
        let json: serde_json::Value = serde_json::from_str(&answer(Encoding::Json, &response)).expect("JSON");
        prop_assert_eq!(json["Messages"][0]["Body"].as_str(), Some(sent.body.as_ref()));
        for attribute in sent.attributes.iter() {
            let told = &json["Messages"][0]["MessageAttributes"][attribute.name.as_ref()];
            prop_assert_eq!(told["DataType"].as_str(), Some(attribute.data_type.as_ref()));
        }
        let xml = answer(Encoding::Query, &response);
        let (_, rest) = xml.split_once("<Body>").expect("a body");
        let (told, _) = rest.split_once("</Body>").expect("its end");
        prop_assert_eq!(unescaped(told), sent.body.as_ref());
    }

    #[test]
    fn receipts_come_back_as_they_were(
        partition in any::<u16>(), incarnation in any::<u64>(), offset in any::<u64>(), receive in any::<u64>(),
    ) {
        let receipt = Receipt { partition, incarnation, offset, receive };
        let key = ReceiptKey::new(&[1; 32]);
        prop_assert_eq!(key.open(&key.seal(&receipt)), Ok(receipt));
    }

    #[test]
    fn days_come_back_as_they_were(now_s in 0..253_402_300_799_u64) {
        // The only way in is a signature, the only way out its refusal.
        let signature_of = |time: &str| {
            let authorization = format!(
                "AWS4-HMAC-SHA256 Credential=a/{}/r/sqs/aws4_request,SignedHeaders=host,Signature=0", &time[..8]
            );
            let fields: [(&str, &[u8]); 3] =
                [("host", b"h"), ("authorization", authorization.as_bytes()), ("x-amz-date", time.as_bytes())];
            let request = SignedRequest { method: "GET", path: "/", query: "", fields: &fields, body: b"" };
            let signature = Signature::find(&request).expect("a date").expect("a signature");
            signature.verify(&request, SECRET, Clock { now_s, skew_s_max: 0 }).expect_err("wrong").message.into_owned()
        };
        let early = signature_of("19700101T000000Z");
        if now_s > 0 {
            let (_, now) = early.split_once(" is now earlier than ").expect(&early);
            // At exactly that time only the signature is wrong.
            prop_assert!(signature_of(&now[..16]).starts_with("The request signature"), "{}", now);
        }
    }
}

/// A text of XML as its readers see it.
fn unescaped(text: &str) -> String {
    [("&#xD;", "\r"), ("&#xA;", "\n"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&amp;", "&")]
        .iter()
        .fold(text.to_owned(), |text, (entity, char)| text.replace(entity, char))
}

#[test]
fn hostile_bodies_stay_small() {
    let tags = "&Tag.1.Key=x".repeat(10_000);
    let bodies = [
        ("{\"a\":[".to_owned() + &"[],".repeat(1_000_000), true),
        ("{\"a\":\"".to_owned() + &"\\n".repeat(1_000_000), true),
        ("[".repeat(1_000_000), true),
        (format!("Action=TagQueue&QueueUrl=q{tags}"), false),
        (format!("Action=TagQueue&QueueUrl=q{}", "&a=b".repeat(1_000_000)), false),
        (format!("Action=SendMessage&QueueUrl=q&MessageBody={}", "%41".repeat(300_000)), false),
    ];
    for (body, is_json) in &bodies {
        let incoming = if *is_json { json("TagQueue", body) } else { form(body) };
        let mut result = None;
        let cost = allocation_counter::measure(|| result = Some(read(&incoming)));
        assert!(cost.bytes_max < 2 * body.len() as u64 + 1_000_000, "{} bytes", cost.bytes_max);
    }
}
