//! A JSON Schema of each document, from the types that write it. Only tests use this: the
//! schemas are files of the repository. A field may be added to a document at any time; a field
//! with another name or form needs a new number in its schema's name.

use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::memory::journal;
use crate::memory::journal::Record;
use crate::model::labels::Labels;
use crate::model::reference::Reference;
use crate::model::text::Untrusted;
use crate::model::{Bytes, ImageId, Incomplete};
use crate::report::json::cache::{CACHE, Document};
use crate::report::json::prune::{OUTCOME, OutcomeDocument, PLAN, PlanDocument};
use crate::survey::{SAVED, SavedHost};

/// Values that are written as text or as a number.
macro_rules! form {
    ($($Type:ty: $schema:tt)*) => {$(
        impl JsonSchema for $Type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Type).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

form! {
    ImageId: {"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"}
    Reference: {"type": "string", "pattern": "^[^/]+/.+[:@]"}
    Untrusted: {"type": "string"}
    Incomplete: {"type": "string"}
    Labels: {"type": "object", "additionalProperties": {"type": "string"}}
    Bytes: {"type": "integer", "minimum": 0}
}

fn schema<T: JsonSchema>(title: &str, name: &str) -> Value {
    let settings = SchemaSettings::draft07().for_serialize();
    let settings = settings.with(|settings| settings.inline_subschemas = true);
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = schema.to_value();
    schema["title"] = json!(title);
    schema["properties"]["schema"] = json!({"const": name});
    for_readers(&mut schema);
    schema
}

/// Removes links to source from descriptions.
fn for_readers(schema: &mut Value) {
    match schema {
        Value::Object(rules) => {
            if let Some(Value::String(text)) = rules.get_mut("description") {
                *text = text.replace("[`", "`").replace("`]", "`");
            }
            rules.values_mut().for_each(for_readers);
        }
        Value::Array(all) => all.iter_mut().for_each(for_readers),
        _ => {}
    }
}

/// Each with its file.
fn schemas() -> [(&'static str, Value); 5] {
    [
        (
            "plan",
            schema::<PlanDocument>("secateur plan --format json", PLAN),
        ),
        (
            "outcome",
            schema::<OutcomeDocument>("secateur prune --format json", OUTCOME),
        ),
        (
            "cache",
            schema::<Document>("secateur verify-cache --format json", CACHE),
        ),
        (
            "journal",
            schema::<Record>("One line of journal.jsonl", journal::SCHEMA),
        ),
        (
            "inventory",
            schema::<SavedHost>("secateur plan --save-inventory", SAVED),
        ),
    ]
}

/// Every field of a schema, at whatever depth.
fn fields(schema: &Value, found: &mut Vec<String>) {
    for (key, value) in schema.as_object().into_iter().flatten() {
        if key == "properties" {
            found.extend(
                value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|it| it.0.clone()),
            );
        }
        fields(value, found);
    }
    for value in schema.as_array().into_iter().flatten() {
        fields(value, found);
    }
}

#[test]
fn the_schemas_of_the_documents_are_what_the_program_writes_now() {
    for (name, schema) in schemas() {
        let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        let file = format!("{name}.schema.json");
        crate::testing::golden("config", "UPDATE_MANUAL", &file, &text);
    }
}

#[test]
fn every_field_of_a_document_is_in_the_page_of_the_documents() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/json.md");
    let page = std::fs::read_to_string(page).expect("the page");
    for (name, schema) in schemas() {
        let schema_name = schema["properties"]["schema"]["const"].as_str().unwrap();
        assert!(page.contains(&format!("`{schema_name}`")), "{schema_name}");
        // Of a saved host, only secateur reads more.
        if name == "inventory" {
            continue;
        }
        let mut found = Vec::new();
        fields(&schema, &mut found);
        for field in found {
            let below = page.contains(&format!(".{field}`"));
            assert!(
                below || page.contains(&format!("`{field}`")),
                "{name}: {field}"
            );
        }
    }
}
