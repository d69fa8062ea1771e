//! Reads a JSON object as docker does: field names in any case, and anything after the last brace
//! is ignored. Errors never quote the text, which contains secrets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The keys are in lower case.
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Reads the first object in a text.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let object = Map::deserialize(&mut reader).map_err(|error| position(&error))?;
        Ok(Self::of(object))
    }

    /// Field names that differ only in case are the same field: objects are merged, of other
    /// values the last one counts.
    pub fn of(object: Map<String, Value>) -> Self {
        let mut fields = BTreeMap::new();
        for (name, value) in object {
            match (fields.entry(name.to_ascii_lowercase()).or_default(), value) {
                (Value::Object(known), Value::Object(more)) => known.extend(more),
                (known, value) => *known = value,
            }
        }
        Self(fields)
    }

    /// `name`: in lower case.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// `None` if there is none, or null.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("its {name} is no text")),
        }
    }

    /// Empty if there is none, or null.
    pub fn object(&mut self, name: &str) -> Result<Map<String, Value>, String> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(format!("its {name} is no object")),
        }
    }
}

/// Without serde's own message, which would quote the invalid value.
pub fn position(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("it does not read at line {line}, column {column}")
}
