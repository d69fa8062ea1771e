//! The engine, and what its kind of store means for removals and measures.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::conditions::disk::Disk;
use crate::model::text::Untrusted;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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

/// Which figures of the file system below the store tell the room for images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Measure {
    /// Used and free: the images are on it.
    All,
    /// Free alone: each layer is a file system of its own, all in one pool.
    OnlyFree,
    /// None: the images are on block devices of their own.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct EngineFacts {
    /// The engine generates it once for each data root.
    pub id: Untrusted,
    /// `28.5.2`.
    pub version: Untrusted,
    /// The API version that we speak, `1.51`.
    pub api: String,
    pub store: Store,
    /// The graphdriver's name (`overlay2`), or the snapshotter's.
    pub driver: Untrusted,
    /// Where the engine says that its data is, as seen by the engine.
    pub root_dir: PathBuf,
    /// Where this program reads that data: the same, unless the policy's
    /// `engine.data_root` says otherwise.
    pub data_root: PathBuf,
    /// For the containerd store: the root of the containerd that keeps the images.
    pub containerd_root: Option<PathBuf>,
}

impl EngineFacts {
    /// The key of its ledger: a switch of store starts all ages anew.
    pub fn key(&self) -> String {
        format!("{}/{}", self.id.raw(), self.store)
    }

    /// The first number of the version; 0 where there is none.
    pub fn major(&self) -> u32 {
        self.version
            .raw()
            .split('.')
            .next()
            .and_then(|n| n.parse().ok())
            .unwrap_or(0)
    }

    pub fn measure(&self) -> Measure {
        match (self.store, self.driver.raw()) {
            (_, "zfs") => Measure::OnlyFree,
            (Store::Graphdriver, "devicemapper") => Measure::Nothing,
            _ => Measure::All,
        }
    }

    /// `None` where the fill level of the disk does not tell the room for images.
    pub fn used_percent(&self, disk: &Disk) -> Option<f64> {
        match self.measure() {
            Measure::All => Some(disk.used_percent()),
            Measure::OnlyFree | Measure::Nothing => None,
        }
    }

    /// Why secateur removes nothing from this engine: there is no known way to remove one image
    /// from it that keeps every promise.
    pub fn no_removals(&self) -> Option<&'static str> {
        match self.store {
            Store::Graphdriver if !GRAPHDRIVERS.contains(&self.driver.raw()) => {
                Some("its image store is not one that secateur knows")
            }
            Store::Graphdriver => None,
            // It loses the record of a moved tag at once, and names behave differently before
            // 25.
            Store::Containerd if self.major() < 25 => {
                Some("the containerd store before engine 25 gives no safe way to remove one image")
            }
            Store::Containerd => None,
            Store::Podman => Some("podman's store is only looked at in this version"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_removed_from_a_store_that_is_not_known() {
        let mut engine = crate::testing::inventory([]).engine;
        assert_eq!(engine.no_removals(), None);
        for driver in ["", "novelfs", "io.containerd.snapshotter.v2"] {
            engine.driver = Untrusted::new(driver);
            assert!(engine.no_removals().is_some(), "{driver}");
        }
    }
}
