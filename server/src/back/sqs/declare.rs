//! Queues of the configuration: there before anybody asks.
//!
//! Start at [`Door::declare`].

use wire::sqs::{Purpose, QueueAttribute, QueueKind, Settings};

use super::form::Form;
use super::queues::Created;
use super::{Door, declared};
use crate::config::DeclaredQueue;

impl Door {
    /// Creates and configures them; dead letters last, as their queues have to be there.
    ///
    /// # Errors
    /// Which queue cannot be, and why.
    pub(crate) async fn declare(&self) -> Result<(), String> {
        for queue in &self.config.queues {
            let written = |error: wire::sqs::Error| format!("queue \"{}\": {error}", queue.name.as_str());
            let (arn, settings) =
                (declared(&self.config, queue.name.as_str()), self.settings(queue, false).map_err(written)?);
            let changed = Settings::defaults(arn.kind()).changed(&settings).map_err(written)?;
            let form = Form { settings: changed, tags: Vec::new() };
            if let Created::Before(_) = self.created(&arn, &form).await.map_err(written)? {
                self.set(&arn, &settings).await.map_err(written)?;
            }
        }
        for queue in self.config.queues.iter().filter(|queue| queue.dead_letter_queue.is_some()) {
            let written = |error: wire::sqs::Error| format!("queue \"{}\": {error}", queue.name.as_str());
            let settings = self.settings(queue, true).map_err(written)?;
            self.set(&declared(&self.config, queue.name.as_str()), &settings).await.map_err(written)?;
        }
        Ok(())
    }

    fn settings(&self, queue: &DeclaredQueue, with_target: bool) -> Result<Settings, wire::sqs::Error> {
        let kind = QueueKind::of(queue.name.as_str());
        let mut pairs = vec![
            (QueueAttribute::VisibilityTimeout, queue.visibility_timeout_seconds.to_string()),
            (QueueAttribute::DelaySeconds, queue.delay_seconds.to_string()),
            (QueueAttribute::ReceiveMessageWaitTimeSeconds, queue.wait_seconds.to_string()),
            (QueueAttribute::MessageRetentionPeriod, queue.retention_seconds.to_string()),
            (QueueAttribute::MaximumMessageSize, queue.message_bytes_max.to_string()),
        ];
        if kind == QueueKind::Fifo {
            pairs.push((QueueAttribute::FifoQueue, true.to_string()));
            let by_content = queue.content_based_deduplication.to_string();
            pairs.push((QueueAttribute::ContentBasedDeduplication, by_content));
        }
        if let Some(target) = queue.dead_letter_queue.as_ref().filter(|_| with_target) {
            let (target, receives_max) = (declared(&self.config, target.as_str()), queue.receives_max);
            let policy = serde_json::json!({ "deadLetterTargetArn": target.to_string(), "maxReceiveCount": receives_max });
            pairs.push((QueueAttribute::RedrivePolicy, policy.to_string()));
        }
        let pairs = pairs.iter().map(|(attribute, value)| (attribute.name(), value.as_str()));
        Settings::parse(pairs, kind, Purpose::Create)
    }
}
