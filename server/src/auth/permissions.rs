//! What a token lets its client do with channels.
//!
//! Owns the form of permissions and that equal ones are kept once. Must not know where they come from. Start at
//! [`Permissions::grant`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use serde::Deserialize;

use super::filters::covers;
use crate::config::ChannelFilter;

/// Something that a client does with a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Get its messages.
    Subscribe,
    /// Send messages to it.
    Publish,
    /// Be shown its members.
    Presence,
    /// Be shown what was published.
    History,
}

/// Some filters and what is granted on them, as tokens and answers of the back end have it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PermissionEntry {
    filters: Vec<String>,
    allow: Vec<Action>,
}

/// Who asks for something.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker<'a> {
    /// The user, if it is known.
    pub user: Option<&'a str>,
    /// The client's own name, if the protocol has one.
    pub client: Option<&'a str>,
    /// What its token lets it do.
    pub permissions: Option<&'a Permissions>,
}

/// A union of grants: each only adds. Shared by all whose tokens say the same (`Pool`), since `{user}` and `{client}` in
/// filters are looked at when somebody asks.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub struct Permissions(Box<[Grants]>);

/// Some filters, and what may be done with the channels they match.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Grants {
    filters: Box<[Box<str>]>,
    actions: Actions,
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Actions(u8);

impl Actions {
    fn with(self, action: Action) -> Self {
        Self(self.0 | 1 << action as u8)
    }

    fn have(self, action: Action) -> bool {
        self.0 & 1 << action as u8 != 0
    }
}

impl Permissions {
    /// As they are written.
    ///
    /// # Errors
    /// Which filter is none.
    pub(crate) fn of_entries(entries: Vec<PermissionEntry>) -> Result<Self, String> {
        let mut filters = entries.iter().flat_map(|entry| &entry.filters);
        if let Some(wrong) = filters.find(|filter| ChannelFilter::parse(filter).is_err()) {
            return Err(format!("\"{wrong}\" is no filter"));
        }
        Ok(Self::new(entries.into_iter().map(|entry| (entry.filters, entry.allow))))
    }

    /// Of filters and what each list of them allows; the filters are valid.
    pub(super) fn new(granted: impl IntoIterator<Item = (Vec<String>, Vec<Action>)>) -> Self {
        let grants = granted.into_iter().map(|(filters, allow)| Grants {
            filters: filters.into_iter().map(Box::from).collect(),
            actions: allow.into_iter().fold(Actions::default(), Actions::with),
        });
        Self(grants.collect())
    }

    /// Whether it depends on the user what they grant.
    #[must_use]
    pub fn name_the_user(&self) -> bool {
        self.0.iter().any(|grants| grants.filters.iter().any(|filter| filter.contains("{user}")))
    }

    /// Whether an action is granted on all that a channel or filter matches.
    #[must_use]
    pub fn grant(&self, asker: Asker<'_>, action: Action, asked: &str) -> bool {
        let mut grants = self.0.iter().filter(|grants| grants.actions.have(action));
        grants.any(|grants| grants.filters.iter().any(|filter| covers_for(asker, filter, asked)))
    }
}

/// Whether a filter with `{user}` and `{client}` covers what somebody asks for.
pub(super) fn covers_for(asker: Asker<'_>, filter: &str, asked: &str) -> bool {
    covers(filter, asked, |level, other| substituted(asker, level).is_some_and(|level| level == other))
}

/// A level with the asker's names in it; `None` when one is unknown, or would be more than one plain level
/// (CVE-2017-7650). What is put in is not looked at for marks.
fn substituted<'a>(asker: Asker<'_>, level: &'a str) -> Option<Cow<'a, str>> {
    let Some((before, mark)) = level.split_once('{') else { return Some(level.into()) };
    let (value, rest) = match (mark.strip_prefix("user}"), mark.strip_prefix("client}")) {
        (Some(rest), _) => (asker.user, rest),
        (None, Some(rest)) => (asker.client, rest),
        (None, None) => return Some(format!("{before}{{{}", substituted(asker, mark)?).into()),
    };
    let value = value.filter(|value| !value.is_empty() && !value.contains(['+', '#', '/']))?;
    Some(format!("{before}{value}{}", substituted(asker, rest)?).into())
}

/// Permissions that are in use, each once.
#[derive(Debug, Default)]
pub(super) struct Pool {
    known: HashSet<Arc<Permissions>>,
    /// When it has so many, those that nobody uses are looked for.
    sweep_at: usize,
}

/// Below so many nothing is looked for.
const SWEEP_MIN: usize = 64;

impl Pool {
    pub(super) fn intern(&mut self, permissions: Permissions) -> Arc<Permissions> {
        match self.known.get(&permissions) {
            Some(known) => Arc::clone(known),
            None => self.intern_shared(Arc::new(permissions)),
        }
    }

    pub(super) fn intern_shared(&mut self, permissions: Arc<Permissions>) -> Arc<Permissions> {
        if let Some(known) = self.known.get(&permissions) {
            return Arc::clone(known);
        }
        if self.known.len() >= self.sweep_at.max(SWEEP_MIN) {
            self.known.retain(|known| Arc::strong_count(known) > 1);
            self.sweep_at = 2 * self.known.len();
        }
        self.known.insert(Arc::clone(&permissions));
        permissions
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.known.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(filters: &[&str], allow: &[Action]) -> Permissions {
        Permissions::new([(filters.iter().map(|filter| (*filter).to_owned()).collect(), allow.to_vec())])
    }

    #[test]
    fn a_grant_is_for_its_actions_and_the_whole_of_what_is_asked() {
        let permissions = of(&["a/#", "b"], &[Action::Subscribe, Action::History]);
        let may = |action, asked| permissions.grant(Asker::default(), action, asked);
        assert!(may(Action::Subscribe, "a/+/c") && may(Action::History, "b"));
        assert!(!may(Action::Publish, "b") && !may(Action::Presence, "b"));
        assert!(!may(Action::Subscribe, "#") && !may(Action::Subscribe, "+"));
        assert!(!Permissions::default().grant(Asker::default(), Action::Subscribe, "a"));
    }

    #[test]
    fn names_are_put_in_as_they_are_and_only_if_they_are_one_level() {
        let permissions =
            of(&["in/{user}/#", "d-{client}-{user}/x", "{{user}}", "{other}"], &[Action::Publish]);
        let asker = Asker { user: Some("bob"), client: Some("c1"), permissions: None };
        let may = |asker, asked| permissions.grant(asker, Action::Publish, asked);
        assert!(
            may(asker, "in/bob/a")
                && may(asker, "d-c1-bob/x")
                && may(asker, "{bob}")
                && may(asker, "{other}")
        );
        assert!(!may(asker, "in/eve/a") && !may(asker, "in/{user}/a") && !may(asker, "in/+/a"));
        for user in [None, Some(""), Some("+"), Some("#"), Some("a/b")] {
            let asker = Asker { user, ..asker };
            for asked in ["in/+/a", "in/#", "in//a", "in/a/b/a", "in/bob/a"] {
                assert!(!may(asker, asked), "{user:?} {asked}");
            }
        }
        let marked = Asker { user: Some("{client}"), ..asker };
        assert!(may(marked, "in/{client}/a") && !may(marked, "in/c1/a"));
    }

    #[test]
    fn equal_permissions_are_kept_once_and_go_when_nobody_has_them() {
        let mut pool = Pool::default();
        let one = pool.intern(of(&["a"], &[Action::Publish]));
        let other = pool.intern(of(&["a"], &[Action::Publish]));
        assert!(Arc::ptr_eq(&one, &other) && pool.len() == 1);
        for number in 0..1000 {
            pool.intern(of(&[&number.to_string()], &[Action::Publish]));
        }
        assert!(pool.len() <= SWEEP_MIN, "{}", pool.len());
        assert!(Arc::ptr_eq(&one, &pool.intern(of(&["a"], &[Action::Publish]))));
    }
}
