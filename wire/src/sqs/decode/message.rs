//! Messages: drafts as they came, and what has to hold of them.
//!
//! Owns the checks of bodies, attributes and ids. Must not know queues. Start at [`read`].
//!
//! Source: the pages SendMessage and "Message metadata".

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::input::Members;
use super::super::limits::{
    ATTRIBUTE_NAME_BYTES_MAX, ATTRIBUTES_MAX, FIFO_ID_CHARS_MAX, MESSAGE_BYTES_MAX, TRACE_HEADER_BYTES_MAX,
};
use super::super::member::{self, Member};
use super::super::message::{AttributeValue, MessageAttribute, MessageAttributes, NewMessage};
use super::super::{Error, ErrorKind, SystemAttribute};
use super::range::Range;

mod number;

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Reads and checks a message.
pub(super) fn read<'a>(
    members: &mut Members<'a>,
    trace_header: Option<&'a str>,
) -> Result<NewMessage<'a>, Error> {
    Draft::read(members)?.check(trace_header)
}

/// A message that did not come in a request, to be held to the same rules.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessageParts<'a> {
    /// The body.
    pub body: Cow<'a, str>,
    /// Seconds to wait instead of the queue's delay.
    pub delay_s: Option<u32>,
    /// User attributes; each name once.
    pub attributes: Vec<MessageAttribute<'a>>,
    /// The deduplication id.
    pub deduplication_id: Option<Cow<'a, str>>,
    /// The group.
    pub group_id: Option<Cow<'a, str>>,
}

impl<'a> MessageParts<'a> {
    /// The message, if it is one.
    ///
    /// # Errors
    /// As for a request: `MissingParameter` for an empty body, `InvalidParameterValue`, `InvalidMessageContents`.
    pub fn check(self) -> Result<NewMessage<'a>, Error> {
        if self.body.is_empty() {
            return Err(Error::missing_parameter(member::MESSAGE_BODY.json));
        }
        let delay = |delay_s: u32| Range::DELAY.check(delay_s.into(), member::DELAY_SECONDS.json);
        let draft = Draft {
            body: self.body,
            delay_s: self.delay_s.map(delay).transpose()?,
            attributes: self.attributes.into_iter().map(DraftAttribute::of).collect(),
            system_attributes: Vec::new(),
            deduplication_id: self.deduplication_id,
            group_id: self.group_id,
        };
        draft.check(None)
    }
}

/// A message as it came, whose size is known and nothing else.
pub(super) struct Draft<'a> {
    body: Cow<'a, str>,
    delay_s: Option<u16>,
    attributes: Vec<DraftAttribute<'a>>,
    system_attributes: Vec<DraftAttribute<'a>>,
    deduplication_id: Option<Cow<'a, str>>,
    group_id: Option<Cow<'a, str>>,
}

struct DraftAttribute<'a> {
    name: Cow<'a, str>,
    data_type: Option<Cow<'a, str>>,
    text: Option<Cow<'a, str>>,
    binary: Option<Cow<'a, [u8]>>,
    is_list: bool,
}

impl<'a> Draft<'a> {
    /// Takes a message out of the members of its request or entry.
    pub(super) fn read(members: &mut Members<'a>) -> Result<Self, Error> {
        let attributes = |members: &mut Members<'a>, member| -> Result<Vec<_>, Error> {
            let pairs = members.structure_pairs(member)?.into_iter();
            pairs.map(|(name, mut members)| DraftAttribute::read(name, &mut members)).collect()
        };
        Ok(Self {
            body: members.required_text(member::MESSAGE_BODY)?,
            attributes: attributes(members, member::MESSAGE_ATTRIBUTES)?,
            system_attributes: attributes(members, member::MESSAGE_SYSTEM_ATTRIBUTES)?,
            delay_s: Range::DELAY.read(members, member::DELAY_SECONDS)?,
            deduplication_id: members.text(member::MESSAGE_DEDUPLICATION_ID)?,
            group_id: members.text(member::MESSAGE_GROUP_ID)?,
        })
    }

    /// What counts for limits.
    pub(super) fn bytes(&self) -> usize {
        self.body.len() + self.attributes.iter().map(DraftAttribute::bytes).sum::<usize>()
    }

    /// The message, if it is one.
    pub(super) fn check(self, trace_header: Option<&'a str>) -> Result<NewMessage<'a>, Error> {
        if self.bytes() > MESSAGE_BYTES_MAX as usize {
            return Err(Error::message_too_long(MESSAGE_BYTES_MAX));
        }
        if !is_legal(&self.body) {
            return Err(Error::invalid_characters(ErrorKind::InvalidMessageContents));
        }
        if self.attributes.len() > ATTRIBUTES_MAX {
            return Err(Error::invalid(format!(
                "Number of message attributes [{}] exceeds the allowed maximum [{ATTRIBUTES_MAX}].",
                self.attributes.len()
            )));
        }
        let attributes = self.attributes.into_iter().map(DraftAttribute::check_user);
        let attributes = MessageAttributes::new(attributes.collect::<Result<_, _>>()?);
        let system = self.system_attributes.into_iter().map(DraftAttribute::check_system);
        let system = MessageAttributes::new(system.collect::<Result<_, _>>()?);
        for (id, member) in [
            (&self.deduplication_id, member::MESSAGE_DEDUPLICATION_ID),
            (&self.group_id, member::MESSAGE_GROUP_ID),
        ] {
            id.as_ref().map_or(Ok(()), |id| check_fifo_id(id, member))?;
        }
        Ok(NewMessage {
            body: self.body,
            delay_s: self.delay_s,
            attributes,
            system_attributes_md5: system.md5(),
            trace_header: trace_header_of(system).or_else(|| trace_header.and_then(usable_trace_header)),
            deduplication_id: self.deduplication_id,
            group_id: self.group_id,
        })
    }
}

impl<'a> DraftAttribute<'a> {
    fn of(attribute: MessageAttribute<'a>) -> Self {
        let (text, binary) = match attribute.value {
            AttributeValue::Text(text) => (Some(text), None),
            AttributeValue::Binary(bytes) => (None, Some(bytes)),
        };
        Self { name: attribute.name, data_type: Some(attribute.data_type), text, binary, is_list: false }
    }

    fn read(name: Cow<'a, str>, members: &mut Members<'a>) -> Result<Self, Error> {
        Ok(Self {
            name,
            data_type: members.text(member::DATA_TYPE)?,
            text: members.text(member::STRING_VALUE)?,
            binary: members.text(member::BINARY_VALUE)?.map(|text| decode_base64(&text)).transpose()?,
            is_list: members.has(member::STRING_LIST_VALUES) || members.has(member::BINARY_LIST_VALUES),
        })
    }

    fn bytes(&self) -> usize {
        self.name.len()
            + self.data_type.as_ref().map_or(0, |data_type| data_type.len())
            + self.text.as_ref().map_or(0, |text| text.len())
            + self.binary.as_ref().map_or(0, |binary| binary.len())
    }

    fn check_user(self) -> Result<MessageAttribute<'a>, Error> {
        check_name(&self.name)?;
        self.check()
    }

    /// There is only one a client may send.
    fn check_system(self) -> Result<MessageAttribute<'a>, Error> {
        if self.name != SystemAttribute::AWSTraceHeader.name() {
            let name = super::super::error::echo(&self.name);
            return Err(Error::invalid(format!("Message system attribute name '{name}' is invalid.")));
        }
        if self.data_type.as_deref().is_some_and(|data_type| data_type != "String") {
            return Err(Error::invalid(
                "Message system attribute 'AWSTraceHeader' must have the type 'String'.".to_owned(),
            ));
        }
        if self.text.as_ref().is_some_and(|text| text.len() > TRACE_HEADER_BYTES_MAX) {
            return Err(Error::invalid(format!(
                "Message system attribute 'AWSTraceHeader' must be at most {TRACE_HEADER_BYTES_MAX} bytes long."
            )));
        }
        self.check()
    }

    fn check(self) -> Result<MessageAttribute<'a>, Error> {
        let name = &self.name;
        if self.is_list {
            return Err(Error::invalid(
                "Message attribute list values in SendMessage operation are not supported.".to_owned(),
            ));
        }
        let data_type = self.data_type.filter(|data_type| !data_type.is_empty());
        let data_type = data_type.ok_or_else(|| {
            Error::invalid(format!("The message (user) attribute '{name}' must contain a non-empty type."))
        })?;
        let base = base_type(name, &data_type)?;
        let (text, binary) =
            (self.text.filter(|text| !text.is_empty()), self.binary.filter(|bytes| !bytes.is_empty()));
        let value = match (base, text, binary) {
            ("Binary", None, Some(bytes)) => AttributeValue::Binary(bytes),
            ("String" | "Number", Some(text), None) => AttributeValue::Text(checked_text(name, base, text)?),
            (_, None, None) => {
                return Err(Error::invalid(format!(
                    "Message (user) attribute '{name}' must contain a non-empty value of type '{base}'."
                )));
            }
            _ => {
                let field = if base == "Binary" { "Binary" } else { "String" };
                return Err(Error::invalid(format!(
                    "The message (user) attribute '{name}' with type '{base}' must use field '{field}'."
                )));
            }
        };
        Ok(MessageAttribute { name: self.name, data_type, value })
    }
}

/// The type without its label.
fn base_type<'t>(name: &str, data_type: &'t str) -> Result<&'t str, Error> {
    if data_type.len() > ATTRIBUTE_NAME_BYTES_MAX {
        return Err(Error::invalid(
            "Message (user) attribute types must be shorter than 256 Bytes".to_owned(),
        ));
    }
    let base = data_type.split_once('.').map_or(data_type, |(base, _)| base);
    if matches!(base, "String" | "Number" | "Binary") && is_legal(data_type) {
        return Ok(base);
    }
    Err(Error::invalid(format!(
        "The type of message (user) attribute '{name}' is invalid. You must use only the following supported type \
         prefixes: Binary, Number, String."
    )))
}

fn checked_text<'a>(name: &str, base: &str, text: Cow<'a, str>) -> Result<Cow<'a, str>, Error> {
    if !is_legal(&text) {
        return Err(Error::invalid_characters(ErrorKind::InvalidParameterValueException));
    }
    if base == "Number" && !number::is_in_range(&text) {
        return Err(Error::invalid(format!(
            "Can't cast the value of message (user) attribute '{name}' to a number."
        )));
    }
    Ok(text)
}

fn check_name(name: &str) -> Result<(), Error> {
    let refused = |text: &'static str| Err(Error::new(ErrorKind::InvalidParameterValueException, text));
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let begins =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(prefix));
    if name.is_empty() {
        return refused("The request must contain non-empty message (user) attribute names.");
    }
    if name.len() > ATTRIBUTE_NAME_BYTES_MAX {
        return refused("Message (user) attribute names must be shorter than 256 Bytes");
    }
    if !name.bytes().all(is_legal) {
        return refused(
            "Message (user) attributes name can only contain upper and lower score characters, digits, periods, \
             hyphens and underscores. ",
        );
    }
    if begins("AWS.") || begins("Amazon.") || name.starts_with('.') || name.ends_with('.') {
        return refused(
            "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved \
             for internal use. Additionally, they cannot start or end with '.'.",
        );
    }
    if name.contains("..") {
        return refused("Message (user) attribute name must not have successive '.' characters.");
    }
    Ok(())
}

/// Group, deduplication and attempt ids: printable ASCII without the space.
pub(super) fn check_fifo_id(id: &str, member: Member) -> Result<(), Error> {
    if !id.is_empty() && id.len() <= FIFO_ID_CHARS_MAX && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(());
    }
    let name = member.json;
    let reason =
        format!("{name} can only include alphanumeric and punctuation characters. 1 to 128 in length.");
    Err(Error::invalid_value(id, name, &reason))
}

/// Whether every character may stand in a message.
pub(super) fn is_legal(text: &str) -> bool {
    // What is illegal is a control character, or begins with the bytes EF BF in UTF-8.
    let is_suspect = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r') || byte == 0xef;
    if !text.bytes().any(is_suspect) {
        return true;
    }
    text.chars().all(|char| matches!(char, '\t' | '\n' | '\r' | '\u{20}'..='\u{fffd}' | '\u{10000}'..))
}

fn trace_header_of(system: MessageAttributes<'_>) -> Option<Cow<'_, str>> {
    match system.into_iter().next()?.value {
        AttributeValue::Text(text) => Some(text),
        AttributeValue::Binary(_) => None,
    }
}

/// A field of HTTP that is too long or has other characters is not worth refusing a message.
fn usable_trace_header(text: &str) -> Option<Cow<'_, str>> {
    let is_usable = !text.is_empty() && text.len() <= TRACE_HEADER_BYTES_MAX && is_legal(text);
    is_usable.then_some(Cow::Borrowed(text))
}

fn decode_base64(text: &str) -> Result<Cow<'static, [u8]>, Error> {
    let bytes = BASE64.decode(text);
    bytes.map(Cow::Owned).map_err(|_| Error::not_convertible("STRING_VALUE", "a Blob: it is no base64"))
}
