//! State files: what survives them, and everything that can be wrong with one.

use super::*;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use hub::{
    Body, ChannelName, Except, Message, MessageId, Millis, Options, Partition, Position, Quality, SavedClaim,
    SavedDelayed, SavedEntry, SavedExchange, SavedParcel, SavedRecovery, SavedRoster, SavedSession,
    SavedSpan, SavedSubscription, SavedWalk, SavedWill, Scope, SessionId, Traits, claim_home,
};

const OWN: Topology = Topology { shards: 2, partitions: 64 };

/// A folder that goes with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trunkline-state-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("state")
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _already_gone = std::fs::remove_dir_all(&self.0);
    }
}

fn channel(name: &str) -> ChannelName {
    ChannelName::parse(name, 100).unwrap()
}

fn entry(scope: Scope, body: Body, except: Option<Except>) -> SavedEntry {
    let message = Message {
        id: MessageId(u128::MAX - 7),
        channel: channel("chat/r1"),
        event: Some("say".into()),
        body,
        volatile: false,
        except: except.map(Box::new),
        position: Some(Position { epoch: 3, offset: 4 }),
        published: Millis(0),
        traits: hub::Traits::default(),
    };
    SavedEntry { message: Arc::new(message), scope, left_ms: 119_999 }
}

/// A message as MQTT clients send them.
fn message(quality: Quality, expires: Option<u64>) -> Arc<Message> {
    Arc::new(Message {
        id: MessageId(12),
        channel: channel("t/1"),
        event: None,
        body: Body::Raw(Bytes::from_static(b"on")),
        volatile: true,
        except: None,
        position: None,
        published: Millis(0),
        traits: Traits {
            quality,
            retain: true,
            origin: Some(SessionId::new(Partition(2), 9, [7; 9])),
            user: None,
            attributes: Bytes::from_static(&[3, 0, 1, b'x']),
            expires: expires.map(Millis),
            delay_ms: 5,
            told_anew: false,
            key: None,
            gives_way: false,
            way: 0,
        },
    })
}

/// Of a client whose home is the first shard, with everything that a session can have.
fn claim() -> SavedClaim {
    let parcel = |message, quality, group: Option<&str>| SavedParcel {
        message,
        quality,
        retained: group.is_none(),
        labels: vec![3, 268_435_455],
        group: group.map(Arc::from),
    };
    let options = Options {
        quality: Quality::ExactlyOnce,
        skip_own: true,
        keep_retain: true,
        label: 5,
        origin: hub::Origin::Asked,
    };
    let subscription = |name: &str| SavedSubscription { name: name.into(), options };
    let name =
        (0..).map(|n| format!("device {n}")).find(|name| claim_home(name, &OWN) == ShardId(0)).unwrap();
    let partition = Partition(u16::try_from(hub::name_hash(name.as_bytes()) % 64).unwrap());
    SavedClaim {
        id: SessionId::new(partition, 9, [7; 9]),
        name: name.into(),
        user: Some("bob".into()),
        age_ms: 6_000,
        keep_ms: u64::MAX,
        left_ms: u64::MAX,
        window: 20,
        last: 7,
        will: Some(SavedWill { message: 1, expires_after_ms: Some(3), left_ms: 4 }),
        subscriptions: vec![subscription("t/+"), subscription("$user/bob")],
        shares: vec![subscription("g/t/#")],
        sent: vec![
            SavedExchange {
                number: 6,
                quality: Quality::AtLeastOnce,
                parcel: Some(parcel(0, Quality::AtLeastOnce, Some("g/t/#"))),
            },
            SavedExchange { number: 7, quality: Quality::ExactlyOnce, parcel: None },
        ],
        waiting: vec![parcel(1, Quality::ExactlyOnce, None)],
        taken: vec![1, 65_535],
        walks: vec![SavedWalk {
            home: ShardId(1),
            filter: "t/+".into(),
            options,
            after: Some(channel("t/0")),
        }],
    }
}

/// One that has missed something, and one that has nothing.
fn sessions(id: SessionId, plain: SessionId) -> Vec<SavedSession> {
    let spans = vec![
        SavedSpan { name: "a".into(), from: 1, to: Some(2) },
        SavedSpan { name: "b/#".into(), from: 2, to: None },
    ];
    let session = SavedSession {
        id,
        user: Some("bob".into()),
        info: Some(Bytes::from_static(b"{\"n\":1}")),
        subscriptions: vec!["main".into(), "$user/bob".into(), "b/#".into()],
        age_ms: 5_000,
        left_ms: 120_000,
        recovery: SavedRecovery { start: 1, admitted: 2, lost: 3, spans },
        keepsake: Bytes::new(),
    };
    let other = SavedSession {
        id: plain,
        user: None,
        info: None,
        subscriptions: Vec::new(),
        age_ms: 1,
        left_ms: 2,
        recovery: SavedRecovery { start: 0, admitted: 0, lost: 0, spans: Vec::new() },
        keepsake: Bytes::new(),
    };
    vec![session, other]
}

/// Everything that can be in a state, once.
fn state() -> NodeState {
    let id = SessionId::new(Partition(2), 7, [9; 9]);
    let plain = SessionId::new(Partition(0), 8, [8; 9]);
    let values = Body::Values {
        json: Bytes::from_static(b"[{\"_placeholder\":true,\"num\":0}]"),
        attachments: vec![Bytes::from_static(&[0, 255, 1])],
    };
    let except = Except { sessions: vec![plain], channels: vec![channel("quiet")] };
    let entries = vec![
        entry(Scope::Channel, values, Some(except)),
        entry(
            Scope::Union([channel("a"), channel("$client/x")].into()),
            Body::Raw(Bytes::from_static(&[200])),
            None,
        ),
        entry(Scope::Session(id), Body::Raw(Bytes::new()), None),
    ];
    let rosters = vec![SavedRoster { name: "main".into(), logged: 9, purged: 6 }];
    let sessions = sessions(id, plain);
    let (claims, retained, delayed) = (vec![claim()], vec![1], vec![SavedDelayed { message: 0, left_ms: 9 }]);
    let messages = vec![message(Quality::AtLeastOnce, None), message(Quality::ExactlyOnce, Some(700))];
    let snapshot = Snapshot {
        epoch: 77,
        last: 9,
        asks_last: 5,
        sessions,
        entries,
        rosters,
        claims,
        messages,
        retained,
        delayed,
    };
    let client = |namespace: &str, channel: &str, byte| SavedClient {
        namespace: namespace.into(),
        channel: channel.into(),
        proof: PidProof([byte; 16]),
    };
    let clients = vec![client("/", "main", 1), client("/chat", "chat", 2)];
    let ban = |of, left_ms, reason: Option<&str>| SavedBan { of, left_ms, reason: reason.map(Into::into) };
    let bans = vec![
        ban(Banned::Client("c".into()), Some(5), Some("flapping")),
        ban(Banned::User("u".into()), None, None),
        ban(Banned::Address([10, 0, 0, 7].into()), None, None),
        ban(Banned::Address([0x2001_u16, 0xdb8, 0, 0, 0, 0, 0, 7].into()), Some(1), None),
    ];
    let full = ShardState { shard: ShardId(0), snapshot, clients, bans };
    let empty = Snapshot {
        epoch: 1,
        last: 0,
        asks_last: 0,
        sessions: Vec::new(),
        entries: Vec::new(),
        rosters: Vec::new(),
        claims: Vec::new(),
        messages: Vec::new(),
        retained: Vec::new(),
        delayed: Vec::new(),
    };
    let empty = ShardState { shard: ShardId(1), snapshot: empty, clients: Vec::new(), bans: Vec::new() };
    NodeState { saved_at_ms: 1_795_000_000_000, topology: OWN, shards: vec![full, empty] }
}

fn shown(state: &NodeState) -> String {
    format!("{state:?}")
}

/// As the end of a server does.
fn save(path: &Path, state: &NodeState) -> io::Result<()> {
    let (place, _found) = Place::open(path, OWN).ok_or(io::ErrorKind::Other)?;
    place.save(state)
}

/// As a start that comes to its end; the outer `None`: the path cannot be used.
fn start(path: &Path, own: Topology) -> Option<Option<NodeState>> {
    let (_place, found) = Place::open(path, own)?;
    Some(found.map(|(state, taken)| {
        taken.used();
        state
    }))
}

#[test]
fn what_was_saved_is_taken_once() {
    let folder = Folder::new("once");
    save(&folder.file(), &state()).unwrap();
    assert_eq!(folder.names(), ["state", "state.lock"]);
    let taken = start(&folder.file(), OWN).unwrap().unwrap();
    assert_eq!(shown(&taken), shown(&state()));
    assert_eq!((taken.session_count(), taken.elapsed_ms() > 0), (3, true));
    assert_eq!(taken.age_ms_max(), 6_000 + taken.elapsed_ms());
    assert_eq!(folder.names(), ["state.lock"]);
    assert!(start(&folder.file(), OWN).unwrap().is_none(), "no file is no error");
    assert_eq!(folder.names(), ["state.lock"]);
}

#[test]
fn a_start_that_fails_leaves_the_file_to_the_next_and_one_that_dies_does_not() {
    let folder = Folder::new("fails");
    save(&folder.file(), &state()).unwrap();
    let (place, found) = Place::open(&folder.file(), OWN).unwrap();
    assert_eq!(folder.names(), ["state.lock", "state.taken"]);
    drop(found);
    drop(place);
    assert_eq!(folder.names(), ["state", "state.lock"]);
    let (place, found) = Place::open(&folder.file(), OWN).unwrap();
    // Nobody puts it back.
    std::mem::forget(found);
    drop(place);
    assert!(start(&folder.file(), OWN).unwrap().is_none());
    assert_eq!(folder.names(), ["state.lock"]);
}

#[test]
fn a_path_has_one_server_at_a_time() {
    let folder = Folder::new("lock");
    let first = Place::open(&folder.file(), OWN).unwrap();
    assert!(Place::open(&folder.file(), OWN).is_none());
    first.0.save(&state()).unwrap();
    drop(first);
    assert!(start(&folder.file(), OWN).unwrap().is_some());
}

#[test]
fn what_is_no_state_file_of_ours_is_left_alone_and_never_written_over() {
    let folder = Folder::new("foreign");
    let (path, elsewhere) = (folder.file(), folder.0.join("elsewhere"));
    let bytes = format::encode(&state()).unwrap();
    let write = |path: &Path, bytes: &[u8], mode| {
        std::fs::write(path, bytes).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    };
    let refused = |what: &str| {
        let before = folder.names();
        assert!(Place::open(&path, OWN).is_none(), "{what}");
        assert_eq!(folder.names(), before, "{what}");
    };
    write(&path, b"[server]\n", 0o600);
    refused("a configuration");
    assert_eq!(std::fs::read(&path).unwrap(), b"[server]\n");
    for mode in [0o640, 0o604, 0o620] {
        write(&path, &bytes, mode);
        refused("a file that others may read or write");
    }
    std::fs::remove_file(&path).unwrap();
    write(&elsewhere, &bytes, 0o600);
    symlink(&elsewhere, &path).unwrap();
    refused("a link");
    std::fs::remove_file(&path).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    refused("a pipe");
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused("a folder");
    std::fs::remove_dir(&path).unwrap();
    let (place, _) = Place::open(&path, OWN).unwrap();
    write(&path, b"came later", 0o600);
    assert!(place.save(&state()).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"came later");
    assert!(Place::open(Path::new("/dev/null"), OWN).is_none());
}

#[test]
fn after_a_cut_no_client_is_told_that_it_has_everything() {
    let mut state = state();
    state.doubt();
    let snapshot = &state.shards[0].snapshot;
    assert_eq!((snapshot.last, snapshot.entries.len()), (10, 0));
    let lost: Vec<_> = snapshot.sessions.iter().map(|session| session.recovery.lost).collect();
    assert_eq!(lost, [10, 10], "after every offset that was given out");
    assert!(sound::makes_sense(&state));
}

#[test]
fn what_makes_no_sense_is_damaged_whatever_its_checksum_says() {
    type Change = fn(&mut NodeState);
    let changes: [(&str, Change); 23] = [
        ("a shard twice", |state| state.shards[1].shard = ShardId(0)),
        ("a shard too many", |state| state.shards[1].shard = ShardId(2)),
        ("no shards", |state| state.topology.shards = 0),
        ("no partitions", |state| state.topology.partitions = 0),
        ("a session of another shard", |state| {
            state.shards[0].snapshot.sessions[0].id = SessionId::new(Partition(1), 7, [9; 9]);
        }),
        ("two sessions in a slot", |state| {
            state.shards[0].snapshot.sessions[0].id = SessionId::new(Partition(2), 8, [9; 9]);
        }),
        ("lost what never was", |state| state.shards[0].snapshot.sessions[0].recovery.lost = 10),
        ("a span that ends before it begins", |state| {
            state.shards[0].snapshot.sessions[0].recovery.spans[0].to = Some(0);
        }),
        ("more entries than numbers", |state| state.shards[0].snapshot.last = 2),
        ("no name", |state| state.shards[0].snapshot.sessions[0].subscriptions[0] = "a#b".into()),
        ("a roster ahead", |state| state.shards[0].snapshot.rosters[0].purged = 10),
        ("a claimed session in the slot of another", |state| {
            let id = state.shards[0].snapshot.claims[0].id;
            state.shards[0].snapshot.claims[0].id = SessionId::new(id.partition(), 7, [9; 9]);
        }),
        ("a claimed session of another shard", |state| {
            state.shards[0].snapshot.claims[0].id = SessionId::new(Partition(1), 9, [9; 9]);
        }),
        ("two sessions of a name", |state| {
            let mut other = state.shards[0].snapshot.claims[0].clone();
            other.id = SessionId::new(other.id.partition(), 10, [9; 9]);
            state.shards[0].snapshot.claims.push(other);
        }),
        ("a message that is not there", |state| state.shards[0].snapshot.claims[0].waiting[0].message = 2),
        ("a will that is not there", |state| {
            state.shards[0].snapshot.claims[0].will.as_mut().unwrap().message = 2;
        }),
        ("a number twice", |state| state.shards[0].snapshot.claims[0].sent[1].number = 6),
        ("no number", |state| state.shards[0].snapshot.claims[0].sent[0].number = 0),
        ("an exchange without a message", |state| state.shards[0].snapshot.claims[0].sent[0].parcel = None),
        ("a group without a filter", |state| {
            state.shards[0].snapshot.claims[0].shares[0].name = "g".into();
        }),
        ("a walk to nowhere", |state| state.shards[0].snapshot.claims[0].walks[0].home = ShardId(2)),
        ("two values of a channel", |state| state.shards[0].snapshot.retained.push(0)),
        ("a message to come that is not there", |state| state.shards[0].snapshot.delayed[0].message = 2),
    ];
    for (what, change) in changes {
        let mut state = state();
        change(&mut state);
        let bytes = format::encode(&state).unwrap();
        assert_eq!(format::decode(&bytes).unwrap_err(), Unusable::Damaged, "{what}");
    }
}

/// Bytes behind a head and before a sum that are right.
fn sealed(content: &[u8]) -> Vec<u8> {
    let head = &format::encode(&state()).unwrap()[..12];
    let mut bytes = [head, &(content.len() as u64).to_le_bytes(), content].concat();
    let sum = ring::digest::digest(&ring::digest::SHA256, &bytes);
    bytes.extend_from_slice(sum.as_ref());
    bytes
}

fn limits() -> hub::Limits {
    hub::Limits {
        sessions_max: 100,
        channels_max: 100,
        subscriptions_per_session_max: 10,
        channel_name_bytes_max: 64,
        outbox_messages_max: 10,
        outbox_bytes_max: 1_000,
        asks_per_session_max: 1,
        asks_max: 1,
        history_bytes_max: 1,

        retained_max: 1000,
        retained_bytes_max: 100_000,
        delayed_max: 1000,
        delayed_bytes_max: 100_000,
        recovery: hub::RecoveryLimits { messages_max: 2, bytes_max: 1_000, window_ms: 60_000 },
    }
}

/// What is decoded can be restored; and neither takes more memory than the bytes allow.
fn decode_and_restore(content: &[u8]) {
    let bytes = sealed(content);
    let mut decoded = None;
    let used = allocation_counter::measure(|| decoded = format::decode(&bytes).ok());
    // A count is believed up to the bytes behind it, and space is made for as many records at once: a node's, and within one of
    // them a session's, a message's or a claim's, of some hundred bytes each.
    let most = 1_024 * content.len() as u64 + (64 << 10);
    assert!(used.bytes_max <= most, "{} bytes for {}", used.bytes_max, content.len());
    for shard in decoded.into_iter().flat_map(|state| state.shards) {
        let mut hub = hub::Hub::new(hub::Config {
            shard: shard.shard,
            topology: OWN,
            epoch: 1,
            limits: limits(),
            rules: Vec::new(),
        });
        let (now, mut effects) = (hub::Millis(1_000), hub::Effects::default());
        hub.restore(now, 10, shard.snapshot, &mut effects);
        hub.apply(now, hub::Command::Tick, &mut effects);
        hub.apply(hub::Millis(u64::MAX / 2), hub::Command::Tick, &mut effects);
        let _saved_again = hub.snapshot(now);
    }
}

proptest::proptest! {
    #[test]
    fn no_content_panics_or_takes_memory_without_bound(content in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        decode_and_restore(&content);
    }

    #[test]
    fn no_change_of_a_content_panics_the_hub_that_gets_it(
        changes in proptest::collection::vec((0_usize..4096, proptest::num::u8::ANY), 1..4),
    ) {
        let whole = format::encode(&state()).unwrap();
        let mut content = whole[20..whole.len() - 32].to_vec();
        for (at, byte) in changes {
            let at = at % content.len();
            content[at] = byte;
        }
        decode_and_restore(&content);
    }
}

/// The format is what other versions read: a change needs another `VERSION`.
#[test]
fn the_format_is_pinned() {
    let bytes = format::encode(&state()).unwrap();
    let sum: String = bytes[bytes.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        (bytes.len(), format::VERSION, &*sum),
        (731, 4, "0259273dee59de67e6abfd11fdcc8f2be2f76642c33926d3b2c23fed0828ee77")
    );
}

#[test]
fn a_file_that_is_cut_off_or_changed_anywhere_is_damaged() {
    let bytes = format::encode(&state()).unwrap();
    for length in 0..bytes.len() {
        let error = format::decode(&bytes[..length]).unwrap_err();
        let expected = if length < 8 { Unusable::Foreign } else { Unusable::Damaged };
        assert_eq!(error, expected, "the first {length} bytes");
    }
    for place in 0..bytes.len() {
        let mut bytes = bytes.clone();
        bytes[place] ^= 0x20;
        assert!(format::decode(&bytes).is_err(), "byte {place}");
    }
    let longer = [&*bytes, b"x"].concat();
    assert_eq!(format::decode(&longer).unwrap_err(), Unusable::Damaged);
}

#[test]
fn another_format_is_told_by_its_number() {
    let mut bytes = format::encode(&state()).unwrap();
    bytes[8] = 2;
    let error = format::decode(&bytes).unwrap_err();
    assert_eq!(error, Unusable::Version(2));
    assert_eq!(error.to_string(), "its format is 2, this version reads format 4 only");
}

#[test]
fn what_cannot_be_used_is_kept_aside_and_found_by_no_later_start() {
    let folder = Folder::new("aside");
    for other in [Topology { shards: 3, ..OWN }, Topology { partitions: 128, ..OWN }] {
        save(&folder.file(), &state()).unwrap();
        assert!(start(&folder.file(), other).unwrap().is_none());
        assert_eq!(folder.names(), ["state.bad", "state.lock"]);
        assert!(start(&folder.file(), OWN).unwrap().is_none());
    }
    let topology = Unusable::Topology { saved: OWN, own: Topology { shards: 3, partitions: 64 } };
    let text = "it is of a node with 2 shards and 64 partitions, this one has 3 and 64";
    assert_eq!(topology.to_string(), text);
}

#[test]
fn a_file_that_is_too_long_is_kept_aside_unread() {
    use std::os::unix::fs::FileExt as _;
    let folder = Folder::new("long");
    save(&folder.file(), &state()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(folder.file()).unwrap();
    // Takes no room on the disk: nothing is written in between.
    file.write_all_at(b"x", 17 << 30).unwrap();
    assert!(start(&folder.file(), OWN).unwrap().is_none());
    assert_eq!(folder.names(), ["state.bad", "state.lock"]);
}

#[test]
fn only_the_owner_may_read_it_whatever_was_there_before() {
    let folder = Folder::new("mode");
    std::fs::write(folder.0.join("state.part"), "left by a crash, for all to read").unwrap();
    save(&folder.file(), &state()).unwrap();
    assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(folder.names(), ["state", "state.lock"]);
}

#[test]
fn a_folder_that_is_not_there_is_known_at_the_start() {
    let folder = Folder::new("nowhere");
    assert!(Place::open(&folder.0.join("nowhere/state"), OWN).is_none());
}
