//! What Swarm wants, and which deploys and builds the engine itself knows of.

use serde::{Deserialize, Serialize};

use crate::model::observed::Observed;
use crate::model::text::{Untrusted, escape};

/// Where a service names an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Spec {
    /// What the service runs now.
    Current,
    /// What a rollback goes back to.
    Previous,
    /// What one of its tasks was given.
    Task,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceImage {
    /// The service, by name; by id where only a task of it is left.
    pub service: Untrusted,
    pub spec: Spec,
    /// The image as it is named there, most often `name:tag@digest`.
    pub image: Untrusted,
}

/// A service whose update, or a task of which, has not come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(from = "WrittenDeploy")]
pub struct Deploy {
    /// The service, by name; by id where only a task of it is left.
    pub service: Untrusted,
    /// What Swarm says of it, fit to print.
    pub what: String,
    /// None of its tasks can move on, so it holds nothing up.
    pub stuck: bool,
}

/// A host that an older secateur saved has words alone; no plan reads them.
#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
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
                what: escape(&what),
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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Swarm {
    Inactive,
    /// Only a manager can be asked for services; tasks show as containers.
    Worker,
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
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AtWork {
    pub swarm: Swarm,
    /// The records of BuildKit's cache that builds under way use: their ids, fit to print.
    pub builds: Observed<Vec<String>>,
    /// BuildKit's cache has records, in use or not: images were built here.
    #[serde(default)]
    pub built_here: bool,
}

impl AtWork {
    pub fn idle() -> Self {
        Self {
            swarm: Swarm::Inactive,
            builds: Observed::Known(Vec::new()),
            built_here: false,
        }
    }
}
