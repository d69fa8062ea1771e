//! One image, as the engine and our journal describe it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::bytes::Bytes;
use crate::model::engine::Store;
use crate::model::id::ImageId;
use crate::model::labels::Labels;
use crate::model::observed::Observed;
use crate::model::reference::Reference;

/// Dates that the engine or its files give. Evidence of need, never of age:
/// a date can make an image younger, never older.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Dates {
    /// When it was built, by the clock of whoever built it.
    pub created: Option<DateTime<Utc>>,
    /// When this host stored it: the mtime of its file in the graphdriver's
    /// image database. Root alone can read it.
    pub stored: Option<DateTime<Utc>>,
}

/// Why an image is [`Image::incomplete`] of which all is known but its labels.
pub const MORE_LABELS: &str = "it has more labels than are read";

/// One image of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its id.
    pub id: ImageId,
    /// Its tags: somebody's, not ours.
    pub tags: BTreeSet<Reference>,
    /// Its digest references.
    pub digests: BTreeSet<Reference>,
    /// Names that only secateur gives: left by a run that was cut off.
    pub ours: BTreeSet<Reference>,
    /// The image that it was built on, where the engine keeps such a chain.
    pub parent: Option<ImageId>,
    /// What the list of images says of dates.
    pub dates: Dates,
    /// What only a look at this one image says: when a tag was last set here.
    /// `None`: not looked at, which is so for all that would not go anyway.
    pub last_tag_time: Option<Observed<Option<DateTime<Utc>>>>,
    /// Up to when a tag time is our own doing, by the newest intent in our
    /// journal; it counts where `ours` was left by a run that was cut off.
    #[serde(default)]
    pub ours_until: Option<DateTime<Utc>>,
    /// Whether the engine did not let it go when it was last tried (our
    /// journal). It is tried again, last.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub resists: bool,
    /// All its layers, uncompressed on a graphdriver store; compressed and
    /// unpacked together on the containerd store.
    pub size: Observed<Bytes>,
    /// What it shares with other images.
    pub shared: Observed<Bytes>,
    /// Its labels, as its builder chose them.
    pub labels: Labels,
    /// Why what the engine said of this image cannot be relied on.
    pub incomplete: Option<String>,
}

impl Image {
    /// No tag: what the engine's users call dangling. Never implies unneeded.
    pub fn is_dangling(&self) -> bool {
        self.tags.is_empty()
    }

    /// A lower bound of what removing this image frees; shared layers stay.
    /// The containerd store counts shared layers twice in the size (compressed
    /// and unpacked) and once in the shared size (unpacked), hence the factor.
    pub fn reclaimable_at_least(&self, store: Store) -> Bytes {
        let (Observed::Known(size), Observed::Known(shared)) = (&self.size, &self.shared) else {
            return Bytes(0);
        };
        let kept = match store {
            Store::Graphdriver | Store::Podman => shared.0,
            Store::Containerd => shared.0.saturating_mul(2),
        };
        Bytes(size.0.saturating_sub(kept))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_size_promises_nothing() {
        let mut image = crate::testing::image(1);
        image.size = Observed::Known(Bytes(10));
        image.shared = Observed::Unknown("not computed".into());
        assert_eq!(image.reclaimable_at_least(Store::Graphdriver), Bytes(0));
        image.shared = Observed::Known(Bytes(4));
        assert_eq!(image.reclaimable_at_least(Store::Graphdriver), Bytes(6));
        assert_eq!(image.reclaimable_at_least(Store::Containerd), Bytes(2));
    }
}
