//! Containers.

use serde::{Deserialize, Serialize};

use crate::model::id::ImageId;
use crate::model::text::Untrusted;

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
