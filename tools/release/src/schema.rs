//! The JSON Schema, made from the types.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Deploy, ErrorSection, Health, Image, Lock, Plan, Push, Registry, SCHEMA, Status};

/// The release document that the five tools of Slipway pass along: one JSON object on stdin and
/// stdout. Unknown fields are allowed everywhere but in a tool's own settings, and are kept.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Slipway release document, v1", rename = "Release")]
struct Release {
    /// The version of this schema.
    schema: String,
    /// The options of the tools under their `snake_case` names; flags and environment go first.
    settings: Option<BTreeMap<String, Value>>,
    image: Option<Image>,
    registry: Option<Registry>,
    push: Option<Push>,
    deploy: Option<Deploy>,
    health: Option<Health>,
    lock: Option<Lock>,
    plan: Option<Plan>,
    status: Option<Status>,
    error: Option<ErrorSection>,
}

/// The schema of one tool's settings.
pub struct SettingsSchema {
    /// The tool.
    pub tool: &'static str,
    /// Makes the schema of its options.
    pub schema: fn(&mut SchemaGenerator) -> Schema,
}

/// The JSON Schema (draft 2020-12) of the document, with the settings of the tools given.
#[must_use]
pub fn schema(tools: &[SettingsSchema]) -> Value {
    let mut generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut settings = serde_json::Map::new();
    for tool in tools {
        settings.insert(tool.tool.to_owned(), (tool.schema)(&mut generator).to_value());
    }
    let mut root = generator.into_root_schema_for::<Release>().to_value();
    if let Some(properties) = root.get_mut("properties") {
        properties["schema"]["const"] = json!(SCHEMA);
        properties["settings"]["properties"] = Value::Object(settings);
    }
    root["required"] = json!(["schema"]);
    if let Some(definitions) = root.get_mut("$defs").and_then(Value::as_object_mut) {
        for definition in definitions.values_mut() {
            relax(definition);
            take_one_for_a_list(definition);
        }
    }
    root
}

/// Removes `required`: a field without a value is left out, and on reading every field of a
/// section is optional.
fn relax(definition: &mut Value) {
    let Some(definition) = definition.as_object_mut() else { return };
    definition.remove("required");
}

/// In settings one text may stand for a list of one.
fn take_one_for_a_list(definition: &mut Value) {
    let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else {
        return;
    };
    for option in properties.values_mut().filter(|it| it.get("x-trust").is_some()) {
        let texts = option.pointer("/items/type").is_some_and(|it| it == "string");
        if texts && option["type"] == "array" {
            option["type"] = json!(["array", "string"]);
        }
    }
}
