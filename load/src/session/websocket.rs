//! A client that begins with a WebSocket: of Socket.IO, a stream of CloudEvents, or bare.
//!
//! Owns the way from the upgrade request to the acknowledged join, and the answers to pings. A bare one and a stream are ready with the
//! answer to their upgrade request. Start at [`WebSocket::received`].

use wire::cloudevent::CHANNEL_MESSAGE;
use wire::engineio::{Handshake, Packet, Version};
use wire::http::{HeadLimits, parse_response_head};
use wire::stream::SUBPROTOCOL;
use wire::websocket::{
    CloseCode, Decoded, Decoder, Event, Opcode, Role, UpgradeRequest, check_response, client_key,
    masked_close_frame, masked_frame, write_upgrade_request,
};

use super::resume::Resume;
use super::{Next, Script, Sink, Took, filled};
use crate::comeback::Recovery;
use crate::message::Marker;
use crate::target::Target;

/// Largest message taken from a server.
const MESSAGE_BYTES_MAX: u32 = 64 << 20;

/// The key of every upgrade request. It protects nobody here, and 24 bytes per connection are saved.
pub(crate) const NONCE: [u8; 16] = *b"trunkline bench\0";

/// One client: 48 bytes.
///
/// ```text
/// Upgrading ──101──> Opening ──"0{..}"──> Joining the namespace ──"40{..}"──> Ready
///                                                  └─(with a join)─> Joining a room ──"430[..]"──> Ready
/// UpgradingBare ──101──> Listening
/// UpgradingStream ──101──> Stream
/// Ready ──"41", close──> Leaving ──close──> Left
/// ```
/// A new connection begins at the left again. A client that the server recovers is in its room already; what it missed
/// comes before the answer `40{..}`.
#[derive(Debug)]
pub(crate) struct WebSocket {
    decoder: Decoder,
    index: u32,
    phase: Phase,
    /// With recovery: who it was.
    resume: Option<Box<Resume>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Ready as soon as it is connected; nothing is ever said.
    Frames,
    /// On the way to [`Phase::Listening`].
    UpgradingBare,
    /// Every message is a delivery.
    Listening,
    /// On the way to [`Phase::Stream`].
    UpgradingStream,
    /// Every event that is a message of a channel is a delivery.
    Stream,
    Upgrading,
    Opening,
    Namespace,
    Room,
    Ready,
    /// Goodbye was said.
    Leaving,
    /// The server said so too.
    Left,
}

impl WebSocket {
    /// Client `index`.
    pub(crate) fn new(index: u32) -> Self {
        Self { decoder: decoder(), index, phase: Phase::Upgrading, resume: None }
    }

    /// Client `index`; with recovery it asks for the session it had whenever it comes back.
    pub(crate) fn with_recovery(index: u32, recovery: Recovery) -> Self {
        Self { resume: (recovery == Recovery::On).then(Box::default), ..Self::new(index) }
    }

    /// Client `index` of a server that speaks nothing above WebSocket.
    pub(crate) fn bare(index: u32) -> Self {
        Self { phase: Phase::UpgradingBare, ..Self::new(index) }
    }

    /// Client `index` of `/ws`.
    pub(crate) fn stream(index: u32) -> Self {
        Self { phase: Phase::UpgradingStream, ..Self::new(index) }
    }

    /// A receiver of bare frames.
    pub(crate) fn without_handshake(index: u32) -> Self {
        Self { phase: Phase::Frames, ..Self::new(index) }
    }

    /// Whether the way to the session's goal is behind it.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// See [`super::Session::phase`].
    pub(crate) fn phase(&self) -> &'static str {
        match self.phase {
            Phase::Upgrading | Phase::UpgradingBare | Phase::UpgradingStream => "the upgrade request",
            Phase::Opening => "the opened WebSocket",
            Phase::Namespace => "the packet that enters the namespace",
            Phase::Room => "the event that joins",
            Phase::Frames | Phase::Listening | Phase::Stream => "what was said last",
            Phase::Ready | Phase::Leaving | Phase::Left => "what was said last",
        }
    }

    /// See [`super::Session::say`].
    pub(crate) fn say(&mut self, script: &Script, marker: Marker, out: &mut Vec<u8>) -> bool {
        match &script.emission {
            Some(emission) if self.is_ready() => {
                say(&emission.packet(self.index, marker), self.index, out);
                true
            }
            _ => false,
        }
    }

    /// See [`super::Session::leave`].
    pub(crate) fn leave(&mut self, out: &mut Vec<u8>) {
        if self.is_ready() {
            self.phase = Phase::Leaving;
            say(b"41", self.index, out);
            masked_close_frame(CloseCode::NORMAL, "", mask(self.index), out);
        }
    }

    /// See [`super::Session::is_leaving`].
    pub(crate) fn is_leaving(&self) -> bool {
        matches!(self.phase, Phase::Leaving | Phase::Left)
    }

    /// See [`super::Session::connected`].
    pub(crate) fn connected(
        &mut self,
        script: &Script,
        target: &Target,
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) {
        if self.phase == Phase::Frames {
            self.phase = Phase::Ready;
            return sink.ready();
        }
        let path = |default| if target.path.is_empty() { default } else { target.path.as_str() };
        // What a connection that was cut left half done is worth nothing.
        self.decoder = decoder();
        let mut headers: &[(&str, &str)] = &[];
        let at = match self.phase {
            Phase::UpgradingStream | Phase::Stream => {
                self.phase = Phase::UpgradingStream;
                headers = &[("sec-websocket-protocol", SUBPROTOCOL)];
                script.stream_path(target, ("/ws", self.index))
            }
            Phase::UpgradingBare | Phase::Listening => {
                self.phase = Phase::UpgradingBare;
                filled(path("/"), self.index)
            }
            _ => {
                self.phase = Phase::Upgrading;
                format!("{}?EIO=4&transport=websocket", path("/socket.io/"))
            }
        };
        let key = client_key(NONCE);
        write_upgrade_request(out, &UpgradeRequest { target: &at, host: &target.host, key: &key, headers });
    }

    /// See [`super::Session::received`].
    pub(crate) fn received(
        &mut self,
        script: &Script,
        buf: &mut [u8],
        out: &mut Vec<u8>,
        sink: &mut impl Sink,
    ) -> Result<Took, String> {
        let mut start = 0;
        if matches!(self.phase, Phase::Upgrading | Phase::UpgradingBare | Phase::UpgradingStream) {
            start = self.upgraded(buf, sink)?;
            if start == 0 {
                return Ok(Took { consumed: 0, next: Next::Continue });
            }
        }
        loop {
            let rest = buf.get_mut(start..).unwrap_or_default();
            match self.decoder.decode(rest).map_err(|violation| violation.to_string())? {
                Decoded::NeedMore { consumed, .. } => {
                    return Ok(Took { consumed: start + consumed, next: Next::Continue });
                }
                Decoded::Event { event, consumed } => {
                    let resume = self.resume.as_deref_mut();
                    handle(&mut self.phase, event, Turn { index: self.index, script, resume, out, sink })?;
                    start += consumed;
                    if self.phase == Phase::Left {
                        return Ok(Took { consumed: start, next: Next::Finish });
                    }
                }
            }
        }
    }

    /// Bytes of the response head; 0 while it is incomplete.
    fn upgraded(&mut self, buf: &[u8], sink: &mut impl Sink) -> Result<usize, String> {
        let limits = HeadLimits::default();
        let Some(head) = parse_response_head(buf, &limits).map_err(|error| error.to_string())? else {
            return Ok(0);
        };
        check_response(&head, &client_key(NONCE))
            .map_err(|error| format!("upgrade refused with {}: {error}", head.status))?;
        self.phase = match self.phase {
            Phase::UpgradingBare => Phase::Listening,
            Phase::UpgradingStream => Phase::Stream,
            _ => Phase::Opening,
        };
        if self.phase != Phase::Opening {
            sink.ready();
        }
        Ok(head.len)
    }
}

pub(crate) fn decoder() -> Decoder {
    Decoder::new(Role::Client, MESSAGE_BYTES_MAX)
}

/// What is at hand while an event is dealt with.
struct Turn<'a, S> {
    index: u32,
    script: &'a Script,
    resume: Option<&'a mut Resume>,
    out: &'a mut Vec<u8>,
    sink: &'a mut S,
}

fn handle<S: Sink>(phase: &mut Phase, event: Event<'_>, turn: Turn<'_, S>) -> Result<(), String> {
    match event {
        Event::Text(text) if *phase == Phase::Listening => {
            turn.sink.message(Marker::find(text.as_bytes()));
            Ok(())
        }
        Event::Text(text) if *phase == Phase::Stream => cloud_event(&text, turn.sink),
        Event::Text(text) => packet(phase, &text, turn),
        Event::Ping(payload) => {
            masked_frame(Opcode::Pong, payload, mask(turn.index), turn.out);
            Ok(())
        }
        Event::Pong(_) => {
            turn.sink.ack();
            Ok(())
        }
        Event::Binary(bytes) => {
            if *phase == Phase::Listening {
                turn.sink.message(Marker::find(&bytes));
            }
            Ok(())
        }
        Event::Close { .. } if *phase == Phase::Leaving => {
            *phase = Phase::Left;
            Ok(())
        }
        Event::Close { code, reason } => {
            Err(format!("closed by the server: {} {reason}", code.map_or(1005, |code| code.0)))
        }
    }
}

/// What a stream is told: a message, that it has begun, or that something could not be done. The type is before the content, so
/// that no content can look like it.
fn cloud_event(text: &str, sink: &mut impl Sink) -> Result<(), String> {
    let (_, rest) = text.split_once("\"type\":\"").unwrap_or_default();
    match rest.split('"').next() {
        Some(CHANNEL_MESSAGE) => sink.message(Marker::find(text.as_bytes())),
        Some("trunkline.stream.opened") => {}
        _ => return Err(format!("unexpected event {text:.200}")),
    }
    Ok(())
}

fn packet<S: Sink>(phase: &mut Phase, text: &str, turn: Turn<'_, S>) -> Result<(), String> {
    let packet = Packet::from_text(Version::V4, text).map_err(|error| format!("{error:?} in {text:.60}"))?;
    match (*phase, packet) {
        (_, Packet::Ping(_)) => say(b"3", turn.index, turn.out),
        (Phase::Leaving, Packet::Close) => *phase = Phase::Left,
        (_, Packet::Close) => return Err("the server ended the session".into()),
        (Phase::Opening, Packet::Open(json)) => {
            Handshake::parse(json).map_err(|error| error.to_string())?;
            *phase = Phase::Namespace;
            say(&turn.script.connect_packet(turn.index, turn.resume.as_deref()), turn.index, turn.out);
        }
        (Phase::Namespace | Phase::Room, Packet::Text(message)) => joined(phase, message, turn)?,
        (Phase::Ready | Phase::Leaving, Packet::Text(message)) => match message.as_bytes().first() {
            Some(b'2') => turn.event(message),
            Some(b'3') => match Marker::find(message.as_bytes()) {
                // The message comes back as its acknowledgement.
                Some(marker) => turn.sink.message(Some(marker)),
                None => turn.sink.ack(),
            },
            _ => return Err(format!("unexpected packet 4{message:.60}")),
        },
        (_, Packet::Noop) => {}
        _ => return Err(format!("unexpected packet {text:.60}")),
    }
    Ok(())
}

/// A Socket.IO packet before the client is ready. Events may come as soon as the namespace is joined.
fn joined<S: Sink>(phase: &mut Phase, message: &str, mut turn: Turn<'_, S>) -> Result<(), String> {
    match (*phase, message.as_bytes().first()) {
        (Phase::Namespace, Some(b'0')) => match turn.goal(message)? {
            Some(join) => {
                *phase = Phase::Room;
                say(&join, turn.index, turn.out);
            }
            None => {
                *phase = Phase::Ready;
                turn.sink.ready();
            }
        },
        (Phase::Room, Some(b'3')) => {
            *phase = Phase::Ready;
            turn.sink.ready();
        }
        (Phase::Room, Some(b'2')) => turn.event(message),
        (Phase::Namespace, Some(b'2')) if turn.resume.as_ref().is_some_and(|it| it.is_returning()) => {
            turn.event(message);
        }
        _ => return Err(format!("not let in: 4{message:.200}")),
    }
    Ok(())
}

impl<S: Sink> Turn<'_, S> {
    fn event(mut self, message: &str) {
        self.sink.message(Marker::find(message.as_bytes()));
        if let Some(resume) = &mut self.resume {
            resume.event(message);
        }
    }

    /// The namespace let it in: what it has to say to be where the scenario wants it.
    fn goal(&mut self, message: &str) -> Result<Option<Vec<u8>>, String> {
        if let Some(resume) = &mut self.resume
            && resume.connected(message)?
        {
            self.sink.recovered();
            return Ok(None);
        }
        Ok(self.script.join_packet(self.index))
    }
}

/// Appends a masked text frame.
pub(crate) fn say(packet: &[u8], index: u32, out: &mut Vec<u8>) {
    masked_frame(Opcode::Text, packet, mask(index), out);
}

/// A mask that differs between connections and is never zero; a generator needs no secret one.
pub(crate) fn mask(index: u32) -> [u8; 4] {
    (index.wrapping_mul(0x9e37_79b1) | 1).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{self, Batch};
    use crate::session::{Emission, Join, Protocol};
    use wire::http::parse_head;
    use wire::websocket::{accept, frame};

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        ready: u32,
        numbers: Vec<Option<u32>>,
        acks: u32,
        recovered: u32,
    }

    impl Sink for Seen {
        fn recovered(&mut self) {
            self.recovered += 1;
        }

        fn ready(&mut self) {
            self.ready += 1;
        }
        fn message(&mut self, marker: Option<Marker>) {
            self.numbers.push(marker.map(|marker| marker.number));
        }
        fn ack(&mut self) {
            self.acks += 1;
        }
    }

    /// What a client said, unmasked.
    fn said(out: &mut Vec<u8>) -> Vec<String> {
        let mut decoder = Decoder::new(Role::Server, 1 << 20);
        let (mut bytes, mut texts) = (std::mem::take(out), Vec::new());
        let mut start = 0;
        while let Decoded::Event { event, consumed } = decoder.decode(&mut bytes[start..]).unwrap() {
            match event {
                Event::Text(text) => texts.push(text.into_owned()),
                Event::Close { code, .. } => texts.push(format!("close {}", code.unwrap().0)),
                other => panic!("{other:?}"),
            }
            start += consumed;
        }
        texts
    }

    #[test]
    fn a_client_comes_to_its_room_and_counts() {
        let join = Some(Join { event: "join".into(), room: "r%{i}".into() });
        let script = Script::new(Protocol::SocketIo, join);
        let target = "http://127.0.0.1:9".parse().unwrap();
        let (mut client, mut out, mut seen) = (WebSocket::new(5), Vec::new(), Seen::default());
        client.connected(&script, &target, &mut out, &mut seen);
        let head = parse_head(&out, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!(head.query, "EIO=4&transport=websocket");
        let mut reply = Vec::new();
        accept(&head).unwrap().respond(None, &mut reply);
        out.clear();

        // Half of the head is left alone.
        let took = client.received(&script, &mut reply.clone()[..20], &mut out, &mut seen).unwrap();
        assert_eq!(took.consumed, 0);
        let open = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1}"#;
        frame(Opcode::Text, open.as_bytes(), &mut reply);
        let took = client.received(&script, &mut reply, &mut out, &mut seen).unwrap();
        assert_eq!(took.consumed, reply.len());
        assert_eq!(said(&mut out), ["40"]);

        let mut more = Vec::new();
        for text in ["40{\"sid\":\"x\"}", "2", "430[]"] {
            frame(Opcode::Text, text.as_bytes(), &mut more);
        }
        let batch = Batch { numbers: 0..2, due_ns: 1, payload_bytes: 200 };
        batch.data().for_each(|data| message::frame(&data, &mut more));
        frame(Opcode::Text, b"42[\"hello\"]", &mut more);
        client.received(&script, &mut more, &mut out, &mut seen).unwrap();
        assert_eq!(said(&mut out), ["420[\"join\",\"r5\"]", "3"]);
        assert_eq!(seen, Seen { ready: 1, numbers: vec![Some(0), Some(1), None], ..Seen::default() });
        assert!(client.is_ready());
    }

    /// A new connection up to the open packet; returns what the client says then.
    fn connect(client: &mut WebSocket, script: &Script, seen: &mut Seen) -> Vec<String> {
        let target = "http://127.0.0.1:9".parse().unwrap();
        let (mut out, mut reply) = (Vec::new(), Vec::new());
        client.connected(script, &target, &mut out, seen);
        accept(&parse_head(&out, &HeadLimits::default()).unwrap().unwrap())
            .unwrap()
            .respond(None, &mut reply);
        out.clear();
        let open = r#"0{"sid":"s","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1}"#;
        frame(Opcode::Text, open.as_bytes(), &mut reply);
        client.received(script, &mut reply, &mut out, seen).unwrap();
        said(&mut out)
    }

    #[test]
    fn who_is_cut_within_a_frame_asks_for_what_it_missed_and_joins_only_anew() {
        let join = Some(Join { event: "join".into(), room: "r".into() });
        let script = Script::new(Protocol::SocketIo, join);
        let (mut client, mut seen) = (WebSocket::with_recovery(5, Recovery::On), Seen::default());
        let hear = |client: &mut WebSocket, texts: &[String], cut: usize, seen: &mut Seen| {
            let (mut bytes, mut out) = (Vec::new(), Vec::new());
            texts.iter().for_each(|text| frame(Opcode::Text, text.as_bytes(), &mut bytes));
            let end = bytes.len() - cut;
            client.received(&script, &mut bytes[..end], &mut out, seen).unwrap();
            said(&mut out)
        };
        let message = |number: u32| {
            let data = Marker { number, due_ns: 0 }.data(0);
            format!("42[\"message\",\"{data}\",\"o{number}\"]")
        };
        assert_eq!(connect(&mut client, &script, &mut seen), ["40{\"csr\":1}"]);
        let connected = |sid: &str| format!("40{{\"sid\":\"{sid}\",\"pid\":\"p\"}}");
        assert_eq!(hear(&mut client, &[connected("a")], 0, &mut seen), ["420[\"join\",\"r\"]"]);
        hear(&mut client, &["430[]".into(), message(0), message(1)], 3, &mut seen);
        assert_eq!((seen.ready, seen.numbers.len()), (1, 1), "the second message is not whole");

        let wish = "40{\"csr\":1,\"offset\":\"o0\",\"pid\":\"p\"}";
        assert_eq!(connect(&mut client, &script, &mut seen), [wish]);
        assert!(hear(&mut client, &[message(1), message(2), connected("a")], 0, &mut seen).is_empty());
        assert_eq!(seen.numbers, [Some(0), Some(1), Some(2)]);
        assert_eq!((seen.ready, seen.recovered), (2, 1));

        let wish = "40{\"csr\":1,\"offset\":\"o2\",\"pid\":\"p\"}";
        assert_eq!(connect(&mut client, &script, &mut seen), [wish]);
        assert_eq!(hear(&mut client, &[connected("b")], 0, &mut seen), ["420[\"join\",\"r\"]"]);
        hear(&mut client, &["430[]".into()], 0, &mut seen);
        assert_eq!((seen.ready, seen.recovered), (3, 1));
    }

    #[test]
    fn a_bare_client_is_ready_with_the_answer_and_takes_every_message() {
        let script = Script::new(Protocol::WebSocket, None);
        let target = "http://127.0.0.1:9/sub/room-%{i%100}".parse().unwrap();
        let (mut client, mut out, mut seen) = (WebSocket::bare(1207), Vec::new(), Seen::default());
        client.connected(&script, &target, &mut out, &mut seen);
        let head = parse_head(&out, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!((head.path, head.query), ("/sub/room-7", ""));
        let mut reply = Vec::new();
        accept(&head).unwrap().respond(None, &mut reply);
        out.clear();
        client.received(&script, &mut reply, &mut out, &mut seen).unwrap();
        assert_eq!(seen.ready, 1);

        let mut more = Vec::new();
        frame(Opcode::Text, Marker { number: 4, due_ns: 0 }.data(20).as_bytes(), &mut more);
        frame(Opcode::Binary, Marker { number: 5, due_ns: 0 }.data(20).as_bytes(), &mut more);
        frame(Opcode::Ping, b"p", &mut more);
        frame(Opcode::Text, b"2", &mut more);
        client.received(&script, &mut more, &mut out, &mut seen).unwrap();
        assert_eq!(seen.numbers, [Some(4), Some(5), None]);
        let mut decoder = Decoder::new(Role::Server, 1 << 20);
        let answered = decoder.decode(&mut out).unwrap();
        assert!(matches!(answered, Decoded::Event { event: Event::Pong(b"p"), .. }), "{answered:?}");
    }

    #[test]
    fn a_stream_asks_for_its_channel_and_counts_what_is_published_there() {
        let script = Script::new(Protocol::CloudEvents, Some(Join::to_filter("comet/%{i}")));
        let target = "http://127.0.0.1:9".parse().unwrap();
        let (mut client, mut out, mut seen) = (WebSocket::stream(7), Vec::new(), Seen::default());
        client.connected(&script, &target, &mut out, &mut seen);
        let head = parse_head(&out, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!((head.path, head.query), ("/ws", "channel=comet%2F7"));
        assert_eq!(head.header("sec-websocket-protocol"), Some("cloudevents.json"));
        let mut reply = Vec::new();
        accept(&head).unwrap().respond(Some("cloudevents.json"), &mut reply);
        out.clear();
        let event = |kind: &str, data: &str| {
            format!(
                r#"{{"specversion":"1.0","id":"1","source":"/","type":"trunkline.{kind}","data":{data}}}"#
            )
        };
        let data = Marker { number: 4, due_ns: 0 }.data(20);
        for (kind, data) in [("stream.opened", "{}"), ("channel.message", &format!("\"{data}\""))] {
            frame(Opcode::Text, event(kind, data).as_bytes(), &mut reply);
        }
        client.received(&script, &mut reply, &mut out, &mut seen).unwrap();
        assert_eq!(seen, Seen { ready: 1, numbers: vec![Some(4)], ..Seen::default() });
        let mut refused = Vec::new();
        frame(Opcode::Text, event("refused", "{\"code\":\"over-limit\"}").as_bytes(), &mut refused);
        let error = client.received(&script, &mut refused, &mut out, &mut seen).unwrap_err();
        assert!(error.contains("over-limit"), "{error}");
    }

    #[test]
    fn a_client_says_what_it_is_asked_to_and_leaves() {
        let mut script = Script::new(Protocol::SocketIo, None);
        let (mut client, mut out, mut seen) = (WebSocket::new(5), Vec::new(), Seen::default());
        let marker = Marker { number: 3, due_ns: 16 };
        client.phase = Phase::Ready;
        assert!(!client.say(&script, marker, &mut out), "nothing to say");
        script.emission = Some(Emission::new("echo", None, 0));
        client.phase = Phase::Room;
        assert!(!client.say(&script, marker, &mut out), "not there yet");
        client.phase = Phase::Ready;
        assert!(client.say(&script, marker, &mut out));
        client.leave(&mut out);
        assert!(client.is_leaving() && !client.say(&script, marker, &mut out));
        assert_eq!(said(&mut out), ["42[\"echo\",\"#00000003@0000000000000010\"]", "41", "close 1000"]);

        let mut answer = Vec::new();
        frame(Opcode::Text, b"42[\"echo\",\"#00000003@0000000000000010\"]", &mut answer);
        wire::websocket::close_frame(CloseCode::NORMAL, "", &mut answer);
        let took = client.received(&script, &mut answer, &mut out, &mut seen).unwrap();
        assert_eq!((took.next, took.consumed), (Next::Finish, answer.len()));
        assert_eq!(seen.numbers, [Some(3)], "what comes behind the goodbye still counts");
    }

    #[test]
    fn refusals_are_told() {
        let script = Script::new(Protocol::SocketIo, None);
        let (mut out, mut seen) = (Vec::new(), Seen::default());
        let mut refused = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n".to_vec();
        let error = WebSocket::new(0).received(&script, &mut refused, &mut out, &mut seen).unwrap_err();
        assert!(error.starts_with("upgrade refused with 503"), "{error}");
        let mut client = WebSocket { phase: Phase::Namespace, ..WebSocket::new(0) };
        let mut frames = Vec::new();
        frame(Opcode::Text, b"44{\"message\":\"no\"}", &mut frames);
        let error = client.received(&script, &mut frames, &mut out, &mut seen).unwrap_err();
        assert_eq!(error, "not let in: 44{\"message\":\"no\"}");
    }
}
