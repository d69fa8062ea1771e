//! Reading a whole host: engine, images, containers, Swarm, events. Decides
//! which of an engine's answers is a value and which a sentinel; a list that
//! cannot be whole is no list.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bollard::models::SystemInfo;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use crate::engine::list::{Allowance, Form, Weighed};
use crate::engine::sparing::{Texts, Written, first, some_of};
use crate::engine::swarm::SwarmRole;
use crate::engine::{EngineError, Failure, Reader};
use crate::model::reference::Reference;
use crate::model::text::{Untrusted, escape};
use crate::model::{
    AtWork, Bytes, Container, Dates, EngineFacts, Image, ImageId, Incomplete, Observed, Store,
};

/// What an engine says of itself, and of how much there is.
#[derive(Debug)]
pub struct Info {
    /// The engine; `containerd_root` is not filled in here, for only the host
    /// can tell where that is.
    pub facts: EngineFacts,
    /// The socket of the containerd that the engine uses, from API 1.46 on.
    pub containerd_address: Option<String>,
    pub(super) role: SwarmRole,
    /// This node's id in its swarm.
    pub(super) node: Option<String>,
    pub(super) containers: i64,
    pub(super) images: i64,
}

/// What one look at an engine gives.
#[derive(Debug)]
pub struct Contents {
    /// Every image.
    pub images: BTreeMap<ImageId, Image>,
    /// Every container.
    pub containers: Vec<Container>,
    /// Deploys and builds.
    pub at_work: AtWork,
}

impl Reader {
    /// Asks the engine what it is.
    pub async fn info(&self) -> Result<Info, EngineError> {
        let doing = "read the engine's description (GET /info)";
        let info = self.ask(doing, self.docker.info()).await?;
        let missing = |what: &str| EngineError::nonsense(doing, format!("it has no {what}"));
        // What an empty list is held against.
        let count = |what: &str, count: Option<i64>| {
            count
                .filter(|count| *count >= 0)
                .ok_or_else(|| missing(&format!("count of {what}")))
        };
        let (containers, images) = (
            count("containers", info.containers)?,
            count("images", info.images)?,
        );
        let root_dir = PathBuf::from(
            info.docker_root_dir
                .as_deref()
                .ok_or_else(|| missing("DockerRootDir"))?,
        );
        let store = self.store(&info);
        // Podman makes up another id for each answer.
        let id = match store {
            Store::Podman => Some(format!("podman:{}", root_dir.display())),
            Store::Graphdriver | Store::Containerd => info.id.clone(),
        };
        let facts = EngineFacts {
            id: Untrusted::new(
                id.filter(|id| !id.is_empty())
                    .ok_or_else(|| missing("ID"))?,
            ),
            version: Untrusted::new(self.version.clone()),
            api: format!("{}.{}", self.api.0, self.api.1),
            store,
            driver: Untrusted::new(info.driver.clone().unwrap_or_default()),
            data_root: root_dir.clone(),
            root_dir,
            containerd_root: None,
        };
        Ok(Info {
            facts,
            role: SwarmRole::of(info.swarm.as_ref()),
            node: info.swarm.and_then(|swarm| swarm.node_id),
            containers,
            images,
            containerd_address: info.containerd.and_then(|containerd| containerd.address),
        })
    }

    fn store(&self, info: &SystemInfo) -> Store {
        let containerd = |pair: &Vec<String>| matches!(pair.as_slice(), [key, value] if key == "driver-type" && value.starts_with("io.containerd.snapshotter"));
        if self.podman {
            Store::Podman
        } else if info.driver_status.iter().flatten().any(containerd) {
            Store::Containerd
        } else {
            Store::Graphdriver
        }
    }

    /// Reads everything that a decision rests on, but for the events, which are
    /// to be asked for afterwards: what happened while the lists were read is
    /// in none of them.
    pub async fn contents(&self, info: &Info) -> Result<Contents, EngineError> {
        let allowance = Allowance::of(info);
        let (images, containers, at_work) = Box::pin(futures_util::future::join3(
            self.all_images(info, &allowance),
            self.all_containers(info, &allowance),
            self.everything_at_work(info, &allowance),
        ))
        .await;
        Ok(Contents {
            images: images?,
            containers: containers?,
            at_work: at_work?,
        })
    }

    /// Deploys and builds under way, and what Swarm wants.
    pub async fn at_work(&self, info: &Info) -> Result<AtWork, EngineError> {
        self.everything_at_work(info, &Allowance::of(info)).await
    }

    async fn everything_at_work(
        &self,
        info: &Info,
        allowance: &Allowance,
    ) -> Result<AtWork, EngineError> {
        let swarm = self.all_of_swarm(info, allowance);
        let (swarm, builds) = futures_util::future::join(swarm, self.builds()).await;
        Ok(AtWork {
            swarm: swarm?,
            builds: builds?,
        })
    }

    /// The unfiltered list: the engine's own "dangling" means something else
    /// on each store, and its shared sizes are wrong when it is filtered.
    pub async fn images(&self, info: &Info) -> Result<BTreeMap<ImageId, Image>, EngineError> {
        self.all_images(info, &Allowance::of(info)).await
    }

    async fn all_images(
        &self,
        info: &Info,
        allowance: &Allowance,
    ) -> Result<BTreeMap<ImageId, Image>, EngineError> {
        let doing = "list images (GET /images/json)";
        let path = if self.api >= (1, 42) {
            "/images/json?all=1&shared-size=1"
        } else {
            "/images/json?all=1"
        };
        let ask = || {
            self.list(doing, path, Form::Array, allowance, |summary| {
                Ok(vec![image(summary)?])
            })
        };
        let mut list = ask().await?;
        if list.is_empty() && info.images > 0 {
            let counted = self.counted(|info| info.images).await?;
            list = ask().await?;
            still_contradicts(doing, list.len(), counted)?;
        }
        list.sort_by(|one, other| one.id.cmp(&other.id));
        let twice = |pair: &&[Image]| pair[0].id == pair[1].id;
        if let Some(pair) = list.windows(2).find(twice) {
            let why = format!("image {} is listed twice", pair[0].id);
            return Err(EngineError::nonsense(doing, why));
        }
        // All at once, which fills the map's nodes.
        Ok(list
            .into_iter()
            .map(|image| (image.id.clone(), image))
            .collect())
    }

    /// Every container, in any state.
    pub async fn containers(&self, info: &Info) -> Result<Vec<Container>, EngineError> {
        self.all_containers(info, &Allowance::of(info)).await
    }

    async fn all_containers(
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
        let mut list = ask().await?;
        if list.is_empty() && info.containers > 0 {
            let counted = self.counted(|info| info.containers).await?;
            list = ask().await?;
            still_contradicts(doing, list.len(), counted)?;
        }
        Ok(list)
    }

    /// A figure of GET /info as it is now: the last container or image may have
    /// gone since it was asked for.
    async fn counted(&self, figure: fn(SystemInfo) -> Option<i64>) -> Result<i64, EngineError> {
        let doing = "count again (GET /info)";
        let info = self.ask(doing, self.docker.info()).await?;
        figure(info)
            .filter(|figure| *figure >= 0)
            .ok_or_else(|| EngineError::nonsense(doing, "a figure is missing"))
    }
}

impl Weighed for Image {
    fn weight(&self) -> usize {
        // A set of names begins with room for eleven.
        let of = |names: &BTreeSet<Reference>| match names.len() {
            0 => 0,
            some => 1100 + some * 200,
        };
        let names = of(&self.tags) + of(&self.digests) + of(&self.ours);
        let labels = self.labels.iter();
        let labels: usize = labels
            .map(|(key, value)| 96 + key.len() + value.raw().len())
            .sum();
        size_of::<Self>() + 128 + names + labels
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

/// An engine that counts some and lists none must not be read as "none".
fn still_contradicts(doing: &str, listed: usize, counted: i64) -> Result<(), EngineError> {
    if listed > 0 || counted == 0 {
        return Ok(());
    }
    let why = format!("asked twice, the list is empty, while GET /info counts {counted}");
    Err(EngineError::new(doing, Failure::Contradiction, why))
}

/// The names of an image as the API gives them, sorted by what they are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted {
    pub(super) tags: BTreeSet<Reference>,
    pub(super) digests: BTreeSet<Reference>,
    pub(super) ours: BTreeSet<Reference>,
    /// Entries that are no name: on the containerd store `sha256:<hex>`, for
    /// an image whose content is not here.
    pub(super) odd: Vec<String>,
}

/// `<none>:<none>` is nothing, an entry with `@` a digest reference wherever it
/// stands, the rest are tags. On the containerd store, RepoTags holds pins, and
/// RepoDigests is made up from tags: there, a digest beside a tag of the same
/// repository says nothing.
pub(super) fn sort_names(repo_tags: &[String], repo_digests: &[String]) -> Sorted {
    let mut sorted = Sorted::default();
    for text in repo_tags.iter().chain(repo_digests) {
        if text.starts_with("<none>") {
            continue;
        }
        match text.parse::<Reference>() {
            Ok(name) if name.is_ours() && !name.is_digest() => sorted.ours.insert(name),
            // Made up from our own name by the containerd store.
            Ok(name) if name.is_ours() => false,
            Ok(name) if name.is_dangling_record() => false,
            Ok(name) if name.is_digest() => sorted.digests.insert(name),
            Ok(name) => sorted.tags.insert(name),
            Err(_) => {
                sorted.odd.push(escape(text));
                false
            }
        };
    }
    sorted
}

/// What is read of an image's entry, and no more.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Summary {
    id: String,
    parent_id: String,
    #[serde(deserialize_with = "null_or_there")]
    repo_tags: Texts,
    #[serde(deserialize_with = "null_or_there")]
    repo_digests: Texts,
    created: i64,
    size: i64,
    shared_size: i64,
    #[serde(deserialize_with = "null_or_there")]
    labels: Written,
}

/// Engines say null for none; an entry without the field is no image's entry, and
/// must not read as an image without names or labels.
fn null_or_there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    T::deserialize(from)
}

fn image(summary: Summary) -> Result<Image, String> {
    let id: ImageId = summary.id.parse().map_err(|e| format!("{e}"))?;
    let names = sort_names(&summary.repo_tags.0, &summary.repo_digests.0);
    let parent = match summary.parent_id.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|e| format!("the parent of {id}: {e}"))?,
        ),
    };
    let odd = names.odd.first();
    let odd = odd.map(|odd| Incomplete::Odd(format!("the engine lists it as {odd}")));
    // What is not known keeps: one of those may be what a keep rule names.
    let more = summary.labels.more;
    let more = more.then_some(Incomplete::MoreLabels);
    Ok(Image {
        id,
        tags: names.tags,
        digests: names.digests,
        ours: names.ours,
        parent,
        dates: Dates {
            created: created(summary.created),
            stored: None,
        },
        last_tag_time: None,
        ours_until: None,
        resists: false,
        size: size(summary.size),
        shared: size(summary.shared_size),
        labels: summary.labels.labels,
        incomplete: odd.or(more),
    })
}

/// Build dates from before 1980 are no dates but stand-ins: 0, 1970, year 1.
/// An engine gives seconds since 1970.
fn created(seconds: i64) -> Option<DateTime<Utc>> {
    const YEAR_1980: i64 = 315_532_800;
    (seconds >= YEAR_1980)
        .then(|| DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// -1 stands for "not computed".
fn size(bytes: i64) -> Observed<Bytes> {
    u64::try_from(bytes).map_or_else(
        |_| Observed::Unknown("not computed".into()),
        |n| Observed::Known(Bytes(n)),
    )
}

/// What is read of a container's entry, and no more: a state or a field that a
/// later engine adds is not worth refusing the list for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: Option<String>,
    #[serde(default, rename = "Names", deserialize_with = "first")]
    name: Option<String>,
    image: Option<String>,
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    image_manifest_descriptor: Option<Descriptor>,
    state: Option<String>,
    #[serde(default, rename = "Mounts", deserialize_with = "image_mounts")]
    image_mounts: Vec<Untrusted>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Descriptor {
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

/// Podman from 5.6 on has no image for what holds a pod's namespaces, and lists it
/// with the beginning of an id alone.
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
    // An id that does not read may be any image's: better no list than one
    // that leaves out a use.
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

/// What image mounts may name their images by; engines differ in the field.
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

    fn digest(name: &str) -> String {
        format!("{name}@sha256:{}", "a".repeat(64))
    }

    #[test]
    fn each_entry_counts_for_what_it_is_wherever_it_stands() {
        let sorted = sort_names(
            &["<none>:<none>".into(), "app:1".into(), digest("pin")],
            &["<none>@<none>".into()],
        );
        assert_eq!(sorted.tags.len(), 1);
        assert_eq!(
            sorted
                .digests
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>(),
            [digest("docker.io/library/pin")]
        );
        assert!(sorted.odd.is_empty());
    }

    #[test]
    fn our_own_names_and_the_dangling_record_are_no_names() {
        let sorted = sort_names(
            &["secateur.invalid/remove:0123456789ab".into()],
            &[digest("secateur.invalid/remove"), digest("moby-dangling")],
        );
        assert!(sorted.tags.is_empty() && sorted.digests.is_empty() && sorted.odd.is_empty());
        assert_eq!(sorted.ours.len(), 1);
    }

    #[test]
    fn a_bare_digest_makes_an_image_incomplete() {
        let mut summary = Summary {
            id: "a".repeat(64),
            ..Summary::default()
        };
        assert_eq!(image(summary.clone()).unwrap().incomplete, None);
        summary.repo_digests.0 = vec![format!("sha256:{}", "b".repeat(64))];
        assert!(image(summary).unwrap().incomplete.is_some());
    }

    #[test]
    fn labels_that_are_not_all_read_make_an_image_incomplete() {
        let mut summary = Summary {
            id: "a".repeat(64),
            ..Summary::default()
        };
        summary.labels.more = true;
        assert!(image(summary).unwrap().incomplete.is_some());
    }

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
    fn sentinels_are_unknown_not_old_and_not_small() {
        for seconds in [0, -1, -62_135_596_800, 86_400] {
            assert_eq!(created(seconds), None, "{seconds}");
        }
        assert!(created(1_700_000_000).is_some());
        assert_eq!(
            created(i64::MAX),
            Some(DateTime::<Utc>::MAX_UTC),
            "what is no date is young"
        );
        assert!(matches!(size(-1), Observed::Unknown(_)));
        assert_eq!(size(5), Observed::Known(Bytes(5)));
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
    fn a_tag_of_a_repository_called_like_the_dangling_record_is_a_tag() {
        let sorted = sort_names(&["moby-dangling:1".into()], &[]);
        assert_eq!(sorted.tags.len(), 1);
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

    #[test]
    fn an_empty_list_contradicts_a_count_only_while_the_count_stands() {
        assert!(still_contradicts("list", 0, 1).is_err());
        assert!(still_contradicts("list", 1, 2).is_ok());
        assert!(still_contradicts("list", 0, 0).is_ok(), "the last one went");
    }
}
