//! Documents that the program writes, held against the JSON Schemas of config/. Stricter than
//! a schema is: a field that it does not name is a fault, too.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

/// Fails unless this document is as the schema of its name says. What is no document of the
/// program has no such name, and is left alone.
#[track_caller]
pub fn check(document: &Value) {
    let Some(name) = document["schema"].as_str() else {
        return;
    };
    if let Err(why) = of(name).and_then(|schema| held_against(&schema, document)) {
        panic!("{name}: {why}\n{document:#}");
    }
}

/// The schema of `secateur/plan/1`.
fn of(name: &str) -> Result<Value, String> {
    let kind = name.split('/').nth(1).ok_or("its schema has no name")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = root.join(format!("config/{kind}.schema.json"));
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

/// Whether a document is as a schema says.
pub fn held_against(schema: &Value, document: &Value) -> Result<(), String> {
    let named = fits(schema, document, "")?;
    unnamed(document, &named, "")
}

/// The places of a document's objects' fields, such as `/images/0/id`.
type Places = BTreeSet<String>;

/// Gives the places that the schema names.
fn fits(schema: &Value, value: &Value, at: &str) -> Result<Places, String> {
    let mut named = Places::new();
    let rules = match schema {
        Value::Bool(true) => return Ok(all(value, at)),
        Value::Object(rules) if rules.is_empty() => return Ok(all(value, at)),
        Value::Object(rules) => rules,
        _ => return Err(format!("{at}: nothing fits {schema}")),
    };
    for (rule, wanted) in rules {
        let fault = || format!("{at}: {value} is not as {rule} wants, {wanted}");
        let met = match rule.as_str() {
            "$schema" | "title" | "description" | "default" | "format" => true,
            "type" => is_of_type(wanted, value),
            "const" => value == wanted,
            "enum" => wanted.as_array().is_some_and(|all| all.contains(value)),
            "minimum" => value.as_f64().is_none_or(|it| Some(it) >= wanted.as_f64()),
            "maximum" => value.as_f64().is_none_or(|it| Some(it) <= wanted.as_f64()),
            "pattern" => value.as_str().is_none_or(|it| matches(wanted, it)),
            "required" => has_all(value.as_object(), wanted),
            "properties" => {
                for (key, schema) in wanted.as_object().into_iter().flatten() {
                    let place = format!("{at}/{key}");
                    if let Some(value) = value.get(key) {
                        named.extend(fits(schema, value, &place)?);
                        named.insert(place);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (key, value) in value.as_object().into_iter().flatten() {
                    if known.is_none_or(|known| !known.contains_key(key)) {
                        let place = format!("{at}/{key}");
                        named.extend(fits(wanted, value, &place)?);
                        named.insert(place);
                    }
                }
                true
            }
            "items" => {
                for (number, value) in value.as_array().into_iter().flatten().enumerate() {
                    named.extend(fits(wanted, value, &format!("{at}/{number}"))?);
                }
                true
            }
            "uniqueItems" => true,
            "anyOf" | "oneOf" => {
                let all = wanted.as_array().into_iter().flatten();
                let tried: Vec<_> = all.map(|schema| fits(schema, value, at)).collect();
                let why: Vec<_> = tried.iter().filter_map(|it| it.as_ref().err()).collect();
                let why = format!("{at}: none of these fits: {why:?}");
                named.extend(tried.iter().flatten().next().ok_or(why)?.iter().cloned());
                true
            }
            other => return Err(format!("{at}: this check does not know {other}")),
        };
        if !met {
            return Err(fault());
        }
    }
    Ok(named)
}

fn is_of_type(wanted: &Value, value: &Value) -> bool {
    let is = |kind: &Value| match kind.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    };
    match wanted {
        Value::Array(kinds) => kinds.iter().any(is),
        kind => is(kind),
    }
}

/// The two patterns of these schemas, by hand.
fn matches(pattern: &Value, text: &str) -> bool {
    match pattern.as_str() {
        Some("^sha256:[0-9a-f]{64}$") => text.strip_prefix("sha256:").is_some_and(|hex| {
            let digit = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
            hex.len() == 64 && hex.chars().all(digit)
        }),
        Some("^[^/]+/.+[:@]") => text
            .split_once('/')
            .is_some_and(|(domain, rest)| !domain.is_empty() && rest.find([':', '@']) > Some(0)),
        _ => false,
    }
}

fn has_all(object: Option<&Map<String, Value>>, keys: &Value) -> bool {
    let mut keys = keys.as_array().into_iter().flatten();
    object.is_none_or(|it| keys.all(|key| key.as_str().is_some_and(|key| it.contains_key(key))))
}

/// Every place of a value of which a schema says nothing.
fn all(value: &Value, at: &str) -> Places {
    let mut places = Places::new();
    walk(value, at, &mut |place| {
        places.insert(place.to_owned());
    });
    places
}

fn unnamed(document: &Value, named: &Places, at: &str) -> Result<(), String> {
    let mut first = None;
    walk(document, at, &mut |place| {
        if first.is_none() && !named.contains(place) {
            first = Some(format!("{place}: its schema does not have it"));
        }
    });
    first.map_or(Ok(()), Err)
}

fn walk(value: &Value, at: &str, tell: &mut dyn FnMut(&str)) {
    for (key, value) in value.as_object().into_iter().flatten() {
        let place = format!("{at}/{key}");
        tell(&place);
        walk(value, &place, tell);
    }
    for (number, value) in value.as_array().into_iter().flatten().enumerate() {
        walk(value, &format!("{at}/{number}"), tell);
    }
}
