//! What was typed: TOML text, environment variables and arguments become one map from key path to value, with the place of
//! each for messages. Here a key is known or not and a value has the right type and range; what a value means is decided
//! by the types of the sections.
//!
//! Must not know any particular key. Start at [`Raw::gather`].

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Sources;
use super::problem::{Place, Problem};
use super::table::{Default, Flaw, Key, Kind, Repetition, Section, Setting, Value, Written, quoted};

/// Prefix of the environment variables that set keys: `TRUNKLINE_SECTION__KEY`.
const ENVIRONMENT_PREFIX: &str = "TRUNKLINE_";

/// Everything that was written, and everything that is wrong with it so far.
pub(super) struct Raw {
    sections: &'static [Section],
    /// By full path; elements of arrays of tables are `socketio.namespace[0].name`.
    values: BTreeMap<String, Value>,
    /// Elements of each array of tables by its path, in order of the file: `socketio.namespace`, `bridge[0].rule`.
    elements: BTreeMap<String, Vec<Place>>,
    /// Where a missing key is reported.
    missing: Place,
    /// Whether the file is not TOML, so that nothing can be said about its keys.
    pub(super) is_unreadable: bool,
    pub(super) problems: Vec<Problem>,
}

impl Raw {
    /// Reads all sources; later ones win: presets, file, environment, arguments.
    pub(super) fn gather(sections: &'static [Section], sources: &Sources) -> Self {
        let missing = match &sources.file {
            Some(file) => Place::WholeFile(file.name.clone()),
            None => Place::Default,
        };
        let (values, elements) = (BTreeMap::new(), BTreeMap::new());
        let mut raw =
            Self { sections, values, elements, missing, is_unreadable: false, problems: Vec::new() };
        for (key, value) in &sources.presets {
            raw.override_key(key, value, &Place::Preset);
        }
        if let Some(file) = &sources.file {
            FileReader { raw: &mut raw, name: &file.name, text: &file.text }.read();
        }
        for (name, value) in &sources.environment {
            if let Some(key) = environment_key(name) {
                raw.override_key(&key, value, &Place::Environment(name.clone()));
            }
        }
        for argument in &sources.arguments {
            raw.override_key(&argument.key, &argument.value, &Place::Argument(argument.shown.clone()));
        }
        raw
    }

    /// A section that is written once, ready to be read key by key.
    pub(super) fn table(&mut self, section: &'static Section) -> Table<'_> {
        Table { path: section.path.into(), section, place: self.missing.clone(), raw: self }
    }

    /// How many elements an array of tables has.
    pub(super) fn element_count(&self, section: &'static Section) -> usize {
        self.element_count_at(section.path)
    }

    /// The same of one that lies in an element of another, by its path.
    pub(super) fn element_count_at(&self, path: &str) -> usize {
        self.elements.get(path).map_or(0, Vec::len)
    }

    /// One element of an array of tables.
    pub(super) fn element(&mut self, section: &'static Section, index: usize) -> Table<'_> {
        self.element_at(section, section.path, index)
    }

    /// The same of one that lies in an element of another, by its path.
    pub(super) fn element_at(&mut self, section: &'static Section, path: &str, index: usize) -> Table<'_> {
        let place = self.elements.get(path).and_then(|places| places.get(index));
        let place = place.cloned().unwrap_or(Place::Default);
        Table { path: format!("{path}[{index}]"), section, place, raw: self }
    }

    /// Where an element of an array of tables begins.
    pub(super) fn element_place(&self, section: &'static Section, index: usize) -> Place {
        let place = self.elements.get(section.path).and_then(|places| places.get(index));
        place.cloned().unwrap_or(Place::Default)
    }

    /// Where a key was written, for messages about several keys at once.
    pub(super) fn place(&self, path: &str) -> Place {
        self.values.get(path).map_or_else(|| self.missing.clone(), |value| value.place.clone())
    }

    pub(super) fn problem(&mut self, place: Place, key: &str, text: impl Into<String>) {
        self.problems.push(Problem { place, key: key.into(), text: text.into() });
    }

    /// Sets one key from text outside of TOML.
    fn override_key(&mut self, path: &str, text: &str, place: &Place) {
        let Some((section, key)) = find_key(self.sections, path) else {
            let text = unknown_key(self.sections, path);
            return self.problem(place.clone(), path, text);
        };
        if section.repetition == Repetition::Many {
            let text = format!("can be set in a file only: `[[{}]]` is a list of tables", section.path);
            return self.problem(place.clone(), path, text);
        }
        match parse_override(key, text, place) {
            Ok(value) => self.keep(path, key, value),
            Err(text) => self.problem(place.clone(), path, text),
        }
    }

    /// Keeps a value of the right type if it is in range.
    fn keep(&mut self, path: &str, key: &Key, value: Value) {
        if let (Written::Integer(number), Some(range)) = (&value.written, key.range)
            && !(range.low..=range.high).contains(number)
        {
            let text = format!("must be between {} and {}, got {number}", range.low, range.high);
            return self.problem(value.place, path, text);
        }
        self.values.insert(path.into(), value);
    }
}

/// One table while its keys are taken out.
pub(super) struct Table<'a> {
    path: String,
    section: &'static Section,
    place: Place,
    raw: &'a mut Raw,
}

impl Table<'_> {
    /// The checked value of a key, or `None` once a problem was noted.
    pub(super) fn take<T: Setting>(&mut self, name: &'static str) -> Option<T> {
        let path = format!("{}.{name}", self.path);
        let key =
            self.section.keys.iter().find(|key| key.name == name).expect("declared by the same section");
        let value = match self.raw.values.get(&path) {
            Some(value) => value.clone(),
            None if self.raw.problems.iter().any(|problem| problem.key == path) => return None,
            None => match key.default {
                Default::Toml(toml) => default_value(key, toml),
                Default::None => return T::absent(),
                Default::Required => {
                    let text = must_be_set(key);
                    self.raw.problem(self.place.clone(), &path, text);
                    return None;
                }
            },
        };
        match T::read(&value) {
            Ok(checked) => Some(checked),
            Err(Flaw { place, text }) => {
                self.raw.problem(place, &path, text);
                None
            }
        }
    }
}

/// The default of a key as a value. Defaults are TOML in the table, and a test reads each of them.
fn default_value(key: &Key, toml: &str) -> Value {
    let document = DeValue::parse(toml).expect("defaults are TOML values");
    let place = |_: Range<usize>| Place::Default;
    convert(key, &document, &place).map_err(|(_, text)| text).expect("defaults have the type of their key")
}

/// Says what a required key wants.
fn must_be_set(key: &Key) -> String {
    match key.kind {
        Kind::Choice(words) => {
            let words = words.iter().map(|(word, meaning)| format!("\"{word}\" ({})", meaning.trim()));
            format!("must be set: {}", words.collect::<Vec<_>>().join(" or "))
        }
        _ => "must be set".into(),
    }
}

/// Walks a parsed file.
struct FileReader<'a> {
    raw: &'a mut Raw,
    name: &'a str,
    text: &'a str,
}

impl FileReader<'_> {
    fn read(&mut self) {
        let (document, errors) = DeTable::parse_recoverable(self.text);
        if errors.is_empty() {
            return self.table("", "", document.get_ref());
        }
        let mut last_line = 0;
        for error in errors {
            let (line, column) = self.position(error.span().unwrap_or(0..0));
            // One mistake often causes several errors on its line; the first tells most.
            if line != last_line {
                let place = Place::File { name: self.name.into(), line, column };
                self.raw.problem(place, "", format!("not valid TOML: {}", one_line(error.message())));
            }
            last_line = line;
        }
        self.raw.is_unreadable = true;
    }

    /// Reads a table whose keys are at `path`; `schema` is the same path without indexes.
    fn table(&mut self, path: &str, schema: &str, table: &DeTable<'_>) {
        for (name, value) in table {
            let key_path = join(path, name.get_ref());
            let schema_path = join(schema, name.get_ref());
            let section = self.raw.sections.iter().find(|section| section.path == schema_path);
            let key = find_key(self.raw.sections, &schema_path);
            match (section, key) {
                (Some(section), _) => self.section(section, &key_path, value),
                (None, Some((_, key))) => self.key(key, &key_path, value),
                (None, None) => {
                    let text = unknown_key(self.raw.sections, &schema_path);
                    let place = self.place(name.span());
                    self.raw.problem(place, &key_path, text);
                }
            }
        }
    }

    fn section(&mut self, section: &'static Section, path: &str, value: &Spanned<DeValue<'_>>) {
        match (section.repetition, value.get_ref()) {
            (Repetition::Once, DeValue::Table(table)) => self.table(path, section.path, table),
            (Repetition::Many, DeValue::Array(elements)) => {
                for (index, element) in elements.iter().enumerate() {
                    let element_path = format!("{path}[{index}]");
                    let place = self.place(element.span());
                    match element.get_ref() {
                        DeValue::Table(table) => {
                            self.raw.elements.entry(path.to_owned()).or_default().push(place);
                            self.table(&element_path, section.path, table);
                        }
                        other => self.raw.problem(place, &element_path, wrong_type("a table", other)),
                    }
                }
            }
            (repetition, other) => {
                let wanted = match repetition {
                    Repetition::Once => format!("a table `[{}]`", section.path),
                    Repetition::Many => format!("a list of tables `[[{}]]`", section.path),
                };
                let place = self.place(value.span());
                self.raw.problem(place, path, wrong_type(&wanted, other));
            }
        }
    }

    fn key(&mut self, key: &Key, path: &str, value: &Spanned<DeValue<'_>>) {
        let place = |span| self.place(span);
        match convert(key, value, &place) {
            Ok(value) => self.raw.keep(path, key, value),
            Err((place, text)) => self.raw.problem(place, path, text),
        }
    }

    fn place(&self, span: Range<usize>) -> Place {
        let (line, column) = self.position(span);
        Place::File { name: self.name.into(), line, column }
    }

    /// Line and column of the start of a span of bytes, both from 1; columns count characters.
    fn position(&self, span: Range<usize>) -> (usize, usize) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let column = before.get(line_start..).unwrap_or_default().chars().count() + 1;
        (before.matches('\n').count() + 1, column)
    }
}

/// A TOML value as the kind of a key wants it, or where and why not.
fn convert(
    key: &Key,
    value: &Spanned<DeValue<'_>>,
    place: &dyn Fn(Range<usize>) -> Place,
) -> Result<Value, (Place, String)> {
    let here = place(value.span());
    let wrong = |wanted: &str| (here.clone(), wrong_type(wanted, value.get_ref()));
    let written = match (key.kind, value.get_ref()) {
        (Kind::Boolean, DeValue::Boolean(truth)) => Written::Boolean(*truth),
        (Kind::Integer, DeValue::Integer(number)) => {
            let digits = number.as_str();
            let parsed = i64::from_str_radix(digits, number.radix());
            Written::Integer(
                parsed.map_err(|_| (here.clone(), format!("must fit in 64 bits, got {digits}")))?,
            )
        }
        (Kind::Text(_) | Kind::Choice(_), DeValue::String(text)) => Written::Text(text.to_string()),
        (Kind::List(_) | Kind::Secrets(_), DeValue::Array(items)) => {
            let item = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
                DeValue::String(text) => {
                    Ok(Value { written: Written::Text(text.to_string()), place: place(item.span()) })
                }
                other => Err((place(item.span()), wrong_type("a list of strings", other))),
            };
            Written::List(items.iter().map(item).collect::<Result<_, _>>()?)
        }
        (Kind::Boolean, _) => return Err(wrong("true or false")),
        (Kind::Integer, _) => return Err(wrong("an integer")),
        (Kind::Text(form), _) => return Err(wrong(&format!("a string ({form})"))),
        (Kind::Choice(words), _) => return Err(wrong(&format!("one of {}", quoted(words)))),
        (Kind::List(_) | Kind::Secrets(_), _) => return Err(wrong("a list of strings")),
    };
    Ok(Value { written, place: here })
}

/// A value from the environment or an argument: strings stand for themselves, lists are TOML or split at commas.
fn parse_override(key: &Key, text: &str, place: &Place) -> Result<Value, String> {
    let written = match key.kind {
        Kind::Boolean => {
            Written::Boolean(text.parse().map_err(|_| format!("must be true or false, got \"{text}\""))?)
        }
        Kind::Integer => {
            let digits = text.replace('_', "");
            Written::Integer(digits.parse().map_err(|_| format!("must be an integer, got \"{text}\""))?)
        }
        Kind::Text(_) | Kind::Choice(_) => Written::Text(text.into()),
        Kind::List(_) | Kind::Secrets(_) if text.trim_start().starts_with('[') => {
            let list = DeValue::parse(text)
                .map_err(|_| "must be a list such as [\"a\", \"b\"] or a,b".to_owned())?;
            return convert(key, &list, &|_| place.clone()).map_err(|(_, text)| text);
        }
        Kind::List(_) | Kind::Secrets(_) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Written::List(
                items
                    .map(|item| Value { written: Written::Text(item.into()), place: place.clone() })
                    .collect(),
            )
        }
    };
    Ok(Value { written, place: place.clone() })
}

fn wrong_type(wanted: &str, got: &DeValue<'_>) -> String {
    let got = match got {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    format!("must be {wanted}, got {got}")
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

/// The key of `TRUNKLINE_SECTION__KEY`; variables without `__` are not about keys.
fn environment_key(name: &str) -> Option<String> {
    let rest = name.strip_prefix(ENVIRONMENT_PREFIX)?;
    rest.contains("__").then(|| rest.to_ascii_lowercase().replace("__", "."))
}

fn find_key(sections: &'static [Section], path: &str) -> Option<(&'static Section, &'static Key)> {
    let (section_path, name) = path.rsplit_once('.')?;
    let section = sections.iter().find(|section| section.path == section_path)?;
    let key = section.keys.iter().find(|key| key.name == name)?;
    Some((section, key))
}

/// Says that a key is unknown and names the nearest one: a key of the same section, or one with the same last part.
fn unknown_key(sections: &[Section], path: &str) -> String {
    let what = if path.contains('.') { "unknown key" } else { "unknown section" };
    let paths = sections.iter().flat_map(|section| {
        let keys = section.keys.iter().map(|key| join(section.path, key.name));
        std::iter::once(section.path.to_owned()).chain(keys)
    });
    let (_, name) = path.rsplit_once('.').unwrap_or(("", path));
    let distance = |candidate: &String| {
        let (_, candidate_name) = candidate.rsplit_once('.').unwrap_or(("", candidate));
        let moved = strsim::damerau_levenshtein(name, candidate_name) * 2 + 1;
        strsim::damerau_levenshtein(path, candidate).min(moved)
    };
    match paths.map(|candidate| (distance(&candidate), candidate)).min() {
        Some((distance, candidate)) if distance <= 1 + name.len() / 3 => {
            format!("{what}; did you mean `{candidate}`?")
        }
        _ => what.into(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
