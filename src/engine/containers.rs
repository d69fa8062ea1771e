//! The list of containers (GET /containers/json).

use serde::{Deserialize, Deserializer};

use crate::engine::allowance::{Allowance, Weighed};
use crate::engine::error::EngineError;
use crate::engine::info::Info;
use crate::engine::items::Form;
use crate::engine::reader::Reader;
use crate::engine::sparing::{first, some_of};
use crate::model::text::{Untrusted, escape};
use crate::model::{Container, ImageId};

impl Reader {
    /// Every container, in any state.
    pub async fn containers(&self, info: &Info) -> Result<Vec<Container>, EngineError> {
        self.all_containers(info, &Allowance::of(info)).await
    }

    pub(super) async fn all_containers(
        &self,
        info: &Info,
        allowance: &Allowance,
    ) -> Result<Vec<Container>, EngineError> {
        let doing = "list containers (GET /containers/json)";
        let path = "/containers/json?all=1";
        let ask = || {
            self.list(doing, path, Form::Array, allowance, |listed| {
                Ok(vec![container(listed, self.podman)?])
            })
        };
        self.counted_list(doing, info.containers, |info| info.containers, ask)
            .await
    }
}

impl Weighed for Container {
    fn weight(&self) -> usize {
        let mounts = self.image_mounts.iter();
        let mounts: usize = mounts.map(|mount| 32 + mount.raw().len()).sum();
        let texts = self.id.raw().len() + self.name.raw().len() + self.image.raw().len();
        size_of::<Self>() + 64 + texts + mounts + self.image_ids.len() * 104
    }
}

/// Only the fields that are used: a field or state that a later engine adds must not spoil the
/// list.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: Option<String>,
    #[serde(default, rename = "Names", deserialize_with = "first")]
    name: Option<String>,
    image: Option<String>,
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    image_manifest_descriptor: Option<ManifestDescriptor>,
    state: Option<String>,
    #[serde(default, rename = "Mounts", deserialize_with = "image_mounts")]
    image_mounts: Vec<Untrusted>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct ManifestDescriptor {
    digest: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(rename = "Type")]
    kind: Option<String>,
    name: Option<String>,
    source: Option<String>,
}

/// Podman from 5.6 on has no image for the container that holds a pod's namespaces, and
/// lists it with only the beginning of an id.
const NO_IMAGE: &str = "sha256:";

fn container(summary: Listed, podman: bool) -> Result<Container, String> {
    let id = summary
        .id
        .filter(|id| !id.is_empty())
        .ok_or("a container without id")?;
    let manifest = summary
        .image_manifest_descriptor
        .and_then(|descriptor| descriptor.digest);
    let image = summary.image.unwrap_or_default();
    let none = podman && image.is_empty() && summary.image_id.as_deref() == Some(NO_IMAGE);
    // An id that does not parse may be any image's: an error is better than a list that misses
    // a use.
    let image_ids = summary
        .image_id
        .iter()
        .chain(&manifest)
        .filter(|text| !(text.is_empty() || none && *text == NO_IMAGE))
        .map(|text| text.parse())
        .collect::<Result<Vec<ImageId>, _>>()
        .map_err(|why| format!("container {}: {why}", escape(&id)))?;
    if image_ids.is_empty() && image.is_empty() && !none {
        return Err(format!("container {} names no image", escape(&id)));
    }
    let first_name = summary.name.unwrap_or_default();
    let name = first_name.trim_start_matches('/');
    Ok(Container {
        name: Untrusted::new(if name.is_empty() {
            id.chars().take(12).collect()
        } else {
            name.to_owned()
        }),
        id: Untrusted::new(id),
        image: Untrusted::new(image),
        image_ids,
        state: Untrusted::new(summary.state.unwrap_or_default()),
        image_mounts: summary.image_mounts,
    })
}

/// The fields that may name the image of an image mount; engines differ in which.
fn image_mounts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Untrusted>, D::Error> {
    some_of(from, |mount: Mount| {
        let image = mount.kind.as_deref() == Some("image");
        let names = [mount.name, mount.source].into_iter().flatten();
        let names = names.filter(move |text| image && !text.is_empty());
        names.map(Untrusted::new)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_container_the_first_name_and_the_image_mounts_are_read() {
        let text = r#"{"Id":"c","Image":"app:1","Names":["/web","/other"],"Labels":{"a":"b"},"Mounts":[
            {"Type":"bind","Source":"/etc"},{"Type":"image","Name":"","Source":"data:1"},
            {"Type":"image","Name":"more:1"}]}"#;
        let seen = container(serde_json::from_str(text).unwrap(), false).unwrap();
        assert_eq!(seen.name.raw(), "web");
        assert_eq!(seen.image_mounts, ["data:1", "more:1"].map(Untrusted::new));
        let text = r#"{"Id":"c","Image":"app:1","Names":null,"Mounts":null}"#;
        let seen = container(serde_json::from_str(text).unwrap(), false).unwrap();
        assert_eq!((seen.name.raw(), &*seen.image_mounts), ("c", &[][..]));
    }

    #[test]
    fn an_image_id_that_does_not_read_spoils_the_list_of_containers() {
        let summary = |image_id: &str| Listed {
            id: Some("c".into()),
            image: Some("app:1".into()),
            image_id: Some(image_id.into()),
            ..Listed::default()
        };
        assert!(container(summary("sha256:12"), false).is_err());
        assert!(container(summary(""), false).is_ok());
        assert!(container(summary(&"a".repeat(64)), false).is_ok());
    }

    #[test]
    fn a_container_id_of_wide_characters_is_cut_between_two_of_them() {
        let summary = Listed {
            id: Some("a\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}\u{e4}".into()),
            image: Some("app:1".into()),
            ..Listed::default()
        };
        assert_eq!(
            container(summary, false)
                .unwrap()
                .name
                .raw()
                .chars()
                .count(),
            8
        );
    }

    #[test]
    fn a_container_that_names_no_image_spoils_the_list() {
        let summary = Listed {
            id: Some("c".into()),
            ..Listed::default()
        };
        assert!(container(summary, false).is_err());
    }

    #[test]
    fn a_pod_without_an_image_uses_none_on_podman_alone() {
        let listed = |image: &str, id: &str, podman| {
            let text = format!(r#"{{"Id":"c","Image":"{image}","ImageID":"{id}"}}"#);
            container(serde_json::from_str(&text).unwrap(), podman)
        };
        let seen = listed("", "sha256:", true).unwrap();
        assert_eq!((seen.image.raw(), &*seen.image_ids), ("", &[][..]));
        assert!(listed("", "sha256:", false).is_err());
        for (image, id) in [("", ""), ("", "sha256:12"), ("app:1", "sha256:")] {
            assert!(listed(image, id, true).is_err(), "{image:?} {id:?}");
        }
    }
}
