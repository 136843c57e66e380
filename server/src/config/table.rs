//! The table of configuration keys: what a key is, and the macros that declare a section and a set of words.
//!
//! A `section!` is written once and becomes four things: a struct of checked values with its documentation, the
//! reader that fills it, the rows that the parser checks against, and the text of the reference and the example.
//! So a key that is declared is read, and a key that is read is documented.
//!
//! This module must not know any particular key: those are in `sections.rs` and `limits.rs`. Start at [`Section`].

use std::fmt;

use super::problem::Place;

/// What the text of a key may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number inside the range of the key.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A string; the text says what form it has.
    Text(&'static str),
    /// A list of strings of the named form.
    List(&'static str),
    /// As [`Kind::List`], and no message ever repeats what was written.
    Secrets(&'static str),
    /// One of a few words, each with what it means.
    Choice(&'static [(&'static str, &'static str)]),
}

/// The whole numbers a key takes, both ends included, and what they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The smallest value.
    pub(super) low: i64,
    /// The largest value.
    pub(super) high: i64,
    /// What is counted, in the plural: `milliseconds`, `bytes`, `messages`; empty for a mere number.
    pub(super) unit: &'static str,
}

impl fmt::Display for Range {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} to {} {}", self.low, self.high, self.unit)
    }
}

/// What holds when a key is not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Default {
    /// This TOML value.
    Toml(&'static str),
    /// Nothing: the key is optional.
    None,
    /// The program refuses to start: the choice has to be made on purpose.
    Required,
}

/// One configuration key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// The last part of its path.
    pub(super) name: &'static str,
    /// What may be written.
    pub(super) kind: Kind,
    /// What holds otherwise.
    pub(super) default: Default,
    /// For integers: the range and unit.
    pub(super) range: Option<Range>,
    /// A TOML value for the example file where the default shows nothing.
    pub(super) example: Option<&'static str>,
    /// Documentation, one line of text per line.
    pub(super) doc: &'static str,
}

/// A TOML table, or each element of an array of tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// Where it is written: `socketio`, `socketio.namespace`.
    pub(super) path: &'static str,
    /// Whether it is an array of tables, `[[path]]`.
    pub(super) repetition: Repetition,
    /// Its keys in the order of the reference.
    pub(super) keys: &'static [Key],
    /// Documentation, one line of text per line.
    pub(super) doc: &'static str,
}

/// How often a section may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repetition {
    /// At most once: `[path]`.
    Once,
    /// Any number of times: `[[path]]`.
    Many,
}

/// A value as it was typed, with the place for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Value {
    pub(super) written: Written,
    pub(super) place: Place,
}

/// The types of TOML that keys use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Boolean(bool),
    Integer(i64),
    Text(String),
    List(Vec<Value>),
}

/// Why a value is not taken, and which part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Value {
    /// A flaw of this value.
    pub(super) fn flaw(&self, text: impl Into<String>) -> Flaw {
        Flaw { place: self.place.clone(), text: text.into() }
    }

    /// The text of a string value; the type of every value was compared with its [`Kind`] before it gets here.
    pub(super) fn text(&self) -> Result<&str, Flaw> {
        match &self.written {
            Written::Text(text) => Ok(text),
            _ => Err(self.flaw("must be a string")),
        }
    }

    /// The elements of a list.
    pub(super) fn list(&self) -> Result<&[Value], Flaw> {
        match &self.written {
            Written::List(items) => Ok(items),
            _ => Err(self.flaw("must be a list")),
        }
    }
}

/// A type that a checked section may hold.
pub(super) trait Setting: Sized {
    /// What is written for it.
    const KIND: Kind;

    /// Makes the checked value from what was written.
    fn read(value: &Value) -> Result<Self, Flaw>;

    /// What an absent key means; only optional keys have an answer.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: Setting> Setting for Option<T> {
    const KIND: Kind = T::KIND;

    fn read(value: &Value) -> Result<Self, Flaw> {
        T::read(value).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

impl Setting for bool {
    const KIND: Kind = Kind::Boolean;

    fn read(value: &Value) -> Result<Self, Flaw> {
        match value.written {
            Written::Boolean(truth) => Ok(truth),
            _ => Err(value.flaw("must be true or false")),
        }
    }
}

/// Reads integers of one width; the range was checked before, so only a platform's `usize` can still be too small.
macro_rules! integer_setting {
    ($($type:ty),+) => { $(
        impl Setting for $type {
            const KIND: Kind = Kind::Integer;

            fn read(value: &Value) -> Result<Self, Flaw> {
                match value.written {
                    Written::Integer(number) => <$type>::try_from(number)
                        .map_err(|_| value.flaw(format!("{number} is too large for this machine"))),
                    _ => Err(value.flaw("must be an integer")),
                }
            }
        }
    )+ };
}
integer_setting!(u16, u32, u64, usize);

/// Declares an enum whose variants are words of the configuration.
macro_rules! words {
    (
        $(#[doc = $doc:literal])+
        pub enum $name:ident { $( $(#[doc = $meaning:literal])+ $variant:ident = $word:literal, )+ }
    ) => {
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[doc = $meaning])+ $variant, )+ }

        impl $name {
            const WORDS: &'static [(&'static str, &'static str)] = &[ $( ($word, concat!($($meaning),+)) ),+ ];

            /// All of them, in this order.
            pub const ALL: &'static [Self] = &[ $( Self::$variant ),+ ];

            /// The word that stands for it in the configuration.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )+ }
            }
        }

        impl $crate::config::table::Setting for $name {
            const KIND: $crate::config::table::Kind = $crate::config::table::Kind::Choice(Self::WORDS);

            fn read(value: &$crate::config::table::Value) -> Result<Self, $crate::config::table::Flaw> {
                match value.text()? {
                    $( $word => Ok(Self::$variant), )+
                    other => Err(value.flaw(format!(
                        "must be one of {}, got \"{other}\"",
                        $crate::config::table::quoted(Self::WORDS)
                    ))),
                }
            }
        }
    };
}
pub(super) use words;

/// `"a", "b", "c"` for messages.
pub(super) fn quoted(words: &[(&str, &str)]) -> String {
    words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ")
}

/// Declares a section: `name: Type = default, low..=high unit;`, where the default is a TOML value, `none` or
/// `required`, integers carry range and unit, and `example value` shows an optional key in the example file.
macro_rules! section {
    (
        $(#[doc = $section_doc:literal])+
        $visibility:vis struct $name:ident at $repetition:ident $path:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $type:ty = $default:tt
                $(, $low:literal ..= $high:literal $unit:literal)?
                $(, example $example:tt)?;
            )+
        }
    ) => {
        $(#[doc = $section_doc])+
        #[derive(Clone, Debug, PartialEq, Eq)]
        $visibility struct $name {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\nDefault: `", stringify!($default), "`.")]
                $(#[doc = concat!("Range: ", $low, " to ", $high, " ", $unit, ".")])?
                pub $field: $type,
            )+
        }

        impl $name {
            /// The rows of this section in the table of keys.
            pub(super) const SECTION: $crate::config::table::Section = $crate::config::table::Section {
                path: $path,
                repetition: $crate::config::table::Repetition::$repetition,
                keys: &[ $( $crate::config::table::Key {
                    name: stringify!($field),
                    kind: <$type as $crate::config::table::Setting>::KIND,
                    default: $crate::config::table::section!(@default $default),
                    range: $crate::config::table::section!(@range $($low, $high, $unit)?),
                    example: $crate::config::table::section!(@example $($example)?),
                    doc: concat!($($doc, "\n"),+),
                } ),+ ],
                doc: concat!($($section_doc, "\n"),+),
            };

            /// Fills the section; every key is looked at before the first flaw ends it.
            pub(super) fn read(table: &mut $crate::config::raw::Table<'_>) -> Option<Self> {
                $( let $field = table.take::<$type>(stringify!($field)); )+
                Some(Self { $( $field: $field?, )+ })
            }
        }
    };
    (@default none) => { $crate::config::table::Default::None };
    (@default required) => { $crate::config::table::Default::Required };
    (@default $toml:tt) => { $crate::config::table::Default::Toml(stringify!($toml)) };
    (@range) => { None };
    (@range $low:literal, $high:literal, $unit:literal) => {
        Some($crate::config::table::Range { low: $low, high: $high, unit: $unit })
    };
    (@example) => { None };
    (@example $toml:tt) => { Some(stringify!($toml)) };
}
pub(super) use section;
