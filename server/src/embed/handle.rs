//! What an embedding program holds to act on the server from anywhere: a handle, and a handle to one session.

use super::args::Args;
use super::emit::{Emit, Replies};
use crate::back::gather::Delivery;
use crate::back::office::{Office, OfficeError};
use crate::back::sqs::Door;
use crate::back::{Queue, QueueError};
use crate::config::Config;
use crate::front::socketio::rooms;
use crate::mail::Mail;
use hub::{ChannelName, Command, Members, Query, Reason, Refusal, Report, SessionId};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Acts on the whole server; cheap to clone and to send between tasks.
#[derive(Clone)]
pub struct Handle {
    office: Office,
    config: Arc<Config>,
    /// To queues, if there are any.
    door: Option<Door>,
}

/// Acts on one session; cheap to clone. The session may be gone: calls then say so, or have no effect.
#[derive(Clone)]
pub struct Session {
    handle: Handle,
    id: SessionId,
    namespace: Arc<str>,
}

impl Handle {
    pub(crate) fn new(office: Office, config: Arc<Config>, door: Option<Door>) -> Self {
        Self { office, config, door }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn office(&self) -> &Office {
        &self.office
    }

    /// Publishes to a Socket.IO namespace: `handle.of("/chat").to("r1").emit("say", args)`.
    pub fn of(&self, namespace: &str) -> Emit {
        Emit::new(self.clone(), namespace.into())
    }

    /// Publishes to a channel by its product-wide name, such as `chat/r1`.
    ///
    /// # Errors
    /// [`Refusal::InvalidChannel`].
    pub fn channel(&self, channel: &str) -> Result<Emit, Refusal> {
        let name = ChannelName::parse(channel, self.name_bytes_max())?;
        Ok(self.of("/").channel(name))
    }

    /// Publishes to every session of a user.
    pub fn user(&self, user: &str) -> Emit {
        self.of("/").channel(ChannelName::user(user))
    }

    /// A queue by its name, which need not be there yet: see [`Queue::create`]. What is sent to it can be received by SDKs of
    /// SQS, and the other way round.
    ///
    /// # Errors
    /// `InvalidParameterValue` if no queue can have that name, `UnsupportedOperation` if `sqs.enabled` is false.
    pub fn queue(&self, name: &str) -> Result<Queue, QueueError> {
        let door = self.door.clone().ok_or_else(Queue::disabled)?;
        Queue::new(door, name)
    }

    /// A session by its id, for instance one that was stored earlier.
    #[must_use]
    pub fn session(&self, id: SessionId, namespace: &str) -> Session {
        self.session_of(id, namespace.into())
    }

    pub(crate) fn session_of(&self, id: SessionId, namespace: Arc<str>) -> Session {
        Session { handle: self.clone(), id, namespace }
    }

    /// The channel of a whole namespace.
    pub(crate) fn namespace_channel(&self, namespace: &str) -> Result<ChannelName, Refusal> {
        self.checked(rooms::namespace_channel(namespace, self.config.socketio.root_channel.as_str()))
    }

    /// The channel of a room; [`Refusal::ReservedChannel`] when that belongs to another namespace.
    pub(crate) fn room(&self, namespace: &str, room: &str) -> Result<ChannelName, Refusal> {
        let channel = self.checked(rooms::room_channel(namespace, room))?;
        if rooms::is_foreign_room(namespace, room, &self.config) {
            return Err(Refusal::ReservedChannel);
        }
        Ok(channel)
    }

    fn checked(&self, name: Option<String>) -> Result<ChannelName, Refusal> {
        ChannelName::parse(&name.ok_or(Refusal::InvalidChannel)?, self.name_bytes_max())
    }

    fn name_bytes_max(&self) -> u32 {
        self.config.limits.channel_name_bytes_max
    }
}

impl Session {
    /// The public session id; Socket.IO's `socket.id`.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// Its Socket.IO namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The handle it was made from.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Sends an event to this session.
    ///
    /// # Errors
    /// [`OfficeError::Refused`] with [`Refusal::NotFound`] when it is gone.
    pub async fn emit(&self, event: &str, args: impl Into<Args>) -> Result<Delivery, OfficeError> {
        self.handle.of(&self.namespace).session(self.id).emit(event, args).await
    }

    /// Sends an event and waits for its acknowledgement; `None` when none came in time.
    ///
    /// # Errors
    /// As [`Session::emit`].
    pub async fn ask(
        &self,
        event: &str,
        args: impl Into<Args>,
        wait: Duration,
    ) -> Result<Option<Args>, OfficeError> {
        let Replies { replies, .. } =
            self.handle.of(&self.namespace).session(self.id).ask(event, args, wait).await?;
        Ok(replies.into_iter().next().map(|(_, args)| args))
    }

    /// Publishes to others of this session's namespace, this session left out.
    pub fn broadcast(&self) -> Emit {
        self.handle.of(&self.namespace).except_session(self.id)
    }

    /// Joins a room; done when a publish from anywhere would reach it.
    ///
    /// # Errors
    /// [`OfficeError::Refused`]: invalid or reserved name, limit, session gone.
    pub async fn join(&self, room: &str) -> Result<(), OfficeError> {
        let channel = self.handle.room(&self.namespace, room).map_err(OfficeError::Refused)?;
        self.handle.office.subscribe(Members::Session(self.id), channel.as_str().to_owned()).await.map(drop)
    }

    /// Leaves a room.
    ///
    /// # Errors
    /// As [`Session::join`].
    pub async fn leave(&self, room: &str) -> Result<(), OfficeError> {
        let channel = self.handle.room(&self.namespace, room).map_err(OfficeError::Refused)?;
        self.handle.office.unsubscribe(Members::Session(self.id), channel.as_str().to_owned()).await.map(drop)
    }

    /// The names of the channels it is subscribed to, rooms and the namespace's own.
    ///
    /// # Errors
    /// [`OfficeError::Refused`] with [`Refusal::NotFound`] when it is gone.
    pub async fn channels(&self) -> Result<Vec<String>, OfficeError> {
        let query = Query::Sessions { of: Some(Members::Session(self.id)), after: None, limit: 1 };
        let home = self.handle.office.home_of(self.id);
        let report = self.handle.office.ask(home, |token| Command::Query { token, query }).await?;
        let Report::Sessions(page) = report else { return Err(OfficeError::Unanswered) };
        let view = page.items.into_iter().next().ok_or(OfficeError::Refused(Refusal::NotFound))?;
        Ok(view.subscriptions)
    }

    /// The rooms it has joined, by the names they were joined with.
    ///
    /// # Errors
    /// As [`Session::channels`].
    pub async fn rooms(&self) -> Result<Vec<String>, OfficeError> {
        let root = self.handle.config.socketio.root_channel.as_str();
        let channels = self.channels().await?;
        Ok(channels.iter().filter_map(|channel| rooms::room_of(&self.namespace, channel, root)).collect())
    }

    /// Ends this session (Socket.IO: `io server disconnect`); clients do not come back by themselves.
    ///
    /// # Errors
    /// [`OfficeError::Busy`], [`OfficeError::Stopped`].
    pub async fn disconnect(&self) -> Result<(), OfficeError> {
        self.handle.office.end_members(Members::Session(self.id), Reason::Kicked).await.map(drop)
    }

    pub(super) fn tell_home(&self, mail: Mail) -> impl Future<Output = Result<(), OfficeError>> + '_ {
        self.handle.office.tell_home(self.id, mail)
    }

    /// Closes the connection under this session, with every session on it; clients reconnect.
    ///
    /// # Errors
    /// [`OfficeError::Busy`], [`OfficeError::Stopped`].
    pub async fn close_connection(&self) -> Result<(), OfficeError> {
        self.tell_home(Mail::Disconnect { session: self.id }).await
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
