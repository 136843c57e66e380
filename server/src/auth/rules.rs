//! What the configuration says about who may do what with channels (`[[channel]]`).
//!
//! Must not know tokens beyond what they grant. Start at [`Rules::may`].

use super::filters::{covers, overlap};
use super::permissions::{Action, Asker, covers_for};
use crate::config::{AuthMode, Config, Who};

/// First levels under which only the server publishes.
const RESERVED: [&str; 7] = ["$user", "$client", "$sys", "$SYS", "$share", "$bridge", "$delayed"];

/// First levels that nobody subscribes to: who is meant by them gets what is published there anyway.
const IMPLICIT: [&str; 4] = ["$user", "$client", "$share", "$delayed"];

/// The rules, in their order.
#[derive(Debug)]
pub(super) struct Rules {
    list: Vec<Rule>,
    /// What holds without a rule, or where it says nothing.
    default: Who,
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
        Self { list, default }
    }

    /// Whether they say yes to everybody.
    pub(super) fn are_open(&self) -> bool {
        self.list.is_empty() && self.default == Who::Anyone
    }

    /// Whether somebody may do something with all that a channel or filter matches.
    pub(super) fn may(&self, asker: Asker<'_>, action: Action, asked: &str) -> bool {
        if is_reserved(action, asked) {
            return false;
        }
        match self.who(asker, action, asked) {
            Who::Anyone => true,
            Who::Token => asker.permissions.is_some_and(|granted| granted.grant(asker, action, asked)),
            Who::Nobody | Who::Own => false,
        }
    }

    /// Whether no rule keeps somebody from what another part of the configuration grants.
    pub(super) fn may_if_granted(&self, asker: Asker<'_>, action: Action, asked: &str) -> bool {
        !is_reserved(action, asked) && matches!(self.who(asker, action, asked), Who::Anyone | Who::Token)
    }

    /// The strictest of the rules that have channels of what is asked for, up to the first one that covers it. `Own` is
    /// answered here: it becomes `Anyone` or `Nobody`.
    fn who(&self, asker: Asker<'_>, action: Action, asked: &str) -> Who {
        // Who has permissions has no others, whoever gave them.
        let default =
            if asker.permissions.is_some() { stricter(self.default, Who::Token) } else { self.default };
        let mut strictest = Who::Anyone;
        for rule in self.list.iter().filter(|rule| overlap(&rule.plain, asked)) {
            let word = match action {
                Action::Publish => rule.publish,
                Action::Subscribe | Action::Presence | Action::History => rule.subscribe,
            };
            let who = match word.unwrap_or(default) {
                Who::Own if covers_for(asker, &rule.filter, asked) => Who::Anyone,
                Who::Own => Who::Nobody,
                who => who,
            };
            strictest = stricter(strictest, who);
            if covers(&rule.plain, asked, |level, other| level == other) {
                return strictest;
            }
        }
        stricter(strictest, default)
    }
}

fn stricter(one: Who, other: Who) -> Who {
    match (one, other) {
        (Who::Nobody | Who::Own, _) | (_, Who::Nobody | Who::Own) => Who::Nobody,
        (Who::Token, _) | (_, Who::Token) => Who::Token,
        (Who::Anyone, Who::Anyone) => Who::Anyone,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::Permissions;
    use crate::config::{Machine, SourceFile, Sources};

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
