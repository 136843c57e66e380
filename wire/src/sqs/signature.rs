//! Signatures of requests: AWS Signature Version 4, in the header or in a presigned URL.
//!
//! Owns parsing, the canonical request and the comparison. Must not know keys, clocks or who may do what: the caller
//! brings the secret and the time. Start at [`Signature::find`], then [`Signature::verify`]; for clients at [`Signer::sign`].
//!
//! The digest of the body is computed here, whatever a field says; host and action have to be signed; session tokens
//! mean nothing. Any region is taken, since whose it is does not matter to a signature.
//!
//! Source: "Signature Version 4 signing process" of the IAM user guide.

use std::borrow::Cow;

use ring::digest::{SHA256, digest};
use ring::hmac;
use subtle::ConstantTimeEq as _;

use super::{Error, ErrorKind};
use crate::calendar;
use canonical::Signing;

mod canonical;
mod signer;

pub(super) use canonical::hex;
pub use signer::{Signed, Signer};

/// The algorithm, which begins the header.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// The service that has to be signed for.
const SERVICE: &str = "sqs";

/// How a scope ends.
const TERMINATOR: &str = "aws4_request";

/// Seconds a presigned URL is valid at most: a week.
const EXPIRES_S_MAX: u64 = 604_800;

/// Names in a `SignedHeaders` list. A longer list is refused with `IncompleteSignature`.
const SIGNED_HEADERS_MAX: usize = 64;

/// A request as it was sent.
#[derive(Clone, Copy, Debug)]
pub struct SignedRequest<'a> {
    /// The method.
    pub method: &'a str,
    /// The path of the target, not decoded.
    pub path: &'a str,
    /// The query string of the target without the `?`, not decoded.
    pub query: &'a str,
    /// All header fields, `host` among them, in their order.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// The body.
    pub body: &'a [u8],
}

impl<'a> SignedRequest<'a> {
    /// The first value of a field as text.
    fn text(&self, name: &str) -> Option<&'a str> {
        let found = self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| str::from_utf8(value).ok())
    }
}

/// What the caller's clock says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// Seconds since 1970.
    pub now_s: u64,
    /// Seconds that the client's clock may differ; 900 at the service.
    pub skew_s_max: u64,
}

/// The signature of a request as its sender claims it, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature<'a> {
    /// Which key: the name, not the secret.
    pub access_key_id: Cow<'a, str>,
    /// Which region it is for.
    pub region: Cow<'a, str>,
    day: Cow<'a, str>,
    service: Cow<'a, str>,
    terminator: Cow<'a, str>,
    /// As it is signed: `20260131T235959Z`.
    time: Cow<'a, str>,
    time_s: u64,
    signed_headers: Cow<'a, str>,
    signature: Cow<'a, str>,
    place: Place,
}

/// Where a signature stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Query { expires_s: u64 },
}

impl<'a> Signature<'a> {
    /// The signature of a request; `None` if it has none.
    ///
    /// # Errors
    /// `IncompleteSignature` if it lacks a part or has one that is not understood.
    pub fn find(request: &SignedRequest<'a>) -> Result<Option<Self>, Error> {
        if canonical::parameter(request.query, "X-Amz-Algorithm").is_some() {
            return Self::in_query(request.query).map(Some);
        }
        match request.text("authorization") {
            Some(header) => Self::in_header(request, header).map(Some),
            None => Ok(None),
        }
    }

    fn in_header(request: &SignedRequest<'a>, header: &'a str) -> Result<Self, Error> {
        let parts = header.strip_prefix(ALGORITHM).filter(|parts| parts.starts_with(' '));
        let parts =
            parts.ok_or_else(|| incomplete(format!("Only the algorithm {ALGORITHM} is supported.")))?;
        let part = |name: &str| {
            let mut parts = parts.split(',').filter_map(|part| part.trim().split_once('='));
            let found = parts.find(|(known, _)| *known == name);
            found
                .map(|(_, value)| Cow::Borrowed(value))
                .ok_or_else(|| incomplete(format!("Authorization header requires '{name}' parameter.")))
        };
        let (time, time_s) = header_time(request)?;
        Self {
            time,
            time_s,
            signed_headers: part("SignedHeaders")?,
            signature: part("Signature")?,
            place: Place::Header,
            ..Self::scoped(part("Credential")?)?
        }
        .checked()
    }

    fn in_query(query: &'a str) -> Result<Self, Error> {
        let part = |name: &str| {
            canonical::parameter(query, name)
                .ok_or_else(|| incomplete(format!("AWS query-string parameters must include '{name}'.")))
        };
        if part("X-Amz-Algorithm")? != ALGORITHM {
            return Err(incomplete(format!("Only the algorithm {ALGORITHM} is supported.")));
        }
        let time = part("X-Amz-Date")?;
        let time_s =
            calendar::parse_basic(&time).ok_or_else(|| incomplete("X-Amz-Date is no date.".to_owned()))?;
        let expires_s = part("X-Amz-Expires")?.parse().ok().filter(|expires| *expires <= EXPIRES_S_MAX);
        let expires_s = expires_s.ok_or_else(|| {
            incomplete("X-Amz-Expires must be a number of seconds less than a week.".to_owned())
        })?;
        Self {
            time,
            time_s,
            signed_headers: part("X-Amz-SignedHeaders")?,
            signature: part("X-Amz-Signature")?,
            place: Place::Query { expires_s },
            ..Self::scoped(part("X-Amz-Credential")?)?
        }
        .checked()
    }

    /// Takes the credential apart: key, day, region, service and how it ends.
    fn scoped(credential: Cow<'a, str>) -> Result<Self, Error> {
        let parts: Vec<Cow<'a, str>> = match credential {
            Cow::Borrowed(text) => text.rsplitn(5, '/').map(Cow::Borrowed).collect(),
            Cow::Owned(text) => text.rsplitn(5, '/').map(|part| Cow::Owned(part.to_owned())).collect(),
        };
        let [terminator, service, region, day, access_key_id] = <[_; 5]>::try_from(parts)
            .map_err(|_| incomplete("Credential must have exactly 5 slash-delimited elements.".to_owned()))?;
        Ok(Self {
            access_key_id,
            region,
            day,
            service,
            terminator,
            time: Cow::Borrowed(""),
            time_s: 0,
            signed_headers: Cow::Borrowed(""),
            signature: Cow::Borrowed(""),
            place: Place::Header,
        })
    }

    /// What can be said before the secret is known.
    fn checked(self) -> Result<Self, Error> {
        if self.access_key_id.is_empty() || self.region.is_empty() {
            return Err(incomplete("Credential must name an access key and a region.".to_owned()));
        }
        if self.signed_headers.split(';').count() > SIGNED_HEADERS_MAX {
            return Err(incomplete(format!("At most {SIGNED_HEADERS_MAX} headers can be signed.")));
        }
        Ok(self)
    }

    /// Whether the request was signed with this secret, for this service, and not too long ago.
    ///
    /// # Errors
    /// `SignatureDoesNotMatch`, `RequestExpired`, or `IncompleteSignature` if host or action are not signed.
    pub fn verify(&self, request: &SignedRequest<'_>, secret: &str, clock: Clock) -> Result<(), Error> {
        self.check_scope()?;
        self.check_coverage(request)?;
        self.check_time(clock)?;
        let expected = self.expected(request, secret);
        if bool::from(expected.as_bytes().ct_eq(self.signature.as_bytes())) {
            Ok(())
        } else {
            Err(mismatch())
        }
    }

    /// What the signature of the request is by this secret.
    fn expected(&self, request: &SignedRequest<'_>, secret: &str) -> String {
        let signing = match self.place {
            Place::Header => Signing::Header,
            Place::Query { .. } => Signing::Query,
        };
        let canonical = canonical::request(request, &self.signed_headers, signing);
        let text = format!(
            "{ALGORITHM}\n{}\n{}/{}/{SERVICE}/{TERMINATOR}\n{}",
            self.time,
            self.day,
            self.region,
            canonical::hex(digest(&SHA256, &canonical).as_ref())
        );
        canonical::hex(sign(self.key(secret).as_ref(), &text).as_ref())
    }

    /// The key for the day, region and service.
    fn key(&self, secret: &str) -> hmac::Tag {
        let day = sign(format!("AWS4{secret}").as_bytes(), &self.day);
        let region = sign(day.as_ref(), &self.region);
        let service = sign(region.as_ref(), SERVICE);
        sign(service.as_ref(), TERMINATOR)
    }

    fn check_scope(&self) -> Result<(), Error> {
        let wrong = |message| Err(Error::new(ErrorKind::SignatureDoesNotMatch, message));
        if self.service != SERVICE {
            return wrong(format!("Credential should be scoped to correct service: '{SERVICE}'."));
        }
        if self.terminator != TERMINATOR {
            return wrong(format!("Credential should be scoped with a valid terminator: '{TERMINATOR}'."));
        }
        if !self.time.starts_with(self.day.as_ref()) || self.day.len() != calendar::DAY_CHARS {
            return wrong("Date in Credential scope does not match the date of the request.".to_owned());
        }
        Ok(())
    }

    /// What decides on the request has to be signed.
    fn check_coverage(&self, request: &SignedRequest<'_>) -> Result<(), Error> {
        let is_signed = |name: &str| self.signed_headers.split(';').any(|signed| signed == name);
        for name in ["host", "x-amz-target"] {
            let is_there = name == "host" || request.text(name).is_some();
            if is_there && !is_signed(name) {
                return Err(incomplete(format!("'{name}' must be a 'SignedHeader' in the request.")));
            }
        }
        Ok(())
    }

    fn check_time(&self, Clock { now_s, skew_s_max }: Clock) -> Result<(), Error> {
        let (earliest, latest) = (now_s.saturating_sub(skew_s_max), now_s.saturating_add(skew_s_max));
        let (now, minutes) = (calendar::print_basic(now_s), skew_s_max / 60);
        let wrong = |message| Err(Error::new(ErrorKind::SignatureDoesNotMatch, message));
        if self.time_s > latest {
            let latest = calendar::print_basic(latest);
            return wrong(format!(
                "Signature not yet current: {} is still later than {latest} ({now} + {minutes} min.)",
                self.time
            ));
        }
        match self.place {
            Place::Header if self.time_s < earliest => {
                let earliest = calendar::print_basic(earliest);
                wrong(format!(
                    "Signature expired: {} is now earlier than {earliest} ({now} - {minutes} min.)",
                    self.time
                ))
            }
            Place::Query { expires_s } if self.time_s.saturating_add(expires_s) < now_s => {
                Err(Error::new(ErrorKind::RequestExpired, "Request has expired."))
            }
            Place::Header | Place::Query { .. } => Ok(()),
        }
    }
}

/// The time a request was signed at: `X-Amz-Date`, or `Date` in the form of HTTP.
fn header_time<'a>(request: &SignedRequest<'a>) -> Result<(Cow<'a, str>, u64), Error> {
    if let Some(time) = request.text("x-amz-date") {
        let time_s = calendar::parse_basic(time);
        let time_s = time_s.ok_or_else(|| incomplete("X-Amz-Date is no date.".to_owned()))?;
        return Ok((Cow::Borrowed(time), time_s));
    }
    let time_s = request.text("date").and_then(calendar::parse_http).ok_or_else(|| {
        incomplete(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.".to_owned(),
        )
    })?;
    Ok((Cow::Owned(calendar::print_basic(time_s)), time_s))
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
}

fn incomplete(message: String) -> Error {
    Error::new(ErrorKind::IncompleteSignature, message)
}

fn mismatch() -> Error {
    Error::new(
        ErrorKind::SignatureDoesNotMatch,
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.",
    )
}
