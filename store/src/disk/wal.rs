//! The write-ahead log as it lies there before the engine takes it up: whether what the engine would leave out of it can be
//! the end that a crash tore off.
//!
//! The engine takes the log up to the first frame that is not as it was written, and leaves out the rest in silence. When
//! each commit is synced before the next one begins, a crash can only tear the frames of one commit, so no two commits can
//! stand behind a torn frame. Where they do, the log is damaged, and acknowledged writes would be lost. What befell one of
//! the last two commits cannot be told from a torn end. Frames of a commit that found no room may lie behind the end for
//! ever; they are not whole.
//!
//! The form of the log is that of <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use super::OpenError;

const HEAD_BYTES: usize = 32;
const FRAME_HEAD_BYTES: usize = 24;
/// Its lowest bit says that numbers in sums are big-endian.
const MAGIC: u32 = 0x377f_0682;

/// Proves the log beside a database, if there is one.
///
/// # Errors
/// [`OpenError::Damaged`] with the frame; the operating system's.
pub(super) fn prove(database: &Path) -> Result<(), OpenError> {
    let file = match File::open(path_of(database)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    prove_log(&mut BufReader::with_capacity(1 << 20, file))
}

/// Has the operating system write what is in the log of a database that is in use.
pub(super) fn sync(database: &Path) -> io::Result<()> {
    File::open(path_of(database))?.sync_data()
}

fn path_of(database: &Path) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push("-wal");
    path.into()
}

/// What stands at the beginning.
struct Head {
    is_big_endian: bool,
    page_bytes: usize,
    /// `None` when it is not as it was written.
    salts: Option<[u8; 8]>,
    sums: [u32; 2],
}

impl Head {
    fn of(bytes: &[u8; HEAD_BYTES]) -> Self {
        let [magic, _, page_bytes, _, _, _, first, second] = words(bytes);
        let (summed, _) = bytes.split_at(HEAD_BYTES - 8);
        let is_big_endian = magic & 1 == 1;
        let sums = sum(is_big_endian, [0, 0], summed);
        let mut salts = [0; 8];
        salts.copy_from_slice(bytes.split_at(16).1.split_at(8).0);
        if magic & !1 == MAGIC && sums == [first, second] {
            return Self { is_big_endian, page_bytes: page_bytes as usize, salts: Some(salts), sums };
        }
        // The frames are still those of a store, written by a machine like this one.
        let is_big_endian = cfg!(target_endian = "big");
        Self { is_big_endian, page_bytes: super::format::PAGE_BYTES as usize, salts: None, sums }
    }
}

/// A frame in its place.
struct Frame<'a> {
    numbers: &'a [u8],
    salts: &'a [u8],
    sums: [u32; 2],
    page: &'a [u8],
}

impl<'a> Frame<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let (head, page) = bytes.split_at(FRAME_HEAD_BYTES);
        let (numbers, rest) = head.split_at(8);
        let (salts, sums) = rest.split_at(8);
        let mut words = [0; 2];
        for (word, bytes) in words.iter_mut().zip(sums.as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        Self { numbers, salts, sums: words, page }
    }

    /// Whether it was written behind a frame with these sums.
    fn follows(&self, head: &Head, before: [u32; 2]) -> bool {
        let numbers = sum(head.is_big_endian, before, self.numbers);
        let is_of_this_log = head.salts.is_none_or(|salts| self.salts == salts);
        is_of_this_log && sum(head.is_big_endian, numbers, self.page) == self.sums
    }

    /// Whether it ends a commit: its second number is the size of the database then.
    fn is_commit(&self) -> bool {
        self.numbers.split_at(4).1 != [0; 4]
    }
}

fn prove_log(log: &mut impl Read) -> Result<(), OpenError> {
    let mut bytes = [0; HEAD_BYTES];
    if !fill(log, &mut bytes)? {
        return Ok(());
    }
    let head = Head::of(&bytes);
    let mut before = head.sums;
    let mut torn = head.salts.is_none().then_some(0_u64);
    // Without a right head anything may stand there; the commits of one log have their salts in common.
    let mut commits_behind: HashMap<Vec<u8>, u32> = HashMap::new();
    let mut bytes = vec![0; FRAME_HEAD_BYTES + head.page_bytes];
    for number in 1_u64.. {
        if !fill(log, &mut bytes)? {
            break;
        }
        let frame = Frame::of(&bytes);
        let is_right = frame.follows(&head, before);
        before = frame.sums;
        if torn.is_some() && is_right && frame.is_commit() {
            *commits_behind.entry(frame.salts.to_vec()).or_default() += 1;
        }
        torn = torn.or((!is_right).then_some(number));
    }
    let Some(torn) = torn.filter(|_| commits_behind.values().any(|count| *count >= 2)) else { return Ok(()) };
    let what = if torn == 0 { "its head".to_owned() } else { format!("frame {torn}") };
    let text = format!("the write-ahead log, {what}: not as it was written, and commits stand behind it");
    Err(OpenError::Damaged(text.into()))
}

/// `false` when there is not that much.
fn fill(log: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn words(bytes: &[u8; HEAD_BYTES]) -> [u32; HEAD_BYTES / 4] {
    let mut words = [0; HEAD_BYTES / 4];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    words
}

/// The engine's sum: two numbers that go on over all frames.
fn sum(is_big_endian: bool, [mut first, mut second]: [u32; 2], bytes: &[u8]) -> [u32; 2] {
    let word = |bytes: &[u8; 4]| match is_big_endian {
        true => u32::from_be_bytes(*bytes),
        false => u32::from_le_bytes(*bytes),
    };
    for [one, two] in bytes.as_chunks::<4>().0.as_chunks::<2>().0 {
        first = first.wrapping_add(word(one)).wrapping_add(second);
        second = second.wrapping_add(word(two)).wrapping_add(first);
    }
    [first, second]
}
