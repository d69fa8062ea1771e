//! The index of an archive: the image of each name. What other tools wrote is kept unchanged.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

use crate::cache::archive::document::INDEX_TYPE;
use crate::cache::archive::entry::Entry;
use crate::cache::archive::error::Damage;
use crate::model::text::json_error;

/// Bytes: some 10,000 of our entries. It is all in memory at once.
pub const LONGEST_INDEX: u64 = 8 << 20;

#[derive(Debug, Default)]
pub struct Index {
    /// All other fields, unchanged.
    pub(super) fields: BTreeMap<String, Box<RawValue>>,
    pub(super) manifests: Vec<Item>,
}

#[derive(Debug)]
pub enum Item {
    Entry(Box<Entry>),
    /// Not a valid entry, so it is not ours. It is kept.
    Odd(Box<RawValue>),
}

impl Item {
    fn raw(&self) -> &RawValue {
        match self {
            Self::Entry(entry) => &entry.raw,
            Self::Odd(raw) => raw,
        }
    }
}

impl Index {
    pub fn read(bytes: &[u8]) -> Result<Self, Damage> {
        let unreadable = |error: serde_json::Error| Damage::Unreadable(json_error(&error));
        let mut fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(bytes).map_err(unreadable)?;
        let Some(manifests) = fields.remove("manifests") else {
            return Err(Damage::Unreadable("it has no manifests".to_owned()));
        };
        let mut read = serde_json::Deserializer::from_str(manifests.get());
        let manifests: Vec<Box<RawValue>> = Option::deserialize(&mut read)
            .map_err(unreadable)?
            .unwrap_or_default();
        let items = manifests.into_iter().map(Entry::read);
        let manifests = items.filter_map(|read| match read {
            Ok(entry) => entry.map(|entry| Item::Entry(Box::new(entry))),
            Err(raw) => Some(Item::Odd(raw)),
        });
        Ok(Self {
            fields,
            manifests: manifests.collect(),
        })
    }

    /// The content of the file.
    pub fn to_json(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Written<'a> {
            #[serde(rename = "schemaVersion")]
            schema: &'a RawValue,
            #[serde(rename = "mediaType")]
            media_type: &'a RawValue,
            manifests: Vec<&'a RawValue>,
            #[serde(flatten)]
            others: BTreeMap<&'a str, &'a RawValue>,
        }
        let given = |key: &str, default: &str| {
            let default = || RawValue::from_string(default.to_owned());
            let given = self.fields.get(key).cloned();
            given
                .map_or_else(default, Ok)
                .expect("the defaults are JSON")
        };
        let schema = given("schemaVersion", "2");
        let media_type = given("mediaType", &format!("\"{INDEX_TYPE}\""));
        let aliases: Vec<_> = self.entries().filter_map(Entry::alias).collect();
        let manifests = aliases.iter().map(|alias| &**alias);
        let manifests = manifests.chain(self.manifests.iter().map(Item::raw));
        let manifests = manifests.collect();
        let others = self.fields.iter();
        let others = others.filter(|(key, _)| !["schemaVersion", "mediaType"].contains(&&***key));
        let written = Written {
            schema: &schema,
            media_type: &media_type,
            manifests,
            others: others
                .map(|(key, value)| (key.as_str(), &**value))
                .collect(),
        };
        serde_json::to_vec(&written).expect("it was JSON when it was read")
    }

    /// Whether it has items that are no valid entries.
    pub fn has_odd(&self) -> bool {
        let mut items = self.manifests.iter();
        items.any(|item| matches!(item, Item::Odd(_)))
    }

    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.manifests.iter().filter_map(|item| match item {
            Item::Entry(entry) => Some(&**entry),
            Item::Odd(_) => None,
        })
    }
}
