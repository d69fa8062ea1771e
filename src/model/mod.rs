//! What exists on one host, as plain values: images, containers, services, the
//! engine. The edges fill these in and serde writes and reads them, so that a
//! saved host, a test fixture and a live engine are the same thing to the rest
//! of the program. It decides what counts as known; it never asks an engine.

pub mod conditions;
pub mod labels;
pub mod lost;
pub mod reference;
pub mod secret;
pub mod text;
pub mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::conditions::Disk;
use crate::model::labels::Labels;
use crate::model::reference::Reference;
use crate::model::text::{Untrusted, escape};

/// `sha256:` and 64 hex digits. On a graphdriver store the digest of the
/// image's configuration, on the containerd store that of its index or
/// manifest; so the same image has another id after a change of store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ImageId(String);

/// Why a text is no image id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadImageId(String);

impl fmt::Display for BadImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no image id, which is sha256: and 64 hex digits",
            escape(&self.0)
        )
    }
}

impl std::error::Error for BadImageId {}

impl FromStr for ImageId {
    type Err = BadImageId;

    /// Podman leaves out `sha256:`.
    fn from_str(text: &str) -> Result<Self, BadImageId> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Ok(Self(format!("sha256:{hex}")))
        } else {
            Err(BadImageId(text.to_owned()))
        }
    }
}

impl TryFrom<String> for ImageId {
    type Error = BadImageId;
    fn try_from(text: String) -> Result<Self, BadImageId> {
        text.parse()
    }
}

impl From<ImageId> for String {
    fn from(id: ImageId) -> Self {
        id.0
    }
}

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ImageId {
    /// With its `sha256:`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The 64 digits.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first 12 digits, as docker shows them.
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

/// A size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl std::iter::Sum for Bytes {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        Self(iter.fold(0, |sum, bytes| sum.saturating_add(bytes.0)))
    }
}

/// `1.2 GiB`: binary units, for people. Of four digits, `1009 KiB`, no part is shown: it is
/// as long as any other, `999.0 KiB`.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = bytesize::ByteSize(self.0).display().iec().to_string();
        let parts = shown.split_once('.').filter(|(whole, _)| whole.len() > 3);
        match parts.and_then(|(whole, rest)| Some((whole, rest.split_once(' ')?.1))) {
            Some((whole, unit)) => f.pad(&format!("{whole} {unit}")),
            None => f.pad(&shown),
        }
    }
}

/// Something looked for: either known, or not known and why. Unknown is never
/// read as "no", "none" or "old".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Observed<T> {
    /// Looked at, and this was there.
    Known(T),
    /// Could not be looked at, or made no sense: why, in words fit to print.
    Unknown(String),
}

impl<T> Observed<T> {
    /// The value, where there is one.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

/// Which image store the engine keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Store {
    /// overlay2 and its kind: the store of Docker up to 28 by default.
    Graphdriver,
    /// The containerd image store: opt-in in 24 to 28, default of new installs from 29.
    Containerd,
    /// Podman's own storage behind its compatible API.
    Podman,
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Graphdriver => "graphdriver",
            Self::Containerd => "containerd",
            Self::Podman => "podman",
        })
    }
}

/// The graphdrivers that Docker has or had. All keep names alike; a store that
/// calls itself something else may not.
const GRAPHDRIVERS: [&str; 8] = [
    "overlay2",
    "overlay",
    "fuse-overlayfs",
    "btrfs",
    "zfs",
    "vfs",
    "aufs",
    "devicemapper",
];

/// What a file system tells of the room for the images that it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// What is used and what is free: they are in it.
    All,
    /// What is free: each layer is a file system of its own, all in one pool.
    OnlyFree,
    /// Nothing: they are on block devices of their own.
    Nothing,
}

/// The engine, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineFacts {
    /// Made up once by each engine's data root; what the ledger is keyed on.
    pub id: Untrusted,
    /// `28.5.2`.
    pub version: Untrusted,
    /// The API version that is spoken, `1.51`.
    pub api: String,
    /// The kind of store that it keeps its images in.
    pub store: Store,
    /// The graphdriver's name (`overlay2`), or the snapshotter's.
    pub driver: Untrusted,
    /// Where the engine says that its data is, as seen by the engine.
    pub root_dir: PathBuf,
    /// Where this program reads that data: the same, unless the policy's
    /// `engine.data_root` says otherwise.
    pub data_root: PathBuf,
    /// The root of the containerd that keeps the images, on that store.
    pub containerd_root: Option<PathBuf>,
}

impl EngineFacts {
    /// What the ledger is keyed on: a switch of store starts all ages anew.
    pub fn key(&self) -> String {
        format!("{}/{}", self.id.raw(), self.store)
    }

    /// First number of the version; 0 where there is none.
    pub fn major(&self) -> u32 {
        self.version
            .raw()
            .split('.')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    }

    /// What the file system below the store's folder tells of the room for images.
    pub fn measure(&self) -> Measure {
        match (self.store, self.driver.raw()) {
            (_, "zfs") => Measure::OnlyFree,
            (Store::Graphdriver, "devicemapper") => Measure::Nothing,
            _ => Measure::All,
        }
    }

    /// How full this disk is, where that says something of the room for images.
    pub fn used_percent(&self, disk: &Disk) -> Option<f64> {
        match self.measure() {
            Measure::All => Some(disk.used_percent()),
            Measure::OnlyFree | Measure::Nothing => None,
        }
    }

    /// Why secateur only looks at this engine, where it knows no way to remove
    /// one image that keeps every promise. `None`: it can.
    pub fn look_only(&self) -> Option<&'static str> {
        match self.store {
            Store::Graphdriver if !GRAPHDRIVERS.contains(&self.driver.raw()) => {
                Some("its image store is not one that secateur knows")
            }
            Store::Graphdriver => None,
            // A record of a moved tag is lost at once there, and names do not
            // mean what they mean from 25 on.
            Store::Containerd if self.major() < 25 => {
                Some("the containerd store before engine 25 gives no safe way to remove one image")
            }
            Store::Containerd => None,
            Store::Podman => Some("podman's store is only looked at in this version"),
        }
    }
}

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

/// A container in any state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its id.
    pub id: Untrusted,
    /// Its first name.
    pub name: Untrusted,
    /// The image as it was named when the container was made.
    pub image: Untrusted,
    /// The image's id, as the engine resolved it; more than one where the
    /// engine tells an index from a platform's manifest.
    pub image_ids: Vec<ImageId>,
    /// `running`, `exited`, ...
    pub state: Untrusted,
    /// Images mounted into it (`--mount type=image`), by name or id.
    pub image_mounts: Vec<Untrusted>,
}

/// Which of a service's two specs names an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spec {
    /// What the service runs now.
    Current,
    /// What a rollback goes back to.
    Previous,
    /// What one of its tasks was given.
    Task,
}

/// One image that Swarm refers to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceImage {
    /// The service, by name; by id where only a task of it is left.
    pub service: Untrusted,
    /// Where the image is named.
    pub spec: Spec,
    /// The image as it is named there, most often `name:tag@digest`.
    pub image: Untrusted,
}

/// A service whose update, or a task of which, has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "WrittenDeploy")]
pub struct Deploy {
    /// The service, by name; by id where only a task of it is left.
    pub service: Untrusted,
    /// What Swarm says of it, fit to print.
    pub what: String,
    /// Nothing of it can move, so it holds nothing up.
    pub stuck: bool,
}

/// A saved host of an older secateur has words alone; no plan looks at them.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenDeploy {
    Words(String),
    Whole {
        service: Untrusted,
        what: String,
        stuck: bool,
    },
}

impl From<WrittenDeploy> for Deploy {
    fn from(written: WrittenDeploy) -> Self {
        match written {
            WrittenDeploy::Words(what) => Self {
                service: Untrusted::new("?"),
                what: crate::model::text::escape(&what),
                stuck: false,
            },
            WrittenDeploy::Whole {
                service,
                what,
                stuck,
            } => Self {
                service,
                what,
                stuck,
            },
        }
    }
}

/// What Swarm wants here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Swarm {
    /// Not in a swarm.
    Inactive,
    /// A worker: services cannot be asked for, its tasks show as containers.
    Worker,
    /// A manager.
    Manager {
        /// Images that services and tasks refer to.
        images: Vec<ServiceImage>,
        /// Services whose update, or a task of which, has not come to its end.
        under_way: Vec<Deploy>,
    },
    /// In a swarm, but what it wants cannot be read now (locked, pending).
    Unreadable(String),
}

/// What the engine itself tells of deploys and builds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtWork {
    /// What Swarm wants.
    pub swarm: Swarm,
    /// Builds under way, each in words fit to print.
    pub builds: Observed<Vec<String>>,
}

impl AtWork {
    /// Nothing is known to be at work.
    pub fn idle() -> Self {
        Self {
            swarm: Swarm::Inactive,
            builds: Observed::Known(Vec::new()),
        }
    }
}

/// Something the engine remembers to have happened since the last look, and
/// which shows that an image was wanted then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// The image by id or by name, as the engine gave it.
    pub image: Untrusted,
    /// Whether it was tagged or used.
    pub what: EventKind,
    /// The tag that it was given, where the event tells the image by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Untrusted>,
}

/// What an event shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// An image event: tagged, untagged, built, and what no other kind is.
    Named,
    /// Pulled; the event has the name that was asked for, and not the image.
    Pulled,
    /// Loaded or imported; the event has the image, and not the tags that it got.
    Loaded,
    /// A container event: created, started, died, destroyed.
    Used,
}

/// All that one look at a host found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// When, by the host's wall clock.
    pub taken_at: DateTime<Utc>,
    /// The engine.
    pub engine: EngineFacts,
    /// Every image, intermediate ones too.
    #[serde(with = "by_id")]
    pub images: BTreeMap<ImageId, Image>,
    /// Every container, in any state.
    pub containers: Vec<Container>,
    /// What Swarm wants and what is being built.
    pub at_work: AtWork,
    /// What happened since the last look, as far as the engine remembers.
    pub events: Vec<Event>,
    /// The file system that holds the images.
    pub disk: Observed<Disk>,
}

/// In JSON the images are a list: each carries its own id.
mod by_id {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Image, ImageId};

    pub(super) fn serialize<S: Serializer>(
        images: &BTreeMap<ImageId, Image>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(images.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<ImageId, Image>, D::Error> {
        let images = Vec::<Image>::deserialize(from)?;
        Ok(images
            .into_iter()
            .map(|image| (image.id.clone(), image))
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_fits_its_column() {
        for (bytes, shown) in [
            (0, "0 B"),
            (1 << 10, "1.0 KiB"),
            (999 << 10, "999.0 KiB"),
            (1009 << 10, "1009 KiB"),
            ((1 << 20) - 1, "1024 KiB"),
            (1023 << 20, "1023 MiB"),
            (1 << 30, "1.0 GiB"),
        ] {
            assert_eq!(Bytes(bytes).to_string(), shown);
            assert!(shown.len() <= "999.0 KiB".len());
        }
    }

    #[test]
    fn only_a_whole_digest_is_an_image_id() {
        let hex = "a".repeat(64);
        assert_eq!(
            hex.parse::<ImageId>().unwrap().as_str(),
            format!("sha256:{hex}")
        );
        assert!(format!("sha256:{hex}").parse::<ImageId>().is_ok());
        for bad in [
            "",
            "sha256:",
            "../containers/x",
            &hex[1..],
            &format!("{hex}a"),
            &hex.to_uppercase(),
        ] {
            assert!(
                bad.parse::<ImageId>().is_err(),
                "{bad:?} was taken for an id"
            );
        }
    }

    #[test]
    fn a_store_that_is_not_known_is_only_looked_at() {
        let mut engine = crate::testing::inventory([]).engine;
        assert_eq!(engine.look_only(), None);
        for driver in ["", "novelfs", "io.containerd.snapshotter.v2"] {
            engine.driver = Untrusted::new(driver);
            assert!(engine.look_only().is_some(), "{driver}");
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
    }
}
