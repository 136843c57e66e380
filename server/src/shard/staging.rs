//! What is to be written in this turn: one arena for all connections, emptied by the flush.
//!
//! Owns the pieces and their order per connection. Must not know sockets. Start at [`Staging::push`].
//!
//! Connections that are given the same pieces in the same order share one chain of them, whose bytes are put together
//! once: a batch of messages to very many subscribers is stored once, joined once, and written with one plain write each.
//! A connection refers to its batch by index, so it pays four bytes.
//!
//! ```text
//! batches   a ──┐  b ──┐  c ────────┐          a and b were given 1, 2; c was given 1, 3
//! chain     root ─> 1 ─> 2           │         each piece knows the one before it, and the one that was last put
//!                   └──> 3 <─────────┘         behind it: where the next connection most likely goes on
//! ```

use super::connection::NONE;
use super::io::ConnKey;
use bytes::Bytes;
use smallvec::SmallVec;
use std::io::IoSlice;

/// Pieces and batches whose memory is kept in any case.
const KEPT: usize = 1024;
/// Memory for joined bytes that is kept in any case.
const JOINED_BYTES_KEPT: usize = 128 << 10;
/// Pieces of one system call; the kernel takes up to 1,024 (IOV_MAX), but their list lies on the stack.
const SLICES: usize = 64;
/// Pieces up to this size are put together, and chains with a larger one are handed to the kernel as a list: what it costs
/// to walk the list is then little beside what the bytes cost.
const JOINED_PIECE_BYTES_MAX: usize = 4096;

/// What one system call is given.
pub(super) type Slices<'a> = SmallVec<[IoSlice<'a>; SLICES]>;

/// Slices of pieces, as many as one call takes.
pub(super) fn slices<'a>(pieces: impl Iterator<Item = &'a Bytes>) -> Slices<'a> {
    pieces.take(SLICES).map(|piece| IoSlice::new(piece)).collect()
}

/// The arena.
#[derive(Debug)]
pub(super) struct Staging {
    pieces: Vec<Piece>,
    batches: Vec<Batch>,
    /// The piece that was last put at the front of a batch.
    first: u32,
    joined: Joined,
    /// Of all pieces, each counted once.
    bytes: usize,
    /// The most pieces or batches of a recent turn; falls by an eighth per flush.
    recent: usize,
}

/// One piece behind another; the pieces before it are those of every batch that ends in it.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    before: u32,
    /// The piece that was last put behind this one.
    next: u32,
    /// Of the chain up to here.
    chain_bytes: usize,
    /// No piece of the chain up to here is larger than [`JOINED_PIECE_BYTES_MAX`].
    is_small: bool,
}

/// The pieces of one connection.
#[derive(Debug)]
struct Batch {
    conn: ConnKey,
    /// Its last piece.
    last: u32,
    /// What is gone already of the chain that ends there.
    written: usize,
}

/// The bytes of one chain in one place.
#[derive(Debug)]
struct Joined {
    last: u32,
    bytes: Vec<u8>,
}

impl Default for Staging {
    fn default() -> Self {
        let joined = Joined { last: NONE, bytes: Vec::new() };
        Self { pieces: Vec::new(), batches: Vec::new(), first: NONE, joined, bytes: 0, recent: 0 }
    }
}

impl Staging {
    /// A batch for a connection that has none in this turn.
    pub(super) fn open(&mut self, conn: ConnKey) -> u32 {
        self.batches.push(Batch { conn, last: NONE, written: 0 });
        self.batches.len() as u32 - 1
    }

    /// Adds a piece to a batch; returns how many bytes it has now.
    pub(super) fn push(&mut self, batch: u32, bytes: &Bytes) -> usize {
        let Some(batch) = self.batches.get_mut(batch as usize) else { return 0 };
        let before = batch.last;
        let known = self.pieces.get(before as usize).map_or(self.first, |piece| piece.next);
        if let Some(piece) = self.pieces.get(known as usize).filter(|piece| same(&piece.bytes, bytes)) {
            batch.last = known;
            return piece.chain_bytes - batch.written;
        }
        let place = self.pieces.len() as u32;
        batch.last = place;
        let written = batch.written;
        let (mut chain_bytes, mut is_small) = (bytes.len(), bytes.len() <= JOINED_PIECE_BYTES_MAX);
        match self.pieces.get_mut(before as usize) {
            Some(piece) => {
                piece.next = place;
                chain_bytes += piece.chain_bytes;
                is_small &= piece.is_small;
            }
            None => self.first = place,
        }
        self.bytes += bytes.len();
        let bytes = bytes.clone();
        self.pieces.push(Piece { bytes, before, next: NONE, chain_bytes, is_small });
        chain_bytes - written
    }

    /// Connections with a batch, by index.
    pub(super) fn conn(&self, batch: u32) -> Option<ConnKey> {
        self.batches.get(batch as usize).map(|batch| batch.conn)
    }

    /// What is left of a batch, for one system call; empty when nothing is.
    pub(super) fn slices(&mut self, batch: u32) -> Slices<'_> {
        let Some(&Batch { last, written, .. }) = self.batches.get(batch as usize) else {
            return Slices::new();
        };
        let Some(piece) = self.piece(last).filter(|piece| piece.chain_bytes > written) else {
            return Slices::new();
        };
        let (is_alone, is_small) = (piece.before == NONE, piece.is_small);
        if !is_alone && !is_small {
            let left = self.left(last, written).take(SLICES);
            return left.filter_map(|(bytes, gone)| bytes.get(gone..).map(IoSlice::new)).collect();
        }
        // A message that comes alone is the usual one, and needs no list of pieces.
        let bytes =
            if is_alone { self.piece(last).map_or(&[][..], |piece| &piece.bytes) } else { self.join(last) };
        bytes.get(written..).map(IoSlice::new).into_iter().collect()
    }

    /// So many bytes of a batch are written.
    pub(super) fn advance(&mut self, batch: u32, bytes: usize) {
        let Some(batch) = self.batches.get_mut(batch as usize) else { return };
        batch.written += bytes;
        let whole =
            self.pieces.get(batch.last as usize).is_some_and(|last| last.chain_bytes == batch.written);
        if whole {
            (batch.last, batch.written) = (NONE, 0);
        }
    }

    /// What is left of a batch is not to be written.
    pub(super) fn forget(&mut self, batch: u32) {
        if let Some(batch) = self.batches.get_mut(batch as usize) {
            (batch.last, batch.written) = (NONE, 0);
        }
    }

    /// Bytes of all pieces since the last [`Staging::clear`], written or not: they are held until then.
    pub(super) fn held_bytes(&self) -> usize {
        self.bytes
    }

    /// Takes out what is left of a batch, piece by piece.
    pub(super) fn take(&mut self, batch: u32) -> Vec<Bytes> {
        let Some(batch) = self.batches.get_mut(batch as usize) else { return Vec::new() };
        let last = std::mem::replace(&mut batch.last, NONE);
        let written = std::mem::take(&mut batch.written);
        self.left(last, written).map(|(bytes, gone)| bytes.slice(gone..)).collect()
    }

    /// Whether no connection has a batch.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Forgets all batches. The memory of busy turns is given back some quiet turns later, not at once: the next busy
    /// turn would only ask for it again.
    pub(super) fn clear(&mut self) {
        self.recent = self.pieces.len().max(self.batches.len()).max(self.recent - self.recent / 8);
        self.batches.clear();
        self.pieces.clear();
        (self.first, self.bytes, self.joined.last) = (NONE, 0, NONE);
        if self.joined.bytes.capacity() > JOINED_BYTES_KEPT {
            self.joined.bytes = Vec::new();
        }
        let enough = (2 * self.recent).max(KEPT);
        if self.pieces.capacity().max(self.batches.capacity()) > 2 * enough {
            self.pieces.shrink_to(enough);
            self.batches.shrink_to(enough);
        }
    }

    /// The bytes of the chain that ends in `last`. Connections with the same chain come one after the other, mostly.
    fn join(&mut self, last: u32) -> &[u8] {
        if self.joined.last != last {
            let mut bytes = std::mem::take(&mut self.joined.bytes);
            bytes.clear();
            self.chain(last).for_each(|piece| bytes.extend_from_slice(&piece.bytes));
            self.joined = Joined { last, bytes };
        }
        &self.joined.bytes
    }

    fn piece(&self, place: u32) -> Option<&Piece> {
        self.pieces.get(place as usize)
    }

    /// The pieces of a chain of which something is left, with how much of them is gone.
    fn left(&self, last: u32, mut written: usize) -> impl Iterator<Item = (&Bytes, usize)> {
        self.chain(last).filter_map(move |Piece { bytes, .. }| {
            let gone = written.min(bytes.len());
            written -= gone;
            (gone < bytes.len()).then_some((bytes, gone))
        })
    }

    /// The pieces of the chain that ends in `last`, first to last.
    fn chain(&self, last: u32) -> impl Iterator<Item = &Piece> {
        let chain: SmallVec<[&Piece; SLICES]> =
            std::iter::successors(self.piece(last), |piece| self.piece(piece.before)).collect();
        chain.into_iter().rev()
    }
}

/// Whether both are the same bytes of the same allocation.
fn same(a: &Bytes, b: &Bytes) -> bool {
    a.as_ptr() == b.as_ptr() && a.len() == b.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Op {
        /// To these batches, one piece.
        Push(Vec<u32>, usize),
        Advance(u32, usize),
        Take(u32),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let batch = 0_u32..4;
        let bytes = prop_oneof![0_usize..9, Just(5000)];
        let op = prop_oneof![
            4 => (proptest::sample::subsequence(vec![0_u32, 1, 2, 3], 1..=4), bytes)
                .prop_map(|(batches, bytes)| Op::Push(batches, bytes)),
            2 => (batch.clone(), 0_usize..6000).prop_map(|(batch, bytes)| Op::Advance(batch, bytes)),
            1 => batch.prop_map(Op::Take),
        ];
        proptest::collection::vec(op, 1..60)
    }

    fn conn(index: u32) -> ConnKey {
        ConnKey { index, generation: 7 }
    }

    fn content(staging: &mut Staging, batch: u32) -> Vec<u8> {
        staging.slices(batch).iter().flat_map(|slice| slice.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn each_batch_is_a_queue_of_bytes(ops in ops()) {
            let mut staging = Staging::default();
            let mut model: [Vec<u8>; 4] = Default::default();
            for index in 0..4 {
                prop_assert_eq!(staging.open(conn(index)), index);
            }
            let mut next = 0_u8;
            for op in ops {
                match op {
                    Op::Push(batches, bytes) => {
                        let piece: Vec<u8> = (0..bytes).map(|at| next.wrapping_add(at as u8)).collect();
                        let piece = Bytes::from(piece);
                        next = next.wrapping_add(bytes as u8);
                        for batch in batches {
                            model[batch as usize].extend(&piece);
                            prop_assert_eq!(staging.push(batch, &piece), model[batch as usize].len());
                        }
                    }
                    Op::Advance(batch, bytes) => {
                        let bytes = bytes.min(content(&mut staging, batch).len());
                        model[batch as usize].drain(..bytes);
                        staging.advance(batch, bytes);
                    }
                    Op::Take(batch) => {
                        let taken: Vec<u8> = staging.take(batch).iter().flat_map(|piece| piece.to_vec()).collect();
                        prop_assert_eq!(taken, std::mem::take(&mut model[batch as usize]));
                    }
                }
                for (batch, model) in model.iter().enumerate() {
                    let content = content(&mut staging, batch as u32);
                    prop_assert_eq!(&content[..], &model[..content.len()]);
                    prop_assert_eq!(content.is_empty(), model.is_empty());
                }
            }
        }
    }

    #[test]
    fn connections_with_the_same_pieces_share_one_chain() {
        let mut staging = Staging::default();
        let messages: Vec<Bytes> = (0..32_u8).map(|n| Bytes::from(vec![n; 200])).collect();
        (0..1000).for_each(|index| assert_eq!(staging.open(conn(index)), index));
        for message in &messages {
            (0..1000).for_each(|batch| assert!(staging.push(batch, message) > 0));
        }
        assert_eq!(staging.pieces.len(), 32);
        let whole: Vec<u8> = messages.iter().flat_map(|message| message.to_vec()).collect();
        for batch in 0..1000 {
            let slices = staging.slices(batch);
            assert_eq!((slices.len(), slices[0].to_vec()), (1, whole.clone()));
        }
    }

    #[test]
    fn large_pieces_are_not_copied() {
        let mut staging = Staging::default();
        let batch = staging.open(conn(0));
        let pieces = [Bytes::from(vec![1; 30_000]), Bytes::from(vec![2; 30_000])];
        pieces.iter().for_each(|piece| assert!(staging.push(batch, piece) > 0));
        let slices = staging.slices(batch);
        let places: Vec<_> = slices.iter().map(|slice| slice.as_ptr()).collect();
        assert_eq!(places, [pieces[0].as_ptr(), pieces[1].as_ptr()]);
    }

    #[test]
    fn one_large_piece_among_small_ones_is_not_copied_either() {
        let mut staging = Staging::default();
        let batch = staging.open(conn(0));
        (0..300).for_each(|n| assert!(staging.push(batch, &Bytes::from(vec![n as u8; 8])) > 0));
        let large = Bytes::from(vec![1; 1 << 20]);
        assert_eq!(staging.push(batch, &large), 2400 + (1 << 20));
        assert_eq!(staging.slices(batch).len(), SLICES);
        assert_eq!(staging.joined.bytes.capacity(), 0);
        staging.advance(batch, 2400);
        assert_eq!(staging.slices(batch)[0].as_ptr(), large.as_ptr());
    }

    #[test]
    fn a_turn_begins_with_chains_of_its_own() {
        let mut staging = Staging::default();
        for turn in 0..3_u8 {
            let batches: Vec<u32> = (0..2).map(|index| staging.open(conn(index))).collect();
            let pieces = [Bytes::from(vec![turn; 10]), Bytes::from(vec![turn + 100; 10])];
            for piece in &pieces {
                batches.iter().for_each(|batch| assert!(staging.push(*batch, piece) > 0));
            }
            assert_eq!((staging.pieces.len(), staging.held_bytes()), (2, 20));
            for batch in batches {
                assert_eq!(content(&mut staging, batch), pieces.concat());
            }
            staging.clear();
            assert_eq!(staging.held_bytes(), 0);
        }
    }

    #[test]
    fn memory_of_a_busy_turn_goes_after_quiet_ones() {
        let mut staging = Staging::default();
        for index in 0..100_000 {
            let batch = staging.open(conn(index));
            staging.push(batch, &Bytes::from(vec![0; 8]));
        }
        staging.clear();
        assert!(staging.pieces.capacity() >= 100_000);
        (0..60).for_each(|_| staging.clear());
        assert!(staging.pieces.capacity() <= 4 * KEPT, "{}", staging.pieces.capacity());
    }
}
