//! One entry of an archive's index: a name, and the image that it means.

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
    /// Of the image's manifest or index.
    pub descriptor: Descriptor,
    /// Whole; none for what carries none, or only a tag.
    pub name: Option<Reference>,
    /// What secateur noted; none where somebody else wrote the entry.
    pub ours: Option<Ours>,
    /// As it is written.
    pub(super) raw: Box<RawValue>,
}

/// What secateur notes of an image that it saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ours {
    pub saved: DateTime<Utc>,
    /// The id that the image had in the engine; none where it came from a registry.
    pub image_id: Option<ImageId>,
    /// By which a registry knows the image, where the engine told it. Another than that of
    /// the manifest here where the store keeps no manifests.
    pub registry_digest: Option<Digest>,
    /// When a save first saw that nobody promises it any more.
    pub unpromised_since: Option<DateTime<Utc>>,
}

impl Entry {
    /// `None` for an [alias](Entry::alias); the error is what does not read as an entry.
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

    /// skopeo finds no name of an entry that has one of docker's own media types, as images
    /// have that an overlay2 engine pushed. It takes the same manifest under OCI's type.
    /// containerd must be told the true type, or a push fails: of two entries for one
    /// name the later counts there, so this one comes before.
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

    /// One of ours.
    pub fn written(descriptor: Descriptor, name: Option<Reference>, ours: Ours) -> Self {
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

    /// Whether a registry, or this archive, knows the image by this digest.
    pub fn has_digest(&self, digest: &Digest) -> bool {
        let ours = self.ours.as_ref();
        self.descriptor.digest == *digest
            || ours.is_some_and(|ours| ours.registry_digest.as_ref() == Some(digest))
    }
}

/// A tag alone is no name: it would read as the image of that name.
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
            saved: moment(annotations.saved.as_deref()?)?,
            image_id: annotations.image_id.as_ref().and_then(|id| id.parse().ok()),
            registry_digest: annotations
                .registry_digest
                .as_ref()
                .and_then(|digest| digest.parse().ok()),
            unpromised_since: since.and_then(moment),
        })
    }
}

impl Ours {
    fn annotations(&self) -> BTreeMap<&'static str, String> {
        let id = self.image_id.as_ref();
        let digest = self.registry_digest.as_ref();
        [
            (SAVED, Some(written(self.saved))),
            (IMAGE_ID, id.map(ImageId::to_string)),
            (REGISTRY_DIGEST, digest.map(Digest::to_string)),
            (UNPROMISED_SINCE, self.unpromised_since.map(written)),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

fn moment(text: &str) -> Option<DateTime<Utc>> {
    let read = DateTime::parse_from_rfc3339(text).ok();
    read.map(|at| at.with_timezone(&Utc))
}
