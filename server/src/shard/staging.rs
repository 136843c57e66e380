//! What is to be written in this turn: one arena for all connections, emptied by the flush.
//!
//! Owns the pieces and their order per connection. Must not know sockets. Start at [`Staging::push`]. A connection
//! refers to its batch by index, so it pays four bytes, and staging a shared frame allocates nothing.

use super::connection::NONE;
use super::io::ConnKey;
use bytes::Bytes;

/// Pieces and batches whose memory is kept in any case.
const KEPT: usize = 1024;

/// The arena.
#[derive(Debug, Default)]
pub(super) struct Staging {
    pieces: Vec<Piece>,
    batches: Vec<Batch>,
    /// The most pieces of a recent turn; falls by an eighth per turn.
    recent: usize,
}

/// One piece, in the list of its connection.
#[derive(Debug)]
struct Piece {
    bytes: Bytes,
    next: u32,
}

/// The pieces of one connection.
#[derive(Debug)]
struct Batch {
    conn: ConnKey,
    first: u32,
    last: u32,
    bytes: usize,
}

impl Staging {
    /// A batch for a connection that has none in this turn.
    pub(super) fn open(&mut self, conn: ConnKey) -> u32 {
        self.batches.push(Batch { conn, first: NONE, last: NONE, bytes: 0 });
        self.batches.len() as u32 - 1
    }

    /// Adds a piece to a batch; returns how many bytes it has now.
    pub(super) fn push(&mut self, batch: u32, bytes: Bytes) -> usize {
        let Some(batch) = self.batches.get_mut(batch as usize) else { return 0 };
        let place = self.pieces.len() as u32;
        batch.bytes += bytes.len();
        if batch.first == NONE {
            batch.first = place;
        }
        let last = std::mem::replace(&mut batch.last, place);
        if let Some(last) = self.pieces.get_mut(last as usize) {
            last.next = place;
        }
        self.pieces.push(Piece { bytes, next: NONE });
        batch.bytes
    }

    /// Connections with a batch, by index.
    pub(super) fn conn(&self, batch: u32) -> Option<ConnKey> {
        self.batches.get(batch as usize).map(|batch| batch.conn)
    }

    /// The pieces of a batch, still in it.
    pub(super) fn pieces(&self, batch: u32) -> impl Iterator<Item = &Bytes> {
        let first = self.batches.get(batch as usize).map_or(NONE, |batch| batch.first);
        let piece = |place: u32| self.pieces.get(place as usize);
        std::iter::successors(piece(first), move |before| piece(before.next)).map(|piece| &piece.bytes)
    }

    /// Takes `bytes` off the front of a batch.
    pub(super) fn advance(&mut self, batch: u32, mut bytes: usize) {
        let Some(batch) = self.batches.get_mut(batch as usize) else { return };
        batch.bytes -= bytes;
        while let Some(piece) = self.pieces.get_mut(batch.first as usize) {
            if piece.bytes.len() > bytes {
                bytes::Buf::advance(&mut piece.bytes, bytes);
                return;
            }
            bytes -= piece.bytes.len();
            piece.bytes = Bytes::new();
            batch.first = piece.next;
        }
        batch.last = NONE;
    }

    /// Takes the next piece out of a batch.
    pub(super) fn pop(&mut self, batch: u32) -> Option<Bytes> {
        let batch = self.batches.get_mut(batch as usize)?;
        let piece = self.pieces.get_mut(batch.first as usize)?;
        batch.first = piece.next;
        if batch.first == NONE {
            batch.last = NONE;
        }
        batch.bytes -= piece.bytes.len();
        Some(std::mem::take(&mut piece.bytes))
    }

    /// Whether no connection has a batch.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Forgets all batches. The memory of busy turns is given back some quiet turns later, not at once: the next busy
    /// turn would only ask for it again.
    pub(super) fn clear(&mut self) {
        self.recent = self.pieces.len().max(self.recent - self.recent / 8);
        self.batches.clear();
        self.pieces.clear();
        let enough = (2 * self.recent).max(KEPT);
        if self.pieces.capacity() > 2 * enough {
            self.pieces.shrink_to(enough);
            self.batches.shrink_to(enough);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Op {
        Push(u32, usize),
        Advance(u32, usize),
        Pop(u32),
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let batch = 0_u32..3;
        let op = prop_oneof![
            3 => (batch.clone(), 0_usize..9).prop_map(|(batch, bytes)| Op::Push(batch, bytes)),
            2 => (batch.clone(), 0_usize..30).prop_map(|(batch, bytes)| Op::Advance(batch, bytes)),
            1 => batch.prop_map(Op::Pop),
        ];
        proptest::collection::vec(op, 1..100)
    }

    fn content<'a>(pieces: impl Iterator<Item = &'a Bytes>) -> Vec<u8> {
        pieces.flat_map(|piece| piece.to_vec()).collect()
    }

    proptest! {
        #[test]
        fn each_batch_is_a_queue_of_bytes(ops in ops()) {
            let mut staging = Staging::default();
            let mut model: [VecDeque<u8>; 3] = Default::default();
            for index in 0..3 {
                prop_assert_eq!(staging.open(ConnKey { index, generation: 7 }), index);
            }
            let mut next = 0_u8;
            for op in ops {
                match op {
                    Op::Push(batch, bytes) => {
                        let piece: Vec<u8> = (0..bytes).map(|at| next.wrapping_add(at as u8)).collect();
                        next = next.wrapping_add(bytes as u8);
                        model[batch as usize].extend(&piece);
                        prop_assert_eq!(staging.push(batch, piece.into()), model[batch as usize].len());
                    }
                    Op::Advance(batch, bytes) => {
                        let bytes = bytes.min(model[batch as usize].len());
                        model[batch as usize].drain(..bytes);
                        staging.advance(batch, bytes);
                    }
                    Op::Pop(batch) => {
                        let piece = staging.pop(batch).unwrap_or_default();
                        let expected: Vec<u8> = model[batch as usize].drain(..piece.len()).collect();
                        prop_assert_eq!(piece.to_vec(), expected);
                    }
                }
                for (batch, model) in model.iter().enumerate() {
                    prop_assert_eq!(content(staging.pieces(batch as u32)), Vec::from(model.clone()));
                }
            }
        }
    }
}
