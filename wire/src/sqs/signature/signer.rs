//! The client's side: a signature in the header.
//!
//! Start at [`Signer::sign`].

use std::borrow::Cow;
use std::fmt;

use super::{ALGORITHM, Place, SERVICE, Signature, SignedRequest, TERMINATOR};
use crate::calendar;

/// An access key, and the region it signs for.
#[derive(Clone, PartialEq, Eq)]
pub struct Signer {
    /// The name of the key.
    pub access_key_id: String,
    /// The secret.
    pub secret: String,
    /// The region.
    pub region: String,
}

/// What a signed request has besides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The field `x-amz-date`.
    pub time: String,
    /// The field `authorization`.
    pub authorization: String,
}

impl Signer {
    /// Signs a request with all the fields it has, to which the result is to be added as it is. `now_s` is the time in seconds
    /// since 1970.
    pub fn sign(&self, request: &SignedRequest<'_>, now_s: u64) -> Signed {
        let time = calendar::print_basic(now_s);
        let day = time.get(..calendar::DAY_CHARS).unwrap_or_default();
        let mut fields = request.fields.to_vec();
        fields.push(("x-amz-date", time.as_bytes()));
        let mut names: Vec<String> = fields.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        let signed_headers = names.join(";");
        let signature = Signature {
            access_key_id: Cow::Borrowed(&self.access_key_id),
            region: Cow::Borrowed(&self.region),
            day: Cow::Borrowed(day),
            service: Cow::Borrowed(SERVICE),
            terminator: Cow::Borrowed(TERMINATOR),
            time: Cow::Borrowed(&time),
            time_s: now_s,
            signed_headers: Cow::Borrowed(&signed_headers),
            signature: Cow::Borrowed(""),
            place: Place::Header,
        };
        let expected = signature.expected(&SignedRequest { fields: &fields, ..*request }, &self.secret);
        let Self { access_key_id, region, .. } = self;
        let authorization = format!(
            "{ALGORITHM} Credential={access_key_id}/{day}/{region}/{SERVICE}/{TERMINATOR}, \
             SignedHeaders={signed_headers}, Signature={expected}"
        );
        Signed { time, authorization }
    }
}

impl fmt::Debug for Signer {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer")
            .field("access_key_id", &self.access_key_id)
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}
