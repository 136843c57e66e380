//! State files: what survives them, and everything that can be wrong with one.

use super::*;
use bytes::Bytes;
use hub::{Body, ChannelName, Except, Message, MessageId, Partition, SavedEntry, SavedRecovery, SavedRoster};
use hub::{Position, SavedSpan, Scope, SessionId};

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
    };
    SavedEntry { message: Arc::new(message), scope, left_ms: 119_999 }
}

/// Everything that can be in a state, once.
fn state() -> NodeState {
    let id = SessionId::new(Partition(2), 7, [9; 9]);
    let plain = SessionId::new(Partition(0), 8, [8; 9]);
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
    };
    let other = SavedSession {
        id: plain,
        user: None,
        info: None,
        subscriptions: Vec::new(),
        age_ms: 1,
        left_ms: 2,
        recovery: SavedRecovery { start: 0, admitted: 0, lost: 0, spans: Vec::new() },
    };
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
    let sessions = vec![session, other];
    let snapshot = Snapshot { epoch: 77, last: 9, asks_last: 5, sessions, entries, rosters };
    let full = ShardState { shard: ShardId(0), snapshot, namespaces: vec!["/".into(), "/chat".into()] };
    let empty = Snapshot {
        epoch: 1,
        last: 0,
        asks_last: 0,
        sessions: Vec::new(),
        entries: Vec::new(),
        rosters: Vec::new(),
    };
    let empty = ShardState { shard: ShardId(1), snapshot: empty, namespaces: Vec::new() };
    let key = PidKey::from_bytes([42; 32]);
    NodeState { saved_at_ms: 1_795_000_000_000, topology: OWN, key, shards: vec![full, empty] }
}

/// All of it but the key, which shows itself to nobody.
fn shown(state: &NodeState) -> String {
    format!("{state:?} {:?}", state.key.to_bytes())
}

#[test]
fn what_was_saved_is_taken_once() {
    let folder = Folder::new("once");
    save(&folder.file(), &state()).unwrap();
    assert_eq!(folder.names(), ["state"]);
    let taken = take(&folder.file(), OWN).unwrap();
    assert_eq!(shown(&taken), shown(&state()));
    assert_eq!((taken.session_count(), taken.elapsed_ms() > 0), (2, true));
    assert_eq!(taken.age_ms_max(), 5_000 + taken.elapsed_ms());
    assert!(folder.names().is_empty());
    assert!(take(&folder.file(), OWN).is_none(), "no file is no error");
    assert!(folder.names().is_empty());
}

/// The format is what other versions read: a change needs another `VERSION`.
#[test]
fn the_format_is_pinned() {
    let bytes = format::encode(&state()).unwrap();
    let sum: String = bytes[bytes.len() - 32..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(
        (bytes.len(), format::VERSION, &*sum),
        (429, 1, "09ea6d679e89e68e259aba0ff8c69df7fda70efe1f826527b191bcbc19c0753c")
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
    assert_eq!(error.to_string(), "its format is 2, this version reads format 1 only");
}

#[test]
fn what_cannot_be_used_is_kept_aside_and_found_by_no_later_start() {
    let folder = Folder::new("aside");
    for other in [Topology { shards: 3, ..OWN }, Topology { partitions: 128, ..OWN }] {
        save(&folder.file(), &state()).unwrap();
        assert!(take(&folder.file(), other).is_none());
        assert_eq!(folder.names(), ["state.bad"]);
        assert!(take(&folder.file(), OWN).is_none());
    }
    std::fs::write(folder.file(), "[server]\n").unwrap();
    assert!(take(&folder.file(), OWN).is_none());
    assert_eq!(std::fs::read(folder.0.join("state.bad")).unwrap(), b"[server]\n");
    let topology = Unusable::Topology { saved: OWN, own: Topology { shards: 3, partitions: 64 } };
    let text = "it is of a node with 2 shards and 64 partitions, this one has 3 and 64";
    assert_eq!(topology.to_string(), text);
}

#[test]
fn only_the_owner_may_read_it_whatever_was_there_before() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new("mode");
    std::fs::write(folder.0.join("state.part"), "left by a crash, for all to read").unwrap();
    save(&folder.file(), &state()).unwrap();
    assert_eq!(std::fs::metadata(folder.file()).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(folder.names(), ["state"]);
}

#[test]
fn trying_out_leaves_nothing_and_tells_of_a_folder_that_is_not_there() {
    let folder = Folder::new("try");
    try_out(&folder.file()).unwrap();
    assert!(folder.names().is_empty());
    let error = try_out(&folder.0.join("nowhere/state")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(save(&folder.0.join("nowhere/state"), &state()).is_err());
    std::fs::create_dir(folder.file()).unwrap();
    assert!(take(&folder.file(), OWN).is_none());
    assert_eq!(try_out(&folder.file()).unwrap_err().kind(), ErrorKind::IsADirectory);
    assert_eq!(folder.names(), ["state"], "a folder is left alone");
}
