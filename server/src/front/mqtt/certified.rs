//! Clients whose certificate says who they are.
//!
//! Owns what follows from a certificate without a name. Must not know how one is verified, which TLS has done by then. Start at
//! [`Mqtt::certified`].

use std::sync::Arc;

use wire::mqtt::ReasonCode;

use super::Mqtt;
use crate::config::ClientUser;
use crate::shard::{ConnKey, Cx};
use crate::tls::name_in;

impl Mqtt {
    /// The user that the client's certificate names; `None` when it has no certificate, or that says nothing of users.
    ///
    /// # Errors
    /// The code for CONNACK: a name is wanted, and there is none.
    pub(super) fn certified(&self, cx: &Cx<'_>, conn: ConnKey) -> Result<Option<Arc<str>>, ReasonCode> {
        let user = self.config.mqtt.tls_client_user;
        if user == ClientUser::None {
            return Ok(None);
        }
        let Some(certificate) = cx.io.client_certificate(conn) else { return Ok(None) };
        match name_in(certificate, user) {
            Some(name) => Ok(Some(name.into())),
            None => Err(ReasonCode::BadUserNameOrPassword),
        }
    }
}
