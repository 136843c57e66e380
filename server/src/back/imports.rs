//! Bulk imports of stored subscriptions: lines in, changes to the homes of users out, with progress.
//!
//! Owns the way from bytes to changes: lines, groups by user, parts by home. At most a window of pairs is in memory, and a
//! home gets them in parts so small that its clients do not wait. What is applied stays, whatever becomes of the rest. Must not
//! know HTTP. Start at [`Importer`].

use super::office::{Office, OfficeError};
use super::users::Changed;
use crate::objects;
use hub::{ChannelName, Quality, Refusal, UserChange, UserDeed, check_filter};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Longest line, in bytes; a longer one is rejected.
pub(super) const LINE_BYTES_MAX: usize = 16_384;

/// Pairs, and bytes of them, that are gathered before they are applied.
const WINDOW_PAIRS: usize = 131_072;
const WINDOW_BYTES: usize = 16 << 20;

/// Users of one command: what a shard does before it looks at its clients again.
const PART_USERS: usize = 128;

/// Commands on their way to one shard.
const PARTS_UNDER_WAY: usize = 4;

/// How long a part may take: it waits for the disk with everything else.
const PART_WAIT: Duration = Duration::from_secs(60);

/// Rejected lines that are told.
pub(super) const REJECTIONS_MAX: usize = 100;

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `{"user":"..","channel":".."}`, optionally with `"qos"`.
    Ndjson,
    /// The user, this character, the channel; nothing is quoted.
    Columns(char),
}

/// What an import does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// How lines are written.
    pub form: Form,
    /// What becomes of what was stored.
    pub deed: UserDeed,
    /// Every user is subscribed to the channel of its own id, too.
    pub with_self: bool,
    /// Bytes of a channel's name.
    pub name_bytes_max: u32,
}

/// How far an import is; clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    inner: Arc<Mutex<Figures>>,
}

/// Figures of an import.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    /// Bytes taken.
    pub bytes: u64,
    /// Lines read, those without anything among them.
    pub lines: u64,
    /// Pairs that are stored.
    pub pairs: u64,
    /// Subscriptions that are new, different or gone.
    pub changed: u64,
    /// Lines that were not taken.
    pub rejected: u64,
    /// The first of them: where, and why.
    pub rejections: Vec<(u64, String)>,
}

impl Progress {
    /// As it is now.
    #[must_use]
    pub(super) fn figures(&self) -> Figures {
        self.note(|figures| figures.clone())
    }

    fn note<T>(&self, change: impl FnOnce(&mut Figures) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn reject(&self, line: u64, lines: u64, why: &str) {
        self.note(|figures| {
            figures.rejected += lines;
            if figures.rejections.len() < REJECTIONS_MAX {
                figures.rejections.push((line, why.to_owned()));
            }
        });
    }
}

/// An import at work.
pub(super) struct Importer {
    office: Office,
    plan: Plan,
    progress: Progress,
    /// The beginning of a line.
    rest: Vec<u8>,
    /// The rest of a line that is too long is left out.
    is_skipping: bool,
    line: u64,
    window: Window,
}

#[derive(Default)]
struct Window {
    users: HashMap<Arc<str>, Group>,
    pairs: usize,
    bytes: usize,
}

/// Of one user.
struct Group {
    /// The first of its lines.
    line: u64,
    lines: u64,
    subscriptions: Vec<(Box<str>, Quality)>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    user: String,
    channel: String,
    qos: Option<u8>,
}

impl Importer {
    /// Before its first byte.
    #[must_use]
    pub(super) fn new(office: Office, plan: Plan, progress: Progress) -> Self {
        let (rest, window) = (Vec::new(), Window::default());
        Self { office, plan, progress, rest, is_skipping: false, line: 0, window }
    }

    /// Takes the next bytes; returns when they are taken, which may wait for those before them.
    ///
    /// # Errors
    /// [`OfficeError`]: the import is over.
    pub(super) async fn take(&mut self, bytes: &[u8]) -> Result<(), OfficeError> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let Some(end) = piece.strip_suffix(b"\n") else {
                self.keep_rest(piece);
                break;
            };
            if self.rest.is_empty() && !self.is_skipping {
                self.take_line(end);
            } else {
                self.keep_rest(end);
                self.end_line();
            }
            if self.window.pairs >= WINDOW_PAIRS || self.window.bytes >= WINDOW_BYTES {
                self.apply().await?;
            }
        }
        self.progress.note(|figures| figures.bytes += bytes.len() as u64);
        Ok(())
    }

    /// There are no more bytes; returns when everything is stored.
    ///
    /// # Errors
    /// As [`Importer::take`].
    pub(super) async fn finish(mut self) -> Result<(), OfficeError> {
        if !self.rest.is_empty() || self.is_skipping {
            self.end_line();
        }
        self.apply().await
    }

    fn keep_rest(&mut self, piece: &[u8]) {
        if self.is_skipping || self.rest.len() + piece.len() > LINE_BYTES_MAX {
            self.is_skipping = true;
            self.rest.clear();
        } else {
            self.rest.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.rest);
        if std::mem::take(&mut self.is_skipping) {
            self.next_line();
            self.progress.reject(self.line, 1, "the line is longer than 16384 bytes");
        } else {
            self.take_line(&line);
            self.rest = line;
            self.rest.clear();
        }
    }

    fn next_line(&mut self) {
        self.line += 1;
        self.progress.note(|figures| figures.lines += 1);
    }

    fn take_line(&mut self, line: &[u8]) {
        self.next_line();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // Spreadsheets write a byte order mark at the start of their text.
        let mark = if self.line == 1 { "\u{feff}".as_bytes() } else { &[] };
        let line = line.strip_prefix(mark).unwrap_or(line);
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        match self.plan.read(line) {
            Ok((user, channel, quality)) => self.window.add(self.line, &user, (channel, quality)),
            Err(why) => self.progress.reject(self.line, 1, &why),
        }
    }

    /// Stores what was gathered.
    async fn apply(&mut self) -> Result<(), OfficeError> {
        let Window { users, .. } = std::mem::take(&mut self.window);
        let mut homes: HashMap<hub::ShardId, Vec<(UserChange, Group)>> = HashMap::new();
        for (user, mut group) in users {
            if self.plan.with_self
                && check_filter(&user, self.plan.name_bytes_max).is_ok()
                && !group.subscriptions.iter().any(|(name, _)| **name == *user)
            {
                group.subscriptions.push((Box::from(&*user), Quality::AtLeastOnce));
            }
            let subscriptions = std::mem::take(&mut group.subscriptions);
            let home = self.office.home_of_user(&user);
            let change = UserChange { user, deed: self.plan.deed, subscriptions };
            homes.entry(home).or_default().push((change, group));
        }
        let parts = homes.into_iter().map(|(home, changes)| self.apply_at(home, changes));
        futures_util::future::try_join_all(parts).await?;
        Ok(())
    }

    /// Those of one home, some parts at a time.
    async fn apply_at(
        &self,
        home: hub::ShardId,
        changes: Vec<(UserChange, Group)>,
    ) -> Result<(), OfficeError> {
        let mut changes = changes.into_iter();
        loop {
            let parts: Vec<Vec<(UserChange, Group)>> = std::iter::from_fn(|| {
                let part: Vec<_> = changes.by_ref().take(PART_USERS).collect();
                (!part.is_empty()).then_some(part)
            })
            .take(PARTS_UNDER_WAY)
            .collect();
            if parts.is_empty() {
                return Ok(());
            }
            futures_util::future::try_join_all(parts.into_iter().map(|part| self.apply_part(home, part)))
                .await?;
        }
    }

    async fn apply_part(
        &self,
        home: hub::ShardId,
        part: Vec<(UserChange, Group)>,
    ) -> Result<(), OfficeError> {
        let (changes, groups): (Vec<UserChange>, Vec<Group>) = part.into_iter().unzip();
        let pairs: u64 = changes.iter().map(|change| change.subscriptions.len() as u64).sum();
        let lens: Vec<u64> = changes.iter().map(|change| change.subscriptions.len() as u64).collect();
        let Changed { count, refused } = self.office.change_users(home, changes, PART_WAIT).await?;
        let lost: u64 = refused.iter().filter_map(|(at, _)| lens.get(*at)).sum();
        self.progress.note(|figures| {
            figures.pairs += pairs - lost;
            figures.changed += count;
        });
        for (at, refusal) in refused {
            if let Some(group) = groups.get(at) {
                self.progress.reject(group.line, group.lines, why(refusal));
            }
        }
        Ok(())
    }
}

impl Plan {
    fn read(&self, line: &[u8]) -> Result<(String, Box<str>, Quality), String> {
        let (user, channel, qos) = match self.form {
            Form::Ndjson => {
                let pair: Pair = objects::from_slice(line).map_err(|error| error.to_string())?;
                (pair.user, pair.channel, pair.qos)
            }
            Form::Columns(between) => {
                let text = str::from_utf8(line).map_err(|_| "not UTF-8".to_owned())?;
                let (user, channel) =
                    text.split_once(between).ok_or_else(|| format!("there is no {between:?}"))?;
                (user.to_owned(), channel.to_owned(), None)
            }
        };
        let quality = match qos {
            None | Some(1) => Quality::AtLeastOnce,
            Some(0) => Quality::AtMostOnce,
            Some(2) => Quality::ExactlyOnce,
            Some(_) => return Err("qos must be 0, 1 or 2".to_owned()),
        };
        if user.is_empty() || ChannelName::user(&user).as_str().len() > self.name_bytes_max as usize {
            return Err("the user's id is empty, or too long".to_owned());
        }
        check_filter(&channel, self.name_bytes_max).map_err(|refusal| why(refusal).to_owned())?;
        Ok((user, channel.into_boxed_str(), quality))
    }
}

impl Window {
    fn add(&mut self, line: u64, user: &str, (channel, quality): (Box<str>, Quality)) {
        self.pairs += 1;
        self.bytes += user.len() + channel.len();
        let new = || Group { line, lines: 0, subscriptions: Vec::new() };
        let group = match self.users.get_mut(user) {
            Some(group) => group,
            None => self.users.entry(Arc::from(user)).or_insert_with(new),
        };
        group.lines += 1;
        match group.subscriptions.iter_mut().find(|(known, _)| *known == channel) {
            Some(known) => known.1 = quality,
            None => group.subscriptions.push((channel, quality)),
        }
    }
}

fn why(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::InvalidChannel | Refusal::InvalidFilter => "not a valid channel or filter",
        Refusal::ReservedChannel => "names that begin with $ are managed by the server",
        Refusal::OverLimit => "limits.stored_per_user_max, stored_users_max or stored_bytes_max is reached",
        Refusal::NotFound | Refusal::PositionLost | Refusal::Outdated | Refusal::Busy => "refused",
    }
}
