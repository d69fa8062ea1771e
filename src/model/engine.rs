//! The engine, and what its kind of store means for removals and measures.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::model::conditions::disk::Disk;
use crate::model::text::Untrusted;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_is_not_known_is_only_looked_at() {
        let mut engine = crate::testing::inventory([]).engine;
        assert_eq!(engine.look_only(), None);
        for driver in ["", "novelfs", "io.containerd.snapshotter.v2"] {
            engine.driver = Untrusted::new(driver);
            assert!(engine.look_only().is_some(), "{driver}");
        }
    }
}
