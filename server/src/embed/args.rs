//! The arguments of an event: JSON text plus binary attachments, parsed only when the program asks.

use crate::back::values::{self, ValuesError};
use bytes::Bytes;
use hub::Body;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// An event's arguments. Cheap to clone; binary values are `{"$binary":"<base64>"}` where they are shown as JSON.
#[derive(Debug, Clone)]
pub struct Args(pub(crate) Body);

impl Args {
    /// No arguments.
    #[must_use]
    pub fn none() -> Self {
        Self(Body::nothing())
    }

    /// One argument that is binary.
    #[must_use]
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        let json = Bytes::from_static(br#"[{"_placeholder":true,"num":0}]"#);
        Self(Body::Values { json, attachments: vec![bytes.into()] })
    }

    /// From a list of values.
    ///
    /// # Errors
    /// A `$binary` member that is not base64, the reserved key `_placeholder`, or more than 120 levels.
    pub fn from_values(values: Vec<Value>) -> Result<Self, ValuesError> {
        values::body_of(&Value::Array(values).to_string()).map(Self)
    }

    /// All arguments as JSON values.
    #[must_use]
    pub fn to_values(&self) -> Vec<Value> {
        values::values_of(&self.0)
    }

    /// The arguments as a Rust type: a tuple or list for several, as in `args.parse::<(String, u32)>()`.
    ///
    /// # Errors
    /// As `serde_json` says when the values have another shape.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_value(Value::Array(self.to_values()))
    }

    /// JSON text of the argument array as it travels, binary values as placeholders.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        match &self.0 {
            Body::Values { json, .. } | Body::Raw(json) => json,
        }
    }

    /// Binary values in order of their placeholders.
    #[must_use]
    pub fn attachments(&self) -> &[Bytes] {
        match &self.0 {
            Body::Values { attachments, .. } => attachments,
            Body::Raw(_) => &[],
        }
    }
}

/// An array is the list of arguments; any other value is the only one. The notation for binary values is not
/// read here (a plain conversion cannot fail): use [`Args::from_values`].
impl From<Value> for Args {
    fn from(value: Value) -> Self {
        let list = match value {
            Value::Array(_) => value,
            other => Value::Array(vec![other]),
        };
        Self(Body::Values { json: Bytes::from(list.to_string()), attachments: Vec::new() })
    }
}

impl From<&str> for Args {
    fn from(text: &str) -> Self {
        Value::from(text).into()
    }
}
