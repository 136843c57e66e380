//! SQS: AWS JSON 1.0 and the older Query protocol, API version 2012-11-05.
//!
//! Owns everything about requests and answers that needs no queue: both encodings of one model, every check with the
//! error that answers it, digests, signatures, URLs and ARNs, receipt handles. Must not know HTTP connections, clocks,
//! keys in use, or what a queue holds.
//!
//! Names, ranges, defaults and errors are declared once, in tables that decoding, encoding and the reference page
//! follow: [`Action`], [`ErrorKind`], [`QueueAttribute`], [`SystemAttribute`], and the numbers in [`limits`].
//!
//! Sources: the service model as shipped with SDKs, the API reference, the developer guide; where they are silent,
//! recorded answers of the service.

mod action;
mod address;
mod attribute;
mod content;
mod decode;
mod encode;
mod encoding;
mod error;
mod handle;
mod input;
mod json;
pub mod limits;
mod member;
mod message;
mod model;
pub mod policy;
mod query;
mod redrive;
pub mod reference;
mod settings;
mod signature;

pub use action::{Action, Need, Output, Parameter};
pub use address::{
    ACCOUNT_DEFAULT, Origin, QueueAddress, QueueArn, QueueKind, REGION_DEFAULT, TemplateError, UrlTemplate,
    is_queue_name,
};
pub use attribute::{Place, QueueAttribute, QueueAttributeSet, Rule, SystemAttribute, SystemAttributeSet};
pub use content::Content;
pub use decode::{MessageParts, decode};
pub use encode::{Head, QUERY_ERROR_FIELD, REQUEST_ID_FIELD, encode_error, encode_response};
pub use encoding::{CONTENT_TYPE_JSON, Encoding, Incoming, Unroutable};
pub use error::{Error, ErrorKind, Fault};
pub use handle::{Receipt, ReceiptKey, TaskHandle};
pub use member::Member;
pub use message::{
    AttributeFilter, AttributeValue, Md5, MessageAttribute, MessageAttributes, MessageFacts, NewMessage,
    QueueRules, ReceivedMessage, SequenceNumber, Uuid, id_of, legal_json,
};
pub use model::{
    AddPermission, ChangeMessageVisibility, ChangeMessageVisibilityBatch, CreateQueue, DeleteMessage,
    DeleteMessageBatch, Entry, GetQueueAttributes, ListDeadLetterSourceQueues, ListMessageMoveTasks,
    ListQueues, MoveStatus, MoveTask, Page, ReceiveMessage, RemovePermission, Request, Response, SendMessage,
    SendMessageBatch, SentMessage, SetQueueAttributes, StartMessageMoveTask, TagQueue, UntagQueue, UrlPage,
    VisibilityChange,
};
pub use redrive::{RedriveAllowPolicy, RedrivePolicy};
pub use settings::{Purpose, QueueFigures, Settings};
pub use signature::{Clock, Signature, Signed, SignedRequest, Signer};

#[cfg(test)]
mod tests;
