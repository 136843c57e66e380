//! A request as a tree of members, whichever encoding it came in, and taking typed members out of it.
//!
//! Owns what "missing", "a number", "a list" mean in each encoding. Must not know actions. Start at [`Members`].
//!
//! Both encodings are first read into a [`Node`], whose size is bounded by [`MEMBERS_MAX`]; texts borrow from the
//! request where it holds them as they are. So an action is decoded by one function, not by one for each encoding.
//!
//! [`MEMBERS_MAX`]: super::limits::MEMBERS_MAX

use std::borrow::Cow;

use super::Error;
use super::member::{self, Member};

/// A value of a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    Null,
    Flag(bool),
    Integer(i64),
    Decimal(f64),
    Text(Cow<'a, str>),
    List(Vec<Node<'a>>),
    /// Keys as they came; of equal ones the last counts.
    Map(Vec<(Cow<'a, str>, Node<'a>)>),
}

/// Keys and values.
pub(super) type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Which names members have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// Those of the service model; lists and maps are lists and maps.
    Json,
    /// Those of forms; lists and maps are maps with numbers for keys.
    Query,
}

/// The members of a request, or of a structure in it, each of which can be taken once.
#[derive(Clone, Debug)]
pub(super) struct Members<'a> {
    map: Vec<(Cow<'a, str>, Node<'a>)>,
    names: Names,
}

impl<'a> Members<'a> {
    /// The members of an object.
    pub(super) fn of(node: Node<'a>, names: Names) -> Result<Self, Error> {
        match node {
            Node::Map(map) => Ok(Self { map, names }),
            other => Err(Error::not_convertible(other.kind(), "a Structure")),
        }
    }

    /// The name a member has in this encoding.
    pub(super) const fn name(&self, member: Member) -> &'static str {
        match self.names {
            Names::Json => member.json,
            Names::Query => member.query,
        }
    }

    /// Takes a member out; `None` if it is missing or null.
    fn take(&mut self, member: Member) -> Option<Node<'a>> {
        let name = self.name(member);
        let at = self.map.iter().rposition(|(key, _)| key == name)?;
        let (_, node) = self.map.swap_remove(at);
        (node != Node::Null).then_some(node)
    }

    /// Whether a member is there.
    pub(super) fn has(&self, member: Member) -> bool {
        let name = self.name(member);
        self.map.iter().any(|(key, node)| key == name && *node != Node::Null)
    }

    /// A text that may be left out.
    pub(super) fn text(&mut self, member: Member) -> Result<Option<Cow<'a, str>>, Error> {
        self.take(member).map(Node::into_text).transpose()
    }

    /// A text that must be there and not empty.
    pub(super) fn required_text(&mut self, member: Member) -> Result<Cow<'a, str>, Error> {
        self.text(member)?
            .filter(|text| !text.is_empty())
            .ok_or_else(|| Error::missing_parameter(self.name(member)))
    }

    /// A whole number that may be left out.
    pub(super) fn integer(&mut self, member: Member) -> Result<Option<i64>, Error> {
        let name = self.name(member);
        match self.take(member) {
            None => Ok(None),
            Some(Node::Integer(number)) => Ok(Some(number)),
            Some(Node::Text(text)) if self.names == Names::Query => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Error::invalid_value(&text, name, "Must be an integer.")),
            },
            Some(other) => Err(Error::not_convertible(other.kind(), "an Integer")),
        }
    }

    /// A list of texts; empty if it is left out.
    pub(super) fn texts(&mut self, member: Member) -> Result<Vec<Cow<'a, str>>, Error> {
        self.list(member)?.into_iter().map(Node::into_text).collect()
    }

    /// A list of structures; empty if it is left out.
    pub(super) fn structures(&mut self, member: Member) -> Result<Vec<Self>, Error> {
        let names = self.names;
        self.list(member)?.into_iter().map(|node| Self::of(node, names)).collect()
    }

    /// A map of texts, sorted by key, each key once; empty if it is left out.
    pub(super) fn text_pairs(&mut self, member: Member, key: Member) -> Result<Pairs<'a>, Error> {
        let pairs = self.pairs(member, key, &Node::Text(Cow::Borrowed("")))?.into_iter();
        pairs.map(|(key, node)| Ok((key, node.into_text()?))).collect()
    }

    /// A map of structures, sorted by name, each name once; empty if it is left out.
    pub(super) fn structure_pairs(&mut self, member: Member) -> Result<Vec<(Cow<'a, str>, Self)>, Error> {
        let names = self.names;
        let pairs = self.pairs(member, member::NAME, &Node::Map(Vec::new()))?.into_iter();
        pairs.map(|(key, node)| Ok((key, Self::of(node, names)?))).collect()
    }

    fn list(&mut self, member: Member) -> Result<Vec<Node<'a>>, Error> {
        match (self.take(member), self.names) {
            (None, _) => Ok(Vec::new()),
            (Some(Node::List(list)), _) => Ok(list),
            (Some(Node::Map(map)), Names::Query) => Ok(numbered(map)),
            // `AttributeName=All`, as people write it who have only one.
            (Some(text @ Node::Text(_)), Names::Query) => Ok(vec![text]),
            (Some(other), _) => Err(Error::not_convertible(other.kind(), "a List")),
        }
    }

    /// Keys and values of a map. In a form they are numbered structures with two members, of which the value may be left
    /// out.
    fn pairs(
        &mut self,
        member: Member,
        key: Member,
        no_value: &Node<'a>,
    ) -> Result<Vec<(Cow<'a, str>, Node<'a>)>, Error> {
        let mut pairs = match (self.take(member), self.names) {
            (None, _) => Vec::new(),
            (Some(Node::Map(map)), Names::Json) => map,
            (Some(Node::Map(map)), Names::Query) => {
                numbered(map).into_iter().map(|node| pair(node, key, no_value)).collect::<Result<_, _>>()?
            }
            (Some(other), _) => return Err(Error::not_convertible(other.kind(), "a Map")),
        };
        pairs.reverse();
        pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
        pairs.dedup_by(|(earlier, _), (kept, _)| earlier == kept);
        Ok(pairs)
    }
}

fn pair<'a>(node: Node<'a>, key: Member, no_value: &Node<'a>) -> Result<(Cow<'a, str>, Node<'a>), Error> {
    let mut members = Members::of(node, Names::Query)?;
    let name = members.text(key)?.unwrap_or_default();
    let value = members.take(member::VALUE).unwrap_or_else(|| no_value.clone());
    Ok((name, value))
}

/// The values of a numbered list, by number; gaps mean nothing, and neither does what has no number.
fn numbered<'a>(map: Vec<(Cow<'a, str>, Node<'a>)>) -> Vec<Node<'a>> {
    let with_number = |(key, node): (Cow<'a, str>, Node<'a>)| Some((key.parse::<u32>().ok()?, node));
    let mut list: Vec<_> = map.into_iter().filter_map(with_number).collect();
    list.sort_by_key(|(number, _)| *number);
    list.into_iter().map(|(_, node)| node).collect()
}

impl<'a> Node<'a> {
    /// What an error calls it.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "NULL_VALUE",
            Self::Flag(true) => "TRUE_VALUE",
            Self::Flag(false) => "FALSE_VALUE",
            Self::Integer(_) => "NUMBER_VALUE",
            Self::Decimal(_) => "DECIMAL_VALUE",
            Self::Text(_) => "STRING_VALUE",
            Self::List(_) => "LIST_VALUE",
            Self::Map(_) => "STRUCTURE_VALUE",
        }
    }

    /// The service takes numbers and flags for texts, too.
    fn into_text(self) -> Result<Cow<'a, str>, Error> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Integer(number) => Ok(Cow::Owned(number.to_string())),
            Self::Decimal(number) => Ok(Cow::Owned(number.to_string())),
            Self::Flag(flag) => Ok(Cow::Owned(flag.to_string())),
            other @ (Self::Null | Self::List(_) | Self::Map(_)) => {
                Err(Error::not_convertible(other.kind(), "a String"))
            }
        }
    }
}
