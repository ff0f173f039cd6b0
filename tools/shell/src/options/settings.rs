//! The settings of one tool, as the document brings them.

use clap::Args;
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use slipway_release::{Code, Document, Failure, TOOLS, expected};
use slipway_untrusted::{Untrusted, clean_line};

use crate::Ui;
use crate::trust::{KEY, Mark};

/// How alike two names have to be for one to be taken for a misspelling of the other (Jaro-Winkler).
const ALIKE: f64 = 0.8;

/// What the schema of the options says of each.
pub(crate) struct Known(Value);

impl Known {
    pub(crate) fn of<O: JsonSchema>() -> Self {
        let mut schema = schemars::SchemaGenerator::default().into_root_schema_for::<O>();
        Self(schema.remove("properties").unwrap_or_default())
    }

    /// Who may decide an option.
    pub(crate) fn mark(&self, key: &str) -> Option<Mark> {
        Mark::read(self.0.get(key)?.get(KEY)?.as_str()?)
    }

    /// One text where a list is wanted is a list of one.
    pub(crate) fn in_form(&self, key: &str, value: Value) -> Value {
        let list = self.0.get(key).is_some_and(|it| it["type"] == "array");
        if list && value.is_string() { Value::Array(vec![value]) } else { value }
    }
}

/// The tool's settings, under the names of the options: `-` and `_` are one in them, and in the name
/// of the tool.
pub(crate) fn of(document: &Document, tool: &str) -> Result<IndexMap<String, Value>, Failure> {
    let mut settings = IndexMap::new();
    for name in document.settings_tools()?.into_iter().filter(|name| same(name, tool)) {
        for (key, value) in document.settings(&name)? {
            let option = key.replace('-', "_");
            if settings.insert(option.clone(), value).is_some() {
                let message = format!("settings.{tool}.{option} in the document is there twice");
                return Err(Failure::new(Code::BadSetting, message).hint("leave one of them"));
            }
        }
    }
    Ok(settings)
}

/// Warns of settings for a tool that does not exist: the tool whose name is the nearest does, else the
/// first one in the pipe.
pub(crate) fn warn_of_strangers(document: &Document, tool: &str, ui: &Ui) {
    for name in document.settings_tools().unwrap_or_default() {
        if TOOLS.iter().any(|known| same(&name, known)) {
            continue;
        }
        let shown = Untrusted::new(name.as_str());
        match nearest(&name, TOOLS.into_iter()) {
            Some(meant) if meant == tool => ui.warn(&format!(
                "settings.{shown} in the document is for no tool: {meant} is meant, maybe"
            )),
            None if Some(&tool) == TOOLS.first() => ui.warn(&format!(
                "settings.{shown} in the document is for no tool; the tools are {}",
                TOOLS.join(", ")
            )),
            _ => {}
        }
    }
}

fn same(one: &str, other: &str) -> bool {
    one.replace('_', "-") == other.replace('_', "-")
}

fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::jaro_winkler(&name.to_lowercase(), known), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known)
}

/// The failure of a key that is no option.
pub(crate) fn unknown(tool: &str, key: &str, known: &Map<String, Value>) -> Failure {
    let shown = clean_line(key);
    let message = format!("settings.{tool}.{shown} in the document is not an option of {tool}");
    let failure = Failure::new(Code::UnknownSetting, message);
    if let Some(meant) = nearest(key, known.keys().map(String::as_str)) {
        return failure.hint(format!("{meant} is meant, maybe; {tool} --help lists the options"));
    }
    let mut names: Vec<&str> = known.keys().map(String::as_str).collect();
    names.sort_unstable();
    failure.hint(format!("it knows {}", names.join(", ")))
}

/// The options from their merged values.
pub(crate) fn read<O: Args + DeserializeOwned>(
    tool: &str,
    merged: &Map<String, Value>,
) -> Result<O, Failure> {
    let merged = Value::Object(merged.clone());
    serde_path_to_error::deserialize(&merged).map_err(|error| {
        let path = error.path().to_string();
        // A value of the options' own types is refused in a sentence that may repeat it.
        let reason = without(&expected(error.inner()), at(&merged, &path));
        let path = clean_line(&path).into_owned();
        let message = format!("settings.{tool}.{path} in the document: {reason}");
        Failure::new(Code::BadSetting, message)
            .hint(format!("{tool} --schema shows the type of every setting"))
    })
}

/// The value at a path such as `tag[0]`.
fn at<'a>(merged: &'a Value, path: &str) -> Option<&'a str> {
    let pointer = path.replace('[', "/").replace(']', "").replace('.', "/");
    merged.pointer(&format!("/{pointer}"))?.as_str()
}

/// The sentence without the value that it quotes, which may be a secret in the wrong place.
fn without(sentence: &str, value: Option<&str>) -> String {
    let Some(value) = value.filter(|value| !value.is_empty()) else { return sentence.to_owned() };
    let mut plain = sentence.to_owned();
    for quote in ['"', '`', '\''] {
        plain = plain.replace(&format!("{quote}{value}{quote}"), "the value");
    }
    // A short one is a word of the sentence as well.
    if value.len() > 3 { plain.replace(value, "…") } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(nearest("remote_swapp", TOOLS.into_iter()), Some("remote-swap"));
        assert_eq!(nearest("Image-build", TOOLS.into_iter()), Some("imgbuild"));
        assert_eq!(nearest("kamal", TOOLS.into_iter()), None);
    }

    #[test]
    fn a_refused_value_is_not_repeated() {
        assert_eq!(without("\"hunter2\" is no size", Some("hunter2")), "the value is no size");
        assert_eq!(without("no size: hunter2", Some("hunter2")), "no size: …");
        assert_eq!(without("a size", Some("a")), "a size");
    }
}
