//! One image, as the engine and our journal describe it.

use std::collections::BTreeSet;
use std::fmt;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::bytes::Bytes;
use crate::model::engine::Store;
use crate::model::id::ImageId;
use crate::model::labels::Labels;
use crate::model::observed::Observed;
use crate::model::reference::Reference;

/// Dates from the engine or its files. Such a date can make an image younger, never older.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Dates {
    /// When it was built, by the clock of whoever built it.
    pub created: Option<DateTime<Utc>>,
    /// When this host stored it: the mtime of its file in the graphdriver's
    /// image database. Root alone can read it.
    pub stored: Option<DateTime<Utc>>,
}

/// Why the engine's answers about an image cannot be relied on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Incomplete {
    /// All is known but some labels.
    MoreLabels,
    /// In words fit to print.
    Odd(String),
}

const MORE_LABELS: &str = "it has more labels than are read";

impl fmt::Display for Incomplete {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MoreLabels => MORE_LABELS,
            Self::Odd(why) => why,
        })
    }
}

impl From<String> for Incomplete {
    fn from(why: String) -> Self {
        if why == MORE_LABELS {
            Self::MoreLabels
        } else {
            Self::Odd(why)
        }
    }
}

impl From<Incomplete> for String {
    fn from(why: Incomplete) -> Self {
        why.to_string()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Image {
    pub id: ImageId,
    /// Without names that only secateur gives.
    pub tags: BTreeSet<Reference>,
    pub digests: BTreeSet<Reference>,
    /// Names that only secateur gives, left by a run that was cut off.
    pub ours: BTreeSet<Reference>,
    /// The image that it was built on, where the engine keeps such a chain.
    pub parent: Option<ImageId>,
    pub dates: Dates,
    /// When a tag was last set here. `None`: the image was not inspected, because something
    /// keeps it anyway.
    pub last_tag_time: Option<Observed<Option<DateTime<Utc>>>>,
    /// Whether a digest reference that is dropped can be put back without its registry;
    /// the containerd store alone asks for it. `None`: the image was not inspected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restorable: Option<Observed<()>>,
    /// Those of `digests` and `tags` that the engine may not list, because a run dropped them
    /// and was cut off before it could remove the image or put them back.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub untied: BTreeSet<Reference>,
    /// A tag time up to this moment was set by secateur, by the newest intent in its journal.
    /// It counts where a run that was cut off left a name in `ours`.
    #[serde(default)]
    pub ours_until: Option<DateTime<Utc>>,
    /// Whether the engine refused its last removal, by our journal. It is tried again after all
    /// others.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resists: bool,
    /// All its layers, uncompressed on a graphdriver store; compressed and
    /// unpacked together on the containerd store.
    pub size: Observed<Bytes>,
    /// Bytes in layers that other images have, too.
    pub shared: Observed<Bytes>,
    /// At most so much of it stays after its removal. Only where `shared` does not tell this:
    /// on the containerd store from API 1.47 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stays: Option<Bytes>,
    pub labels: Labels,
    pub incomplete: Option<Incomplete>,
}

impl Image {
    /// Tags, then digest references; without `ours`.
    pub fn names(&self) -> impl Iterator<Item = &Reference> + Clone {
        self.tags.iter().chain(&self.digests)
    }

    /// It has no tag. That does not make it unneeded.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty()
    }

    /// What removing this image frees at least; shared layers stay. The containerd
    /// store counts shared layers twice in the size (compressed and unpacked) and up to
    /// 29.4 once in the shared size (unpacked), hence the factor.
    pub fn reclaimable_at_least(&self, store: Store) -> Bytes {
        let (Observed::Known(size), Observed::Known(shared)) = (&self.size, &self.shared) else {
            return Bytes(0);
        };
        let kept = match (self.stays, store) {
            (Some(stays), _) => stays.0,
            (None, Store::Graphdriver | Store::Podman) => shared.0,
            (None, Store::Containerd) => shared.0.saturating_mul(2),
        };
        Bytes(size.0.saturating_sub(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn why_an_image_is_incomplete_reads_back_from_a_saved_host() {
        for why in [Incomplete::MoreLabels, Incomplete::Odd("odd".into())] {
            let text = serde_json::to_string(&why).unwrap();
            assert_eq!(text, format!("\"{why}\""));
            assert_eq!(serde_json::from_str::<Incomplete>(&text).unwrap(), why);
        }
    }

    #[test]
    fn an_unknown_size_promises_nothing() {
        let mut image = crate::testing::image(1);
        image.size = Observed::Known(Bytes(10));
        image.shared = Observed::Unknown("not computed".into());
        assert_eq!(image.reclaimable_at_least(Store::Graphdriver), Bytes(0));
        image.shared = Observed::Known(Bytes(4));
        assert_eq!(image.reclaimable_at_least(Store::Graphdriver), Bytes(6));
        assert_eq!(image.reclaimable_at_least(Store::Containerd), Bytes(2));
        image.stays = Some(Bytes(7));
        assert_eq!(image.reclaimable_at_least(Store::Containerd), Bytes(3));
        image.shared = Observed::Unknown("not computed".into());
        assert_eq!(image.reclaimable_at_least(Store::Containerd), Bytes(0));
    }
}
