//! Names of members in both encodings.
//!
//! Owns that one member has two names: the JSON protocol has those of the service model, the Query protocol its own,
//! in the singular where a list is flattened. Must not know which action takes what: that is the table of actions.

/// A member of a request or an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name in JSON.
    pub json: &'static str,
    /// Its name in a form and in XML; of a list, the name of each element.
    pub query: &'static str,
}

impl Member {
    const fn of(name: &'static str) -> Self {
        Self { json: name, query: name }
    }
}

macro_rules! members {
    ($($constant:ident $json:literal $($query:literal)?;)*) => {
        $(pub(super) const $constant: Member = members!(@ $json $($query)?);)*

        /// Every name a form may have a parameter by, so that others are not kept.
        pub(super) const ALL: &[Member] = &[$($constant),*];
    };
    (@ $json:literal $query:literal) => { Member { json: $json, query: $query } };
    (@ $json:literal) => { Member::of($json) };
}

members! {
    ACTIONS "Actions" "ActionName";
    ATTRIBUTE_NAMES "AttributeNames" "AttributeName";
    ATTRIBUTES "Attributes" "Attribute";
    AWS_ACCOUNT_IDS "AWSAccountIds" "AWSAccountId";
    BINARY_LIST_VALUES "BinaryListValues" "BinaryListValue";
    BINARY_VALUE "BinaryValue";
    CHANGE_ENTRIES "Entries" "ChangeMessageVisibilityBatchRequestEntry";
    DATA_TYPE "DataType";
    DELAY_SECONDS "DelaySeconds";
    DELETE_ENTRIES "Entries" "DeleteMessageBatchRequestEntry";
    DESTINATION_ARN "DestinationArn";
    ID "Id";
    KEY "Key";
    LABEL "Label";
    MAX_NUMBER_OF_MESSAGES "MaxNumberOfMessages";
    MAX_NUMBER_OF_MESSAGES_PER_SECOND "MaxNumberOfMessagesPerSecond";
    MAX_RESULTS "MaxResults";
    MESSAGE_ATTRIBUTE_NAMES "MessageAttributeNames" "MessageAttributeName";
    MESSAGE_ATTRIBUTES "MessageAttributes" "MessageAttribute";
    MESSAGE_BODY "MessageBody";
    MESSAGE_DEDUPLICATION_ID "MessageDeduplicationId";
    MESSAGE_GROUP_ID "MessageGroupId";
    MESSAGE_SYSTEM_ATTRIBUTE_NAMES "MessageSystemAttributeNames" "MessageSystemAttributeName";
    MESSAGE_SYSTEM_ATTRIBUTES "MessageSystemAttributes" "MessageSystemAttribute";
    NAME "Name";
    NEXT_TOKEN "NextToken";
    QUEUE_NAME "QueueName";
    QUEUE_NAME_PREFIX "QueueNamePrefix";
    QUEUE_OWNER_AWS_ACCOUNT_ID "QueueOwnerAWSAccountId";
    QUEUE_URL "QueueUrl";
    RECEIPT_HANDLE "ReceiptHandle";
    RECEIVE_REQUEST_ATTEMPT_ID "ReceiveRequestAttemptId";
    SEND_ENTRIES "Entries" "SendMessageBatchRequestEntry";
    SOURCE_ARN "SourceArn";
    STRING_LIST_VALUES "StringListValues" "StringListValue";
    STRING_VALUE "StringValue";
    TAG_KEYS "TagKeys" "TagKey";
    TAGS "Tags" "Tag";
    TAGS_OF_CREATE "tags" "Tag";
    TASK_HANDLE "TaskHandle";
    VALUE "Value";
    VISIBILITY_TIMEOUT "VisibilityTimeout";
    WAIT_TIME_SECONDS "WaitTimeSeconds";
}
