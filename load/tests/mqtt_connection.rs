//! One client of MQTT that waits for its server, as the command line has it. Start at the tests.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests and their peer")]

extern crate trunkline_load as load;

mod peer;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use load::mqtt::{
    Address, Connection, Login, Message, Properties, Qos, Received, Retained, Session, Trust, Version,
};
use peer::broker::{Broker, Running};
use wire::mqtt::{ClientPacket, ConnAck, Encoder, ReasonCode, decode_client, frame};

const WITHIN: Duration = Duration::from_secs(20);

fn login(version: Version, id: &str, session: Session) -> Login {
    Login {
        version,
        client_id: id.into(),
        user: None,
        password: None,
        session,
        keep_alive_seconds: 60,
        will: None,
        user_properties: Vec::new(),
    }
}

fn address(broker: &Running) -> Address {
    format!("mqtt://{}", broker.address).parse().unwrap()
}

fn open(broker: &Running, login: &Login) -> Connection {
    Connection::open(&address(broker), &Trust::default(), login, WITHIN).unwrap()
}

fn message(payload: &str, qos: Qos) -> Message {
    let (topic, properties) = ("t".to_owned(), Properties::default());
    Message { topic, payload: payload.into(), qos, retain: false, properties }
}

fn texts(connection: &mut Connection, count: usize) -> Vec<String> {
    let text = |received: Received| String::from_utf8(received.message.payload).unwrap();
    (0..count).map(|_| text(connection.receive(Some(Instant::now() + WITHIN)).unwrap().unwrap())).collect()
}

#[test]
fn what_is_published_arrives_and_is_acknowledged() {
    for version in [Version::V311, Version::V5] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let broker = Running::start(Broker::Good);
            let mut hears = open(&broker, &login(version, "hears", Session::New));
            assert_eq!(hears.subscribe(&["t".into()], (qos, Retained::Wanted), WITHIN).unwrap(), [qos]);
            let mut says = open(&broker, &login(version, "says", Session::New));
            for payload in ["a", "b", "c"] {
                says.publish(&message(payload, qos)).unwrap();
            }
            assert_eq!(says.wait_published(0, WITHIN).unwrap(), 0);
            says.settle(WITHIN).unwrap();
            assert_eq!(texts(&mut hears, 3), ["a", "b", "c"]);
            assert_eq!(hears.receive(Some(Instant::now())).unwrap(), None);
            says.close().unwrap();
        }
    }
}

#[test]
fn a_session_that_lasts_hears_what_it_missed() {
    for version in [Version::V311, Version::V5] {
        let broker = Running::start(Broker::Good);
        let lasting = login(version, "hears", Session::Lasting(60));
        let mut hears = open(&broker, &lasting);
        assert!(!hears.start().is_resumed);
        hears.subscribe(&["t".into()], (Qos::AtLeastOnce, Retained::Wanted), WITHIN).unwrap();
        drop(hears);
        let mut says = open(&broker, &login(version, "says", Session::New));
        says.publish(&message("missed", Qos::AtLeastOnce)).unwrap();
        says.wait_published(0, WITHIN).unwrap();
        let mut hears = open(&broker, &lasting);
        assert!(hears.start().is_resumed);
        assert_eq!(texts(&mut hears, 1), ["missed"]);
    }
}

#[test]
fn refusals_have_the_name_of_their_reason() {
    let subscribe = |manner| {
        let broker = Running::start(manner);
        let mut client = open(&broker, &login(Version::V5, "c", Session::New));
        client.subscribe(&["t".into()], (Qos::ExactlyOnce, Retained::Wanted), WITHIN)
    };
    let error = subscribe(Broker::RefusesFilters).unwrap_err().to_string();
    assert!(error.ends_with("the filter \"t\" was refused: 0x80 Unspecified error"), "{error}");
    assert_eq!(subscribe(Broker::GrantsLess).unwrap(), [Qos::AtMostOnce]);
    let broker = Running::start(Broker::RefusesMessages);
    for qos in [Qos::AtLeastOnce, Qos::ExactlyOnce] {
        let mut client = open(&broker, &login(Version::V5, "c", Session::New));
        client.publish(&message("x", qos)).unwrap();
        let error = client.wait_published(0, WITHIN).unwrap_err().to_string();
        assert!(error.ends_with("the message was refused: 0x97 Quota exceeded"), "{error}");
    }
}

#[test]
fn a_connection_that_breaks_is_told() {
    let broker = Running::start(Broker::Good);
    let mut client = open(&broker, &login(Version::V5, "c", Session::New));
    broker.drop_all();
    let error = client.receive(None).unwrap_err().to_string();
    assert_eq!(error, format!("mqtt://{}: the server closed the connection", broker.address));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nowhere: Address = format!("mqtt://{free}").parse().unwrap();
    let opened = Connection::open(&nowhere, &Trust::default(), &login(Version::V5, "", Session::New), WITHIN);
    let error = opened.err().unwrap().to_string();
    assert!(error.starts_with(&format!("no server answers at mqtt://{free}: ")), "{error}");
}

fn pem(der: &[u8]) -> String {
    let text = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

/// Answers CONNECT and a ping over TLS; gives the certificate of its authority.
fn secure() -> (u16, std::path::PathBuf) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key.into())
        .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let path = std::env::temp_dir().join(format!("trunkline-ca-{}-{port}.pem", std::process::id()));
    std::fs::write(&path, pem(made.cert.der())).unwrap();
    std::thread::spawn(move || {
        let config = Arc::new(config);
        for stream in listener.incoming() {
            let session = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let _ = answer(rustls::StreamOwned::new(session, stream.unwrap()));
        }
    });
    (port, path)
}

fn answer(mut stream: impl Read + Write) -> std::io::Result<()> {
    let (mut held, mut buf) = (Vec::new(), [0; 4096]);
    let mut version = None;
    loop {
        let read = stream.read(&mut buf)?;
        if read == 0 {
            return Ok(());
        }
        held.extend_from_slice(&buf[..read]);
        let mut start = 0;
        while let Some(frame) = frame(&held[start..], u32::MAX).unwrap() {
            let mut out = Vec::new();
            match decode_client(version, &frame).unwrap() {
                ClientPacket::Connect(connect) => {
                    version = Some(connect.level.version());
                    let reason = ReasonCode::Success;
                    let ack = ConnAck { session_present: false, reason, properties: connect.properties };
                    Encoder::new(connect.level.version()).connack(&ack, &mut out).unwrap();
                }
                ClientPacket::PingReq => Encoder::new(version.unwrap()).pingresp(&mut out).unwrap(),
                _ => {}
            }
            stream.write_all(&out)?;
            stream.flush()?;
            start += frame.packet_bytes;
        }
        held.drain(..start);
    }
}

#[test]
fn a_server_is_believed_for_its_authority() {
    let (port, path) = secure();
    let open = |host: &str, trust: &Trust| {
        let address: Address = format!("mqtts://{host}:{port}").parse().unwrap();
        Connection::open(&address, trust, &login(Version::V311, "c", Session::New), WITHIN)
    };
    let trust = Trust { authorities: Some(path.clone()) };
    let mut client = open("localhost", &trust).unwrap();
    client.settle(WITHIN).unwrap();
    client.close().unwrap();
    let error = open("127.0.0.1", &trust).err().unwrap().to_string();
    assert!(error.contains("certificate"), "it is not the certificate of this name: {error}");
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&path, pem(stranger.cert.der())).unwrap();
    let error = open("localhost", &trust).err().unwrap().to_string();
    assert!(error.contains("certificate"), "{error}");
    std::fs::remove_file(path).unwrap();
}
