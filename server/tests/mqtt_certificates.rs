//! Clients of MQTT that prove by a certificate who they are, over the loopback address.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

#[path = "support/pem.rs"]
mod pem;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use pem::pem;
use rcgen::{BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use support::client::{PATIENCE, get};
use support::whole::folder::Folder;
use trunkline::Server;
use trunkline::config::{Config, Machine, SourceFile, Sources};
use wire::mqtt::{Connect, Encoder, Level, Properties, ReasonCode, ServerPacket, decode_server, frame};

/// Who makes certificates of clients.
struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate and key.
#[derive(Clone)]
struct Card(CertificateDer<'static>, Vec<u8>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = named(Some(name));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { certificate, issuer: Issuer::new(params, key) }
    }

    fn card(&self, common_name: Option<&str>) -> Card {
        let key = KeyPair::generate().unwrap();
        let certificate = named(common_name).signed_by(&key, &self.issuer).unwrap();
        Card(certificate.der().clone(), key.serialize_der())
    }
}

fn named(common_name: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "o");
    if let Some(name) = common_name {
        params.distinguished_name.push(DnType::CommonName, name);
    }
    params
}

struct Site {
    server: Server,
    folder: Folder,
    authority: Authority,
    own: CertificateDer<'static>,
}

impl Site {
    async fn start(name: &str, settings: &str) -> Self {
        let folder = Folder::new(name);
        let file = |name: &str| folder.join(name);
        let authority = Authority::new("a");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(file("cert.pem"), pem("CERTIFICATE", made.cert.der())).unwrap();
        std::fs::write(file("key.pem"), pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
        std::fs::write(file("clients.pem"), pem("CERTIFICATE", authority.certificate.der())).unwrap();
        let text = format!(
            "[server]\nshards = 2\ndrain_window_ms = 0\n[tls]\ncertificate = {:?}\nkey = {:?}\n\
             [mqtt]\ntls_listen = \"127.0.0.1:0\"\ntls_client_ca = {:?}\n{settings}",
            file("cert.pem"),
            file("key.pem"),
            file("clients.pem"),
        );
        let sources = Sources {
            presets: vec![
                ("auth.mode", "anonymous".into()),
                ("server.public_listen", "127.0.0.1:0".into()),
                ("server.private_listen", "127.0.0.1:0".into()),
            ],
            file: Some(SourceFile { name: "trunkline.toml".into(), text }),
            ..Sources::default()
        };
        let machine = Machine { cores: 1, open_files_max: 10_000 };
        let config = Config::load(&sources, machine).unwrap().config;
        let server = Server::start(config).await.unwrap();
        Self { server, folder, authority, own: made.cert.der().clone() }
    }

    /// What a client is told, or `None` when TLS does not let it in.
    fn connect(&self, card: Option<&Card>, opening: Opening<'_>) -> Option<String> {
        self.connect_at(self.server.mqtt_tls_addr().unwrap(), card, opening)
    }

    fn connect_at(&self, address: SocketAddr, card: Option<&Card>, opening: Opening<'_>) -> Option<String> {
        let mut roots = RootCertStore::empty();
        roots.add(self.own.clone()).unwrap();
        let client = ClientConfig::builder().with_root_certificates(roots);
        let client = match card {
            Some(Card(certificate, key)) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.clone()));
                client.with_client_auth_cert(vec![certificate.clone()], key).unwrap()
            }
            None => client.with_no_client_auth(),
        };
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let session = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
        let mut stream = StreamOwned::new(session, stream);
        stream.write_all(&opening.bytes()).ok()?;
        let mut buffer = Vec::new();
        let mut more = [0; 1024];
        while frame(&buffer, u32::MAX).unwrap().is_none() {
            match stream.read(&mut more) {
                Ok(0) | Err(_) => return None,
                Ok(count) => buffer.extend_from_slice(&more[..count]),
            }
        }
        let packet = frame(&buffer, u32::MAX).unwrap().unwrap();
        let ServerPacket::ConnAck(connack) = decode_server(opening.level.version(), &packet).unwrap() else {
            panic!("no CONNACK");
        };
        if connack.reason != ReasonCode::Success {
            return Some(format!("{:02X}", connack.reason.byte()));
        }
        // While it is connected: which client id and user the session has.
        let sessions = get(self.server.private_addr(), "/v1/sessions");
        let sessions: serde_json::Value = serde_json::from_slice(&sessions.body).unwrap();
        let all = sessions["items"].as_array().unwrap();
        let session = all.iter().find(|one| one["client_id"].is_string()).unwrap();
        Some(format!("{} of {}", session["client_id"], session["user"]))
    }
}

#[derive(Clone, Copy)]
struct Opening<'a> {
    level: Level,
    id: &'a str,
    user: Option<(&'a str, &'a str)>,
}

impl<'a> Opening<'a> {
    fn v5(id: &'a str) -> Self {
        Self { level: Level::V5, id, user: None }
    }

    fn bytes(&self) -> Vec<u8> {
        let connect = Connect {
            level: self.level,
            is_bridge: false,
            clean_start: true,
            keep_alive_seconds: 0,
            client_id: self.id,
            will: None,
            user_name: self.user.map(|(name, _)| name),
            password: self.user.map(|(_, password)| password.as_bytes()),
            properties: Properties::NONE,
        };
        let mut out = Vec::new();
        Encoder::new(self.level.version()).connect(&connect, &mut out).unwrap();
        out
    }
}

fn replace(path: &Path, authority: &Authority) {
    std::fs::write(path, pem("CERTIFICATE", authority.certificate.der())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_the_authority_is_needed_and_names_the_user() {
    let site = Site::start("required", "tls_client_user = \"common_name\"\n").await;
    let (bob, other) = (site.authority.card(Some("bob")), Authority::new("a").card(Some("bob")));
    assert_eq!(site.connect(Some(&bob), Opening::v5("c")).unwrap(), "\"c\" of \"bob\"");
    // What it says of itself counts for nothing beside it.
    let eve = Opening { user: Some(("eve", "x")), level: Level::V311, ..Opening::v5("c") };
    assert_eq!(site.connect(Some(&bob), eve).unwrap(), "\"c\" of \"bob\"");
    assert_eq!(site.connect(None, Opening::v5("c")), None);
    assert_eq!(site.connect(Some(&other), Opening::v5("c")), None, "of an authority of the same name");
    let nameless = site.authority.card(None);
    for (level, code) in [(Level::V5, "86"), (Level::V311, "86")] {
        assert_eq!(site.connect(Some(&nameless), Opening { level, ..Opening::v5("c") }).unwrap(), code);
    }
    // The public port asks nobody.
    let public = site.server.public_addr();
    assert_eq!(site.connect_at(public, None, Opening::v5("c")).unwrap(), "\"c\" of null");
    assert_eq!(site.connect_at(public, Some(&bob), Opening::v5("c")).unwrap(), "\"c\" of null");
    site.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_no_certificate_may_have_a_password() {
    let settings = "tls_client_user = \"common_name\"\ntls_client_certificate = \"optional\"\nclient_id_is_user = true\n\
                    [[mqtt.user]]\nname = \"amy\"\npassword = \"pw\"\n";
    let site = Site::start("optional", settings).await;
    let amy = |password| Opening { user: Some(("amy", password)), ..Opening::v5("") };
    assert_eq!(site.connect(None, amy("pw")).unwrap(), "\"amy\" of \"amy\"");
    assert_eq!(site.connect(None, amy("no")).unwrap(), "86");
    let bob = site.authority.card(Some("bob"));
    // The name is the certificate's, so nobody can be somebody else by it.
    assert_eq!(site.connect(Some(&bob), amy("pw")).unwrap(), "\"bob\" of \"bob\"");
    assert_eq!(site.connect(Some(&bob), Opening::v5("amy")).unwrap(), "85");
    let other = Authority::new("a").card(Some("bob"));
    assert_eq!(site.connect(Some(&other), amy("pw")), None, "a wrong one is worse than none");
    site.server.drain().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn authorities_are_read_again() {
    let site = Site::start("reload", "").await;
    let next = Authority::new("b");
    let (old, new) = (site.authority.card(Some("bob")), next.card(Some("bob")));
    let path = site.folder.join("clients.pem");
    assert_eq!(site.connect(Some(&old), Opening::v5("c")).unwrap(), "\"c\" of null");
    assert_eq!(site.connect(Some(&new), Opening::v5("c")), None);
    replace(&path, &next);
    assert!(site.server.reload_tls().await.unwrap());
    assert_eq!(site.connect(Some(&new), Opening::v5("c")).unwrap(), "\"c\" of null");
    assert_eq!(site.connect(Some(&old), Opening::v5("c")), None);
    std::fs::write(&path, "nothing").unwrap();
    let error = site.server.reload_tls().await.unwrap_err().to_string();
    assert!(error.ends_with("clients.pem: holds no certificate"), "{error}");
    assert_eq!(site.connect(Some(&new), Opening::v5("c")).unwrap(), "\"c\" of null", "the old ones stay");
    site.server.drain().await;
}
