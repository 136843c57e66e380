//! Answers and errors in either encoding, appended to the caller's buffer.
//!
//! Owns which member an answer has and in which order. Must not know what comes of a request, nor the HTTP server:
//! status and fields are handed back. Start at [`encode_response`] and [`encode_error`].
//!
//! An answer is described once, to a writer that knows how its encoding shows texts, lists and maps; so both encodings
//! cannot differ in what they say.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::action::Output;
use super::encoding::{CONTENT_TYPE_JSON, Encoding};
use super::handle::page_token;
use super::message::{AttributeValue, MessageAttributes, ReceivedMessage};
use super::model::{Entry, MoveStatus, MoveTask, Response, SentMessage, UrlPage};
use super::{Error, ErrorKind};

mod writer;

use writer::{Form, Writer};

/// What goes before an encoded body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The HTTP status.
    pub status: u16,
    /// The value of `content-type`.
    pub content_type: &'static str,
    /// The value of the field [`QUERY_ERROR_FIELD`], for errors in JSON, without which SDKs fail.
    pub query_error: Option<&'static str>,
}

/// The field every answer has the id of its request in.
pub const REQUEST_ID_FIELD: &str = "x-amzn-requestid";

/// The field every error in JSON has [`Head::query_error`] in.
pub const QUERY_ERROR_FIELD: &str = "x-amzn-query-error";

/// The namespace of answers in XML.
const NAMESPACE: &str = "http://queue.amazonaws.com/doc/2012-11-05/";

/// Appends the body of an answer.
pub fn encode_response(
    encoding: Encoding,
    response: &Response<'_>,
    request_id: &str,
    out: &mut Vec<u8>,
) -> Head {
    let action = response.action();
    match encoding {
        Encoding::Json | Encoding::JsonPlain => {
            let mut writer = Writer::new(Form::Json, out);
            writer.open("");
            members(&mut writer, response);
            writer.close("");
        }
        Encoding::Query => {
            let envelope = format!("{action}Response");
            let mut writer = Writer::new(Form::Xml, out);
            writer.open_root(&envelope, NAMESPACE);
            enveloped(&mut writer, response, request_id);
            writer.close(&envelope);
        }
        Encoding::QueryJson => {
            let mut writer = Writer::new(Form::Json, out);
            writer.open("");
            writer.open(&format!("{action}Response"));
            enveloped(&mut writer, response, request_id);
            writer.close("");
            writer.close("");
        }
    }
    Head { status: 200, content_type: content_type(encoding), query_error: None }
}

/// Appends the body of an error.
pub fn encode_error(encoding: Encoding, error: &Error, request_id: &str, out: &mut Vec<u8>) -> Head {
    let message = message_in(encoding, error);
    match encoding {
        Encoding::Json | Encoding::JsonPlain => {
            let mut writer = Writer::new(Form::Json, out);
            writer.open("");
            writer.text("__type", error.kind.json_type());
            writer.text("message", &message);
            writer.close("");
        }
        Encoding::Query => {
            let mut writer = Writer::new(Form::Xml, out);
            writer.open_root("ErrorResponse", NAMESPACE);
            query_error(&mut writer, error, &message);
            writer.text("RequestId", request_id);
            writer.close("ErrorResponse");
        }
        Encoding::QueryJson => {
            let mut writer = Writer::new(Form::Json, out);
            writer.open("");
            query_error(&mut writer, error, &message);
            writer.text("RequestId", request_id);
            writer.close("");
        }
    }
    let status = match (encoding, error.kind.status()) {
        (Encoding::JsonPlain, 400..500) => 400,
        (_, status) => status,
    };
    let query_error = encoding.is_json().then(|| error.kind.query_error());
    Head { status, content_type: content_type(encoding), query_error }
}

const fn content_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Json | Encoding::JsonPlain => CONTENT_TYPE_JSON,
        Encoding::Query => "text/xml",
        Encoding::QueryJson => "application/json",
    }
}

/// The Query protocol has always said it longer.
fn message_in(encoding: Encoding, error: &Error) -> String {
    if !encoding.is_json() && *error == Error::queue_does_not_exist() {
        return "The specified queue does not exist for this wsdl version.".to_owned();
    }
    error.message.clone().into_owned()
}

fn query_error(writer: &mut Writer<'_>, error: &Error, message: &str) {
    writer.open("Error");
    writer.text("Type", error.kind.fault().name());
    writer.text("Code", error.kind.query_code());
    writer.text("Message", message);
    writer.empty("Detail");
    writer.close("Error");
}

/// What is inside the envelope of the Query protocol.
fn enveloped(writer: &mut Writer<'_>, response: &Response<'_>, request_id: &str) {
    if response.action().output() == Output::Result {
        let result = format!("{}Result", response.action());
        writer.open(&result);
        match response {
            // The older JSON calls them so, and says it when there is none.
            Response::ReceiveMessage(messages) if writer.is_json() => old_messages(writer, messages),
            _ => members(writer, response),
        }
        writer.close(&result);
    }
    writer.open("ResponseMetadata");
    writer.text("RequestId", request_id);
    writer.close("ResponseMetadata");
}

fn old_messages(writer: &mut Writer<'_>, messages: &[ReceivedMessage<'_>]) {
    if messages.is_empty() {
        writer.empty("messages");
    } else {
        writer.structures(["messages", "Message"], messages, received);
    }
}

fn members(writer: &mut Writer<'_>, response: &Response<'_>) {
    match response {
        Response::CancelMessageMoveTask { moved } => {
            writer.number("ApproximateNumberOfMessagesMoved", *moved);
        }
        Response::ChangeMessageVisibilityBatch(entries) => {
            batch(writer, "ChangeMessageVisibilityBatchResultEntry", entries, |_, ()| {});
        }
        Response::CreateQueue { queue_url } | Response::GetQueueUrl { queue_url } => {
            writer.text("QueueUrl", queue_url);
        }
        Response::DeleteMessageBatch(entries) => {
            batch(writer, "DeleteMessageBatchResultEntry", entries, |_, ()| {});
        }
        Response::GetQueueAttributes(attributes) => {
            let pairs = attributes.iter().map(|(attribute, value)| (attribute.name(), value.as_ref()));
            writer.text_map(["Attributes", "Attribute", "Name"], pairs);
        }
        Response::ListDeadLetterSourceQueues(page) => urls(writer, "queueUrls", page),
        Response::ListMessageMoveTasks(tasks) => {
            writer.structures(["Results", "ListMessageMoveTasksResultEntry"], tasks, move_task);
        }
        Response::ListQueueTags(tags) => {
            let pairs = tags.iter().map(|(key, value)| (key.as_ref(), value.as_ref()));
            writer.text_map(["Tags", "Tag", "Key"], pairs);
        }
        Response::ListQueues(page) if page.queue_urls.is_empty() => {}
        Response::ListQueues(page) => urls(writer, "QueueUrls", page),
        Response::ReceiveMessage(messages) if messages.is_empty() => {}
        Response::ReceiveMessage(messages) => {
            writer.structures(["Messages", "Message"], messages, received);
        }
        Response::SendMessage(message) => sent(writer, message),
        Response::SendMessageBatch(entries) => batch(writer, "SendMessageBatchResultEntry", entries, sent),
        Response::StartMessageMoveTask(handle) => writer.text("TaskHandle", &handle.to_string()),
        Response::AddPermission
        | Response::ChangeMessageVisibility
        | Response::DeleteMessage
        | Response::DeleteQueue
        | Response::PurgeQueue
        | Response::RemovePermission
        | Response::SetQueueAttributes
        | Response::TagQueue
        | Response::UntagQueue => {}
    }
}

fn urls(writer: &mut Writer<'_>, list: &str, page: &UrlPage<'_>) {
    writer.texts([list, "QueueUrl"], page.queue_urls.iter().map(AsRef::as_ref));
    if let Some(after) = &page.more_after {
        writer.text("NextToken", &page_token(after));
    }
}

/// Both lists are there even if they are empty: the model requires them.
fn batch<T>(
    writer: &mut Writer<'_>,
    element: &str,
    entries: &[Entry<'_, T>],
    write: fn(&mut Writer<'_>, &T),
) {
    let done = entries.iter().filter_map(|entry| Some((&entry.id, entry.content.as_ref().ok()?)));
    writer.structures(["Successful", element], done, |writer, (id, content)| {
        writer.text("Id", id);
        write(writer, content);
    });
    let failed = entries.iter().filter_map(|entry| Some((&entry.id, entry.content.as_ref().err()?)));
    writer.structures(["Failed", "BatchResultErrorEntry"], failed, |writer, (id, error)| {
        writer.text("Id", id);
        writer.flag("SenderFault", error.kind.fault());
        writer.text("Code", error.kind.query_code());
        writer.text("Message", &error.message);
    });
}

fn sent(writer: &mut Writer<'_>, message: &SentMessage) {
    let mut optional = |name, value: Option<&dyn Display>| {
        if let Some(value) = value {
            writer.text(name, &value.to_string());
        }
    };
    optional("MessageId", Some(&message.id));
    optional("MD5OfMessageBody", Some(&message.body_md5));
    optional("MD5OfMessageAttributes", message.attributes_md5.as_ref().map(|md5| md5 as _));
    optional("MD5OfMessageSystemAttributes", message.system_attributes_md5.as_ref().map(|md5| md5 as _));
    optional("SequenceNumber", message.sequence_number.as_ref().map(|number| number as _));
}

fn received(writer: &mut Writer<'_>, message: &ReceivedMessage<'_>) {
    writer.text("MessageId", &message.id.to_string());
    writer.text("ReceiptHandle", &message.receipt_handle);
    writer.text("MD5OfBody", &message.body_md5.to_string());
    writer.text("Body", &message.body);
    let system = message.system_attributes.iter();
    let system = system.map(|(attribute, value)| (attribute.name(), value.as_ref()));
    writer.text_map(["Attributes", "Attribute", "Name"], system);
    if let Some(md5) = message.attributes.md5() {
        writer.text("MD5OfMessageAttributes", &md5.to_string());
        user_attributes(writer, &message.attributes);
    }
}

fn user_attributes(writer: &mut Writer<'_>, attributes: &MessageAttributes<'_>) {
    let pairs = attributes.iter().map(|attribute| (attribute.name.as_ref(), attribute));
    writer.structure_map(["MessageAttributes", "MessageAttribute", "Name"], pairs, |writer, attribute| {
        match &attribute.value {
            AttributeValue::Text(text) => writer.text("StringValue", text),
            AttributeValue::Binary(bytes) => writer.text("BinaryValue", &STANDARD.encode(bytes)),
        }
        writer.text("DataType", &attribute.data_type);
    });
}

fn move_task(writer: &mut Writer<'_>, task: &MoveTask) {
    if task.status == MoveStatus::Running {
        writer.text("TaskHandle", &task.handle.to_string());
    }
    writer.text("Status", task.status.name());
    writer.text("SourceArn", &task.handle.source.to_string());
    if let Some(destination) = &task.destination {
        writer.text("DestinationArn", &destination.to_string());
    }
    if let Some(per_second_max) = task.per_second_max {
        writer.number("MaxNumberOfMessagesPerSecond", u64::from(per_second_max));
    }
    writer.number("ApproximateNumberOfMessagesMoved", task.moved);
    writer.number("ApproximateNumberOfMessagesToMove", task.to_move);
    if let MoveStatus::Failed(reason) = task.status {
        writer.text("FailureReason", failure(reason));
    }
    writer.number("StartedTimestamp", task.started_ms);
}

const fn failure(reason: ErrorKind) -> &'static str {
    reason.query_code()
}
