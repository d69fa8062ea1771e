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
use crate::engine::sparing::{Texts, Written};
use crate::model::reference::Reference;
use crate::model::{Bytes, Dates, Image, ImageId, Incomplete, Observed};

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

/// The fields that are read of an entry.
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

/// Engines write null for none. An entry without the field is an error, and must not be
/// read as an image without names or labels.
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
        ours_until: None,
        resists: false,
        size: size(summary.size),
        shared: size(summary.shared_size),
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
    use super::*;

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
