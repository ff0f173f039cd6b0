//! The document itself: reading, merging, writing.

use std::fmt;

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::expected::{expected, list_for_object};
use crate::format::format;
use crate::{Code, ErrorSection, Failure, exit};

/// The value of `schema` in every document of this version.
pub const SCHEMA: &str = "slipway.release/v1";

/// A JSON object whose values are kept as the text that came in.
type RawObject = IndexMap<String, Box<RawValue>>;

/// A part of the document that one tool writes and others read.
pub trait Section: Serialize + DeserializeOwned + JsonSchema {
    /// The section's key in the document.
    const NAME: &'static str;
}

/// One release document. What a tool does not know passes through to the letter, numbers and
/// escapes included; only the white space between tokens is made uniform.
#[derive(Clone)]
pub struct Document(RawObject);

/// Why some input is not a release document, or not one that this tool can use.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// Nothing came.
    #[error("the input is empty, where a release document was expected")]
    Empty,
    /// The text ends in the middle.
    #[error("the input document is cut off after {bytes} bytes")]
    CutOff {
        /// How much came.
        bytes: usize,
    },
    /// Not JSON, or more than one JSON value.
    #[error("the input is not one JSON document: {reason}")]
    NotJson {
        /// What the parser says, with line and column.
        reason: String,
    },
    /// JSON, but not an object.
    #[error("the input is not a JSON object")]
    NotAnObject,
    /// `schema` is missing or another.
    #[error("the input has schema {found}, where \"{SCHEMA}\" was expected")]
    Schema {
        /// What stands there instead, as JSON, or `none`.
        found: String,
    },
    /// A section does not have its form.
    #[error("the document's {path} is not usable: {reason}")]
    Section {
        /// Where in the document.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A section that is needed is not there.
    #[error("the document has no section \"{name}\"")]
    Missing {
        /// The section.
        name: &'static str,
    },
}

impl From<DocumentError> for Failure {
    fn from(error: DocumentError) -> Self {
        let (code, hint) = match &error {
            DocumentError::Empty | DocumentError::CutOff { .. } => (
                Code::BadInput,
                "the tool before this one in the pipe ended early: look at its messages".into(),
            ),
            DocumentError::NotJson { .. } | DocumentError::NotAnObject => (
                Code::BadInput,
                "if stdin is not meant for this tool, as where a shell reads its script from it, add --no-input"
                    .into(),
            ),
            DocumentError::Schema { .. } => (
                Code::SchemaMismatch,
                format!("a document begins with {{\"schema\": \"{SCHEMA}\"}}"),
            ),
            DocumentError::Section { .. } => {
                (Code::BadSection, "compare it with the schema that --schema prints".into())
            }
            DocumentError::Missing { name } => (Code::MissingSection, missing_hint(name)),
        };
        Failure::new(code, error.to_string()).hint(hint)
    }
}

fn missing_hint(section: &str) -> String {
    let tool = match section {
        "image" => "imgbuild",
        "registry" => "ecrlogin",
        "push" => "imgpush",
        "deploy" => "remote-swap",
        _ => return "run the tool that writes it earlier in the pipe".to_owned(),
    };
    format!("{tool} writes it: run that earlier in the pipe")
}

/// What [`Document::write`] made.
#[derive(Debug)]
pub struct Written {
    /// One JSON object and a newline.
    pub text: String,
    /// Whether a secret was left out.
    pub withheld: bool,
}

impl Default for Document {
    fn default() -> Self {
        Self(RawObject::from([("schema".to_owned(), raw(&SCHEMA))]))
    }
}

impl fmt::Debug for Document {
    /// Shows the keys only: the values may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Document {
    /// Reads a document from the bytes of the input.
    ///
    /// # Errors
    /// When it is empty, cut off, not one JSON object, or of another schema.
    pub fn parse(input: &[u8]) -> Result<Self, DocumentError> {
        let text = std::str::from_utf8(input).map_err(|error| DocumentError::NotJson {
            reason: format!("invalid UTF-8 after byte {}", error.valid_up_to()),
        })?;
        let text = text.trim_ascii();
        if text.is_empty() {
            return Err(DocumentError::Empty);
        }
        // First as any JSON, so that "not an object" and "not JSON" are told apart.
        let value: Box<RawValue> = serde_json::from_str(text).map_err(|error| {
            if error.is_eof() {
                DocumentError::CutOff { bytes: input.len() }
            } else {
                DocumentError::NotJson { reason: error.to_string() }
            }
        })?;
        if !value.get().starts_with('{') {
            return Err(DocumentError::NotAnObject);
        }
        let object: RawObject = serde_json::from_str(value.get())
            .map_err(|error| DocumentError::NotJson { reason: error.to_string() })?;
        match object.get("schema") {
            Some(found)
                if serde_json::from_str::<String>(found.get()).is_ok_and(|s| s == SCHEMA) =>
            {
                Ok(Self(object))
            }
            Some(found) => Err(DocumentError::Schema { found: short(&format(found.get(), false)) }),
            None => Err(DocumentError::Schema { found: "none".to_owned() }),
        }
    }

    /// A section of the document, or none if it is not there (or `null`).
    ///
    /// # Errors
    /// When the section does not have its form.
    pub fn get<S: Section>(&self) -> Result<Option<S>, DocumentError> {
        self.read_section(S::NAME)
    }

    /// A section that the tool cannot do without.
    ///
    /// # Errors
    /// When it is missing or does not have its form.
    pub fn require<S: Section>(&self) -> Result<S, DocumentError> {
        self.get()?.ok_or(DocumentError::Missing { name: S::NAME })
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, DocumentError> {
        let Some(text) = self.0.get(name) else { return Ok(None) };
        let at = |inner: &str| match inner {
            "" | "." => name.to_owned(),
            inner => format!("{name}.{}", inner.trim_start_matches('.')),
        };
        let mut parser = serde_json::Deserializer::from_str(text.get());
        serde_path_to_error::deserialize(&mut parser).map_err(|error| DocumentError::Section {
            path: at(&error.path().to_string()),
            reason: expected(error.inner()),
        })
    }

    fn read_section<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
    ) -> Result<Option<T>, DocumentError> {
        let section: Option<T> = self.read(name)?;
        let given = self.0.get(name).and_then(|text| serde_json::from_str(text.get()).ok());
        if let (Some(section), Some(given)) = (&section, given)
            && let Ok(read) = serde_json::to_value(section)
            && let Some(inner) = list_for_object(&given, &read)
        {
            let path = format!("{name}{inner}");
            return Err(DocumentError::Section { path, reason: "expected an object".to_owned() });
        }
        Ok(section)
    }

    /// Writes a tool's own section. Of an older section of that name the fields that the tool
    /// knows are replaced, or removed if they now have no value; those it does not know stay.
    pub fn set<S: Section>(&mut self, section: &S) {
        let known = match serde_json::to_value(section) {
            Ok(Value::Object(known)) => known,
            // A section is a struct of plain data: its serialization cannot fail.
            Ok(_) | Err(_) => return,
        };
        let mut merged: RawObject = self
            .0
            .get(S::NAME)
            .and_then(|old| serde_json::from_str(old.get()).ok())
            .unwrap_or_default();
        for (key, value) in known {
            if value.is_null() {
                merged.shift_remove(&key);
            } else {
                merged.insert(key, raw(&without_nulls(value)));
            }
        }
        self.0.insert(S::NAME.to_owned(), raw(&merged));
    }

    /// The settings of one tool: its options under their `snake_case` names.
    ///
    /// # Errors
    /// When `settings` or the tool's part of it is not an object.
    pub fn settings(&self, tool: &str) -> Result<IndexMap<String, Value>, DocumentError> {
        let all: IndexMap<String, Box<RawValue>> = self.read("settings")?.unwrap_or_default();
        let Some(own) = all.get(tool) else { return Ok(IndexMap::new()) };
        serde_json::from_str(own.get()).map_err(|error| DocumentError::Section {
            path: format!("settings.{tool}"),
            reason: expected(&error),
        })
    }

    /// The names below `settings`: those of the tools, if nobody misspelt one.
    ///
    /// # Errors
    /// When `settings` is not an object.
    pub fn settings_tools(&self) -> Result<Vec<String>, DocumentError> {
        let all: IndexMap<String, Box<RawValue>> = self.read("settings")?.unwrap_or_default();
        Ok(all.into_keys().collect())
    }

    /// The exit code of the error that the document carries, if it carries one. An error without
    /// a usable exit code counts as 1: whatever it is, it is not success.
    #[must_use]
    pub fn error_exit(&self) -> Option<u8> {
        let error: Value =
            serde_json::from_str(self.0.get("error")?.get()).unwrap_or(Value::Bool(true));
        if error.is_null() {
            return None;
        }
        let code =
            error.get("exit").and_then(Value::as_u64).and_then(|code| u8::try_from(code).ok());
        Some(code.filter(|code| *code != exit::DONE).unwrap_or(exit::FAILED))
    }

    /// Writes the error that travels from here on.
    pub fn set_error(&mut self, error: &ErrorSection) {
        self.0.shift_remove("error");
        self.set(error);
    }

    /// The document as one JSON object and a newline, on one line or, if `pretty`, indented.
    /// Unless `reveal` is set the secrets, `registry.password` and those of `registry.others`, are left
    /// out.
    #[must_use]
    pub fn write(&self, reveal: bool, pretty: bool) -> Written {
        let mut object = self.0.clone();
        let mut withheld = false;
        if !reveal && let Some(registry) = object.get("registry") {
            // Parsed, so that no spelling of the key with escapes slips through.
            if let Ok(mut fields) = serde_json::from_str::<RawObject>(registry.get()) {
                withheld = fields.shift_remove("password").is_some();
                withheld |= without_others(&mut fields);
                object.insert("registry".to_owned(), raw(&fields));
            }
        }
        let text = serde_json::to_string(&object).unwrap_or_default();
        let mut text = format(&text, pretty);
        text.push('\n');
        Written { text, withheld }
    }
}

/// Takes the passwords out of the registries beside the image's own, and answers whether there was
/// one. What does not have the form of these may hold one in any place, and goes whole.
fn without_others(registry: &mut RawObject) -> bool {
    let Some(text) = registry.get("others") else { return false };
    let Ok(mut others) = serde_json::from_str::<Vec<RawObject>>(text.get()) else {
        return registry.shift_remove("others").is_some_and(|it| it.get() != "null");
    };
    let mut withheld = false;
    for other in &mut others {
        withheld |= other.shift_remove("password").is_some();
    }
    registry.insert("others".to_owned(), raw(&others));
    withheld
}

/// Plain data as JSON text. What is given here has string keys only and no fallible
/// serialization, so that the fallback is never taken.
fn raw<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// The head of a text that should have been short.
fn short(text: &str) -> String {
    let head: String = text.chars().take(64).collect();
    if head.len() < text.len() { format!("{head}…") } else { head }
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_nulls(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Image, Registry, Secret};
    use proptest::prelude::*;
    use serde_json::json;

    fn parse(text: &str) -> Result<Document, DocumentError> {
        Document::parse(text.as_bytes())
    }

    fn value(document: &Document) -> Value {
        serde_json::from_str(&document.write(true, false).text).unwrap()
    }

    #[test]
    fn what_is_not_a_document_is_told_apart() {
        assert!(matches!(parse(" \n"), Err(DocumentError::Empty)));
        assert!(matches!(parse("{\"schema\": \"slip"), Err(DocumentError::CutOff { bytes: 16 })));
        assert!(matches!(parse("set -e\n"), Err(DocumentError::NotJson { .. })));
        assert!(matches!(parse("{} {}"), Err(DocumentError::NotJson { .. })));
        assert!(matches!(parse("[1]"), Err(DocumentError::NotAnObject)));
        assert!(matches!(parse("{}"), Err(DocumentError::Schema { .. })));
        assert!(matches!(
            Document::parse(b"{\"a\": \"\xff\"}"),
            Err(DocumentError::NotJson { .. })
        ));
        let other = parse(r#"{"schema": "slipway.release/v2"}"#).unwrap_err();
        assert!(other.to_string().contains("slipway.release/v2"), "{other}");
    }

    #[test]
    fn a_section_of_the_wrong_form_is_named_with_its_path() {
        let document = parse(r#"{"schema":"slipway.release/v1","image":{"id":7}}"#).unwrap();
        let error = document.get::<Image>().unwrap_err();
        assert!(error.to_string().contains("image.id"), "{error}");
        let missing = document.require::<Registry>().unwrap_err();
        assert!(Failure::from(missing).hint.unwrap().contains("ecrlogin"));
    }

    #[test]
    fn unknown_text_passes_to_the_letter() {
        let text = concat!(
            r#"{"schema":"slipway.release/v1","big":123456789012345678901234567890.10,"#,
            r#""registry":{"host":"old.example","x":1e999,"y":"\u00e9\/"},"deep":[[[{"a":null}]]]}"#
        );
        let mut document = parse(text).unwrap();
        assert_eq!(document.write(true, false).text.trim_end(), text);
        document.set(&Registry { host: Some("new.example".into()), ..Registry::default() });
        assert_eq!(document.write(true, false).text.trim_end(), text.replace("old.", "new."));
    }

    #[test]
    fn a_known_field_without_a_value_goes_and_an_unknown_one_stays() {
        let mut document =
            parse(r#"{"schema":"slipway.release/v1","registry":{"region":"old","x":"s"}}"#)
                .unwrap();
        document.set(&Registry { host: Some("r.example".into()), ..Registry::default() });
        assert_eq!(value(&document)["registry"], json!({"x": "s", "host": "r.example"}));
    }

    #[test]
    fn the_password_is_written_only_when_revealed() {
        let mut document = Document::default();
        document.set(&Registry {
            host: Some("r.example".into()),
            password: Some(Secret::new("hunter2")),
            ..Registry::default()
        });
        assert!(document.write(true, false).text.contains("hunter2"));
        let written = document.write(false, true);
        assert!(written.withheld && !written.text.contains("hunter2"), "{written:?}");
        assert!(!format!("{document:?}").contains("hunter2"));
    }

    #[test]
    fn an_escaped_password_key_is_withheld_too() {
        let text = r#"{"schema":"slipway.release/v1","registry":{"passw\u006frd":"hunter2"}}"#;
        assert!(!parse(text).unwrap().write(false, false).text.contains("hunter2"));
    }

    #[test]
    fn no_password_of_another_registry_is_written() {
        for others in [
            r#"[{"host":"a.example"},{"host":"b.example","password":"hunter2","x":1.0e2}]"#,
            r#"{"password":"hunter2"}"#,
            r#"[["hunter2"]]"#,
        ] {
            let text =
                format!(r#"{{"schema":"slipway.release/v1","registry":{{"others":{others}}}}}"#);
            let document = parse(&text).unwrap();
            let written = document.write(false, false);
            assert!(written.withheld && !written.text.contains("hunter2"), "{written:?}");
            assert!(document.write(true, false).text.contains("hunter2"));
        }
        let plain =
            r#"{"schema":"slipway.release/v1","registry":{"others":[{"host":"a","x":1.0e2}]}}"#;
        let written = parse(plain).unwrap().write(false, false);
        assert!(!written.withheld && written.text.trim_end() == plain, "{written:?}");
    }

    #[test]
    fn a_section_of_another_form_is_told_without_what_it_holds() {
        let read = |sections: &str| {
            let document =
                parse(&format!(r#"{{"schema":"slipway.release/v1",{sections}}}"#)).unwrap();
            let image = document.get::<Image>().map(|_| ());
            let error = image.and_then(|()| document.get::<Registry>().map(|_| ())).unwrap_err();
            error.to_string()
        };
        for (sections, told) in [
            (r#""registry":"hunter2""#, "registry is not usable: expected an object"),
            (
                r#""registry":{"password":87654321}"#,
                "registry.password is not usable: expected a text",
            ),
            (r#""image":[]"#, "image is not usable: expected an object"),
            (r#""image":["app",null]"#, "image is not usable: expected an object"),
            (
                r#""registry":{"others":[["a"]]}"#,
                "registry.others[0] is not usable: expected an object",
            ),
        ] {
            assert_eq!(read(sections), format!("the document's {told}"));
        }
    }

    #[test]
    fn credentials_are_for_their_own_host_only() {
        let text = r#"{"schema":"slipway.release/v1","registry":{"host":"a","password":"1",
            "others":[{"host":"b","password":"2"}]}}"#;
        let registry: Registry = parse(text).unwrap().require().unwrap();
        let password = |host| Some(registry.of_host(host)?.password?.reveal().to_owned());
        assert_eq!(password("a").as_deref(), Some("1"));
        assert_eq!(password("b").as_deref(), Some("2"));
        assert_eq!(password("c"), None);
    }

    #[test]
    fn an_error_of_any_form_is_an_error() {
        let exit = |error: &str| {
            parse(&format!(r#"{{"schema":"slipway.release/v1","error":{error}}}"#))
                .unwrap()
                .error_exit()
        };
        assert_eq!(exit(r#"{"exit":5}"#), Some(5));
        assert_eq!(exit(r#"{"exit":0}"#), Some(1));
        assert_eq!(exit(r#"{"exit":1000}"#), Some(1));
        assert_eq!(exit(r#""text""#), Some(1));
        assert_eq!(exit("null"), None);
        assert_eq!(Document::default().error_exit(), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            prop::num::f64::NORMAL.prop_map(Value::from),
            ".*".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((".*", inner), 0..6)
                    .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_is_unknown_passes_through(key in "x_[a-z]{1,8}", unknown in any_json(), pretty: bool) {
            let text = json!({"schema": SCHEMA, &key: unknown, "image": {&key: unknown}}).to_string();
            let mut document = parse(&text).unwrap();
            document.set(&Image { id: Some("sha256:1".into()), ..Image::default() });
            let again = Document::parse(document.write(false, pretty).text.as_bytes()).unwrap();
            let again = value(&again);
            prop_assert_eq!(&again[&key], &unknown);
            prop_assert_eq!(&again["image"][&key], &unknown);
            prop_assert_eq!(&again["image"]["id"], "sha256:1");
        }

        #[test]
        fn setting_a_section_twice_is_setting_the_last(a in ".*", b in proptest::option::of(".*"), unknown in any_json()) {
            let text = json!({"schema": SCHEMA, "image": {"x_other": unknown}}).to_string();
            let section = |name: Option<String>| Image { name, ..Image::default() };
            let mut twice = parse(&text).unwrap();
            twice.set(&section(Some(a)));
            twice.set(&section(b.clone()));
            let mut once = parse(&text).unwrap();
            once.set(&section(b));
            prop_assert_eq!(value(&twice), value(&once));
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = Document::parse(&bytes).map(|document| document.write(false, true));
        }

        #[test]
        fn a_cut_off_document_is_never_taken(unknown in any_json(), at in any::<prop::sample::Index>()) {
            let text = json!({"schema": SCHEMA, "x": unknown}).to_string();
            let mut end = at.index(text.len());
            while !text.is_char_boundary(end) { end -= 1; }
            prop_assert!(parse(&text[..end]).is_err());
        }
    }
}
