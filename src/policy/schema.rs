//! The JSON Schema by which an editor checks a policy, from the types of the file and the
//! comments of config/policy.toml. It never refuses what the program accepts, and the
//! program checks more (a low threshold above a high one). Only tests use it; the schema is
//! a file of the repository.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::policy::document::{Key, Section, sections};
use crate::policy::file::PolicyFile;

/// A form of value that keys share.
macro_rules! form {
    ($($name:ident: $schema:tt)*) => {$(
        pub(super) struct $name;
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )*};
}

/// Durations as humantime reads them.
const DURATION: &str = "^\\s*([0-9]+(\\.[0-9]+)?\\s*(nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w|months?|M|years?|yrs?|y)\\s*)+$";

/// A duration without a digit but 0 is zero.
const NOTHING: &str = "^[^1-9]*$";

/// Names as docker writes them.
const NAME: &str = "^((\\[[0-9a-fA-F:]+\\]|[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)*)(:[0-9]+)?/)?[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?$";

/// Characters of a name, none of which begins a tag or a component that it cannot begin.
const PATTERN: &str = "^(?!.*([:/][.-]|://))[A-Za-z0-9._/:@*\\[\\]-]*\\*[A-Za-z0-9._/:@*\\[\\]-]*$";

/// Texts that are read as an image's id.
const ID: &str = "^(sha(256|512):.*|(?=[a-f]*[0-9])[0-9a-f]{12,64})$";

form! {
    Age: {"type": "string", "pattern": DURATION, "not": {"pattern": NOTHING}}
    AgeOrKeep: {"anyOf": [
        {"const": "keep"},
        {"type": "string", "pattern": DURATION, "not": {"pattern": NOTHING}},
    ]}
    Size: {
        "type": "string",
        "pattern": "^([0-9]+|([0-9]+\\.?[0-9]*|\\.[0-9]+)\\s*([bB]|[kKmMgGtTpPeE][iI]?[bB]?))$",
    }
    Percent: {"type": "number", "minimum": 0, "maximum": 100}
    Share: {"anyOf": [
        {"type": "string", "pattern": "^\\s*([0-9]+\\.?[0-9]*|\\.[0-9]+)\\s*%\\s*$"},
        {
            "type": "string",
            "pattern": "^([0-9]+|([0-9]+\\.?[0-9]*|\\.[0-9]+)\\s*([bB]|[kKmMgGtTpPeE][iI]?[bB]?))$",
        },
    ]}
    Fraction: {"type": "number", "exclusiveMinimum": 0, "maximum": 1}
    Count: {"type": "integer", "minimum": 0, "maximum": u32::MAX}
    AtLeastOne: {"type": "integer", "minimum": 1, "maximum": u32::MAX}
    ImageName: {"type": "string", "pattern": NAME, "not": {"pattern": ID}}
    ImagePattern: {"type": "string", "not": {"pattern": ID}, "anyOf": [
        {"pattern": NAME},
        {"pattern": PATTERN},
    ]}
    ImagePatterns: {"type": "array", "minItems": 1, "items": {
        "type": "string", "not": {"pattern": ID}, "anyOf": [{"pattern": NAME}, {"pattern": PATTERN}],
    }}
    Label: {"type": "string", "pattern": "^[^=]*[^=\\s]"}
    AbsolutePath: {"type": "string", "pattern": "^/"}
    PathPattern: {"type": "string", "pattern": "^/([^*]*/)?[^/]*/*$"}
    LockKind: {"enum": ["flock", "exists"]}
    Compress: {"enum": ["none", "gzip"]}
    Pulls: {"enum": ["require", "best-effort"]}
}

/// The schema; each key has the words of config/policy.toml.
pub(crate) fn schema() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<PolicyFile>()
        .to_value();
    let document = sections(crate::policy::valid::DEFAULT);
    schema["title"] = json!("Retention policy of secateur");
    schema["description"] = json!(document.intro.text());
    for section in &document.sections {
        let place = place(&mut schema, &section.name);
        place["description"] = json!(section.doc.text());
        for key in &section.keys {
            let place = &mut object(place)["properties"][&key.name];
            assert!(place.is_object(), "{} has no {}", section.name, key.name);
            document_key(place, section, key);
        }
    }
    schema
}

/// Where a section's own schema stands: `guard.lock` is a list below `guard`.
fn place<'a>(schema: &'a mut Value, name: &str) -> &'a mut Value {
    name.split('.').fold(schema, |at, part| {
        let at = &mut object(at)["properties"][part];
        assert!(at.is_object(), "no section {name} in the policy");
        at
    })
}

/// Of a list, its elements.
fn object(schema: &mut Value) -> &mut Value {
    if schema["type"] == "array" {
        &mut schema["items"]
    } else {
        schema
    }
}

fn document_key(place: &mut Value, section: &Section, key: &Key) {
    place["title"] = json!(format!("{}.{}", section.name, key.name));
    place["description"] = json!(key.doc.text());
    let value = |text: &String| -> Value {
        let table = toml::from_str::<Value>(&format!("x = {text}")).expect("a value");
        table["x"].clone()
    };
    let mut examples: Vec<Value> = key.example.iter().map(value).collect();
    if let Some(given) = &key.value {
        // A key that must be given has no default: its value is an example.
        if key.is_default(section) {
            place["default"] = value(given);
        } else {
            examples.insert(0, value(given));
        }
    }
    if !examples.is_empty() {
        place["examples"] = json!(examples);
    }
}
