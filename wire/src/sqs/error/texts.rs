//! The texts of errors that programs match on, one constructor each.
//!
//! Owns wording only. Texts recorded from the service are kept to the letter, their oddities included.

use super::{Error, ErrorKind, echo};

/// Faults of parameters: what the decoder finds.
impl Error {
    /// `Value .. for parameter .. is invalid. Reason: ..`
    pub fn invalid_value(value: &str, parameter: &str, reason: &str) -> Self {
        let value = echo(value);
        Self::invalid(format!("Value {value} for parameter {parameter} is invalid. Reason: {reason}"))
    }

    /// A parameter that is refused with a text of its own.
    pub(in crate::sqs) fn invalid(message: String) -> Self {
        Self::new(ErrorKind::InvalidParameterValueException, message)
    }

    /// A parameter is missing, or empty where that means the same.
    pub fn missing_parameter(parameter: &str) -> Self {
        Self::new(
            ErrorKind::MissingRequiredParameterException,
            format!("The request must contain the parameter {parameter}."),
        )
    }

    pub(in crate::sqs) fn too_many_members() -> Self {
        Self::invalid(format!(
            "One or more parameters are invalid. Reason: The request has more than {} members.",
            crate::sqs::limits::MEMBERS_MAX
        ))
    }

    pub(in crate::sqs) fn not_convertible(found: &str, wanted: &str) -> Self {
        Self::new(ErrorKind::SerializationException, format!("{found} can not be converted to {wanted}"))
    }

    pub(in crate::sqs) fn unknown_action(name: &str) -> Self {
        Self::new(
            ErrorKind::UnknownOperationException,
            format!("The action {} is not valid for this endpoint.", echo(name)),
        )
    }

    /// A queue attribute that does not exist, or may not be set.
    pub(in crate::sqs) fn unknown_attribute(name: &str) -> Self {
        Self::new(ErrorKind::InvalidAttributeName, format!("Unknown Attribute {}.", echo(name)))
    }

    pub(in crate::sqs) fn invalid_setting(name: &str) -> Self {
        Self::new(ErrorKind::InvalidAttributeValue, format!("Invalid value for the parameter {name}."))
    }

    pub(in crate::sqs) fn invalid_address(url: &str) -> Self {
        Self::new(
            ErrorKind::InvalidAddress,
            format!("The address {} is not valid for this endpoint.", echo(url)),
        )
    }

    /// A parameter that only queues of the other kind take.
    pub(in crate::sqs) fn wrong_queue_type(value: &str, parameter: &str) -> Self {
        Self::invalid_value(
            value,
            parameter,
            "The request include parameter that is not valid for this queue type.",
        )
    }

    /// A message over the limit of its queue, in bytes.
    pub fn message_too_long(message_bytes_max: u32) -> Self {
        Self::invalid(format!(
            "One or more parameters are invalid. Reason: Message must be shorter than {message_bytes_max} bytes."
        ))
    }

    pub(in crate::sqs) fn invalid_characters(kind: ErrorKind) -> Self {
        Self::new(
            kind,
            "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to \
             #xFFFD | #x10000 to #x10FFFF",
        )
    }
}

/// Faults of a queue: what only its owner knows.
impl Error {
    /// No such queue. The Query protocol says it in other words; the encoder sees to that.
    pub fn queue_does_not_exist() -> Self {
        Self::new(ErrorKind::QueueDoesNotExist, "The specified queue does not exist.")
    }

    /// A message of a FIFO queue has no id for deduplication, and the queue does not make one of the body.
    pub fn no_deduplication() -> Self {
        Self::new(
            ErrorKind::InvalidParameterValueException,
            "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided \
             explicitly",
        )
    }

    /// A queue of that name exists, and this attribute of it is another.
    pub fn queue_name_exists(attribute: crate::sqs::QueueAttribute) -> Self {
        Self::new(
            ErrorKind::QueueNameExists,
            format!(
                "A queue already exists with the same name and a different value for attribute {}",
                attribute.name()
            ),
        )
    }

    /// A queue of that name was deleted less than 60 s ago.
    pub fn queue_deleted_recently() -> Self {
        Self::new(
            ErrorKind::QueueDeletedRecently,
            "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
        )
    }

    /// A queue was purged less than 60 s ago.
    pub fn purge_in_progress(queue_name: &str) -> Self {
        Self::new(
            ErrorKind::PurgeQueueInProgress,
            format!("Only one PurgeQueue operation on {queue_name} is allowed every 60 seconds."),
        )
    }

    /// As many messages are in flight as may be.
    pub fn too_many_in_flight(queue_name: &str) -> Self {
        Self::new(ErrorKind::OverLimit, format!("Too many messages in flight for queue {queue_name}."))
    }

    /// A handle that was never given for this queue.
    pub fn receipt_handle_is_invalid(handle: &str) -> Self {
        Self::new(
            ErrorKind::ReceiptHandleIsInvalid,
            format!("The input receipt handle \"{}\" is not a valid receipt handle.", echo(handle)),
        )
    }

    /// A handle of a FIFO queue whose visibility timeout has passed.
    pub fn receipt_handle_expired(handle: &str) -> Self {
        Self::invalid_value(handle, "ReceiptHandle", "The receipt handle has expired.")
    }

    /// A visibility change of a message that is deleted.
    pub fn not_available_for_visibility_change(handle: &str) -> Self {
        Self::invalid_value(
            handle,
            "ReceiptHandle",
            "Message does not exist or is not available for visibility timeout change.",
        )
    }

    /// A visibility change of a message that is visible.
    pub fn message_not_in_flight() -> Self {
        Self::new(ErrorKind::MessageNotInflight, "The specified message isn't in flight.")
    }

    /// A visibility change that would hold a message for more than 12 hours since its receive.
    pub fn visibility_beyond_limit(timeout_s: u32) -> Self {
        Self::invalid_value(
            &timeout_s.to_string(),
            "VisibilityTimeout",
            "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]",
        )
    }

    /// A receive attempt whose messages were deleted or changed since.
    pub fn attempt_is_over(attempt_id: &str) -> Self {
        Self::invalid_value(
            attempt_id,
            "ReceiveRequestAttemptId",
            "The receive request attempt ID is expired or its messages have been changed.",
        )
    }

    /// The dead-letter queue of a redrive policy does not exist.
    pub fn dead_letter_target_missing(policy: &str) -> Self {
        Self::invalid_value(policy, "RedrivePolicy", "Dead letter target does not exist.")
    }

    /// The dead-letter queue does not let this queue use it.
    pub fn dead_letter_target_refuses(policy: &str) -> Self {
        Self::invalid_value(
            policy,
            "RedrivePolicy",
            "The redrive allow policy of the dead letter target does not permit this source queue.",
        )
    }

    /// Source or destination of a move task (`SourceArn`, `DestinationArn`) does not exist.
    pub fn move_resource_missing(parameter: &str) -> Self {
        Self::new(
            ErrorKind::ResourceNotFoundException,
            format!("The resource that you specified for the {parameter} parameter doesn't exist."),
        )
    }

    /// There is no such move task.
    pub fn move_task_missing() -> Self {
        Self::new(ErrorKind::ResourceNotFoundException, "Task does not exist.")
    }

    /// The source of a move task is no dead-letter queue.
    pub fn move_source_is_no_dead_letter_queue() -> Self {
        Self::invalid("Source queue must be configured as a Dead Letter Queue.".to_owned())
    }

    /// The source has a running move task.
    pub fn move_task_is_running() -> Self {
        Self::invalid(
            "There is already a task running. Only one active task is allowed for a source queue arn at a given \
             time."
                .to_owned(),
        )
    }

    /// A move task to cancel is not running.
    pub fn move_task_is_not_running() -> Self {
        Self::invalid("Only active message move tasks can be cancelled.".to_owned())
    }

    /// The token of a page is none, or belongs to another list.
    pub fn invalid_page_token() -> Self {
        Self::invalid("Invalid or expired next token.".to_owned())
    }
}

/// Faults of the caller, and ours.
impl Error {
    /// The key may not do that.
    pub fn access_denied(action: crate::sqs::Action) -> Self {
        Self::new(
            ErrorKind::AccessDeniedException,
            format!("Access to the resource is denied: the key is not allowed sqs:{}.", action.name()),
        )
    }

    /// The access key is unknown.
    pub fn unknown_access_key() -> Self {
        Self::new(ErrorKind::InvalidClientTokenId, "The security token included in the request is invalid.")
    }

    /// The request has to be signed and is not.
    pub fn unsigned() -> Self {
        Self::new(ErrorKind::MissingAuthenticationToken, "Request is missing Authentication Token")
    }

    /// The body is over the limit of the server, in bytes, and was not read.
    pub fn request_too_large(request_bytes_max: usize) -> Self {
        Self::new(
            ErrorKind::RequestEntityTooLarge,
            format!("The request is longer than {request_bytes_max} bytes."),
        )
    }

    /// We failed; the reason is in the log, not in the answer.
    pub fn internal() -> Self {
        Self::new(ErrorKind::InternalFailure, "We encountered an internal error. Please try again.")
    }

    /// The server or its store cannot answer now.
    pub fn unavailable() -> Self {
        Self::new(ErrorKind::ServiceUnavailable, "Service Unavailable. Please try again later.")
    }
}
