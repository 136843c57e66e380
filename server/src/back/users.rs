//! What is stored of users, as the back office changes and reads it: each at its home.
//!
//! Must not know where a change comes from. Start at [`Office::change_users`].

use super::office::{ANSWER_WAIT, Office, OfficeError};
use crate::mail::Mail;
use hub::{ChannelName, Command, Query, Refusal, Report, ShardId, StoredList, UserChange};
use std::sync::Arc;
use std::time::Duration;

/// What became of several changes.
#[derive(Debug, Default)]
pub(super) struct Changed {
    /// Subscriptions that are new, different or gone.
    pub(super) count: u64,
    /// Changes that were not made, by their place.
    pub(super) refused: Vec<(usize, Refusal)>,
}

impl Office {
    /// The shard that knows what is stored of a user.
    pub(super) fn home_of_user(&self, user: &str) -> ShardId {
        self.home_of_channel(&ChannelName::user(user))
    }

    /// Changes what is stored of users who are at home at this shard. Returns when it is safe and every session has followed.
    ///
    /// # Errors
    /// [`OfficeError::Busy`] or [`OfficeError::Stopped`]: nothing was changed. [`OfficeError::Unanswered`]: it may have been.
    pub(super) async fn change_users(
        &self,
        home: ShardId,
        changes: Vec<UserChange>,
        within: Duration,
    ) -> Result<Changed, OfficeError> {
        let mut answers = self.expect().await;
        let token = answers.token();
        self.tell(home, Mail::Hub(Command::ChangeUsers { changes, token })).await?;
        match answers.within(within).await? {
            Report::UsersChanged { count, refused } => Ok(Changed { count, refused }),
            _ => Err(OfficeError::Unanswered),
        }
    }

    /// The same for one user: how many subscriptions are new, different or gone.
    ///
    /// # Errors
    /// As [`Office::change_users`]; [`OfficeError::Refused`] at a limit.
    pub(super) async fn change_user(&self, change: UserChange) -> Result<u64, OfficeError> {
        let home = self.home_of_user(&change.user);
        let Changed { count, refused } = self.change_users(home, vec![change], ANSWER_WAIT).await?;
        match refused.first() {
            Some((_, refusal)) => Err(OfficeError::Refused(*refusal)),
            None => Ok(count),
        }
    }

    /// What a user is subscribed to from the start of every session.
    ///
    /// # Errors
    /// As [`Office::ask`].
    pub(super) async fn stored_of(&self, user: &str) -> Result<StoredList, OfficeError> {
        let query = Query::Stored { user: Arc::from(user) };
        match self.ask(self.home_of_user(user), |token| Command::Query { token, query }).await? {
            Report::Stored(list) => Ok(list),
            _ => Err(OfficeError::Unanswered),
        }
    }
}
