//! The gate that every door asks: whether a client is let in, and what it may do.
//!
//! Must not know who asks. Start at [`Gate::admit`].

use std::sync::Arc;

use super::claims::Grant;
use super::jwt::{self, Looked, Refusal};
use super::keys::Keys;
use super::permissions::{Action, Asker, Permissions, Pool};
use super::revoked::Revoked;
use super::rules::May;
use super::{UnixMs, rules};
use crate::config::{AuthMode, Config, CookieName};

/// What holds for all shards of a node.
#[derive(Debug)]
pub struct Shared {
    mode: AuthMode,
    tokens: jwt::Rules,
    channels: rules::Rules,
    keys: Keys,
    revoked: Revoked,
    cookie: Option<CookieName>,
}

impl Shared {
    /// As configured. Reads key files.
    ///
    /// # Errors
    /// The key of the configuration, and what is wrong with its value.
    pub fn new(config: &Config) -> Result<Arc<Self>, String> {
        Ok(Arc::new(Self {
            mode: config.auth.mode,
            tokens: jwt::Rules::new(config),
            channels: rules::Rules::new(config),
            keys: Keys::of_config(config)?,
            revoked: Revoked::default(),
            cookie: config.jwt.cookie.clone(),
        }))
    }

    /// For whoever looks after them.
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// For whoever revokes tokens.
    #[must_use]
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }
}

/// What one door of one shard asks. Clones share what is configured; each has its own pool of permissions.
#[derive(Debug)]
pub struct Gate {
    shared: Arc<Shared>,
    pool: Pool,
}

/// Whether a client is let in.
#[derive(Debug)]
pub enum Verdict {
    /// It is, so far.
    Granted(Box<Grant>),
    /// It is not, and should not come back as it is.
    Refused(Refusal),
    /// That is not known now: it should come back.
    Later(Later),
    /// The back end has to say.
    Ask,
}

/// Why a client should come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// The key of its token is not known, and the identity provider is asked.
    UnknownKey,
}

impl Gate {
    /// A gate to what is configured.
    #[must_use]
    pub fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), pool: Pool::default() }
    }

    /// Whether clients have to show tokens.
    #[must_use]
    pub fn wants_tokens(&self) -> bool {
        self.shared.mode == AuthMode::Jwt
    }

    /// The cookie that may hold a token.
    #[must_use]
    pub fn cookie(&self) -> Option<&str> {
        self.shared.cookie.as_ref().map(CookieName::as_str)
    }

    /// Looks at a client's token, or at its having none.
    pub fn admit(&mut self, token: Option<&str>, now: UnixMs) -> Verdict {
        match self.shared.mode {
            AuthMode::Anonymous => return Verdict::Granted(Box::default()),
            AuthMode::BackEnd => return Verdict::Ask,
            AuthMode::Jwt => {}
        }
        let keys = self.shared.keys.now();
        let looked = self.shared.tokens.verify(token.unwrap_or_default(), &keys, now);
        let refusal = match looked {
            Looked::Good(claims, expires) => match claims.grant(expires, &mut self.pool) {
                Ok(grant) if self.is_revoked(&grant, now) => Refusal::Revoked,
                Ok(grant) => return Verdict::Granted(Box::new(grant)),
                Err(refusal) => refusal,
            },
            Looked::Refused(refusal) => refusal,
            Looked::UnknownKey(made) if self.shared.keys.may_come(&keys, (made, now)) => {
                return Verdict::Later(Later::UnknownKey);
            }
            Looked::UnknownKey(_) => Refusal::UnknownKey,
        };
        tracing::debug!(reason = refusal.text(), "a token was refused");
        Verdict::Refused(refusal)
    }

    fn is_revoked(&self, grant: &Grant, now: UnixMs) -> bool {
        grant.token_id.as_ref().is_some_and(|id| self.shared.revoked.has(id, now))
    }

    /// Permissions that came from elsewhere: equal ones are kept once.
    #[must_use]
    pub fn intern(&mut self, permissions: Arc<Permissions>) -> Arc<Permissions> {
        self.pool.intern_shared(permissions)
    }

    /// Whether somebody may do something with all that a channel or filter matches.
    #[must_use]
    pub fn weigh(&self, asker: Asker<'_>, action: Action, asked: &str) -> May {
        self.shared.channels.weigh(asker, action, asked)
    }

    /// The same where nobody can be asked: then that is a no.
    #[must_use]
    pub fn may(&self, asker: Asker<'_>, action: Action, asked: &str) -> bool {
        self.weigh(asker, action, asked) == May::Yes
    }

    /// What to tell whoever may not.
    #[must_use]
    pub fn why_not(&self, asker: Asker<'_>, action: Action, asked: &str) -> &'static str {
        self.shared.channels.why_not(asker, action, asked)
    }

    /// Whether [`Gate::weigh`] ever says that the back end is to be asked.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.shared.channels.ask()
    }

    /// Whether [`Gate::may`] is yes for everybody without permissions and every name that does not begin with `$`, so that nobody has to ask.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.channels.are_open()
    }

    /// The same for what another part of the configuration grants already.
    #[must_use]
    pub fn weigh_granted(&self, asker: Asker<'_>, action: Action, asked: &str) -> May {
        self.shared.channels.weigh_granted(asker, action, asked)
    }
}

impl Clone for Gate {
    fn clone(&self) -> Self {
        Self::new(&self.shared)
    }
}
