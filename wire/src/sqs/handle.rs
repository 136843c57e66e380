//! What the server gives to be brought back: receipt handles, handles of move tasks, tokens of pages.
//!
//! Owns their form and the proof that a receipt handle is ours. Must not know what they point at. Start at
//! [`ReceiptKey`].

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::address::QueueArn;
use super::limits::{PAGE_TOKEN_BYTES_MAX, RECEIPT_HANDLE_BYTES_MAX, TASK_HANDLE_BYTES_MAX};
use super::{Error, ErrorKind};

/// The form of receipt handles; another one is refused with `InvalidIdFormat`.
const RECEIPT_VERSION: u8 = 1;

/// Bytes of a receipt before its proof.
const RECEIPT_BYTES: usize = 27;

/// Bytes of the proof: half a SHA-256, beyond guessing.
const PROOF_BYTES: usize = 16;

/// The form of page tokens.
const PAGE_VERSION: u8 = 1;

/// One receive of one message: what a receipt handle stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// The partition of the queue, by which any node finds the owner.
    pub partition: u16,
    /// Which life of the queue: another one after it was deleted and created again.
    pub incarnation: u64,
    /// The message's place in the partition's log.
    pub offset: u64,
    /// Which receive of the message.
    pub receive: u64,
}

/// The secret that makes receipt handles unforgeable. Every node of a cluster has the same.
#[derive(Clone, Debug)]
pub struct ReceiptKey(hmac::Key);

impl ReceiptKey {
    /// A key from 32 random bytes.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The handle of a receipt: 58 characters of `A-Za-z0-9_-`.
    pub fn seal(&self, receipt: &Receipt) -> String {
        let mut sealed = receipt.to_bytes();
        let proof = hmac::sign(&self.0, &sealed);
        sealed.extend(proof.as_ref().iter().take(PROOF_BYTES));
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// What a handle stands for.
    ///
    /// # Errors
    /// `ReceiptHandleIsInvalid` for what this key did not seal, `InvalidIdFormat` for another version of handles.
    pub fn open(&self, handle: &str) -> Result<Receipt, Error> {
        let invalid = || Error::receipt_handle_is_invalid(handle);
        if handle.len() > RECEIPT_HANDLE_BYTES_MAX {
            return Err(invalid());
        }
        let sealed = URL_SAFE_NO_PAD.decode(handle).map_err(|_| invalid())?;
        let (bytes, proof) = sealed.split_first_chunk::<RECEIPT_BYTES>().ok_or_else(invalid)?;
        if proof.len() != PROOF_BYTES {
            return Err(invalid());
        }
        let expected = hmac::sign(&self.0, bytes);
        let expected = expected.as_ref().get(..PROOF_BYTES).unwrap_or_default();
        if !bool::from(expected.ct_eq(proof)) {
            return Err(invalid());
        }
        Receipt::from_bytes(bytes).ok_or_else(|| {
            Error::new(ErrorKind::InvalidIdFormat, "The receipt handle isn't valid for the current version.")
        })
    }
}

impl Receipt {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(RECEIPT_BYTES + PROOF_BYTES);
        bytes.push(RECEIPT_VERSION);
        bytes.extend_from_slice(&self.partition.to_be_bytes());
        for number in [self.incarnation, self.offset, self.receive] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes
    }

    /// `None` if it is of another version.
    fn from_bytes(bytes: &[u8; RECEIPT_BYTES]) -> Option<Self> {
        let (&[version, p1, p2], rest) = bytes.split_first_chunk::<3>()?;
        let (incarnation, rest) = rest.split_first_chunk::<8>()?;
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let receive = rest.first_chunk::<8>()?;
        (version == RECEIPT_VERSION).then(|| Self {
            partition: u16::from_be_bytes([p1, p2]),
            incarnation: u64::from_be_bytes(*incarnation),
            offset: u64::from_be_bytes(*offset),
            receive: u64::from_be_bytes(*receive),
        })
    }
}

/// The name of a move task: base64 of a small JSON object, as programs that look into it expect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TaskHandle {
    /// The server's name for the task; ours are [`super::Uuid`]s.
    pub task_id: String,
    /// The dead-letter queue it moves from.
    pub source: QueueArn,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TaskDocument {
    task_id: String,
    source_arn: String,
}

impl TaskHandle {
    /// Reads a handle.
    ///
    /// # Errors
    /// `InvalidParameterValue` if it is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let invalid = || Error::invalid("Value for parameter TaskHandle is invalid.".to_owned());
        if text.len() > TASK_HANDLE_BYTES_MAX {
            return Err(invalid());
        }
        let json = STANDARD.decode(text).map_err(|_| invalid())?;
        let document: TaskDocument = serde_json::from_slice(&json).map_err(|_| invalid())?;
        let source = QueueArn::parse(&document.source_arn).ok_or_else(invalid)?;
        Ok(Self { task_id: document.task_id, source })
    }
}

impl fmt::Display for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let task_id = crate::values::quote(&self.task_id);
        let json = format!("{{\"taskId\":{task_id},\"sourceArn\":\"{}\"}}", self.source);
        f.write_str(&STANDARD.encode(json))
    }
}

/// The token of the page behind the queue of this name.
pub(super) fn page_token(after: &str) -> String {
    let mut bytes = vec![PAGE_VERSION];
    bytes.extend_from_slice(after.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The name a token was made of. It needs no proof: whoever may list may begin where he likes.
pub(super) fn page_after(token: &str) -> Result<String, Error> {
    if token.len() > PAGE_TOKEN_BYTES_MAX {
        return Err(Error::invalid_page_token());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::invalid_page_token())?;
    match bytes.split_first() {
        Some((&PAGE_VERSION, name)) => {
            String::from_utf8(name.to_vec()).map_err(|_| Error::invalid_page_token())
        }
        _ => Err(Error::invalid_page_token()),
    }
}
