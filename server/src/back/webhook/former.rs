//! Sessions of an earlier process: the back end is told of those that were connected and are not any more, which that process
//! could not do when it was killed.
//!
//! Must not know how a session comes back. Start at [`Teller::tell_of_former`].

use std::collections::HashMap;

use futures_util::StreamExt as _;
use hub::{Command, Millis, Query, Report, SessionId};

use super::lives::Life;
use super::rows::{Former, Link};
use super::teller::{News, Teller};
use super::telling::{EXPIRED, RESTART, disconnected_data, ended_data};
use crate::auth::unix_now;
use crate::config::WebhookType;

/// Sessions that a shard tells at a time.
const PAGE: u32 = 1000;

/// Sessions of which the back end is told at once: as many as the outbox stores together, twice over.
const TOLD_AT_ONCE: usize = 1000;

impl Teller {
    /// Takes over whatever the process before knew. Each event has the same id if this is repeated after another crash.
    ///
    /// # Errors
    /// The store cannot be read, or a shard does not answer.
    pub(super) async fn tell_of_former(&self) -> Result<(), String> {
        let rows = self.rows.clone();
        let former = tokio::task::spawn_blocking(move || rows.former()).await;
        let former = former.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        if former.is_empty() {
            return Ok(());
        }
        let waiting = self.waiting().await?;
        tracing::info!(
            sessions = former.len(),
            "the back end is told what became of sessions of the process before"
        );
        // Beside each other, so that what is written for many is written at once; of each session in its order.
        let tell = |former: Former| {
            let left_ms = waiting.get(&former.session).copied();
            self.tell_of(former, left_ms)
        };
        futures_util::stream::iter(former).map(tell).buffer_unordered(TOLD_AT_ONCE).count().await;
        Ok(())
    }

    /// `left_ms` is how long its client may come back to it.
    async fn tell_of(&self, Former { session, life, link }: Former, left_ms: Option<u64>) {
        let (generation, is_there) = (life.generation, left_ms.is_some());
        self.lives.begin(session, life);
        let close = match link {
            Link::Connected => Life::close,
            Link::Lost => Life::close_again,
        };
        self.lives.change(session, close);
        if link == Link::Lost && is_there {
            return;
        }
        let id = |what: &str| Some((format!("{session}-{generation}-{what}"), unix_now().0));
        let mut is_stored = true;
        if link == Link::Connected {
            let data = disconnected_data(&RESTART, left_ms, None);
            let news = News::new(WebhookType::SessionDisconnected, &data);
            is_stored = self.put(session, &News { id: id("disconnected"), ..news }).await;
        }
        if !is_there {
            let why = match link {
                Link::Connected => RESTART,
                Link::Lost => EXPIRED,
            };
            let data = ended_data(&why);
            let news = News::new(WebhookType::SessionEnded, &data);
            is_stored &= self.put(session, &News { id: id("ended"), ..news }).await;
        }
        self.settle_former((session, is_there), is_stored).await;
    }

    async fn settle_former(&self, (session, is_there): (SessionId, bool), is_stored: bool) {
        if is_there
            && is_stored
            && let Some(life) = self.lives.get(session)
        {
            self.rows.put(session, &life, Link::Lost).await;
        }
        if !is_there {
            self.lives.end(session);
            if is_stored {
                self.rows.forget(session);
            }
        }
    }

    /// Sessions that may come back, and how long: milliseconds, `u64::MAX` = for ever.
    async fn waiting(&self) -> Result<HashMap<SessionId, u64>, String> {
        let office = self.desk.office();
        let now_ms = self.desk.now_ms();
        let left_ms = |until: Option<Millis>| until.map_or(u64::MAX, |until| until.0.saturating_sub(now_ms));
        let mut waiting = HashMap::new();
        for shard in office.shards() {
            let mut after = None;
            loop {
                let query = Query::Sessions { of: None, after, limit: PAGE };
                let report = office.ask(shard, |token| Command::Query { token, query }).await;
                let Report::Sessions(page) = report.map_err(|error| error.to_string())? else { break };
                after = page.items.last().map(|view| view.id);
                waiting.extend(page.items.iter().map(|view| (view.id, left_ms(view.until))));
                if !page.more {
                    break;
                }
            }
        }
        Ok(waiting)
    }
}
