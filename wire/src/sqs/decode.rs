//! Requests out of either encoding, checked as far as that needs no state.
//!
//! Owns which parameter goes where and the checks of single parameters. Must not know how they are encoded. Start at
//! [`decode`].

use std::borrow::Cow;

use super::action::{Action, Need};
use super::address::{QueueAddress, QueueArn, QueueKind, is_queue_name};
use super::attribute::{QueueAttribute, QueueAttributeSet, SystemAttribute, SystemAttributeSet};
use super::encoding::{Encoding, Incoming};
use super::handle::{TaskHandle, page_after};
use super::input::{Members, Names, Pairs};
use super::limits::{
    LABEL_CHARS_MAX, PERMISSION_ACCOUNTS_MAX, PERMISSION_ACTIONS_MAX, RECEIPT_HANDLE_BYTES_MAX,
    TAG_KEY_CHARS_MAX, TAG_VALUE_CHARS_MAX, TAGS_MAX,
};
use super::member::{self, Member};
use super::message::AttributeFilter;
use super::model::{
    AddPermission, ChangeMessageVisibility, ChangeMessageVisibilityBatch, CreateQueue, DeleteMessage,
    DeleteMessageBatch, GetQueueAttributes, ListDeadLetterSourceQueues, ListMessageMoveTasks, ListQueues,
    Page, ReceiveMessage, RemovePermission, Request, SendMessage, SendMessageBatch, SetQueueAttributes,
    StartMessageMoveTask, TagQueue, UntagQueue, VisibilityChange,
};
use super::settings::{Purpose, Settings};
use super::{Error, ErrorKind, json, query};

mod batch;
mod message;
mod range;

pub use message::MessageParts;
use range::Range;

/// Reads a request whose protocol is known.
///
/// # Errors
/// What the client is to be told, by [`super::encode_error`] in the same encoding.
pub fn decode<'a>(incoming: &Incoming<'a>, encoding: Encoding) -> Result<Request<'a>, Error> {
    let action = action(incoming, encoding)?;
    let at = QueueAddress::of_request(incoming.host, incoming.path);
    let members = if encoding.is_json() {
        Members::of(json::parse(incoming.body)?, Names::Json)?
    } else {
        // A queue's URL takes what is about that queue.
        if at.is_some() && matches!(action, Action::CreateQueue | Action::ListQueues) {
            return Err(Error::unknown_action(action.name()));
        }
        Members::of(query::parse(incoming.parameters())?, Names::Query)?
    };
    let mut decoder = Decoder { members, at, trace_header: incoming.trace_header };
    decoder.check_required(action)?;
    decoder.request(action)
}

/// The action asked for.
fn action(incoming: &Incoming<'_>, encoding: Encoding) -> Result<Action, Error> {
    let name = if encoding.is_json() {
        let target = incoming.target.unwrap_or_default();
        Cow::Borrowed(target.strip_prefix("AmazonSQS.").unwrap_or(target))
    } else {
        query::lookup(incoming.parameters(), "Action").unwrap_or_default()
    };
    Action::from_name(&name).ok_or_else(|| Error::unknown_action(&name))
}

struct Decoder<'a> {
    members: Members<'a>,
    /// The queue whose URL the request was made to.
    at: Option<QueueAddress<'a>>,
    trace_header: Option<&'a str>,
}

impl<'a> Decoder<'a> {
    fn check_required(&self, action: Action) -> Result<(), Error> {
        let required = action.parameters().iter().filter(|parameter| parameter.need == Need::Required);
        for member in required.map(|parameter| parameter.member) {
            let stands_in = member == member::QUEUE_URL && self.at.is_some();
            // A batch without entries has an error of its own.
            if !stands_in && !batch::ENTRIES.contains(&member) && !self.members.has(member) {
                return Err(Error::missing_parameter(self.members.name(member)));
            }
        }
        Ok(())
    }

    fn request(&mut self, action: Action) -> Result<Request<'a>, Error> {
        Ok(match action {
            Action::AddPermission => Request::AddPermission(self.add_permission()?),
            Action::CancelMessageMoveTask => {
                let handle = self.members.required_text(member::TASK_HANDLE)?;
                Request::CancelMessageMoveTask(TaskHandle::parse(&handle)?)
            }
            Action::ChangeMessageVisibility => self.change_message_visibility()?,
            Action::ChangeMessageVisibilityBatch => self.change_message_visibility_batch()?,
            Action::CreateQueue => Request::CreateQueue(self.create_queue()?),
            Action::DeleteMessage => self.delete_message()?,
            Action::DeleteMessageBatch => self.delete_message_batch()?,
            Action::DeleteQueue => Request::DeleteQueue(self.queue()?),
            Action::GetQueueAttributes => {
                let queue = self.queue()?;
                let wanted = queue_attributes(self.members.texts(member::ATTRIBUTE_NAMES)?)?;
                Request::GetQueueAttributes(GetQueueAttributes { queue, wanted })
            }
            Action::GetQueueUrl => Request::GetQueueUrl(self.queue_by_name()?),
            Action::ListDeadLetterSourceQueues => {
                let queue = self.queue()?;
                Request::ListDeadLetterSourceQueues(ListDeadLetterSourceQueues { queue, page: self.page()? })
            }
            Action::ListMessageMoveTasks => {
                let source = self.arn(member::SOURCE_ARN)?;
                let max = Range::TASKS.read(&mut self.members, member::MAX_RESULTS)?.unwrap_or(1);
                Request::ListMessageMoveTasks(ListMessageMoveTasks { source, max })
            }
            Action::ListQueueTags => Request::ListQueueTags(self.queue()?),
            Action::ListQueues => {
                let name_prefix = self.members.text(member::QUEUE_NAME_PREFIX)?.unwrap_or_default();
                Request::ListQueues(ListQueues { name_prefix, page: self.page()? })
            }
            Action::PurgeQueue => Request::PurgeQueue(self.queue()?),
            Action::ReceiveMessage => Request::ReceiveMessage(self.receive_message()?),
            Action::RemovePermission => {
                let queue = self.queue()?;
                let label = self.members.required_text(member::LABEL)?;
                Request::RemovePermission(RemovePermission { queue, label })
            }
            Action::SendMessage => self.send_message()?,
            Action::SendMessageBatch => self.send_message_batch()?,
            Action::SetQueueAttributes => self.set_queue_attributes()?,
            Action::StartMessageMoveTask => Request::StartMessageMoveTask(self.start_message_move_task()?),
            Action::TagQueue => {
                let queue = self.queue()?;
                let tags = checked_tags(self.members.text_pairs(member::TAGS, member::KEY)?)?;
                Request::TagQueue(TagQueue { queue, tags })
            }
            Action::UntagQueue => {
                let queue = self.queue()?;
                Request::UntagQueue(UntagQueue { queue, keys: self.members.texts(member::TAG_KEYS)? })
            }
        })
    }

    /// The queue named, else the one whose URL the request was made to.
    fn queue(&mut self) -> Result<QueueAddress<'a>, Error> {
        match self.members.text(member::QUEUE_URL)?.filter(|url| !url.is_empty()) {
            Some(url) => QueueAddress::parse(url),
            None => self.at.take().ok_or_else(|| Error::missing_parameter("QueueUrl")),
        }
    }

    fn queue_by_name(&mut self) -> Result<QueueAddress<'a>, Error> {
        let name = self.members.required_text(member::QUEUE_NAME)?;
        let account = self.members.text(member::QUEUE_OWNER_AWS_ACCOUNT_ID)?;
        if !is_queue_name(&name) {
            return Err(Error::queue_does_not_exist());
        }
        Ok(QueueAddress { region: None, account: account.filter(|account| !account.is_empty()), name })
    }

    fn create_queue(&mut self) -> Result<CreateQueue<'a>, Error> {
        let name = self.members.required_text(member::QUEUE_NAME)?;
        let attributes = self.members.text_pairs(member::ATTRIBUTES, member::NAME)?;
        let tags = checked_tags(self.members.text_pairs(member::TAGS_OF_CREATE, member::KEY)?)?;
        let is_fifo = |(name, value): &(Cow<'_, str>, Cow<'_, str>)| {
            name == QueueAttribute::FifoQueue.name() && value.eq_ignore_ascii_case("true")
        };
        let kind = if attributes.iter().any(is_fifo) { QueueKind::Fifo } else { QueueKind::Standard };
        if !is_queue_name(&name) || QueueKind::of(&name) != kind {
            return Err(Error::invalid(
                match kind {
                    QueueKind::Standard => {
                        "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"
                    }
                    QueueKind::Fifo => {
                        "The name of a FIFO queue can only include alphanumeric characters, hyphens, or \
                         underscores, must end with .fifo suffix and be 1 to 80 in length"
                    }
                }
                .to_owned(),
            ));
        }
        let pairs = attributes.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let settings = Settings::parse(pairs, kind, Purpose::Create)?;
        // Both together have to make sense, whatever is created.
        Settings::defaults(kind).changed(&settings)?;
        Ok(CreateQueue { queue: QueueAddress::of_name(name), settings, tags })
    }

    fn set_queue_attributes(&mut self) -> Result<Request<'a>, Error> {
        let queue = self.queue()?;
        let attributes = self.members.text_pairs(member::ATTRIBUTES, member::NAME)?;
        let pairs = attributes.iter().map(|(name, value)| (name.as_ref(), value.as_ref()));
        let settings = Settings::parse(pairs, queue.kind(), Purpose::Change)?;
        Ok(Request::SetQueueAttributes(SetQueueAttributes { queue, settings }))
    }

    fn change_message_visibility(&mut self) -> Result<Request<'a>, Error> {
        let queue = self.queue()?;
        let change = visibility_change(&mut self.members)?;
        Ok(Request::ChangeMessageVisibility(ChangeMessageVisibility { queue, change }))
    }

    fn change_message_visibility_batch(&mut self) -> Result<Request<'a>, Error> {
        let queue = self.queue()?;
        let entries = batch::read(&mut self.members, member::CHANGE_ENTRIES, visibility_change)?;
        Ok(Request::ChangeMessageVisibilityBatch(ChangeMessageVisibilityBatch { queue, entries }))
    }

    fn delete_message(&mut self) -> Result<Request<'a>, Error> {
        let queue = self.queue()?;
        let receipt_handle = receipt_handle(&mut self.members)?;
        Ok(Request::DeleteMessage(DeleteMessage { queue, receipt_handle }))
    }

    fn delete_message_batch(&mut self) -> Result<Request<'a>, Error> {
        let queue = self.queue()?;
        let entries = batch::read(&mut self.members, member::DELETE_ENTRIES, receipt_handle)?;
        Ok(Request::DeleteMessageBatch(DeleteMessageBatch { queue, entries }))
    }

    fn send_message(&mut self) -> Result<Request<'a>, Error> {
        let queue = self.queue()?;
        let message = message::read(&mut self.members, self.trace_header)?;
        Ok(Request::SendMessage(SendMessage { queue, message }))
    }

    fn send_message_batch(&mut self) -> Result<Request<'a>, Error> {
        let queue = self.queue()?;
        let entries = batch::read_messages(&mut self.members, self.trace_header)?;
        Ok(Request::SendMessageBatch(SendMessageBatch { queue, entries }))
    }

    fn receive_message(&mut self) -> Result<ReceiveMessage<'a>, Error> {
        let queue = self.queue()?;
        let members = &mut self.members;
        let older_names = members.texts(member::ATTRIBUTE_NAMES)?;
        let names = members.texts(member::MESSAGE_SYSTEM_ATTRIBUTE_NAMES)?;
        let attempt_id = members.text(member::RECEIVE_REQUEST_ATTEMPT_ID)?;
        if let Some(id) = &attempt_id {
            message::check_fifo_id(id, member::RECEIVE_REQUEST_ATTEMPT_ID)?;
        }
        Ok(ReceiveMessage {
            queue,
            max: Range::RECEIVE.read(members, member::MAX_NUMBER_OF_MESSAGES)?.unwrap_or(1),
            visibility_timeout_s: Range::VISIBILITY_OF_RECEIVE.read(members, member::VISIBILITY_TIMEOUT)?,
            wait_s: Range::WAIT.read(members, member::WAIT_TIME_SECONDS)?,
            system_attributes: if names.is_empty() {
                system_attributes(older_names)?
            } else {
                system_attributes(names)?
            },
            attributes: AttributeFilter::new(members.texts(member::MESSAGE_ATTRIBUTE_NAMES)?),
            attempt_id,
        })
    }

    fn add_permission(&mut self) -> Result<AddPermission<'a>, Error> {
        let queue = self.queue()?;
        let label = self.members.required_text(member::LABEL)?;
        let accounts = self.members.texts(member::AWS_ACCOUNT_IDS)?;
        let actions = self.members.texts(member::ACTIONS)?;
        for (member, list) in [(member::AWS_ACCOUNT_IDS, &accounts), (member::ACTIONS, &actions)] {
            if list.is_empty() {
                return Err(Error::missing_parameter(self.members.name(member)));
            }
        }
        let is_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if label.len() > LABEL_CHARS_MAX || !label.bytes().all(is_label) {
            return Err(Error::invalid_value(
                &label,
                "Label",
                "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length",
            ));
        }
        let is_account = |id: &Cow<'_, str>| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_digit());
        if let Some(other) = accounts.iter().find(|id| !is_account(id)) {
            return Err(Error::invalid_value(other, "PrincipalId", "Unable to verify."));
        }
        over_limit(actions.len(), PERMISSION_ACTIONS_MAX, "Actions")?;
        over_limit(accounts.len(), PERMISSION_ACCOUNTS_MAX, "Principals")?;
        let is_action = |name: &Cow<'_, str>| name == "*" || Action::from_name(name).is_some();
        if let Some(other) = actions.iter().find(|name| !is_action(name)) {
            return Err(Error::invalid_value(
                &format!("SQS:{}", super::error::echo(other)),
                "ActionName",
                "Please refer to the appropriate WSDL for a list of valid actions. ",
            ));
        }
        Ok(AddPermission { queue, label, accounts, actions })
    }

    fn start_message_move_task(&mut self) -> Result<StartMessageMoveTask, Error> {
        let source = self.arn(member::SOURCE_ARN)?;
        let destination = if self.members.has(member::DESTINATION_ARN) {
            Some(self.arn(member::DESTINATION_ARN)?)
        } else {
            None
        };
        let rate = member::MAX_NUMBER_OF_MESSAGES_PER_SECOND;
        let per_second_max = Range::RATE.read(&mut self.members, rate)?;
        Ok(StartMessageMoveTask { source, destination, per_second_max })
    }

    fn arn(&mut self, member: Member) -> Result<QueueArn, Error> {
        let text = self.members.required_text(member)?;
        QueueArn::parse(&text).ok_or_else(|| {
            Error::invalid(format!(
                "You must use this format to specify the {}: \
                 arn:<partition>:<service>:<region>:<account-id>:<resource-id>",
                self.members.name(member)
            ))
        })
    }

    fn page(&mut self) -> Result<Page, Error> {
        let token = self.members.text(member::NEXT_TOKEN)?.filter(|token| !token.is_empty());
        let after = token.map(|token| page_after(&token)).transpose()?;
        Ok(Page { after, max: Range::PAGE.read(&mut self.members, member::MAX_RESULTS)? })
    }
}

fn receipt_handle<'a>(members: &mut Members<'a>) -> Result<Cow<'a, str>, Error> {
    let handle = members.required_text(member::RECEIPT_HANDLE)?;
    if handle.len() > RECEIPT_HANDLE_BYTES_MAX {
        return Err(Error::receipt_handle_is_invalid(&handle));
    }
    Ok(handle)
}

fn visibility_change<'a>(members: &mut Members<'a>) -> Result<VisibilityChange<'a>, Error> {
    let receipt_handle = receipt_handle(members)?;
    let timeout_s = Range::VISIBILITY
        .read(members, member::VISIBILITY_TIMEOUT)?
        .ok_or_else(|| Error::missing_parameter("VisibilityTimeout"))?;
    Ok(VisibilityChange { receipt_handle, timeout_s })
}

fn queue_attributes(names: Vec<Cow<'_, str>>) -> Result<QueueAttributeSet, Error> {
    names.iter().try_fold(QueueAttributeSet::default(), |set, name| match QueueAttribute::from_name(name) {
        Some(attribute) => Ok(set.with(attribute)),
        None if name == "All" => Ok(QueueAttributeSet::ALL),
        None => Err(Error::unknown_attribute(name)),
    })
}

/// Names of queue attributes are legal in the older list, and mean nothing.
fn system_attributes(names: Vec<Cow<'_, str>>) -> Result<SystemAttributeSet, Error> {
    names.iter().try_fold(SystemAttributeSet::default(), |set, name| {
        match (SystemAttribute::from_name(name), QueueAttribute::from_name(name)) {
            (Some(attribute), _) => Ok(set.with(attribute)),
            (None, Some(_)) => Ok(set),
            (None, None) if name == "All" => Ok(SystemAttributeSet::ALL),
            (None, None) => Err(Error::unknown_attribute(name)),
        }
    })
}

fn checked_tags(tags: Pairs<'_>) -> Result<Pairs<'_>, Error> {
    if tags.len() > TAGS_MAX {
        return Err(Error::invalid(format!(
            "Too many tags: {}, at most {TAGS_MAX} are allowed.",
            tags.len()
        )));
    }
    for (key, value) in &tags {
        let key_chars = key.chars().count();
        if key_chars == 0 || key_chars > TAG_KEY_CHARS_MAX {
            return Err(Error::invalid(
                "Tag keys must be between 1 and 128 characters in length.".to_owned(),
            ));
        }
        if value.chars().count() > TAG_VALUE_CHARS_MAX {
            return Err(Error::invalid(
                "Tag values must be between 0 and 256 characters in length.".to_owned(),
            ));
        }
        if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
            return Err(Error::invalid_value(key, "Tag.Key", "Tag keys must not begin with aws:."));
        }
        if ![key, value].into_iter().all(|text| message::is_legal(text)) {
            return Err(Error::invalid_characters(ErrorKind::InvalidParameterValueException));
        }
    }
    Ok(tags)
}

fn over_limit(found: usize, max: usize, what: &str) -> Result<(), Error> {
    if found <= max {
        return Ok(());
    }
    Err(Error::new(ErrorKind::OverLimit, format!("{found} {what} were found, maximum allowed is {max}.")))
}
