//! The file that `--record` writes and `--against` reads: the images that were here. It promises
//! every tag, and the digest references of images without a tag. It does not promise images
//! without a name: nothing can ask for them.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::reference::Reference;
use crate::model::text::{escape, json_error};
use crate::model::time::minute;
use crate::model::{EngineFacts, Image, ImageId, Store};

use crate::cache::promise::wanted::{Wanted, digests_in};

const SCHEMA: &str = "secateur/baseline/1";

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    schema: String,
    pub recorded_at: DateTime<Utc>,
    pub engine: Engine,
    images: Vec<ListedImage>,
}

/// Only the fields that a comparison needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Raw: it is compared, never shown.
    pub id: String,
    /// Escaped.
    pub version: String,
    /// Ids differ from store to store.
    pub store: Store,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct ListedImage {
    id: ImageId,
    names: Vec<Reference>,
    digests: Vec<Reference>,
    size_bytes: Option<u64>,
    /// Time of the pull, if this run made one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pull_milliseconds: Option<u64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    pub at: DateTime<Utc>,
    /// `None` if ids cannot be compared: another engine or store.
    pub id: Option<ImageId>,
    /// In the promised repository.
    pub digests: Vec<String>,
    pub pull_milliseconds: Option<u64>,
}

impl Recorded {
    /// Whether the record identifies the image.
    pub fn identifies(&self) -> bool {
        self.id.is_some() || !self.digests.is_empty()
    }

    /// Whether this is the recorded image, by its id or by a digest in this repository.
    pub fn matches(&self, image: &Image, repository: &str) -> bool {
        let known = digests_in(image, repository);
        self.id.as_ref() == Some(&image.id) || self.digests.iter().any(|it| known.contains(it))
    }
}

impl Baseline {
    /// Leaves out images without a name. `only`: include no others. `pulls`: milliseconds of the
    /// pulls that this run made.
    pub fn of(
        engine: &EngineFacts,
        images: &BTreeMap<ImageId, Image>,
        at: DateTime<Utc>,
        only: Option<&[ImageId]>,
        pulls: &BTreeMap<ImageId, u64>,
    ) -> Self {
        let wanted = |image: &&Image| only.is_none_or(|only| only.contains(&image.id));
        let named = |image: &&Image| !image.tags.is_empty() || !image.digests.is_empty();
        let entry = |image: &Image| ListedImage {
            id: image.id.clone(),
            names: image.tags.iter().cloned().collect(),
            digests: image.digests.iter().cloned().collect(),
            size_bytes: image.size.known().map(|size| size.0),
            pull_milliseconds: pulls.get(&image.id).copied(),
        };
        Self {
            schema: SCHEMA.into(),
            recorded_at: at,
            engine: Engine {
                id: engine.id.raw().to_owned(),
                version: engine.version.escaped(),
                store: engine.store,
            },
            images: images
                .values()
                .filter(wanted)
                .filter(named)
                .map(entry)
                .collect(),
        }
    }

    /// The error is fit to print.
    pub fn from_json(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|error| json_error(&error))?;
        if head.schema != SCHEMA {
            return Err(format!(
                "its schema is {:?}, wanted {SCHEMA:?}",
                escape(&head.schema)
            ));
        }
        serde_json::from_slice(bytes).map_err(|error| json_error(&error))
    }

    /// One field a line, so that people can read it too.
    pub fn to_json(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    pub fn len(&self) -> usize {
        self.images.len()
    }

    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// Prepares it for a comparison with this engine. For another engine or store, only names and
    /// digests can be compared; the returned note says so.
    pub fn for_engine(mut self, engine: &EngineFacts) -> (Self, Option<String>) {
        let same_store = self.engine.store == engine.store;
        if self.engine.id == engine.id.raw() && same_store {
            return (self, None);
        }
        let what = if same_store {
            "of another engine"
        } else {
            "of another image store"
        };
        self.engine.id.clear();
        let at = minute(self.recorded_at);
        (
            self,
            Some(format!(
                "the baseline of {at} is {what}: names and digests are compared, ids are not"
            )),
        )
    }

    pub fn promises(&self) -> Vec<(Wanted, Recorded)> {
        let mut found = Vec::new();
        for entry in &self.images {
            let names = if entry.names.is_empty() {
                &entry.digests
            } else {
                &entry.names
            };
            for name in names {
                let same = entry
                    .digests
                    .iter()
                    .filter(|digest| digest.repository() == name.repository());
                // A containerd store lists the digest in only one repository.
                let its_id = (self.engine.store == Store::Containerd).then(|| entry.id.to_string());
                let recorded = Recorded {
                    at: self.recorded_at,
                    id: (!self.engine.id.is_empty()).then(|| entry.id.clone()),
                    digests: same
                        .filter_map(|digest| digest.digest().map(str::to_owned))
                        .chain(its_id)
                        .collect(),
                    pull_milliseconds: entry.pull_milliseconds,
                };
                found.push((Wanted::Name(name.clone()), recorded));
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, id, image, inventory, pinned, tagged};

    fn baseline() -> Baseline {
        let host = inventory([tagged(1, "app:1"), pinned(2, "r.example/db"), image(3)]);
        Baseline::of(&host.engine, &host.images, at(0), None, &BTreeMap::new())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let before = baseline();
        assert_eq!(Baseline::from_json(&before.to_json()).unwrap(), before);
        assert!(Baseline::from_json(b"{}").is_err());
        let newer = String::from_utf8(before.to_json())
            .unwrap()
            .replace("baseline/1", "baseline/2");
        assert!(
            Baseline::from_json(newer.as_bytes())
                .unwrap_err()
                .contains("wanted")
        );
    }

    #[test]
    fn tags_and_pins_are_promised_and_the_nameless_are_not() {
        let wanted: Vec<String> = baseline()
            .promises()
            .iter()
            .map(|(wanted, _)| wanted.to_string())
            .collect();
        assert_eq!(wanted.len(), 2);
        assert_eq!(wanted[0], "app:1");
        assert!(wanted[1].starts_with("r.example/db@sha256:"));
    }

    #[test]
    fn on_a_containerd_store_every_name_was_recorded_with_its_digest() {
        let mut engine = inventory([]).engine;
        let images = inventory([tagged(1, "app:1")]).images;
        for (store, digests) in [
            (Store::Containerd, vec![id(1).to_string()]),
            (Store::Graphdriver, vec![]),
        ] {
            engine.store = store;
            let baseline = Baseline::of(&engine, &images, at(0), None, &BTreeMap::new());
            assert_eq!(baseline.promises()[0].1.digests, digests);
        }
    }

    #[test]
    fn ids_of_another_store_are_not_compared() {
        let mut engine = inventory([]).engine;
        assert_eq!(baseline().for_engine(&engine).1, None);
        engine.store = Store::Containerd;
        let (other, note) = baseline().for_engine(&engine);
        assert!(note.unwrap().contains("another image store"));
        assert!(
            other
                .promises()
                .iter()
                .all(|(_, recorded)| recorded.id.is_none())
        );
    }
}
