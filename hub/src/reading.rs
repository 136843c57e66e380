//! Sessions that read what a channel keeps: the question goes to the channel's home, and the page comes back in order with what
//! the home forwards. Owns that way; what a history is, is `history`'s business.

use crate::command::{Read, ReadFrom};
use crate::effect::{Effect, Effects};
use crate::hub::Hub;
use crate::hub_mail::{HistoryPage, HubMail, PageAsk};
use crate::ids::{SessionId, ShardId};

impl Hub {
    pub(crate) fn read(&mut self, read: Read, effects: &mut Effects) {
        let Read { session: key, channel, from, limit, request } = read;
        let Some(session) = self.sessions.find(key).map(|session| session.id) else { return };
        let to = channel.home(&self.config.topology);
        let ask = PageAsk { session, request, channel, from, limit };
        if to == self.config.shard {
            self.give_page(to, &ask, effects);
        } else {
            effects.list.push(Effect::Mail { to, mail: HubMail::WantPage(Box::new(ask)) });
        }
    }

    /// This hub is the channel's home. Of a channel with a rule there is a history from now on, so that it has positions.
    pub(crate) fn give_page(&mut self, to: ShardId, ask: &PageAsk, effects: &mut Effects) {
        self.trim_histories();
        if ask.from == ReadFrom::Retained {
            let messages = self.retained.value(&ask.channel, self.now).cloned().into_iter().collect();
            return self.send_page(to, ask, HistoryPage { messages, ..HistoryPage::default() }, effects);
        }
        // Where there is no place for a channel more, none is kept.
        let page = match self.history_of(&ask.channel) {
            Ok(Some((key, rule))) => {
                self.next_position(key);
                self.read_history(key, rule, (ask.from, ask.limit))
            }
            Ok(None) | Err(_) => HistoryPage::default(),
        };
        self.send_page(to, ask, page, effects);
    }

    fn send_page(&mut self, to: ShardId, ask: &PageAsk, page: HistoryPage, effects: &mut Effects) {
        let (session, request, page) = (ask.session, ask.request, Box::new(page));
        if to == self.config.shard {
            self.take_history(&session, request, page, effects);
        } else {
            effects.list.push(Effect::Mail { to, mail: HubMail::Page { session, request, page } });
        }
    }

    /// From the channel's home.
    pub(crate) fn take_history(
        &mut self,
        session: &SessionId,
        request: u64,
        page: Box<HistoryPage>,
        effects: &mut Effects,
    ) {
        let Some(key) = self.sessions.key_of(session) else { return };
        let session = self.sessions.known(key);
        if session.is_connected() && !session.closing {
            let to = session.recipient(key);
            effects.list.push(Effect::Page { to, request, page });
        }
    }
}
