//! Every bound on a request that needs no state, with what happens beyond it.
//!
//! Owns the numbers of the SQS quotas page and our own bounds on what a request may make the decoder keep. Must not
//! know the limits of a queue in use (messages in flight, a queue's own message size): those are checked where they
//! are known.

/// One bound, for the reference page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: u64,
    /// What it bounds, in which unit, and what happens beyond it.
    pub doc: &'static str,
}

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $value:expr;)*) => {
        $($(#[doc = $doc])+ pub const $name: $type = $value;)*

        /// Every bound, in the order of the reference page.
        pub const ALL: &[Limit] = &[
            $(Limit { name: stringify!($name), value: $name as u64, doc: concat!($($doc),+) }),*
        ];
    };
}

limits! {
    /// Bytes of a request body the decoders are made for. A full batch is 1 MiB of content, which escapes and
    /// percent-encoding can enlarge six times. The HTTP server refuses a longer body with 413 before it comes here.
    REQUEST_BYTES_MAX: usize = 8 << 20;

    /// Parameters of a form, or values of a JSON body with their containers. A batch at all its limits has about 500. A
    /// request with more is refused with `InvalidParameterValue` before it is kept.
    MEMBERS_MAX: usize = 4096;

    /// Bytes of a message: body, and names, types and values of attributes. A longer one is refused with
    /// `InvalidParameterValue`; a queue may have a lower limit of its own.
    MESSAGE_BYTES_MAX: u32 = 1_048_576;

    /// The lowest limit a queue may set for its messages, in bytes.
    MESSAGE_BYTES_MAX_MIN: u32 = 1024;

    /// Bytes of all messages of a batch together. Beyond it the whole call is refused with `BatchRequestTooLong`.
    BATCH_BYTES_MAX: usize = 1_048_576;

    /// Entries of a batch. More are refused as a whole with `TooManyEntriesInBatchRequest`.
    BATCH_ENTRIES_MAX: usize = 10;

    /// Characters of the id of a batch entry. A longer one refuses the batch with `InvalidBatchEntryId`.
    BATCH_ID_CHARS_MAX: usize = 80;

    /// Attributes of one message. More are refused with `InvalidParameterValue`.
    ATTRIBUTES_MAX: usize = 10;

    /// Bytes of the name, and of the type, of a message attribute. Longer ones are refused with `InvalidParameterValue`.
    ATTRIBUTE_NAME_BYTES_MAX: usize = 255;

    /// Significant digits of an attribute of type Number. More are refused with `InvalidParameterValue`.
    NUMBER_DIGITS_MAX: usize = 38;

    /// Characters of a group, deduplication or attempt id. Longer ones are refused with `InvalidParameterValue`.
    FIFO_ID_CHARS_MAX: usize = 128;

    /// Bytes of a trace header. A longer attribute is refused with `InvalidParameterValue`, a longer HTTP field ignored.
    TRACE_HEADER_BYTES_MAX: usize = 1024;

    /// Characters of a queue's name, `.fifo` included. A longer one is refused with `InvalidParameterValue` when a queue
    /// is created, and names no queue otherwise.
    QUEUE_NAME_CHARS_MAX: usize = 80;

    /// Characters of an account or a region. A longer one names no queue.
    SCOPE_CHARS_MAX: usize = 64;

    /// Seconds a message stays invisible at most. More are refused with `InvalidParameterValue`.
    VISIBILITY_TIMEOUT_S_MAX: u32 = 43_200;

    /// Seconds a message is delayed at most. More are refused with `InvalidParameterValue`.
    DELAY_S_MAX: u16 = 900;

    /// Seconds a receive waits at most. More are refused with `InvalidParameterValue`.
    WAIT_S_MAX: u8 = 20;

    /// Messages of one receive. More are refused with `InvalidParameterValue`.
    RECEIVE_MAX: u8 = 10;

    /// Bytes of a receipt handle. A longer one is none: `ReceiptHandleIsInvalid`.
    RECEIPT_HANDLE_BYTES_MAX: usize = 1024;

    /// Bytes of the handle of a move task. A longer one is none: `InvalidParameterValue`.
    TASK_HANDLE_BYTES_MAX: usize = 1024;

    /// Bytes of a token for the next page. A longer one is none: `InvalidParameterValue`.
    PAGE_TOKEN_BYTES_MAX: usize = 1024;

    /// Queues in one page. More are refused with `InvalidParameterValue`.
    PAGE_MAX: u16 = 1000;

    /// Move tasks in one answer. More are refused with `InvalidParameterValue`.
    TASKS_MAX: u8 = 10;

    /// Messages a move task moves in a second. More are refused with `InvalidParameterValue`.
    MOVES_PER_SECOND_MAX: u16 = 500;

    /// Tags of one request. More are refused with `InvalidParameterValue`.
    TAGS_MAX: usize = 50;

    /// Characters of the key of a tag. A longer one is refused with `InvalidParameterValue`.
    TAG_KEY_CHARS_MAX: usize = 128;

    /// Characters of the value of a tag. A longer one is refused with `InvalidParameterValue`.
    TAG_VALUE_CHARS_MAX: usize = 256;

    /// Characters of the label of a permission. A longer one is refused with `InvalidParameterValue`.
    LABEL_CHARS_MAX: usize = 80;

    /// Actions of one permission. More are refused with `OverLimit`.
    PERMISSION_ACTIONS_MAX: usize = 7;

    /// Accounts of one permission. More are refused with `OverLimit`.
    PERMISSION_ACCOUNTS_MAX: usize = 50;

    /// Bytes of the policy of a queue. A longer one is refused with `InvalidAttributeValue`.
    POLICY_BYTES_MAX: usize = 8192;

    /// Statements of a policy. More are refused with `OverLimit`.
    POLICY_STATEMENTS_MAX: usize = 20;

    /// Principals of a policy. More are refused with `OverLimit`.
    POLICY_PRINCIPALS_MAX: usize = 50;

    /// Conditions of a policy. More are refused with `OverLimit`.
    POLICY_CONDITIONS_MAX: usize = 10;

    /// Receives after which a message goes to the dead letters, at most. More are refused with `InvalidParameterValue`.
    RECEIVE_COUNT_MAX: u16 = 1000;

    /// Queues a redrive allow policy may name. More are refused with `InvalidParameterValue`.
    REDRIVE_SOURCES_MAX: usize = 10;

    /// Bytes of any other queue attribute. A longer one is refused with `InvalidAttributeValue`.
    SETTING_BYTES_MAX: usize = 4096;

    /// Bytes of what came that the text of an error repeats. A longer value is cut.
    ECHO_BYTES_MAX: usize = 1024;
}
