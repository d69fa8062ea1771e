//! What the containerd store holds of each image: which of its platforms are here (from API
//! 1.47 on), and which repositories it came from or went to (from 1.54 on). The engine calls
//! the former experimental, so an absent or senseless answer is unknown and no error.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};

use crate::engine::allowance::{Allowance, Weighed};
use crate::engine::error::{EngineError, Failure};
use crate::engine::info::Info;
use crate::engine::items::Form;
use crate::engine::platform::Platform;
use crate::engine::reader::Reader;
use crate::engine::sparing::some_of;
use crate::model::reference::Reference;
use crate::model::{ImageId, Store};

/// How much of one platform is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Completeness {
    Nothing,
    Part,
    All,
}

/// What the store holds of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredContent {
    /// Without attestations. For a platform with several variants, the most complete one.
    platforms: BTreeMap<Platform, Completeness>,
    /// Repositories that it was pulled from or pushed to, each as the engine writes it;
    /// `None` where the engine does not tell.
    repositories: Option<BTreeSet<String>>,
}

impl StoredContent {
    /// `None` where the image has no such platform, or the engine does not tell.
    pub fn completeness(&self, platform: &Platform) -> Option<Completeness> {
        self.platforms.get(platform).copied()
    }

    /// The platforms whose content is all here.
    pub fn whole(&self) -> impl Iterator<Item = &Platform> {
        let all = self.platforms.iter();
        let all = all.filter(|(_, completeness)| **completeness == Completeness::All);
        all.map(|(platform, _)| platform)
    }

    /// Whether the image surely was never pulled or pushed by this name.
    pub fn is_stranger_to(&self, name: &Reference) -> bool {
        let Some(known) = &self.repositories else {
            return false;
        };
        // The engine leaves out the port, and may then read a host as a path on Docker Hub.
        let (host, path) = (name.domain(), name.path());
        let host = host.split(':').next().unwrap_or(host);
        let here = format!("{host}/{path}");
        let on_hub = format!("docker.io/{here}");
        // It cannot write a host that is an IPv6 address.
        !host.starts_with('[') && !known.contains(&here) && !known.contains(&on_hub)
    }
}

impl Reader {
    /// Empty for an engine that cannot tell.
    pub async fn held(&self, info: &Info) -> Result<BTreeMap<ImageId, StoredContent>, EngineError> {
        if info.facts.store != Store::Containerd || self.api < (1, 47) {
            return Ok(BTreeMap::new());
        }
        let path = if self.api >= (1, 54) {
            "/images/json?all=1&manifests=1&identity=1"
        } else {
            "/images/json?all=1&manifests=1"
        };
        let doing = "list what is here of each image (GET /images/json?manifests=1)";
        let allowance = Allowance::of(info);
        let keep = |summary: Summary| Ok(vec![summary.held()?]);
        let list = self.list(doing, path, Form::Array, &allowance, keep).await;
        match list {
            Ok(list) => Ok(list.into_iter().collect()),
            Err(error) => match error.kind {
                Failure::Nonsense | Failure::Status(_) => Ok(BTreeMap::new()),
                Failure::Lost
                | Failure::Permission
                | Failure::NotFound
                | Failure::Conflict
                | Failure::Contradiction => Err(error),
            },
        }
    }
}

impl Weighed for (ImageId, StoredContent) {
    fn weight(&self) -> usize {
        let repositories = self.1.repositories.iter().flatten();
        let repositories: usize = repositories.map(|name| 64 + name.len()).sum();
        size_of::<Self>() + 128 + self.1.platforms.len() * 128 + repositories
    }
}

/// Only the fields that are used.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    id: String,
    #[serde(default, deserialize_with = "images")]
    manifests: Vec<Manifest>,
}

/// Leaves out attestations and unknown kinds.
fn images<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Manifest>, D::Error> {
    some_of(from, |manifest: Manifest| {
        Some(manifest).filter(|manifest| manifest.kind == "image")
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    kind: String,
    available: bool,
    size: Sizes,
    image_data: Option<ImageData>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sizes {
    /// Bytes of its blobs that are here.
    content: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageData {
    platform: Named,
    identity: Option<Identity>,
}

#[derive(Deserialize)]
struct Named {
    os: Option<String>,
    architecture: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Identity {
    #[serde(default, deserialize_with = "repositories")]
    pull: Vec<String>,
    #[serde(default, deserialize_with = "builds")]
    build: Vec<()>,
}

fn repositories<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Pull {
        repository: Option<String>,
    }
    some_of(from, |pull: Pull| pull.repository)
}

fn builds<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<()>, D::Error> {
    some_of(from, |_: serde::de::IgnoredAny| [()])
}

impl Summary {
    fn held(self) -> Result<(ImageId, StoredContent), String> {
        let id = self.id.parse().map_err(|e| format!("{e}"))?;
        let mut held = StoredContent::default();
        for manifest in self.manifests {
            let Some(data) = manifest.image_data else {
                continue;
            };
            let share = match (manifest.available, manifest.size.content) {
                (true, _) => Completeness::All,
                (false, 0) => Completeness::Nothing,
                (false, _) => Completeness::Part,
            };
            if let Some(platform) = Platform::given(data.platform.os, data.platform.architecture) {
                let known = held.platforms.entry(platform).or_insert(share);
                *known = share.max(*known);
            }
            // An image with neither was loaded, imported or made by the classic builder; or the
            // engine does not remember.
            let identity = data.identity;
            let identity = identity.filter(|told| !told.pull.is_empty() || !told.build.is_empty());
            if let Some(identity) = identity {
                let known = held.repositories.get_or_insert_default();
                known.extend(identity.pull);
            }
        }
        Ok((id, held))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::list::object;

    fn held(manifests: &str) -> StoredContent {
        let text = format!(r#"{{"Id":"sha256:{:064}","Manifests":{manifests}}}"#, 7);
        let summary: Summary = object(text.as_bytes()).unwrap();
        summary.held().unwrap().1
    }

    fn manifest(architecture: &str, available: bool, content: u64, identity: &str) -> String {
        format!(
            r#"{{"Kind":"image","Available":{available},"Size":{{"Content":{content},"Total":{content}}},"ImageData":{{"Platform":{{"os":"linux","architecture":"{architecture}"}},{identity}"Size":{{"Unpacked":0}}}}}}"#
        )
    }

    fn platform(architecture: &str) -> Platform {
        Platform::given(Some("linux".into()), Some(architecture.into())).unwrap()
    }

    #[test]
    fn of_each_platform_all_or_a_part_or_nothing_is_here() {
        let attestation = r#"{"Kind":"attestation","Available":true,"Size":{"Content":9}}"#;
        let all = [
            manifest("amd64", false, 0, ""),
            manifest("arm64", true, 9, ""),
            manifest("arm", false, 0, ""),
            manifest("arm", false, 3, ""),
            attestation.to_owned(),
        ];
        let held = held(&format!("[{}]", all.join(",")));
        let completeness = |architecture| held.completeness(&platform(architecture));
        assert_eq!(completeness("amd64"), Some(Completeness::Nothing));
        assert_eq!(completeness("arm64"), Some(Completeness::All));
        assert_eq!(
            completeness("arm"),
            Some(Completeness::Part),
            "of two variants"
        );
        assert_eq!(completeness("riscv64"), None);
        let whole: Vec<&Platform> = held.whole().collect();
        assert_eq!(whole, [&platform("arm64")]);
    }

    #[test]
    fn what_is_not_told_is_not_known() {
        for manifests in ["null", "[]"] {
            let held = held(manifests);
            assert_eq!(held, StoredContent::default());
            assert!(!held.is_stranger_to(&"app:1".parse().unwrap()));
        }
    }

    #[test]
    fn an_image_is_a_stranger_where_the_engine_knows_another_origin_alone() {
        let with = |identity: &str| {
            let identity = format!(r#""Identity":{identity},"#);
            let held = held(&format!("[{}]", manifest("amd64", true, 9, &identity)));
            move |name: &str| held.is_stranger_to(&name.parse().unwrap())
        };
        let pulled = with(
            r#"{"Pull":[{"Repository":"docker.io/library/app"},{"Repository":"127.0.0.1/web"},{"Repository":"docker.io/registry/job"}]}"#,
        );
        assert!(!pulled("app:1") && !pulled("127.0.0.1:5000/web:1"));
        assert!(!pulled("registry:5000/job:1"), "the host reads as a path");
        assert!(pulled("r.example/app:1") && pulled("web:1"));
        assert!(!pulled("[::1]:5000/web:1"), "no such host can be told");
        let built = with(r#"{"Build":[{"Ref":"x"}]}"#);
        assert!(built("app:1"));
        let both = with(r#"{"Build":[{}],"Pull":[{"Repository":"r.example/app"}]}"#);
        assert!(!both("r.example/app:1") && both("app:1"), "it was pushed");
        for neither in [r#"{"Signature":[{}]}"#, "{}", "null"] {
            assert!(!with(neither)("app:1"), "{neither}");
        }
    }
}
