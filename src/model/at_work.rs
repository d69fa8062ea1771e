//! What Swarm wants, and which deploys and builds the engine itself knows of.

use serde::{Deserialize, Serialize};

use crate::model::observed::Observed;
use crate::model::text::{Untrusted, escape};

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

/// A service with an unfinished update or an unfinished task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(from = "WrittenDeploy")]
pub struct Deploy {
    /// The service, by name; by id where only a task of it is left.
    pub service: Untrusted,
    /// Swarm's status of the update or task, fit to print.
    pub what: String,
    /// None of its tasks can move on, so it does not refuse a run.
    pub stuck: bool,
}

/// An older `--save-inventory` wrote one text; no plan reads it.
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
        under_way: Vec<Deploy>,
    },
    /// In a swarm, but its services cannot be read now (locked, pending).
    Unreadable(String),
}

/// Deploys and builds that the engine itself reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AtWork {
    pub swarm: Swarm,
    /// Ids of BuildKit cache records that running builds use, fit to print.
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
