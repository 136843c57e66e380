//! Batches: what refuses one as a whole, and what only an entry.
//!
//! Owns counts, ids and the total size. Must not know what entries are about. Start at [`read`].

use std::borrow::Cow;

use super::super::input::Members;
use super::super::limits::{BATCH_BYTES_MAX, BATCH_ENTRIES_MAX, BATCH_ID_CHARS_MAX};
use super::super::member::{self, Member};
use super::super::message::NewMessage;
use super::super::model::Entry;
use super::super::{Error, ErrorKind};
use super::message::Draft;

/// The lists of entries.
pub(super) const ENTRIES: [Member; 3] =
    [member::CHANGE_ENTRIES, member::DELETE_ENTRIES, member::SEND_ENTRIES];

/// Reads a batch; what `read_entry` refuses becomes the error of that entry.
pub(super) fn read<'a, T>(
    members: &mut Members<'a>,
    list: Member,
    read_entry: fn(&mut Members<'a>) -> Result<T, Error>,
) -> Result<Vec<Entry<'a, T>>, Error> {
    identified(members, list)?
        .into_iter()
        .map(|(id, mut members)| Ok(Entry { id, content: of_entry(read_entry(&mut members))? }))
        .collect()
}

/// Reads a batch of messages, which are measured before they are looked at.
pub(super) fn read_messages<'a>(
    members: &mut Members<'a>,
    trace_header: Option<&'a str>,
) -> Result<Vec<Entry<'a, NewMessage<'a>>>, Error> {
    let mut drafts = Vec::new();
    for (id, mut members) in identified(members, member::SEND_ENTRIES)? {
        drafts.push((id, of_entry(Draft::read(&mut members))?));
    }
    let bytes = drafts.iter().map(|(_, draft)| draft.as_ref().map_or(0, Draft::bytes)).sum();
    if bytes > BATCH_BYTES_MAX {
        return Err(too_long(bytes));
    }
    let checked = |(id, draft): (_, Result<Draft<'a>, Error>)| Entry {
        id,
        content: draft.and_then(|draft| draft.check(trace_header)),
    };
    Ok(drafts.into_iter().map(checked).collect())
}

/// A value of the wrong type is the fault of the request, everything else of its entry.
fn of_entry<T>(read: Result<T, Error>) -> Result<Result<T, Error>, Error> {
    match read {
        Err(error) if error.kind == ErrorKind::SerializationException => Err(error),
        read => Ok(read),
    }
}

/// The entries with their ids.
fn identified<'a>(
    members: &mut Members<'a>,
    list: Member,
) -> Result<Vec<(Cow<'a, str>, Members<'a>)>, Error> {
    let structures = members.structures(list)?;
    if structures.is_empty() {
        return Err(Error::new(
            ErrorKind::EmptyBatchRequest,
            format!("There should be at least one {} in the request.", list.query),
        ));
    }
    if structures.len() > BATCH_ENTRIES_MAX {
        let found = structures.len();
        return Err(Error::new(
            ErrorKind::TooManyEntriesInBatchRequest,
            format!("Maximum number of entries per request are {BATCH_ENTRIES_MAX}. You have sent {found}."),
        ));
    }
    let mut entries: Vec<(Cow<'a, str>, Members<'a>)> = Vec::with_capacity(structures.len());
    for mut structure in structures {
        let id = structure.text(member::ID)?.unwrap_or_default();
        check_id(&id)?;
        if entries.iter().any(|(known, _)| *known == id) {
            return Err(Error::new(ErrorKind::BatchEntryIdsNotDistinct, format!("Id {id} repeated.")));
        }
        entries.push((id, structure));
    }
    Ok(entries)
}

fn check_id(id: &str) -> Result<(), Error> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    if !id.is_empty() && id.len() <= BATCH_ID_CHARS_MAX && id.bytes().all(is_legal) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidBatchEntryId,
        "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 \
         letters long.",
    ))
}

fn too_long(bytes: usize) -> Error {
    Error::new(
        ErrorKind::BatchRequestTooLong,
        format!("Batch requests cannot be longer than {BATCH_BYTES_MAX} bytes. You have sent {bytes} bytes."),
    )
}
