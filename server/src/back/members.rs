//! Acting on sessions wherever they are: subscribe, unsubscribe, end. One session, by its id or by the client's name, is
//! asked at its home; a user's or a channel's sessions on every shard.

use std::sync::Arc;

use super::office::{Office, OfficeError};
use crate::mail::Mail;
use hub::{ChannelName, Command, Members, Reason, Refusal, Report, SessionId, ShardId, Token, claim_home};

impl Office {
    /// Subscribes sessions; returns how many. A publish sent after this reaches them.
    ///
    /// # Errors
    /// [`OfficeError::Refused`]: invalid or reserved name, a limit, no such session.
    pub async fn subscribe(&self, of: Members, filter: String) -> Result<u64, OfficeError> {
        let command = |token| Command::Subscribe { of: of.clone(), filter: filter.clone(), token };
        let count = self.count_members(&of, command).await?;
        // One that is subscribed already counts, so none means that there is no such session.
        if count == 0 && self.home_of_members(&of).is_some() {
            return Err(OfficeError::Refused(Refusal::NotFound));
        }
        Ok(count)
    }

    /// Ends subscriptions; returns how many.
    ///
    /// # Errors
    /// As [`Office::subscribe`].
    pub async fn unsubscribe(&self, of: Members, filter: String) -> Result<u64, OfficeError> {
        self.count_members(&of, |token| Command::Unsubscribe {
            of: of.clone(),
            filter: filter.clone(),
            token,
        })
        .await
    }

    /// Ends the subscriptions of all others to a channel; who they were.
    ///
    /// # Errors
    /// As [`Office::subscribe`]; then some may have left.
    pub async fn vacate(&self, channel: ChannelName, except: Members) -> Result<Vec<SessionId>, OfficeError> {
        let mut left = Vec::new();
        for shard in self.shards() {
            let (channel, except) = (channel.clone(), except.clone());
            let report = self.ask(shard, |token| Command::Vacate { channel, except, token }).await?;
            if let Report::Left(sessions) = report {
                left.extend(sessions);
            }
        }
        Ok(left)
    }

    /// Ends sessions (`Kicked`) or closes the connections under them (`Disconnected`); returns how many.
    ///
    /// # Errors
    /// [`OfficeError::Refused`] when there is no such session.
    pub async fn end_members(&self, of: Members, reason: Reason) -> Result<u64, OfficeError> {
        self.end_members_saying(of, (reason, None)).await
    }

    /// The same with words for their clients.
    ///
    /// # Errors
    /// As [`Office::end_members`].
    pub(super) async fn end_members_saying(
        &self,
        of: Members,
        (reason, words): (Reason, Option<Arc<str>>),
    ) -> Result<u64, OfficeError> {
        let mail = |token| {
            let command = Command::EndMembers { of: of.clone(), reason, token };
            match &words {
                Some(words) => Mail::Saying(Arc::clone(words), command),
                None => Mail::Hub(command),
            }
        };
        self.count_members_by(&of, mail).await
    }

    async fn count_members(
        &self,
        of: &Members,
        command: impl Fn(Token) -> Command,
    ) -> Result<u64, OfficeError> {
        self.count_members_by(of, |token| Mail::Hub(command(token))).await
    }

    async fn count_members_by(&self, of: &Members, mail: impl Fn(Token) -> Mail) -> Result<u64, OfficeError> {
        let Some(home) = self.home_of_members(of) else { return self.count_by(mail).await };
        match self.ask_by(home, mail).await? {
            Report::Count(count) => Ok(count),
            _ => Ok(0),
        }
    }

    /// Where the one session is that is meant; `None` when it may be several.
    fn home_of_members(&self, of: &Members) -> Option<ShardId> {
        match of {
            Members::Session(session) => Some(self.home_of(*session)),
            Members::Name(name) => Some(claim_home(name, &self.topology())),
            Members::User(_) | Members::Channel(_) => None,
        }
    }
}
