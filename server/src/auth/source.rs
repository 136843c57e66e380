//! Where a client of HTTP shows its token.
//!
//! Must not know what a token is. Start at [`token_in`].

use std::borrow::Cow;

/// The name of the query parameter (RFC 6750 section 2.3).
pub(crate) const PARAMETER: &str = "access_token";

/// The token of a request: of `Authorization: Bearer`, else of the query, else of the named cookie. `query` is what the
/// parameter of that name holds, decoded.
#[must_use]
pub fn token_in<'a>(
    authorization: Option<&'a str>,
    query: impl IntoIterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
    cookies: Option<&'a str>,
    name: Option<&str>,
) -> Option<Cow<'a, str>> {
    let bearer = authorization.and_then(bearer).map(Cow::Borrowed);
    let queried = || query.into_iter().find(|(key, _)| key == PARAMETER).map(|(_, value)| value);
    let kept = || cookie(cookies?, name?).map(Cow::Borrowed);
    bearer.or_else(queried).or_else(kept)
}

/// The scheme is case-insensitive (RFC 9110 section 11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The value of the first cookie of a name (RFC 6265 section 5.4), without quotes.
fn cookie<'a>(cookies: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = cookies.split(';').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| key.trim() == name)?;
    Some(value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(authorization: Option<&str>, query: &[(&str, &str)], cookies: Option<&str>) -> Option<String> {
        let query =
            query.iter().map(|(key, value)| (Cow::from(key.to_string()), Cow::from(value.to_string())));
        token_in(authorization, query.collect::<Vec<_>>(), cookies, Some("t")).map(Cow::into_owned)
    }

    #[test]
    fn the_header_comes_before_the_query_and_that_before_the_cookie() {
        let query = [("a", "x"), ("access_token", "q")];
        assert_eq!(found(Some("bEARER  h "), &query, Some("t=c")).as_deref(), Some("h"));
        assert_eq!(found(Some("Basic h"), &query, Some("t=c")).as_deref(), Some("q"));
        assert_eq!(found(None, &[], Some("a=b; t=\"c\"; t=d")).as_deref(), Some("c"));
        assert_eq!(found(None, &[], Some("tt=c")), None);
        assert_eq!(found(Some("Bearer"), &[], None), None);
    }
}
