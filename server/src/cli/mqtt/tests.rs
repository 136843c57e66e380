//! What is typed and what is printed; whole commands are in `server/tests`.

use clap::Parser as _;
use load::mqtt::Received;

use super::*;
use crate::cli::Cli;

fn refused(arguments: &str) -> String {
    let words = std::iter::once("trunkline").chain(arguments.split(' '));
    Cli::try_parse_from(words).unwrap_err().to_string()
}

#[test]
fn what_is_for_mqtt_needs_a_topic_and_what_is_not_has_none() {
    for arguments in [
        "pub main x --retain",
        "pub main --message x",
        "sub a --count 1",
        "pub main x --id a",
        "pub main x --qos 1",
        "pub main --topic a --message x",
        "pub --topic a --event e --message x",
        "sub a --topic b",
    ] {
        let error = refused(arguments);
        assert!(error.contains("cannot be used with"), "{arguments}: {error}");
    }
    assert!(refused("pub --topic a --message x --lines").contains("cannot be used with"));
    assert!(refused("pub --topic a --session 5").contains("--id"));
    assert!(refused("pub --topic a --message x --will-qos 1").contains("--will-topic"));
}

#[test]
fn a_url_of_the_private_port_is_no_address() {
    let Failure(text) = address(Some("http://127.0.0.1:9000")).unwrap_err();
    assert!(text.starts_with("http://127.0.0.1:9000: --topic is for MQTT"), "{text}");
    assert_eq!(address(None).unwrap().to_string(), URL);
}

fn received(payload: &[u8], properties: Properties) -> Received {
    let message = Message {
        topic: "a/b".into(),
        payload: payload.to_vec(),
        qos: Qos::AtLeastOnce,
        retain: true,
        properties,
    };
    Received { message, dup: false, subscription_ids: Vec::new() }
}

#[test]
fn messages_have_three_forms() {
    let line = |format: Format, received: &Received| String::from_utf8(format.line(received)).unwrap();
    let plain = received(b"21.5", Properties::default());
    assert_eq!(line(Format::Text, &plain), "a/b 21.5\n");
    assert_eq!(line(Format::Payload, &plain), "21.5\n");
    let expected = r#"{"topic":"a/b","payload":"21.5","qos":1,"retain":true,"dup":false}"#;
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(json(&line(Format::Json, &plain)), json(expected));
    let properties = Properties {
        is_text: true,
        expiry_seconds: Some(9),
        content_type: Some("t".into()),
        response_topic: None,
        correlation_data: Some(vec![0xff]),
        user: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
    };
    let rich = Received { subscription_ids: vec![7], ..received(&[0xff, 0], properties) };
    let expected = r#"{"topic":"a/b","payload_base64":"/wA=","qos":1,"retain":true,"dup":false,"subscription_ids":[7],
        "properties":{"text":true,"expiry_seconds":9,"content_type":"t","correlation_data_base64":"/w==",
        "user":[["a","1"],["a","2"]]}}"#;
    assert_eq!(json(&line(Format::Json, &rich)), json(expected));
    assert_eq!(Format::Payload.line(&rich), b"\xff\x00\n");
}
