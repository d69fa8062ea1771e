//! What Swarm wants, and which deploys and builds the engine itself knows of.

use serde::{Deserialize, Serialize};

use crate::model::observed::Observed;
use crate::model::text::{Untrusted, escape};

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
