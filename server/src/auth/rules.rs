//! What the configuration says about who may do what with channels (`[[channel]]`).
//!
//! Must not know tokens beyond what they grant. Start at [`Rules::weigh`].

use super::filters::{covers, overlap};
use super::permissions::{Action, Asker, covers_for};
use crate::config::{AuthMode, Config, Who};

/// First levels under which only the server publishes.
const RESERVED: [&str; 7] = ["$user", "$client", "$sys", "$SYS", "$share", "$bridge", "$delayed"];

/// First levels that nobody subscribes to: who is meant by them gets what is published there anyway.
const IMPLICIT: [&str; 4] = ["$user", "$client", "$share", "$delayed"];

/// What the rules say of something that somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum May {
    /// It may.
    Yes,
    /// It may not.
    No,
    /// If the back end says so, which has to be asked each time.
    Ask,
}

/// What is needed for it: all of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Needs {
    /// It cannot be had.
    nobody: bool,
    /// A grant of all of it.
    grant: bool,
    /// The word of the back end.
    word: bool,
}

/// The rules, in their order.
#[derive(Debug)]
pub(super) struct Rules {
    list: Vec<Rule>,
    /// What holds without a rule, or where it says nothing.
    default: Who,
    /// Whether a rule has the back end asked.
    asks: bool,
}

#[derive(Debug)]
struct Rule {
    /// As it is written.
    filter: Box<str>,
    /// With `+` for whom it is about.
    plain: Box<str>,
    subscribe: Option<Who>,
    publish: Option<Who>,
}

impl Rules {
    pub(super) fn new(config: &Config) -> Self {
        let default = if config.auth.mode == AuthMode::Jwt { Who::Token } else { Who::Anyone };
        let rules = config.channels.iter().map(|rule| Rule {
            filter: rule.filter.as_str().into(),
            plain: rule.filter.plain().into(),
            subscribe: rule.subscribe,
            publish: rule.publish,
        });
        let mut list: Vec<Rule> = rules.collect();
        if list.iter().all(|rule| rule.subscribe.is_none() && rule.publish.is_none()) {
            // They are about other things than who may what.
            list = Vec::new();
        }
        let is_asked = |who: Option<Who>| who == Some(Who::Webhook);
        let asks = list.iter().any(|rule| is_asked(rule.subscribe) || is_asked(rule.publish));
        Self { list, default, asks }
    }

    /// Whether they ever say [`May::Ask`].
    pub(super) fn ask(&self) -> bool {
        self.asks
    }

    /// Whether they say yes to everybody.
    pub(super) fn are_open(&self) -> bool {
        self.list.is_empty() && self.default == Who::Anyone
    }

    /// Whether somebody may do something with all that a channel or filter matches.
    pub(super) fn weigh(&self, asker: Asker<'_>, action: Action, asked: &str) -> May {
        let needs = self.needs(asker, action, asked);
        let is_granted = || asker.permissions.is_some_and(|granted| granted.grant(asker, action, asked));
        needs.met(!needs.grant || is_granted())
    }

    /// Whether no rule keeps somebody from what another part of the configuration grants.
    pub(super) fn weigh_granted(&self, asker: Asker<'_>, action: Action, asked: &str) -> May {
        self.needs(asker, action, asked).met(true)
    }

    /// Why somebody may not, to whom [`Rules::weigh`] or [`Rules::weigh_granted`] says no.
    pub(super) fn why_not(&self, asker: Asker<'_>, action: Action, asked: &str) -> &'static str {
        match asker.permissions {
            _ if is_reserved(action, asked) => why_reserved(action),
            _ if self.needs(asker, action, asked).nobody => "the channel's rule does not allow it",
            Some(_) => "it is not among what this client is granted",
            None => "it has to be granted, and nothing is granted to this client",
        }
    }

    /// What each of the rules needs that have channels of what is asked for, up to the first one that covers it.
    fn needs(&self, asker: Asker<'_>, action: Action, asked: &str) -> Needs {
        if is_reserved(action, asked) {
            return Needs { nobody: true, ..Needs::default() };
        }
        // Who has permissions has no others, whoever gave them.
        let default = if asker.permissions.is_some() { Who::Token } else { self.default };
        let mut needs = Needs::default();
        for rule in self.list.iter().filter(|rule| overlap(&rule.plain, asked)) {
            let word = match action {
                Action::Publish => rule.publish,
                Action::Subscribe | Action::Presence | Action::History => rule.subscribe,
            };
            let who = match word.unwrap_or(default) {
                Who::Own if covers_for(asker, &rule.filter, asked) => Who::Anyone,
                who => who,
            };
            needs.add(who);
            if covers(&rule.plain, asked, |level, other| level == other) {
                return needs;
            }
        }
        needs.add(default);
        needs
    }
}

impl Needs {
    fn add(&mut self, who: Who) {
        match who {
            Who::Nobody | Who::Own => self.nobody = true,
            Who::Token => self.grant = true,
            Who::Webhook => self.word = true,
            Who::Anyone => {}
        }
    }

    /// The verdict, given whether what has to be granted is.
    fn met(self, is_granted: bool) -> May {
        match self {
            Self { nobody: true, .. } => May::No,
            _ if !is_granted => May::No,
            Self { word: true, .. } => May::Ask,
            Self { .. } => May::Yes,
        }
    }
}

/// Whether a name is the server's own: nobody may do that there, whatever is granted.
pub(crate) fn is_reserved(action: Action, asked: &str) -> bool {
    let first = asked.split('/').next().unwrap_or_default();
    match action {
        Action::Publish => RESERVED.contains(&first),
        Action::Subscribe | Action::Presence | Action::History => IMPLICIT.contains(&first),
    }
}

/// What to tell whoever wants to do it there nevertheless.
pub(crate) fn why_reserved(action: Action) -> &'static str {
    match action {
        Action::Publish => "only the server publishes there",
        Action::Subscribe | Action::Presence | Action::History => {
            "nobody subscribes there: whoever is meant gets it anyway"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Permissions;
    use crate::config::{Machine, SourceFile, Sources};

    impl Rules {
        fn may(&self, asker: Asker<'_>, action: Action, asked: &str) -> bool {
            self.weigh(asker, action, asked) == May::Yes
        }

        fn may_if_granted(&self, asker: Asker<'_>, action: Action, asked: &str) -> bool {
            self.weigh_granted(asker, action, asked) == May::Yes
        }
    }

    fn rules(mode: &str, text: &str) -> Rules {
        let secret = "\n[auth.jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\n";
        let text = format!("[auth]\nmode = \"{mode}\"{secret}{text}");
        let file = Some(SourceFile { name: "t".into(), text });
        let machine = Machine { cores: 1, open_files_max: 10_000 };
        Rules::new(&Config::load(&Sources { file, ..Sources::default() }, machine).unwrap().config)
    }

    fn rule(filter: &str, subscribe: &str, publish: &str) -> String {
        format!("[[channel]]\nfilter = \"{filter}\"\nsubscribe = \"{subscribe}\"\npublish = \"{publish}\"\n")
    }

    #[test]
    fn without_rules_the_mode_decides() {
        let granted = Permissions::new([(vec!["a".to_owned()], vec![Action::Subscribe])]);
        let asker = Asker { permissions: Some(&granted), ..Asker::default() };
        let jwt = rules("jwt", "[[channel]]\nfilter = \"b\"\npresence = true\n");
        assert!(jwt.may(asker, Action::Subscribe, "a"));
        assert!(!jwt.may(asker, Action::Publish, "a") && !jwt.may(asker, Action::Subscribe, "b"));
        assert!(!jwt.may(Asker::default(), Action::Subscribe, "a"));
        let open = rules("anonymous", "");
        assert!(open.may(asker, Action::Subscribe, "a"));
        assert!(!open.may(asker, Action::Publish, "a"), "who has permissions has no others");
        assert!(
            open.may(Asker::default(), Action::Publish, "a")
                && open.may(Asker::default(), Action::History, "#")
        );
    }

    #[test]
    fn nobody_means_nobody_whatever_a_token_grants() {
        let granted = Permissions::new([(vec!["#".to_owned()], vec![Action::Subscribe, Action::Publish])]);
        let asker = Asker { permissions: Some(&granted), ..Asker::default() };
        let rules =
            rules("jwt", &(rule("secret/#", "nobody", "nobody") + &rule("news/#", "anyone", "nobody")));
        assert!(
            !rules.may(asker, Action::Subscribe, "secret/a") && !rules.may(asker, Action::Publish, "secret")
        );
        assert!(
            rules.may(Asker::default(), Action::Subscribe, "news/+")
                && !rules.may(asker, Action::Publish, "news")
        );
        assert!(rules.may(asker, Action::Publish, "other"));
        assert!(!rules.may(asker, Action::Subscribe, "#"), "it has channels that nobody may have");
        assert!(!rules.may(asker, Action::Subscribe, "+/a"));
    }

    #[test]
    fn the_first_rule_that_covers_all_of_it_is_the_last_to_be_asked() {
        let rules = rules("anonymous", &(rule("a/b", "anyone", "anyone") + &rule("a/#", "nobody", "nobody")));
        assert!(rules.may(Asker::default(), Action::Publish, "a/b"));
        assert!(!rules.may(Asker::default(), Action::Publish, "a/c"));
        assert!(!rules.may(Asker::default(), Action::Subscribe, "a/+"));
        assert!(rules.may(Asker::default(), Action::Subscribe, "b/+"));
    }

    #[test]
    fn own_is_for_whom_the_level_names() {
        let text = rule("inbox/{user}/#", "own", "anyone") + &rule("dev/{client}", "own", "own");
        let rules = rules("anonymous", &text);
        let bob = Asker { user: Some("bob"), client: Some("c1"), permissions: None };
        assert!(
            rules.may(bob, Action::Subscribe, "inbox/bob/#") && rules.may(bob, Action::History, "inbox/bob")
        );
        assert!(rules.may(bob, Action::Publish, "inbox/eve/a") && rules.may(bob, Action::Publish, "dev/c1"));
        for asked in ["inbox/eve/#", "inbox/+/a", "inbox/#", "#", "dev/c2", "dev/+"] {
            assert!(!rules.may(bob, Action::Subscribe, asked), "{asked}");
        }
        let nobody = Asker::default();
        assert!(!rules.may(nobody, Action::Subscribe, "inbox/{user}/a"));
    }

    #[test]
    fn the_back_end_is_asked_once_nothing_else_says_no() {
        let text = rule("a/x", "token", "nobody") + &rule("a/#", "webhook", "webhook");
        let rules = rules("anonymous", &text);
        assert!(rules.ask());
        let granted = Permissions::new([(vec!["a/#".to_owned()], vec![Action::Subscribe])]);
        let (nobody, asker) = (Asker::default(), Asker { permissions: Some(&granted), ..Asker::default() });
        assert_eq!(rules.weigh(nobody, Action::Subscribe, "a/b"), May::Ask);
        assert_eq!(rules.weigh(nobody, Action::History, "a/b"), May::Ask);
        assert_eq!(rules.weigh(nobody, Action::Subscribe, "a/#"), May::No, "some of it needs a grant");
        assert_eq!(rules.weigh(asker, Action::Subscribe, "a/#"), May::Ask, "and all of it the word");
        assert_eq!(rules.weigh(asker, Action::Subscribe, "a/x"), May::Yes);
        assert_eq!(rules.weigh(nobody, Action::Publish, "a/x"), May::No);
        assert_eq!(rules.weigh(nobody, Action::Publish, "a/y"), May::Ask);
        assert_eq!(rules.weigh(nobody, Action::Publish, "b"), May::Yes);
        assert_eq!(rules.weigh_granted(nobody, Action::Subscribe, "a/#"), May::Ask);
        assert_eq!(rules.weigh_granted(nobody, Action::Publish, "a/x"), May::No);
    }

    #[test]
    fn names_of_the_server_are_nobodys() {
        let granted = Permissions::new([(
            vec!["#".to_owned(), "$SYS/#".to_owned()],
            vec![Action::Subscribe, Action::Publish],
        )]);
        let asker = Asker { permissions: Some(&granted), user: Some("bob"), client: None };
        for rules in [rules("jwt", ""), rules("anonymous", "")] {
            for name in RESERVED {
                assert!(!rules.may(asker, Action::Publish, &format!("{name}/a")), "{name}");
                assert!(!rules.may_if_granted(asker, Action::Publish, name), "{name}");
            }
            for name in IMPLICIT {
                assert!(!rules.may(asker, Action::Subscribe, &format!("{name}/bob")), "{name}");
            }
            assert!(rules.may(asker, Action::Subscribe, "$SYS/broker/#"));
        }
    }
}
