//! What is to be written in this turn: one arena for all connections, emptied by the flush.
//!
//! Owns the pieces and their order per connection. Must not know sockets. Start at [`Staging::push`]. A connection
//! refers to its batch by index, so it pays four bytes, and staging a shared frame allocates nothing.

use super::connection::NONE;
use super::io::ConnKey;
use bytes::Bytes;

/// Pieces and batches whose memory is kept from turn to turn.
const KEPT: usize = 4096;

/// The arena.
#[derive(Debug, Default)]
pub(super) struct Staging {
    pieces: Vec<Piece>,
    batches: Vec<Batch>,
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

    /// Whether any connection has a batch.
    pub(super) fn is_empty(&self) -> bool {
        self.batches.is_empty()
    }

    /// Forgets all batches; the memory of a busy turn is given back.
    pub(super) fn clear(&mut self) {
        self.batches.clear();
        self.pieces.clear();
        self.batches.shrink_to(KEPT);
        self.pieces.shrink_to(KEPT);
    }
}
