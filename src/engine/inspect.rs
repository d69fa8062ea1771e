//! Inspects one image (GET /images/{name}/json): its names, and where a name leads.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::engine::allowance::LONGEST_ITEM;
use crate::engine::descriptor::{Descriptor, RawDescriptor};
use crate::engine::error::{EngineError, Failure};
use crate::engine::list::{LONGEST_WHOLE, object};
use crate::engine::names::sort_names;
use crate::engine::platform::Platform;
use crate::engine::reader::Reader;
use crate::engine::sparing::Texts;
use crate::model::reference::Reference;
use crate::model::text::escape;
use crate::model::{ImageId, Observed};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspected {
    pub tags: BTreeSet<Reference>,
    pub digests: BTreeSet<Reference>,
    /// Those of `digests` that the containerd store may have derived from a tag, and that go
    /// with it.
    pub made_up: BTreeSet<Reference>,
    /// The names that secateur gave it.
    pub ours: BTreeSet<Reference>,
    /// When a tag was last set here; `Known(None)`: never.
    pub last_tag_time: Observed<Option<DateTime<Utc>>>,
    /// What its names lead to; if Unknown, they cannot be put back.
    pub descriptor: Observed<Descriptor>,
}

/// Only the fields that are needed: labels can be megabytes.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    id: Option<String>,
    repo_tags: Option<Texts>,
    repo_digests: Option<Texts>,
    metadata: Option<Metadata>,
    descriptor: Option<RawDescriptor>,
    #[serde(rename = "RootFS")]
    root_fs: Option<RootFs>,
    os: Option<String>,
    architecture: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    #[serde(rename = "Type")]
    kind: Option<String>,
    layers: Option<Texts>,
}

#[derive(Debug)]
pub struct Described {
    /// The DiffIDs of its layers, lowest first; `None` where the engine names none.
    pub layers: Option<Vec<String>>,
    /// On a containerd store, the best match of all platforms that are here.
    pub platform: Option<Platform>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// There is no such name.
    Nowhere,
    /// The name is listed, but its image is gone. It happens on the containerd store (28.5.2)
    /// when a tag is set at the moment of a removal; the answer has an id, the tag, and an
    /// empty `RootFS`.
    ToNothing,
    ToAnImage,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    last_tag_time: Option<String>,
}

impl Reader {
    /// `None` where the image is gone.
    pub async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError> {
        let seen = self.answer(id, |image| seen(id, image)).await;
        match seen {
            Ok(seen) => Ok(Some(seen)),
            Err(error) if error.kind == Failure::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub async fn described(&self, id: &ImageId) -> Result<Described, EngineError> {
        self.answer(id, |image| {
            Ok(Described {
                // Engines leave the list out where it is empty.
                layers: image.root_fs.map(|fs| fs.layers.unwrap_or_default().0),
                platform: Platform::given(image.os, image.architecture),
            })
        })
        .await
    }

    /// Reads the answer about one image. It may only be as long as an item of a list, because
    /// several images are inspected at once.
    async fn answer<T>(
        &self,
        id: &ImageId,
        read: impl FnOnce(Answer) -> Result<T, String>,
    ) -> Result<T, EngineError> {
        let doing = format!("inspect image {id}");
        let path = self.inspect_path(id.as_str());
        let body = self.whole(&doing, &path, LONGEST_ITEM).await?;
        object(&body)
            .and_then(read)
            .map_err(|why| EngineError::nonsense(doing, why))
    }

    pub async fn leads(&self, name: &Reference) -> Result<Leads, EngineError> {
        match self.answer_about(name).await {
            Ok(body) if object::<Answer>(&body).is_ok_and(is_whole) => Ok(Leads::ToAnImage),
            Ok(_) => Ok(Leads::ToNothing),
            Err(error) => match error.kind {
                Failure::NotFound => Ok(Leads::Nowhere),
                Failure::Nonsense => Ok(Leads::ToNothing),
                Failure::Lost
                | Failure::Permission
                | Failure::Conflict
                | Failure::Status(_)
                | Failure::Contradiction => Err(error),
            },
        }
    }

    /// The id that a name leads to, even if its image is gone.
    pub async fn named(&self, name: &Reference) -> Option<ImageId> {
        let body = self.answer_about(name).await.ok()?;
        object::<Answer>(&body).ok()?.id?.parse().ok()
    }

    async fn answer_about(&self, name: &Reference) -> Result<Vec<u8>, EngineError> {
        let doing = format!("inspect image {name}");
        let path = self.inspect_path(&name.to_string());
        self.whole(&doing, &path, LONGEST_WHOLE).await
    }
}

/// Whether the answer is about an image with content.
fn is_whole(image: Answer) -> bool {
    let made_of = image.root_fs.as_ref().and_then(|root| root.kind.as_deref());
    let made = made_of.is_some_and(|kind| !kind.is_empty());
    let id = image.id.as_deref().and_then(|id| id.parse().ok());
    made && id.is_some_and(|id| seen(&id, image).is_ok())
}

/// An answer about another image or none is an error, because removals depend on it.
fn seen(asked: &ImageId, image: Answer) -> Result<Inspected, String> {
    let about = image.id.unwrap_or_default();
    if about.parse().ok().as_ref() != Some(asked) {
        return Err(format!("the answer is about {:?}", escape(&about)));
    }
    if image.repo_tags.is_none() && image.repo_digests.is_none() {
        return Err("the answer tells of no names, not even that there are none".to_owned());
    }
    let names = sort_names(
        &image.repo_tags.unwrap_or_default().0,
        &image.repo_digests.unwrap_or_default().0,
    );
    if let Some(odd) = names.odd.first() {
        return Err(format!("the engine lists it as {odd}"));
    }
    let time = image.metadata.and_then(|metadata| metadata.last_tag_time);
    Ok(Inspected {
        tags: names.tags,
        digests: names.digests,
        made_up: names.made_up,
        ours: names.ours,
        last_tag_time: tag_time(time.as_deref()),
        descriptor: Descriptor::of(asked, image.descriptor),
    })
}

/// Year 1 stands for "never here": nobody tagged the image after a pull or a load.
fn tag_time(text: Option<&str>) -> Observed<Option<DateTime<Utc>>> {
    let Some(text) = text.filter(|text| !text.is_empty() && !text.starts_with("0001-01-01T"))
    else {
        return Observed::Known(None);
    };
    match DateTime::parse_from_rfc3339(text) {
        Ok(at) => Observed::Known(Some(at.with_timezone(&Utc))),
        Err(_) => Observed::Unknown(format!("its last tag time reads {}", escape(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_whose_image_is_made_of_nothing_leads_to_none() {
        let id = crate::testing::id(1);
        let whole = |root_fs: &str| {
            let text = format!(
                r#"{{"Id":"{id}","RepoTags":["app:1"],"RepoDigests":[],"RootFS":{root_fs}}}"#
            );
            is_whole(serde_json::from_str(&text).unwrap())
        };
        assert!(whole(r#"{"Type":"layers"}"#));
        assert!(!whole("{}") && !whole("null"));
    }

    #[test]
    fn an_answer_about_nothing_or_another_image_is_none() {
        let id: ImageId = "a".repeat(64).parse().unwrap();
        let image = |id: Option<&str>, tags: Option<Vec<String>>| Answer {
            id: id.map(str::to_owned),
            repo_tags: tags.map(Texts),
            ..Answer::default()
        };
        assert!(seen(&id, image(Some(id.as_str()), Some(vec![]))).is_ok());
        assert!(
            seen(&id, image(Some(id.hex()), Some(vec![]))).is_ok(),
            "Podman"
        );
        assert!(seen(&id, image(Some(id.as_str()), None)).is_err());
        assert!(seen(&id, image(Some(&"b".repeat(64)), Some(vec![]))).is_err());
        assert!(seen(&id, image(None, Some(vec![]))).is_err());
    }

    #[test]
    fn a_tag_time_is_a_date_or_none_or_unknown() {
        assert_eq!(tag_time(None), Observed::Known(None));
        assert_eq!(
            tag_time(Some("0001-01-01T00:00:00Z")),
            Observed::Known(None)
        );
        assert!(matches!(
            tag_time(Some("2026-01-02T03:04:05.6Z")),
            Observed::Known(Some(_))
        ));
        assert!(matches!(tag_time(Some("yesterday")), Observed::Unknown(_)));
    }
}
