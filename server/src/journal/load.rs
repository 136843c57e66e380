//! Messages of queues on their way back into hubs, which keep only their places: a thread of its own, since reading blocks.
//!
//! Owns what becomes of one that cannot be read. Start at [`serve`].

use crossbeam_channel as channel;
use hub::Command;
use hub::queue::{QueueCommand, Record, Sent};
use store::{Log, StoreError};

use super::{Load, RETRY};
use crate::back::gather::message_id;
use crate::mail::Mail;
use crate::shard::{Sender, Unsent};

/// Messages that are read together; more wait for the next time.
const LOADS_MAX: usize = 256;

/// Until there is nobody left who may ask.
pub(super) fn serve(log: &dyn Log, loads: &channel::Receiver<Load>, shards: &[Sender]) {
    while let Ok(first) = loads.recv() {
        let mut wanted = vec![first];
        wanted.extend(loads.try_iter().take(LOADS_MAX - 1));
        while !wanted.is_empty() {
            wanted = some(log, wanted, shards);
            if !wanted.is_empty() {
                std::thread::sleep(RETRY);
            }
        }
    }
}

/// What has to be tried again: the store is away.
fn some(log: &dyn Log, wanted: Vec<Load>, shards: &[Sender]) -> Vec<Load> {
    let places: Vec<_> = wanted.iter().map(|load| (load.place.partition, load.place.number)).collect();
    let mut left = Vec::new();
    for (load, found) in wanted.into_iter().zip(log.fetch(&places)) {
        match found {
            Ok(record) => {
                let record = record.and_then(|record| message(&record.body)).map(Box::new);
                let loaded = QueueCommand::Loaded { id: load.id, record, message: message_id() };
                if let Some(shard) = shards.get(usize::from(load.shard.0)) {
                    tell(shard, Mail::Hub(Command::Queue(loaded)));
                }
            }
            Err(StoreError::Unavailable { .. } | StoreError::Unknown) => left.push(load),
            // It stays where it is until the process is started again.
            Err(error) => {
                tracing::error!(%error, place = ?load.place, "a message cannot be read and is not moved");
            }
        }
    }
    left
}

/// The message in a record, with what it says; `None` when it is none.
pub(crate) fn message(body: &bytes::Bytes) -> Option<Sent> {
    match Record::decode(body) {
        Ok(Record::Sent(sent)) => Some(*sent),
        Ok(_) | Err(_) => None,
    }
}

/// A shard that is busy is waited for; one that has ended wants nothing.
fn tell(shard: &Sender, mail: Mail) {
    let mut mail = mail;
    while let Err(Unsent::Full(back)) = shard.try_send(mail) {
        std::thread::sleep(std::time::Duration::from_millis(1));
        mail = *back;
    }
}
