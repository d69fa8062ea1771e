//! The list of images (GET /images/json).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};

use crate::engine::allowance::{Allowance, Weighed};
use crate::engine::error::EngineError;
use crate::engine::info::Info;
use crate::engine::items::Form;
use crate::engine::names::sort_names;
use crate::engine::reader::Reader;
use crate::engine::sparing::{KeptLabels, Texts, some_of};
use crate::model::reference::Reference;
use crate::model::{Bytes, Dates, Image, ImageId, Incomplete, Observed, Store};

impl Reader {
    /// The unfiltered list: the engine's own "dangling" has another meaning on each store,
    /// and shared sizes are wrong in a filtered list.
    pub async fn images(&self, info: &Info) -> Result<BTreeMap<ImageId, Image>, EngineError> {
        self.all_images(info, &Allowance::of(info)).await
    }

    pub(super) async fn all_images(
        &self,
        info: &Info,
        allowance: &Allowance,
    ) -> Result<BTreeMap<ImageId, Image>, EngineError> {
        let doing = "list images (GET /images/json)";
        let (sizes, path) = (self.sizes(info.facts.store), self.images_path());
        let ask = || {
            self.list(doing, path, Form::Array, allowance, |summary| {
                Ok(vec![image(summary, sizes)?])
            })
        };
        let counted = self.counted_list(doing, info.images, |info| info.images, ask);
        let mut list = counted.await?;
        list.sort_by(|one, other| one.id.cmp(&other.id));
        let twice = |pair: &&[Image]| pair[0].id == pair[1].id;
        if let Some(pair) = list.windows(2).find(twice) {
            let why = format!("image {} is listed twice", pair[0].id);
            return Err(EngineError::nonsense(doing, why));
        }
        // Collected from a sorted list, a map fills its nodes.
        Ok(list
            .into_iter()
            .map(|image| (image.id.clone(), image))
            .collect())
    }

    /// Has the engine begin its list, which the next question for it returns: it is the longest of
    /// all answers, and needs no other.
    pub fn begin_images(&self) {
        self.socket.begin(self.images_path());
    }

    /// The same for each store, for it is asked for before the store is known.
    fn images_path(&self) -> &'static str {
        match self.api {
            api if api < (1, 42) => "/images/json?all=1",
            // Only the containerd store knows manifests; from 29.5 on it tells both sizes without.
            api if ((1, 47)..(1, 55)).contains(&api) => {
                "/images/json?all=1&shared-size=1&manifests=1"
            }
            _ => "/images/json?all=1&shared-size=1",
        }
    }

    fn sizes(&self, store: Store) -> Sizes {
        match store {
            _ if self.api < (1, 42) => Sizes::Unshared,
            Store::Containerd if self.api >= (1, 55) => Sizes::SharedOfBoth,
            Store::Containerd if self.api >= (1, 47) => Sizes::SharedAndUnpacked,
            Store::Containerd | Store::Graphdriver | Store::Podman => Sizes::Shared,
        }
    }
}

/// Which sizes of an image an engine reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sizes {
    /// Only the whole size.
    Unshared,
    /// Also the shared size; on the containerd store unpacked.
    Shared,
    /// On the containerd store also how much of it is unpacked. The engine has computed this
    /// anyway, so it costs no time.
    SharedAndUnpacked,
    /// On the containerd store the shared size, unpacked and compressed together: from engine
    /// 29.5 on, and so wherever API 1.55 is spoken.
    SharedOfBoth,
}

impl Weighed for Image {
    fn weight(&self) -> usize {
        // A set begins with room for eleven names.
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

/// Only the fields that are used.
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
    /// Bytes that are unpacked; `None` where the engine does not tell.
    #[serde(rename = "Manifests", default, deserialize_with = "unpacked")]
    unpacked: Option<u64>,
    #[serde(deserialize_with = "null_or_there")]
    labels: KeptLabels,
}

/// Engines write null for none. An entry without the field is an error, and must not be
/// read as an image without names or labels.
fn null_or_there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    T::deserialize(from)
}

/// The sum over its platforms.
fn unpacked<'de, D: Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Manifest {
        image_data: Option<ImageData>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct ImageData {
        size: Size,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        unpacked: i64,
    }
    let each = some_of(from, |manifest: Manifest| manifest.image_data)?;
    let each = each.iter().map(|data| u64::try_from(data.size.unpacked));
    // The engine tells nothing for an image without a manifest here.
    Ok(each
        .collect::<Result<Vec<u64>, _>>()
        .ok()
        .filter(|sizes| !sizes.is_empty())
        .map(|sizes| {
            sizes
                .iter()
                .fold(0_u64, |sum, size| sum.saturating_add(*size))
        }))
}

/// How much of an image stays at most after its removal. It shares no more compressed bytes
/// than unpacked ones.
fn stays(sizes: Sizes, size: u64, shared: u64, unpacked: Option<u64>) -> Option<Bytes> {
    match (sizes, unpacked) {
        (Sizes::SharedOfBoth, _) => Some(Bytes(shared)),
        (Sizes::SharedAndUnpacked, Some(unpacked)) => {
            let compressed = size.saturating_sub(unpacked);
            Some(Bytes(
                shared.min(unpacked).saturating_add(shared.min(compressed)),
            ))
        }
        _ => None,
    }
}

fn image(summary: Summary, sizes: Sizes) -> Result<Image, String> {
    let id: ImageId = summary.id.parse().map_err(|e| format!("{e}"))?;
    let names = sort_names(&summary.repo_tags.0, &summary.repo_digests.0);
    let parent = match summary.parent_id.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|e| format!("the parent of {id}: {e}"))?,
        ),
    };
    let (total, shared) = (size(summary.size), size(summary.shared_size));
    let stays = match (&total, &shared) {
        (Observed::Known(total), Observed::Known(shared)) => {
            stays(sizes, total.0, shared.0, summary.unpacked)
        }
        _ => None,
    };
    let odd = names.odd.first();
    let odd = odd.map(|odd| Incomplete::Odd(format!("the engine lists it as {odd}")));
    // A keep rule may name a label that was not read, so the image is kept.
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
        restorable: None,
        untied: [].into(),
        ours_until: None,
        resists: false,
        size: total,
        shared,
        stays,
        labels: summary.labels.labels,
        incomplete: odd.or(more),
    })
}

/// `seconds` since 1970. Dates before 1980 (0, 1970, year 1) are stand-ins for none.
fn created(seconds: i64) -> Option<DateTime<Utc>> {
    const YEAR_1980: i64 = 315_532_800;
    (seconds >= YEAR_1980)
        .then(|| DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC))
}

/// An engine writes -1 for "not computed".
fn size(bytes: i64) -> Observed<Bytes> {
    u64::try_from(bytes).map_or_else(
        |_| Observed::Unknown("not computed".into()),
        |n| Observed::Known(Bytes(n)),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixListener;
    use tokio::sync::Notify;

    use super::*;
    use crate::engine::socket::Socket;
    use crate::testing::INFO;

    #[tokio::test]
    async fn a_list_that_was_begun_is_made_while_the_engine_describes_itself_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("docker.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (lists, listed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let asked_for = Arc::clone(&lists);
        tokio::spawn(async move {
            loop {
                let (mut client, _) = listener.accept().await.unwrap();
                let (lists, listed) = (Arc::clone(&lists), Arc::clone(&listed));
                tokio::spawn(async move {
                    let mut asked = Vec::with_capacity(4096);
                    while client.read_buf(&mut asked).await.unwrap() > 0 {
                        let is_list = String::from_utf8_lossy(&asked).contains("/images/json");
                        asked.clear();
                        if is_list {
                            lists.fetch_add(1, Ordering::Relaxed);
                            listed.notify_one();
                        } else {
                            listed.notified().await;
                        }
                        let body = if is_list { "[]" } else { INFO };
                        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
                        let length = body.len();
                        let answer = format!("{head}Content-Length: {length}\r\n\r\n{body}");
                        client.write_all(answer.as_bytes()).await.unwrap();
                    }
                });
            }
        });
        let reader = Reader::of(Socket::new(path));
        reader.begin_images();
        let info = reader.info().await.unwrap();
        assert!(reader.images(&info).await.unwrap().is_empty());
        assert_eq!(asked_for.load(Ordering::Relaxed), 1);
        assert!(reader.images(&info).await.unwrap().is_empty());
        assert_eq!(asked_for.load(Ordering::Relaxed), 2, "it is begun once");
    }

    #[test]
    fn a_bare_digest_makes_an_image_incomplete() {
        let mut summary = Summary {
            id: "a".repeat(64),
            ..Summary::default()
        };
        let incomplete = |summary: Summary| image(summary, Sizes::Shared).unwrap().incomplete;
        assert_eq!(incomplete(summary.clone()), None);
        summary.repo_digests.0 = vec![format!("sha256:{}", "b".repeat(64))];
        assert!(incomplete(summary).is_some());
    }

    #[test]
    fn labels_that_are_not_all_read_make_an_image_incomplete() {
        let mut summary = Summary {
            id: "a".repeat(64),
            ..Summary::default()
        };
        summary.labels.more = true;
        let image = image(summary, Sizes::Shared).unwrap();
        assert!(image.incomplete.is_some());
    }

    /// 100 unpacked and 40 compressed; 80 are shared, of which 32 compressed.
    #[test]
    fn what_a_containerd_store_frees_at_least_is_nearer_where_it_tells_both_sizes() {
        let frees = |shared: u64, sizes, manifests: &str| {
            let id = "a".repeat(64);
            let text = format!(
                r#"{{"Id":"{id}","ParentId":"","RepoTags":[],"RepoDigests":[],"Created":0,"Size":140,"SharedSize":{shared},"Labels":null{manifests}}}"#
            );
            let image = image(serde_json::from_str(&text).unwrap(), sizes).unwrap();
            image.reclaimable_at_least(Store::Containerd).0
        };
        let of = |unpacked: &str| {
            format!(
                r#","Manifests":[{{"ImageData":{{"Size":{{"Unpacked":{unpacked}}}}}}},{{"AttestationData":{{}}}}]"#
            )
        };
        assert_eq!(frees(80, Sizes::Shared, ""), 0);
        assert_eq!(frees(80, Sizes::SharedAndUnpacked, &of("100")), 20);
        assert_eq!(frees(10, Sizes::SharedAndUnpacked, &of("100")), 120);
        assert_eq!(frees(80 + 32, Sizes::SharedOfBoth, ""), 28);
        for unknown in [",\"Manifests\":null", ",\"Manifests\":[]", "", &of("-1")] {
            assert_eq!(frees(80, Sizes::SharedAndUnpacked, unknown), 0);
            assert_eq!(frees(30, Sizes::SharedAndUnpacked, unknown), 80);
        }
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
}
