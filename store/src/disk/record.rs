//! What a record looks like in the file, and how it is proven to be the one that was written.
//!
//! A record's key is its partition and its offset in one number, so that a partition is a range of keys and no index is
//! needed to find a record. 4,096 offsets that follow each other are a block, whose row holds the count of its live
//! records and the exclusive or of their marks.

use bytes::Bytes;
use hub::Partition;
use rusqlite::Row;
use rusqlite::types::{FromSqlError, ValueRef};

use super::error::unread;
use crate::{Append, Position, Record, RecordId, StoreError, Timestamp};

const OFFSET_BITS: u32 = 48;
/// Largest offset of a partition. When it is given the partition is full for ever; a million records a second take nine
/// years to get there.
pub(super) const OFFSET_MAX: u64 = (1 << OFFSET_BITS) - 1;
const BLOCK_BITS: u32 = 12;

/// Place of a record: partition above, offset below. Order within a partition is that of the offsets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(pub(super) i64);

/// Place of a block: partition above, number below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Block(pub(super) i64);

impl Key {
    /// `None` when the offset is larger than any.
    pub(super) fn new(partition: Partition, offset: u64) -> Option<Self> {
        (offset <= OFFSET_MAX).then(|| Self::at(partition, offset))
    }

    /// Of an offset that was given, or the nearest one.
    pub(super) fn at(partition: Partition, offset: u64) -> Self {
        Self(((u64::from(partition.0) << OFFSET_BITS) | offset.min(OFFSET_MAX)).cast_signed())
    }

    pub(super) fn partition(self) -> Partition {
        Partition(u16::try_from(self.0.cast_unsigned() >> OFFSET_BITS).expect("16 bits are left"))
    }

    pub(super) fn offset(self) -> u64 {
        self.0.cast_unsigned() & OFFSET_MAX
    }

    pub(super) fn block(self) -> Block {
        Block((self.0.cast_unsigned() >> BLOCK_BITS).cast_signed())
    }

    /// Its share of its block's mark: a number that has little to do with those of its neighbours (splitmix64).
    pub(super) fn mark(self) -> i64 {
        let mixed = self.0.cast_unsigned().wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).cast_signed()
    }

    /// In words.
    pub(super) fn place(self) -> String {
        format!("partition {}, offset {}", self.partition().0, self.offset())
    }
}

impl Block {
    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }

    pub(super) fn first(self) -> Key {
        Key((self.0.cast_unsigned() << BLOCK_BITS).cast_signed())
    }

    pub(super) fn last(self) -> Key {
        Key(self.first().0 | ((1 << BLOCK_BITS) - 1))
    }

    /// In words.
    pub(super) fn place(self) -> String {
        let (first, last) = (self.first(), self.last());
        format!("partition {}, offsets {} to {}", first.partition().0, first.offset(), last.offset())
    }
}

/// The end of time, as the file has it.
pub(super) fn expiry(time: Timestamp) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

/// The sum of a record: its place, its id, its time, its entity and its body.
pub(super) fn sum(key: Key, append: &Append, expires: Option<i64>) -> u32 {
    summed(key.0, append.id.0, expires, [&append.entity.name, &append.body])
}

/// CRC-32C of something with a place, a number, a time and two parts.
pub(super) fn summed(place: i64, number: u128, expires: Option<i64>, [name, body]: [&[u8]; 2]) -> u32 {
    let numbers =
        [place.to_le_bytes(), expires.unwrap_or(-1).to_le_bytes(), (name.len() as u64).to_le_bytes()];
    let sum = crc32c::crc32c_append(crc32c::crc32c(numbers.as_flattened()), &number.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(sum, name), body)
}

/// What [`decode`] reads, for statements that give records.
pub(super) const COLUMNS: &str = "key, id, entity, expires, sum, body";

/// A record as it was read, proven.
pub(super) struct Kept {
    pub(super) key: Key,
    pub(super) id: RecordId,
    pub(super) entity: Bytes,
    pub(super) expires: Option<i64>,
    pub(super) body: Bytes,
}

impl Kept {
    pub(super) fn is_live(&self, now: i64) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }

    pub(super) fn record(self, epoch: u64) -> Record {
        let position = Position { epoch, offset: self.key.offset() };
        Record { position, entity: self.entity, id: self.id, body: self.body }
    }
}

/// Reads a row of [`COLUMNS`].
///
/// # Errors
/// [`StoreError::Damaged`] with its place when it is not what was written.
pub(super) fn decode(row: &Row<'_>) -> Result<Kept, StoreError> {
    let key = key(row)?;
    let kept =
        fields(key, row).map_err(|error| StoreError::Damaged(format!("{}: {error}", key.place()).into()))?;
    kept.ok_or_else(|| StoreError::Damaged(format!("{}: its sum does not match", key.place()).into()))
}

/// Its first column.
pub(super) fn key(row: &Row<'_>) -> Result<Key, StoreError> {
    row.get(0).map(Key).map_err(|error| unread(&error, "the key of a record"))
}

/// `None` when the sum is another.
fn fields(key: Key, row: &Row<'_>) -> Result<Option<Kept>, FromSqlError> {
    let column = |index| row.get_ref(index).unwrap_or(ValueRef::Null);
    let id = column(1).as_blob()?.try_into().map_err(|_| FromSqlError::InvalidType)?;
    let id = u128::from_be_bytes(id);
    let entity = column(2).as_blob_or_null()?.unwrap_or_default();
    let expires = column(3).as_i64_or_null()?;
    let body = column(5).as_blob()?;
    let is_right = i64::from(summed(key.0, id, expires, [entity, body])) == column(4).as_i64()?;
    Ok(is_right.then(|| Kept {
        key,
        id: RecordId(id),
        entity: Bytes::copy_from_slice(entity),
        expires,
        body: Bytes::copy_from_slice(body),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_a_partition_are_sorted_by_offset_and_apart_from_others() {
        for partition in [0, 1, 32_767, 32_768, 65_535].map(Partition) {
            let keys = [0, 1, 4_095, 4_096, OFFSET_MAX].map(|offset| Key::at(partition, offset));
            assert!(keys.is_sorted());
            for (key, offset) in keys.into_iter().zip([0, 1, 4_095, 4_096, OFFSET_MAX]) {
                assert_eq!((key.partition(), key.offset()), (partition, offset));
            }
        }
        assert_eq!(Key::new(Partition(1), OFFSET_MAX + 1), None);
    }

    #[test]
    fn a_block_is_4096_offsets_of_one_partition() {
        for partition in [0, 40_000].map(Partition) {
            let block = Key::at(partition, 4_096).block();
            assert_eq!((block.first(), block.last()), (Key::at(partition, 4_096), Key::at(partition, 8_191)));
            assert_eq!(Key::at(partition, 8_191).block(), block);
            assert_eq!(Key::at(partition, 8_192).block(), block.next());
        }
    }

    #[test]
    fn a_sum_is_of_everything() {
        let all = summed(2, 0, Some(5), [b"ab", b"c"]);
        let others = [
            summed(3, 0, Some(5), [b"ab", b"c"]),
            summed(2, 1, Some(5), [b"ab", b"c"]),
            summed(2, 0, None, [b"ab", b"c"]),
            summed(2, 0, Some(5), [b"a", b"bc"]),
            summed(2, 0, Some(5), [b"ab", b"d"]),
        ];
        assert!(others.iter().all(|other| *other != all), "{others:?}");
    }
}
