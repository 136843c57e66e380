//! How a WebSocket begins: requests as RFC 6455 section 4 has them, and all that is wrong with others.

use super::super::*;
use crate::http::{HeadLimits, parse_head, parse_response_head};

const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn result(request: &str) -> Result<Accept, HandshakeError> {
    let head = parse_head(request.as_bytes(), &HeadLimits::default()).expect("valid").expect("complete");
    accept(&head)
}

#[test]
fn example_of_rfc_6455_section_1_3() {
    assert_eq!(accept_key(SAMPLE_KEY.as_bytes()), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut out = Vec::new();
    result(REQUEST).expect("valid").respond(Some("chat"), &mut out);
    assert_eq!(
        String::from_utf8(out).expect("text"),
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
         sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nsec-websocket-protocol: chat\r\n\r\n"
    );
    let head = parse_head(REQUEST.as_bytes(), &HeadLimits::default()).expect("valid").expect("complete");
    assert_eq!(subprotocols(&head).collect::<Vec<_>>(), ["chat", "superchat"]);
}

#[test]
fn the_first_subprotocol_of_the_client_that_is_spoken_is_chosen() {
    let chosen = |offer: &str| {
        let request = REQUEST.replace("Sec-WebSocket-Protocol: chat, superchat\r\n", offer);
        let head = parse_head(request.as_bytes(), &HeadLimits::default()).expect("valid").expect("complete");
        choose_subprotocol(&head, &["mqtt", "mqttv3.1"])
    };
    assert_eq!(chosen("Sec-WebSocket-Protocol: chat, mqttv3.1, mqtt\r\n"), Some("mqttv3.1"));
    let two_fields = "Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: mqtt\r\n";
    assert_eq!(chosen(two_fields), Some("mqtt"));
    assert_eq!(chosen("Sec-WebSocket-Protocol: MQTT, mqttv3\r\n"), None);
    assert_eq!(chosen(""), None);
}

#[test]
fn each_condition_of_section_4_2_1() {
    let cases = [
        ("Upgrade: websocket\r\n", "", HandshakeError::NotUpgrade),
        ("Upgrade: websocket", "Upgrade: h2c", HandshakeError::NotUpgrade),
        ("keep-alive, Upgrade", "keep-alive", HandshakeError::NotUpgrade),
        ("GET ", "POST ", HandshakeError::Method),
        ("HTTP/1.1", "HTTP/1.0", HandshakeError::HttpVersion),
        ("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n", HandshakeError::Body),
        ("\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", HandshakeError::Body),
        ("Version: 13", "Version: 8", HandshakeError::Version),
        ("Sec-WebSocket-Version: 13\r\n", "", HandshakeError::Version),
        ("Version: 13", "Version: 13, 8", HandshakeError::Version),
        ("ub25jZQ==", "ub25jZQ", HandshakeError::Key),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZQ==", HandshakeError::Key),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!Q==", HandshakeError::Key),
        ("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZXh4", HandshakeError::Key),
        ("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "", HandshakeError::Key),
        ("\r\n\r\n", "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", HandshakeError::Key),
    ];
    for (from, to, error) in cases {
        let request = REQUEST.replacen(from, to, 1);
        assert_ne!(request, REQUEST, "the case changes nothing: {from}");
        assert_eq!(result(&request), Err(error), "{from:?} -> {to:?}");
    }
    assert!(result(&REQUEST.replace("Upgrade: websocket", "upgrade: WebSocket")).is_ok());
    // The two last characters carry four bits too many; clients exist that fill them.
    assert!(result(&REQUEST.replace("ZQ==", "Zb==")).is_ok());
}

#[test]
fn refusals_say_what_is_wanted() {
    assert_eq!(HandshakeError::Version.status(), 426);
    assert_eq!(HandshakeError::Version.fields(), [("upgrade", "websocket"), ("sec-websocket-version", "13")]);
    assert_eq!(HandshakeError::NotUpgrade.fields(), [("upgrade", "websocket")]);
    assert_eq!(HandshakeError::Method.fields(), [("allow", "GET")]);
}

#[test]
fn client_and_server_agree() {
    let key = client_key(*b"the sample nonce");
    assert_eq!(key, SAMPLE_KEY);
    let mut bytes = Vec::new();
    let headers = [("origin", "http://a"), ("x-split", "a\r\nb: c")];
    let request = UpgradeRequest { target: "/s?x=1", host: "h:1", key: &key, headers: &headers };
    write_upgrade_request(&mut bytes, &request);
    let limits = HeadLimits::default();
    let head = parse_head(&bytes, &limits).expect("valid").expect("complete");
    assert_eq!(
        (head.path, head.query, head.host, head.header("origin")),
        ("/s", "x=1", "h:1", Some("http://a"))
    );
    assert_eq!(head.header("x-split"), None);
    let mut answer = Vec::new();
    accept(&head).expect("valid").respond(None, &mut answer);
    let response = parse_response_head(&answer, &limits).expect("valid").expect("complete");
    assert_eq!(response.len, answer.len());
    assert_eq!(check_response(&response, &key), Ok(()));
    assert_eq!(check_response(&response, "other"), Err(HandshakeError::AcceptKey));
    let check = |from: &str, to: &str| {
        let text = String::from_utf8(answer.clone()).expect("text").replacen(from, to, 1);
        let response = parse_response_head(text.as_bytes(), &limits).expect("valid").expect("complete");
        check_response(&response, &key)
    };
    assert_eq!(check("101", "200"), Err(HandshakeError::Status));
    assert_eq!(check("websocket", "other"), Err(HandshakeError::NotUpgrade));
    assert_eq!(check("\r\n\r\n", "\r\nsec-websocket-extensions: x\r\n\r\n"), Err(HandshakeError::Extension));
}
