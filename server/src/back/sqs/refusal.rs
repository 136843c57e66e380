//! What refusals of queues are called in this API: one table.

use hub::queue::QueueRefusal;
use wire::sqs::{Error, ErrorKind};

use super::Trouble;

/// What was asked, as far as the text of an error repeats it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct About<'a> {
    /// The queue's name.
    pub(super) queue: &'a str,
    /// `RedrivePolicy` as it was given.
    pub(super) redrive_policy: &'a str,
    /// `ReceiptHandle`.
    pub(super) handle: &'a str,
    /// `VisibilityTimeout`.
    pub(super) timeout_s: u32,
    /// `ReceiveRequestAttemptId`.
    pub(super) attempt: &'a str,
}

impl<'a> About<'a> {
    /// Of a queue alone.
    pub(super) fn queue(queue: &'a str) -> Self {
        Self { queue, ..Self::default() }
    }

    /// What the client is told.
    pub(super) fn error(&self, trouble: Trouble) -> Error {
        match trouble {
            Trouble::Refused(refusal) => self.refusal(refusal),
            Trouble::Error(error) => error,
        }
    }

    /// The table.
    pub(super) fn refusal(&self, refusal: QueueRefusal) -> Error {
        match refusal {
            QueueRefusal::NoJournal | QueueRefusal::Conflict => Error::unavailable(),
            QueueRefusal::NotFound => Error::queue_does_not_exist(),
            QueueRefusal::BadSettings => {
                let text = "The queue has more attributes and tags than this server keeps.";
                Error::new(ErrorKind::InvalidAttributeValue, text)
            }
            QueueRefusal::JustDeleted => Error::queue_deleted_recently(),
            QueueRefusal::JustPurged => Error::purge_in_progress(self.queue),
            QueueRefusal::NoTarget => Error::dead_letter_target_missing(self.redrive_policy),
            QueueRefusal::WrongTarget => Error::invalid_value(
                self.redrive_policy,
                "RedrivePolicy",
                "Dead-letter queue must be same type of queue as the source.",
            ),
            QueueRefusal::TargetNotAllowed => Error::dead_letter_target_refuses(self.redrive_policy),
            QueueRefusal::OverLimit => {
                Error::new(ErrorKind::RequestThrottled, "A limit of this server is reached, try again later.")
            }
            QueueRefusal::TooLarge { bytes_max } => Error::message_too_long(bytes_max),
            QueueRefusal::BadId | QueueRefusal::NoGroup => Error::missing_parameter("MessageGroupId"),
            QueueRefusal::NoDeduplication => Error::no_deduplication(),
            QueueRefusal::DelayNotAllowed => Error::invalid_value(
                "DelaySeconds",
                "DelaySeconds",
                "The request include parameter that is not valid for this queue type.",
            ),
            QueueRefusal::InFlightLimit => Error::too_many_in_flight(self.queue),
            QueueRefusal::BadReceipt => Error::receipt_handle_is_invalid(self.handle),
            QueueRefusal::ReceiptOver => Error::receipt_handle_expired(self.handle),
            QueueRefusal::NotInFlight => Error::message_not_in_flight(),
            QueueRefusal::Gone => Error::not_available_for_visibility_change(self.handle),
            QueueRefusal::VisibilityTooLong => Error::visibility_beyond_limit(self.timeout_s),
            QueueRefusal::AttemptOver => Error::attempt_is_over(self.attempt),
            QueueRefusal::NoDeadLetters => Error::move_source_is_no_dead_letter_queue(),
            QueueRefusal::TaskRunning => Error::move_task_is_running(),
            QueueRefusal::NoTask => Error::move_task_missing(),
        }
    }
}
