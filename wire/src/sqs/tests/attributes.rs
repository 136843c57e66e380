//! Message attributes: digests, checks, selection, and the stored form of messages.

use super::*;

fn binary_attribute(
    name: &'static str,
    data_type: &'static str,
    value: &'static [u8],
) -> MessageAttribute<'static> {
    MessageAttribute {
        name: name.into(),
        data_type: data_type.into(),
        value: AttributeValue::Binary(value.into()),
    }
}

#[test]
fn digests_are_those_of_the_service() {
    let first = || text_attribute("attribName1", "String", "attribValue 1");
    let second =
        || text_attribute("customNumberTypeAttrib", "Number.float", "4563442423554324324264524243.32543234");
    let third = || binary_attribute("binaryAttribute", "Binary", b"Hello binary world!");
    for (attributes, expected) in [
        (vec![first()], "19e27d4e946b072f3f58da80d94fd778"),
        (vec![second()], "9fe1b90bbd9965bdf77bac517c7d2495"),
        (vec![third()], "31a92b15d92f8db860eda32aceb656c3"),
        (vec![first(), second(), third()], "c932db14a896c663f83c260297d594ff"),
        (vec![third(), second(), first()], "c932db14a896c663f83c260297d594ff"),
        (attributes().into_iter().collect(), "4e2c182d46d565286741f346b479ed21"),
        // Recorded from the service.
        (
            vec![
                text_attribute("Hello", "String", "There"),
                text_attribute("General", "String", "Kenobi"),
                text_attribute("Help.Me", "String", "Me"),
            ],
            "4c360f3fdafd970e05fae2f149d997f5",
        ),
        (
            vec![text_attribute("Hello", "String", "There"), text_attribute("General", "String", "Kenobi")],
            "fca026605781cb4126a1e9044df24232",
        ),
        (vec![text_attribute("Hello", "String", "There")], "a311262e065454b75da111d535b8dacd"),
        (
            vec![text_attribute("Hello", "String", "There"), text_attribute("Help.Me", "String", "Me")],
            "83fee93c1bcd8b9a5a923ffacdc636c7",
        ),
        (vec![text_attribute("Foo", "String", "Bar")], "ae7155c6026991b6d54b11589678bf9c"),
        (
            vec![binary_attribute(
                "attr1",
                "Binary",
                b"traceparent\x1e00-774062d6c37081a5a0b9b5b88e30627c-2d2482211f6489da-01",
            )],
            "8cbe4db156db8a94db8b801b7addb984",
        ),
        (
            vec![text_attribute("UserId", "Number.bigint", "1234567890123456789012")],
            "797ab158d73dcb5242dedc4412c8e855",
        ),
    ] {
        let md5 = MessageAttributes::new(attributes).md5().expect("some");
        assert_eq!(md5.to_string(), expected);
    }
    assert_eq!(MessageAttributes::default().md5(), None);
    assert_eq!(Md5::of(b"").to_string(), "d41d8cd98f00b204e9800998ecf8427e");
    assert_eq!(Md5::of(b"message-body-1").to_string(), "19c9e282d65f9733bc6b35d50062c7ee");
}

#[test]
fn the_content_of_a_message_has_a_hash() {
    let body = "{\"QueueUrl\":\"q\",\"MessageBody\":\"abc\"}";
    let Ok(Request::SendMessage(request)) = read_json("SendMessage", body) else { panic!("a message") };
    let hash = request.message.content_sha256();
    assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
    assert_eq!(request.message.body_md5().to_string(), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(request.message.bytes(), 3);
}

/// The error of a message with these attributes, in the form of JSON.
fn refused(attributes: &str) -> String {
    let body = format!("{{\"QueueUrl\":\"q\",\"MessageBody\":\"m\",\"MessageAttributes\":{{{attributes}}}}}");
    let error = read_json("SendMessage", &body).expect_err(attributes);
    assert_eq!(error.kind, ErrorKind::InvalidParameterValueException, "{attributes}: {error}");
    error.message.into_owned()
}

#[test]
fn attributes_are_checked() {
    let named =
        |name: &str| refused(&format!("\"{name}\":{{\"DataType\":\"String\",\"StringValue\":\"v\"}}"));
    let typed =
        |data_type: &str| refused(&format!("\"a\":{{\"DataType\":\"{data_type}\",\"StringValue\":\"1\"}}"));
    assert_eq!(named(""), "The request must contain non-empty message (user) attribute names.");
    assert_eq!(named(&"n".repeat(256)), "Message (user) attribute names must be shorter than 256 Bytes");
    for name in ["a b", "\u{e4}", "a:b", "a\\n"] {
        assert_eq!(
            named(name),
            "Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens \
             and underscores. "
        );
    }
    for name in ["AWS.x", "aws.", "Amazon.x", "aMaZoN.x", ".a", "a."] {
        assert_eq!(
            named(name),
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for \
             internal use. Additionally, they cannot start or end with '.'."
        );
    }
    assert_eq!(named("a..b"), "Message (user) attribute name must not have successive '.' characters.");
    for data_type in ["string", "Strin", "Stringy", "Text", ".String", "Str.ing"] {
        assert_eq!(
            typed(data_type),
            "The type of message (user) attribute 'a' is invalid. You must use only the following supported type \
             prefixes: Binary, Number, String."
        );
    }
    assert_eq!(typed(""), "The message (user) attribute 'a' must contain a non-empty type.");
    assert_eq!(refused("\"a\":{}"), "The message (user) attribute 'a' must contain a non-empty type.");
    assert_eq!(
        typed(&format!("String.{}", "l".repeat(249))),
        "Message (user) attribute types must be shorter than 256 Bytes"
    );
    for base in ["String", "Number", "Binary"] {
        for value in ["", ",\"StringValue\":\"\"", ",\"BinaryValue\":\"\"", ",\"StringValue\":null"] {
            assert_eq!(
                refused(&format!("\"a\":{{\"DataType\":\"{base}.label\"{value}}}")),
                format!("Message (user) attribute 'a' must contain a non-empty value of type '{base}'.")
            );
        }
    }
    assert_eq!(
        refused("\"a\":{\"DataType\":\"String\",\"BinaryValue\":\"AA==\"}"),
        "The message (user) attribute 'a' with type 'String' must use field 'String'."
    );
    assert_eq!(
        refused("\"a\":{\"DataType\":\"Binary\",\"StringValue\":\"x\",\"BinaryValue\":\"AA==\"}"),
        "The message (user) attribute 'a' with type 'Binary' must use field 'Binary'."
    );
    assert!(
        refused("\"a\":{\"DataType\":\"String\",\"StringValue\":\"\\u0000\"}")
            .starts_with("Invalid characters found.")
    );
    for list in ["\"StringListValues\":[\"x\"]", "\"BinaryListValues\":[]"] {
        assert_eq!(
            refused(&format!("\"a\":{{\"DataType\":\"String\",\"StringValue\":\"x\",{list}}}")),
            "Message attribute list values in SendMessage operation are not supported."
        );
    }
    let many = |count: usize| -> String {
        let one = |at| format!("\"a{at}\":{{\"DataType\":\"String\",\"StringValue\":\"v\"}}");
        (0..count).map(one).collect::<Vec<_>>().join(",")
    };
    assert_eq!(refused(&many(11)), "Number of message attributes [11] exceeds the allowed maximum [10].");
    let body = format!("{{\"QueueUrl\":\"q\",\"MessageBody\":\"m\",\"MessageAttributes\":{{{}}}}}", many(10));
    assert!(read_json("SendMessage", &body).is_ok());
}

#[test]
fn only_the_trace_header_can_be_sent_as_a_system_attribute() {
    let refused = |attribute: &str| {
        let body = format!(
            "{{\"QueueUrl\":\"q\",\"MessageBody\":\"m\",\"MessageSystemAttributes\":{{{attribute}}}}}"
        );
        read_json("SendMessage", &body).expect_err(attribute).message.into_owned()
    };
    assert_eq!(
        refused("\"SenderId\":{\"DataType\":\"String\",\"StringValue\":\"x\"}"),
        "Message system attribute name 'SenderId' is invalid."
    );
    assert_eq!(
        refused("\"AWSTraceHeader\":{\"DataType\":\"Number\",\"StringValue\":\"1\"}"),
        "Message system attribute 'AWSTraceHeader' must have the type 'String'."
    );
    let long = "x".repeat(1025);
    assert_eq!(
        refused(&format!("\"AWSTraceHeader\":{{\"DataType\":\"String\",\"StringValue\":\"{long}\"}}")),
        "Message system attribute 'AWSTraceHeader' must be at most 1024 bytes long."
    );
}

/// Whether an attribute of type Number may be this, and that it stays as it came.
fn is_number(number: &str) -> bool {
    let body = format!(
        "{{\"QueueUrl\":\"q\",\"MessageBody\":\"m\",\"MessageAttributes\":{{\"n\":{{\"DataType\":\"Number.x\",\
         \"StringValue\":\"{number}\"}}}}}}"
    );
    match read_json("SendMessage", &body) {
        Ok(Request::SendMessage(request)) => {
            let attributes: Vec<_> = request.message.attributes.into_iter().collect();
            assert_eq!(attributes[0].value, AttributeValue::Text(number.into()));
            true
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => {
            assert_eq!(error.message, "Can't cast the value of message (user) attribute 'n' to a number.");
            false
        }
    }
}

#[test]
fn numbers_are_of_38_digits_and_a_magnitude() {
    let digits = |count: usize| "1234567890".repeat(4)[..count].to_owned();
    let zeros = |count: usize| "0".repeat(count);
    let plain = "0 -0 +0.00 1 -1 +1 1. .5 00012 1e5 1E+5 -1.5e-10 1e126 1e-128 -1e126 9.99e125 0e999999999 0.1e127 \
                 4563442423554324324264524243.32543234";
    let long = [
        digits(38),
        format!("{}{}", digits(38), zeros(87)),
        format!("1{}", zeros(126)),
        format!("0.{}1", zeros(127)),
        format!("{}.{}", zeros(1000), digits(38)),
    ];
    for number in plain.split(' ').chain(long.iter().map(String::as_str)) {
        assert!(is_number(number), "{number}");
    }
    let plain = "x 1x 0x10 1_000 --1 +-1 . - e5 1e 1e+ 1e1.5 1.2.3 1e127 1.1e126 2e126 9.9e-129 1e-129 1e9999999999 NaN \
                 Infinity \u{661}";
    let long = [
        digits(39),
        format!("1{}1", zeros(37)),
        format!("1{}", zeros(127)),
        format!("0.{}1", zeros(128)),
        " 1".to_owned(),
        "1 ".to_owned(),
    ];
    for number in plain.split(' ').chain(long.iter().map(String::as_str)) {
        assert!(!is_number(number), "{number}");
    }
}

#[test]
fn receivers_choose_attributes_by_name_and_prefix() {
    let names = ["Hello", "General", "Help.Me", "All", ".*"];
    let chosen = |patterns: &[&'static str]| -> Vec<&str> {
        let filter = AttributeFilter::new(patterns.iter().map(|pattern| (*pattern).into()).collect());
        names.into_iter().filter(|name| filter.matches(name)).collect()
    };
    for all in ["All", "*", ".*"] {
        assert_eq!(chosen(&[all]), names);
    }
    assert_eq!(chosen(&[]), [""; 0]);
    assert_eq!(chosen(&["Hello", "General"]), ["Hello", "General"]);
    assert_eq!(chosen(&["Hello", "Foo"]), ["Hello"]);
    assert_eq!(chosen(&["Hel.*"]), ["Hello", "Help.Me"]);
    assert_eq!(chosen(&["Help.*", "hello", "", "Gen*"]), ["Help.Me"]);
    let mut kept = attributes();
    kept.retain(&AttributeFilter::new(vec!["Zip".into(), "t.*".into()]));
    assert_eq!(kept.iter().map(|attribute| attribute.name.as_ref()).collect::<Vec<_>>(), ["Zip", "tenant"]);
}

#[test]
fn what_is_known_of_a_message_is_told_where_it_is_wanted() {
    let facts =
        MessageFacts { sent_ms: 5, receive_count: 1, first_received_ms: 6, ..MessageFacts::default() };
    assert_eq!(facts.select(SystemAttributeSet::default()), []);
    // On a standard queue there are no more.
    assert_eq!(
        facts.select(SystemAttributeSet::ALL),
        [
            (SystemAttribute::SentTimestamp, "5".into()),
            (SystemAttribute::ApproximateReceiveCount, "1".into()),
            (SystemAttribute::ApproximateFirstReceiveTimestamp, "6".into()),
        ]
    );
    assert_eq!(
        facts.select([SystemAttribute::SenderId, SystemAttribute::SentTimestamp].into_iter().collect()),
        [(SystemAttribute::SentTimestamp, "5".into())]
    );
}

#[test]
fn sequence_numbers_have_20_digits() {
    assert_eq!(SequenceNumber::of_offset(0).to_string(), "10000000000000000000");
    assert_eq!(SequenceNumber::of_offset(1 << 48).to_string(), "10000281474976710656");
    assert_eq!(SequenceNumber::of_offset(u64::MAX).to_string(), "18446744073709551615");
}

#[test]
fn ids_are_written_like_uuids() {
    let id = Uuid(0x219f_8380_5770_41f6_8c3e_5c9f_0e8b_a1d2);
    assert_eq!(id.to_string(), "219f8380-5770-41f6-8c3e-5c9f0e8ba1d2");
    assert_eq!(Uuid::parse("219F8380-5770-41f6-8c3e-5c9f0e8ba1d2"), Some(id));
    for text in [
        "",
        "219f838057704 1f68c3e5c9f0e8ba1d2",
        "219f8380577041f68c3e5c9f0e8ba1d2",
        "x19f8380-5770-41f6-8c3e-5c9f0e8ba1d2",
        "219f838-05770-41f6-8c3e-5c9f0e8ba1d2",
        "+19f8380-5770-41f6-8c3e-5c9f0e8ba1d2",
    ] {
        assert_eq!(Uuid::parse(text), None, "{text}");
    }
}

#[test]
fn a_stored_message_is_what_was_sent() {
    let message = NewMessage {
        body: "grüße".into(),
        delay_s: None,
        attributes: attributes(),
        trace_header: Some("Root=1".into()),
        system_attributes_md5: None,
        deduplication_id: None,
        group_id: None,
    };
    let content = Content::of(message, "AKIA");
    let bytes = content.encode();
    assert_eq!(Content::decode(&bytes), Some(content.clone()));
    assert_eq!(content.body_md5, Md5::of("grüße".as_bytes()));
    // Cut anywhere it is none, but in the body.
    let head = bytes.len() - content.body.len();
    for end in 0..head {
        assert_eq!(Content::decode(&bytes[..end]), None, "{end}");
    }
    let mut other = bytes.clone();
    other[0] = 2;
    assert_eq!(Content::decode(&other), None);
    let empty = Content {
        body: "".into(),
        attributes: MessageAttributes::default(),
        sender_id: "".into(),
        trace_header: "".into(),
        ..content
    };
    assert_eq!(empty.encode().len(), 22);
    assert_eq!(Content::decode(&empty.encode()), Some(empty));
}

#[test]
fn any_text_can_become_an_id() {
    for (text, id) in [
        ("chat/r1", "chat/r1"),
        ("a b", "a%20b"),
        ("100%", "100%25"),
        ("\u{e9}", "%C3%A9"),
        ("", "%he3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
    ] {
        assert_eq!(id_of(text), id);
        let body =
            format!("{{\"QueueUrl\":\"q\",\"MessageBody\":\"m\",\"MessageGroupId\":\"{}\"}}", id_of(text));
        assert!(read_json("SendMessage", &body).is_ok(), "{text}");
    }
    let (long, longer) = ("x".repeat(128), "x".repeat(129));
    assert_eq!(id_of(&long), long);
    assert_eq!(id_of(&longer).len(), 66);
    assert_ne!(id_of(&longer), id_of(&"x".repeat(130)));
}

#[test]
fn json_of_others_is_made_legal() {
    assert!(matches!(legal_json("{\"a\":\"\u{fffd}\"}"), std::borrow::Cow::Borrowed(_)));
    let legal = legal_json("{\"a\u{ffff}\":\"\u{fffe}\"}");
    assert_eq!(legal, "{\"a\\uffff\":\"\\ufffe\"}");
    let value: serde_json::Value = serde_json::from_str(&legal).expect("JSON");
    assert_eq!(value["a\u{ffff}"].as_str(), Some("\u{fffe}"));
}

#[test]
fn a_plain_message_costs_few_allocations() {
    let body = "{\"QueueUrl\":\"http://h/1/q\",\"MessageBody\":\"plain\",\"DelaySeconds\":1}";
    for incoming in [json("SendMessage", body), form("Action=SendMessage&QueueUrl=q&MessageBody=plain")] {
        let mut result = None;
        let cost = allocation_counter::measure(|| result = Some(read(&incoming)));
        assert!(matches!(result, Some(Ok(_))));
        // Lists of members and of the parts of their names, not their texts.
        assert!(cost.count_total <= 8, "{}", cost.count_total);
    }
}
