//! A JSON object as docker reads one: names in any case, and whatever follows the
//! last brace is ignored. Its errors never quote the text, which holds secrets.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

/// The fields of an object, by their names in lower case.
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    /// Reads the first object of a text.
    pub fn read(text: &[u8]) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_slice(text);
        let object = Map::deserialize(&mut reader).map_err(|error| position(&error))?;
        Ok(Self::of(object))
    }

    /// Two names that differ in case alone are one: objects are joined, of other
    /// values the last counts.
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

    /// `None`: there is none, or null.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("its {name} is no text")),
        }
    }

    /// Empty where there is none, or null.
    pub fn object(&mut self, name: &str) -> Result<Map<String, Value>, String> {
        match self.take(name) {
            None | Some(Value::Null) => Ok(Map::new()),
            Some(Value::Object(object)) => Ok(object),
            Some(_) => Err(format!("its {name} is no object")),
        }
    }
}

/// serde's own message would quote the value that does not read.
pub fn position(error: &serde_json::Error) -> String {
    let (line, column) = (error.line(), error.column());
    format!("it does not read at line {line}, column {column}")
}
