//! Text forms and hashing of the names in `ids`: session ids, channel names, offsets and positions.
//! Owns the format of each; what is written here is stored and sent, so a change is a new format.

use crate::Refusal;
use crate::filter;
use crate::ids::{ChannelName, Offset, Partition, Position, SessionId, ShardId, Topology};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The text is not the name it was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidText;

impl fmt::Display for InvalidText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a well-formed name")
    }
}

impl std::error::Error for InvalidText {}

impl SessionId {
    /// Puts a name together: partition (2 bytes, big endian), slot (4 bytes, big endian), random (9 bytes).
    #[must_use]
    pub fn new(partition: Partition, slot: u32, random: [u8; 9]) -> Self {
        let [p0, p1] = partition.0.to_be_bytes();
        let [s0, s1, s2, s3] = slot.to_be_bytes();
        let [r0, r1, r2, r3, r4, r5, r6, r7, r8] = random;
        Self([p0, p1, s0, s1, s2, s3, r0, r1, r2, r3, r4, r5, r6, r7, r8])
    }

    /// The partition whose owner is the session's home.
    #[must_use]
    pub fn partition(&self) -> Partition {
        let [p0, p1, ..] = self.0;
        Partition(u16::from_be_bytes([p0, p1]))
    }

    /// The same session in another place of its home.
    pub(crate) fn at_slot(&self, slot: u32) -> Self {
        let [p0, p1, _, _, _, _, random @ ..] = self.0;
        Self::new(Partition(u16::from_be_bytes([p0, p1])), slot, random)
    }

    /// Where the session sits in its home's hub.
    #[must_use]
    pub fn slot(&self) -> u32 {
        let [_, _, s0, s1, s2, s3, ..] = self.0;
        u32::from_be_bytes([s0, s1, s2, s3])
    }
}

/// The alphabet of base64url (RFC 4648, section 5); 15 bytes need no padding.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).expect("the alphabet is ASCII"))
    }
}

impl SessionId {
    /// The public name's characters.
    fn text(self) -> [u8; 20] {
        let bits = self.0.iter().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
        let mut text = [0; 20];
        for (place, character) in text.iter_mut().rev().enumerate() {
            let six = (bits >> (6 * place)) as usize % 64;
            *character = *ALPHABET.get(six).expect("six bits");
        }
        text
    }
}

impl FromStr for SessionId {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        if text.len() != 20 {
            return Err(InvalidText);
        }
        let mut bits = 0_u128;
        for character in text.bytes() {
            let six = ALPHABET.iter().position(|known| *known == character).ok_or(InvalidText)?;
            bits = bits << 6 | six as u128;
        }
        let [_, bytes @ ..] = bits.to_be_bytes();
        Ok(Self(bytes))
    }
}

impl ChannelName {
    /// Checks a channel's name. Names that start with `$` pass: whether they may be used is another question.
    ///
    /// # Errors
    /// `Refusal::InvalidChannel` for an empty name, one of more than `bytes_max` bytes, or one with `+`, `#` or NUL.
    pub fn parse(name: &str, bytes_max: u32) -> Result<Self, Refusal> {
        if filter::is_channel_name(name, bytes_max) {
            Ok(Self(Arc::from(name)))
        } else {
            Err(Refusal::InvalidChannel)
        }
    }

    /// The channel that reaches every session of a user: `$user/<id>`. In the id `+`, `#`, `%` and control
    /// characters are percent-encoded byte by byte, so that every id has one name and no name is a filter.
    #[must_use]
    pub fn user(id: &str) -> Self {
        Self(Arc::from(format!("$user/{}", percent_encoded(id))))
    }

    /// The user that `$user/<id>` names; `None` for every other name.
    #[must_use]
    pub fn user_id(&self) -> Option<String> {
        let mut rest = self.0.strip_prefix("$user/")?;
        let mut bytes = Vec::with_capacity(rest.len());
        while let Some((plain, coded)) = rest.split_once('%') {
            let (two, after) = coded.split_at_checked(2)?;
            bytes.extend_from_slice(plain.as_bytes());
            bytes.push(u8::from_str_radix(two, 16).ok()?);
            rest = after;
        }
        bytes.extend_from_slice(rest.as_bytes());
        String::from_utf8(bytes).ok().filter(|id| !id.is_empty())
    }

    /// The name under which messages to one session travel: `$client/<id>`.
    #[must_use]
    pub fn client(session: SessionId) -> Self {
        let mut name = *b"$client/                    ";
        name.iter_mut().rev().zip(session.text().iter().rev()).for_each(|(to, from)| *to = *from);
        Self(Arc::from(std::str::from_utf8(&name).expect("the alphabet is ASCII")))
    }

    /// The session that `$client/<id>` names; `None` for every other name, and where `<id>` is no session id.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.0.strip_prefix("$client/")?.parse().ok()
    }

    /// The name's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nobody but the back end publishes there, and no client subscribes.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with('$')
    }

    /// The partition of the channel's home: [`name_hash`] modulo the number of partitions.
    #[must_use]
    pub fn partition(&self, topology: &Topology) -> Partition {
        home_partition(&self.0, topology)
    }

    /// The shard that is the channel's home.
    #[must_use]
    pub fn home(&self, topology: &Topology) -> ShardId {
        topology.owner(self.partition(topology))
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Partition of a channel name that was checked before.
#[must_use]
pub fn home_partition(name: &str, topology: &Topology) -> Partition {
    let partition = name_hash(name.as_bytes()) % u64::from(topology.partitions);
    Partition(u16::try_from(partition).expect("less than the number of partitions"))
}

/// The hash that decides homes, as a format: FNV-1a with 64 bits (offset basis `cbf29ce484222325`, prime
/// `100000001b3`), then `x ^= x >> 32; x *= d6e8feb86659fd93; x ^= x >> 32`, because the low bits of FNV-1a of short
/// names that differ in the last byte only are too regular to be taken modulo a small number.
#[must_use]
pub fn name_hash(name: &[u8]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 32;
    hash = hash.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^ (hash >> 32)
}

fn percent_encoded(id: &str) -> Cow<'_, str> {
    let must_change = |c: char| matches!(c, '+' | '#' | '%') || c.is_control();
    if !id.contains(must_change) {
        return Cow::Borrowed(id);
    }
    let mut text = String::with_capacity(id.len() + 8);
    for c in id.chars() {
        if must_change(c) {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                text.push_str(&format!("%{byte:02X}"));
            }
        } else {
            text.push(c);
        }
    }
    Cow::Owned(text)
}

/// Text `{epoch:x}-{n}`; only the form that `Display` writes is read.
fn parse_pair(text: &str) -> Result<(u64, u64), InvalidText> {
    let (epoch, n) = text.split_once('-').ok_or(InvalidText)?;
    let pair = (
        u64::from_str_radix(epoch, 16).map_err(|_| InvalidText)?,
        n.parse::<u64>().map_err(|_| InvalidText)?,
    );
    if format!("{:x}-{}", pair.0, pair.1) == text { Ok(pair) } else { Err(InvalidText) }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.sequence)
    }
}

impl FromStr for Offset {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        parse_pair(text).map(|(epoch, sequence)| Self { epoch, sequence })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.offset)
    }
}

impl FromStr for Position {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        parse_pair(text).map(|(epoch, offset)| Self { epoch, offset })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_id_text_round_trips() {
        let id = SessionId::new(Partition(0x1234), 0x0506_0708, [9; 9]);
        assert_eq!((id.partition(), id.slot()), (Partition(0x1234), 0x0506_0708));
        let text = id.to_string();
        assert_eq!(text, "EjQFBgcICQkJCQkJCQkJ");
        assert_eq!(text.parse(), Ok(id));
        for bad in ["", "short", &text[1..], &format!("{text}A"), &text.replace(&text[..1], "=")] {
            assert_eq!(bad.parse::<SessionId>(), Err(InvalidText), "{bad}");
        }
    }

    #[test]
    fn offsets_are_read_only_as_written() {
        let offset = Offset { epoch: 0xfeed, sequence: 12 };
        assert_eq!(offset.to_string(), "feed-12");
        assert_eq!("feed-12".parse(), Ok(offset));
        assert_eq!("0-0".parse(), Ok(Position { epoch: 0, offset: 0 }));
        let bad = [
            "",
            "-",
            "feed",
            "FEED-12",
            "0feed-12",
            "feed-012",
            "feed-+1",
            "+1-1",
            "feed-12 ",
            "1-99999999999999999999",
        ];
        for text in bad {
            assert_eq!(text.parse::<Offset>(), Err(InvalidText), "{text}");
            assert_eq!(text.parse::<Position>(), Err(InvalidText), "{text}");
        }
    }

    #[test]
    fn channel_names() {
        assert_eq!(ChannelName::parse("chat/r1", 7).expect("valid").as_str(), "chat/r1");
        for bad in ["", "chat/r12", "a+", "#", "a\0"] {
            assert_eq!(ChannelName::parse(bad, 7), Err(Refusal::InvalidChannel), "{bad:?}");
        }
        assert_eq!(ChannelName::user("bob").as_str(), "$user/bob");
        assert_eq!(ChannelName::user("+1#%\u{1}é").as_str(), "$user/%2B1%23%25%01é");
        assert!(ChannelName::user("bob").is_reserved());
        for id in ["bob", "+1#%\u{1}é", "a/b", "%41"] {
            assert_eq!(ChannelName::user(id).user_id().as_deref(), Some(id));
        }
        let named = |name: &str| ChannelName::parse(name, 20).expect("valid").user_id();
        assert_eq!(
            [named("$user/%4"), named("$user/%zz"), named("bob"), named("$user/%ff")],
            [const { None }; 4]
        );
    }

    /// Pins the format: homes of stored channels depend on it.
    #[test]
    fn name_hash_is_a_format() {
        assert_eq!(name_hash(b""), 0xfdbd_f6ac_4fc5_2e7f);
        assert_eq!(name_hash(b"chat"), 0x4629_66c6_48e3_9d28);
        assert_eq!(name_hash(b"chat/r1"), 0x2e1d_c91e_d4e2_32cb);
        assert_eq!(name_hash(b"$user/bob"), 0xa728_5faa_da82_1406);
    }

    #[test]
    fn homes_spread() {
        let topology = Topology { shards: 4, partitions: 64 };
        let mut counts = [0; 4];
        for n in 0..4000 {
            let name = ChannelName::parse(&format!("room/{n}"), 100).expect("valid");
            counts[usize::from(name.home(&topology).0)] += 1;
        }
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }
}
