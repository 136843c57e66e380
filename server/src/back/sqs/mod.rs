//! The API of Amazon SQS: queues for back ends that have an SDK for it, over HTTP on the private port and on one of its own.
//!
//! Owns the way from an HTTP request to commands for the queues' homes and back: who asks (`caller`), which queue is meant,
//! what attributes mean to the hub (`form`), and what its refusals are called here (`refusal`). Both encodings, every check
//! that needs no queue and all texts are [`wire::sqs`]'s; what becomes of messages is [`hub::queue`]'s. Must not know shards:
//! everything goes through [`Office`]. Start at [`Door`].

mod caller;
mod declare;
mod embedded;
mod form;
mod http;
mod look;
mod messages;
mod moves;
mod queues;
mod receive;
mod refusal;
mod shelf;

#[cfg(test)]
mod tests;

pub(crate) use embedded::BATCH_MAX;
pub use embedded::{
    Queue, QueueAttribute, QueueError, QueueMessage, QueueReceipt, QueueValue, ReceivedMessage, SentMessage,
};
pub(crate) use http::serve_or_pass;
pub(crate) use look::Looked;
pub(crate) use shelf::Shelf;

use std::ops::Deref;
use std::sync::Arc;

use axum::Router;
use hub::queue::{Answer, QueueCommand, QueueName, QueueRefusal};
use hub::{Command, Report, ShardId, Token};
use tokio::sync::Semaphore;
use wire::sqs::{Action, Error, Origin, QueueAddress, QueueArn, Request, Response, UrlTemplate};

use super::office::{Office, OfficeError};
use crate::config::Config;
use caller::Caller;
use http::Port;

/// The account of the server's own queues: none that a client of SQS could name.
const OWN_ACCOUNT: &str = "$webhook";

/// Everything that requests need; clones share it, and each is one count.
#[derive(Clone)]
pub(crate) struct Door(Arc<Means>);

/// What a [`Door`] works with.
pub(crate) struct Means {
    office: Office,
    config: Arc<Config>,
    shelf: Shelf,
    template: UrlTemplate,
    /// One permit per receive that waits.
    waiting: Arc<Semaphore>,
}

/// What a queue said that did not do what was asked.
#[derive(Debug)]
enum Trouble {
    /// It refused.
    Refused(QueueRefusal),
    /// Something else is wrong.
    Error(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// What the configuration says that this API has not.
///
/// # Errors
/// Key and text, as for any other key.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    template(config)?;
    for (index, credential) in config.sqs_credentials.iter().enumerate() {
        let unknown = credential.actions.iter().find(|action| Action::from_name(action.as_str()).is_none());
        if let Some(unknown) = unknown {
            let text = "must be an action of SQS such as SendMessage";
            return Err(format!("sqs.credential[{index}].actions: {text}, got \"{}\"", unknown.as_str()));
        }
    }
    Ok(())
}

fn template(config: &Config) -> Result<UrlTemplate, String> {
    let text = config.sqs.url_template.as_str();
    UrlTemplate::parse(text).map_err(|error| format!("sqs.url_template: {error}, got \"{text}\""))
}

impl Deref for Door {
    type Target = Means;

    fn deref(&self) -> &Means {
        &self.0
    }
}

impl Door {
    /// A door before the office.
    ///
    /// # Errors
    /// As [`check`].
    pub(crate) fn new(office: Office, config: Arc<Config>, shelf: Shelf) -> Result<Self, String> {
        let template = template(&config)?;
        let waiting = Arc::new(Semaphore::new(config.sqs.waiting_max));
        Ok(Self(Arc::new(Means { office, config, shelf, template, waiting })))
    }

    /// A port on which nothing else is served.
    pub(crate) fn router(self) -> Router {
        let serve =
            |door: axum::extract::State<Self>, request| async move { door.serve(request, Port::Own).await };
        Router::new().fallback(serve).with_state(self)
    }

    /// Does what is asked. Receives are answered elsewhere.
    async fn answer<'a>(
        &self,
        caller: &Caller<'_>,
        origin: Origin<'_>,
        request: Request<'a>,
    ) -> Result<Response<'a>, Error> {
        match request {
            Request::CreateQueue(request) => self.create(caller, origin, request).await,
            Request::DeleteQueue(queue) => self.delete(&caller.arn(&queue)).await,
            Request::GetQueueUrl(queue) => self.url(origin, &caller.arn(&queue)).await,
            Request::ListQueues(request) => self.list(caller, origin, request).await,
            Request::ListDeadLetterSourceQueues(request) => self.sources(caller, origin, request).await,
            Request::GetQueueAttributes(request) => {
                self.attributes(&caller.arn(&request.queue), request.wanted).await
            }
            Request::SetQueueAttributes(request) => {
                self.set(&caller.arn(&request.queue), &request.settings).await
            }
            Request::PurgeQueue(queue) => self.purge(&caller.arn(&queue)).await,
            Request::ListQueueTags(queue) => self.tags(&caller.arn(&queue)).await,
            Request::TagQueue(request) => self.tag(&caller.arn(&request.queue), &request.tags).await,
            Request::UntagQueue(request) => self.untag(&caller.arn(&request.queue), &request.keys).await,
            Request::AddPermission(request) => self.permit(&caller.arn(&request.queue), &request).await,
            Request::RemovePermission(request) => {
                self.forbid(&caller.arn(&request.queue), &request.label).await
            }
            Request::SendMessage(request) => {
                self.send(caller, &caller.arn(&request.queue), request.message).await
            }
            Request::SendMessageBatch(request) => self.send_batch(caller, request).await,
            Request::DeleteMessage(request) => {
                self.settle(&caller.arn(&request.queue), &request.receipt_handle).await
            }
            Request::DeleteMessageBatch(request) => {
                self.settle_batch(&caller.arn(&request.queue), request.entries).await
            }
            Request::ChangeMessageVisibility(request) => {
                self.hold(&caller.arn(&request.queue), &request.change).await
            }
            Request::ChangeMessageVisibilityBatch(request) => {
                self.hold_batch(&caller.arn(&request.queue), request.entries).await
            }
            Request::StartMessageMoveTask(request) => self.start_move(request).await,
            Request::ListMessageMoveTasks(request) => self.moves(request).await,
            Request::CancelMessageMoveTask(handle) => self.cancel_move(handle).await,
            Request::ReceiveMessage(_) => Err(Error::internal()),
        }
    }

    /// The one answer of a queue's home.
    async fn ask(
        &self,
        queue: &QueueName,
        command: impl FnOnce(QueueName, Token) -> QueueCommand,
    ) -> Result<Answer, Trouble> {
        let shard = queue.home(&self.office.topology());
        self.ask_shard(shard, |token| command(queue.clone(), token)).await
    }

    async fn ask_shard(
        &self,
        shard: ShardId,
        command: impl FnOnce(Token) -> QueueCommand,
    ) -> Result<Answer, Trouble> {
        let report = self.office.ask(shard, |token| Command::Queue(command(token))).await;
        answered(report)
    }

    fn url_of(&self, origin: Origin<'_>, queue: &QueueArn) -> String {
        self.template.print(origin, queue)
    }
}

/// What a report to a command about queues says.
fn answered(report: Result<Report, OfficeError>) -> Result<Answer, Trouble> {
    match report {
        Ok(Report::Queue(answer)) => match *answer {
            Answer::Refused(refusal) => Err(Trouble::Refused(refusal)),
            answer => Ok(answer),
        },
        Ok(_) => Err(Trouble::Error(Error::internal())),
        // A store that takes nothing lets answers wait.
        Err(_) => Err(Trouble::Error(Error::unavailable())),
    }
}

/// The hub's name of a queue.
fn name_of(queue: &QueueArn) -> QueueName {
    QueueName::new(&format!("{}/{}/{}", queue.account, queue.region, queue.name))
}

/// The hub's name of a queue that the configuration names.
pub(crate) fn declared_name(config: &Config, name: &str) -> QueueName {
    name_of(&declared(config, name))
}

/// A queue of the server's own.
pub(crate) fn own_name(config: &Config, name: &str) -> QueueName {
    name_of(&own(config, name))
}

fn own(config: &Config, name: &str) -> QueueArn {
    QueueArn { account: OWN_ACCOUNT.to_owned(), ..declared(config, name) }
}

/// A queue that is named without account and region.
fn declared(config: &Config, name: &str) -> QueueArn {
    let (region, account) = (config.sqs.region.as_str().to_owned(), config.sqs.account.as_str().to_owned());
    QueueArn { region, account, name: name.to_owned() }
}

/// The queue of a name; `None` when it is not one of this API.
fn arn_of(name: &QueueName) -> Option<QueueArn> {
    let (account, region, name) = super::queues::parts(name);
    let arn = QueueArn { region: region.to_owned(), account: account.to_owned(), name: name.to_owned() };
    (!account.is_empty()).then_some(arn)
}

impl Caller<'_> {
    /// The queue that is meant by an address.
    fn arn(&self, address: &QueueAddress<'_>) -> QueueArn {
        address.resolve(Some(&self.region), Some(&self.account))
    }
}
