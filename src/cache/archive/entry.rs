//! An entry of an archive's index: a name and its image.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use crate::cache::archive::annotations::{
    ALIAS, Annotations, IMAGE_ID, IMAGE_NAME, REF_NAME, REGISTRY_DIGEST, SAVED, UNPROMISED_SINCE,
};
use crate::cache::archive::descriptor::Descriptor;
use crate::cache::archive::digest::Digest;
use crate::cache::archive::document::{INDEX_TYPE, MANIFEST_TYPE};
use crate::model::ImageId;
use crate::model::reference::Reference;

#[derive(Debug, Clone)]
pub struct Entry {
    /// The image's manifest or index.
    pub descriptor: Descriptor,
    /// The full name; `None` if the entry has none, or only a tag.
    pub name: Option<Reference>,
    /// secateur's annotations; `None` if another tool wrote the entry.
    pub ours: Option<Ours>,
    /// The unchanged JSON.
    pub(super) raw: Box<RawValue>,
}

/// secateur's annotations of an image that it saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    pub saved: DateTime<Utc>,
    /// The image's id in the engine; `None` if it came from a registry.
    pub image_id: Option<ImageId>,
    /// The image's digest in its registry, if the engine knows it. It differs from the manifest's
    /// digest here if the store keeps no manifests.
    pub registry_digest: Option<Digest>,
    /// When a save first found it unpromised.
    pub unpromised_since: Option<DateTime<Utc>>,
}

impl Entry {
    /// `None` for an [alias](Entry::alias). The error is the JSON that is no valid entry.
    pub(super) fn read(raw: Box<RawValue>) -> Result<Option<Self>, Box<RawValue>> {
        let Ok((descriptor, annotations)) = Descriptor::annotated(raw.get()) else {
            return Err(raw);
        };
        Ok(annotations.alias.is_none().then(|| Self {
            descriptor,
            name: name(&annotations),
            ours: Ours::read(&annotations),
            raw,
        }))
    }

    /// A second entry of the same name with an OCI media type. skopeo ignores the name of an
    /// entry with one of docker's media types, as images have that an overlay2 engine pushed.
    /// containerd needs the true type, or a push fails. containerd uses the later of two entries
    /// of a name, so the alias comes first.
    pub(super) fn alias(&self) -> Option<Box<RawValue>> {
        let kind = match self.descriptor.media_type.raw() {
            "application/vnd.docker.distribution.manifest.v2+json" => MANIFEST_TYPE,
            "application/vnd.docker.distribution.manifest.list.v2+json" => INDEX_TYPE,
            _ => return None,
        };
        let name = self.name.as_ref().filter(|_| self.ours.is_some())?;
        let name = name.to_string();
        let raw = to_raw_value(&json!({
            "mediaType": kind,
            "digest": self.descriptor.digest,
            "size": self.descriptor.size,
            "annotations": {REF_NAME: name, IMAGE_NAME: name, ALIAS: "true"},
        }));
        Some(raw.expect("strings and numbers are JSON"))
    }

    /// An entry that secateur writes.
    pub fn new(descriptor: Descriptor, name: Option<Reference>, ours: Ours) -> Self {
        let mut annotations = ours.annotations();
        if let Some(name) = &name {
            annotations.insert(REF_NAME, name.to_string());
            annotations.insert(IMAGE_NAME, name.to_string());
        }
        let raw = to_raw_value(&json!({
            "mediaType": descriptor.media_type,
            "digest": descriptor.digest,
            "size": descriptor.size,
            "annotations": annotations,
        }));
        Self {
            descriptor,
            name,
            ours: Some(ours),
            raw: raw.expect("strings and numbers are JSON"),
        }
    }

    /// As the engine takes it.
    pub fn for_engine(&self) -> crate::engine::Descriptor {
        let root = &self.descriptor;
        crate::engine::Descriptor {
            media_type: root.media_type.clone(),
            digest: root.digest.as_id().clone(),
            size: root.size,
        }
    }

    /// Whether this is the image's digest, in its registry or in this archive.
    pub fn has_digest(&self, digest: &Digest) -> bool {
        let ours = self.ours.as_ref();
        self.descriptor.digest == *digest
            || ours.is_some_and(|ours| ours.registry_digest.as_ref() == Some(digest))
    }
}

/// A tag alone is no name: it would be parsed as the image of that name.
fn name(annotations: &Annotations) -> Option<Reference> {
    let both = [&annotations.image_name, &annotations.ref_name];
    let mut full = both
        .into_iter()
        .flatten()
        .filter(|text| text.contains(['/', ':']));
    full.find_map(|text| text.parse().ok())
}

impl Ours {
    fn read(annotations: &Annotations) -> Option<Self> {
        let since = annotations.unpromised_since.as_deref();
        Some(Self {
            saved: parse_time(annotations.saved.as_deref()?)?,
            image_id: annotations.image_id.as_ref().and_then(|id| id.parse().ok()),
            registry_digest: annotations
                .registry_digest
                .as_ref()
                .and_then(|digest| digest.parse().ok()),
            unpromised_since: since.and_then(parse_time),
        })
    }

    fn annotations(&self) -> BTreeMap<&'static str, String> {
        let id = self.image_id.as_ref();
        let digest = self.registry_digest.as_ref();
        [
            (SAVED, Some(rfc3339(self.saved))),
            (IMAGE_ID, id.map(ImageId::to_string)),
            (REGISTRY_DIGEST, digest.map(Digest::to_string)),
            (UNPROMISED_SINCE, self.unpromised_since.map(rfc3339)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok();
    read.map(|at| at.with_timezone(&Utc))
}
