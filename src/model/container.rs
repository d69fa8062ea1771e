//! Containers.

use serde::{Deserialize, Serialize};

use crate::model::id::ImageId;
use crate::model::text::Untrusted;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Container {
    pub id: Untrusted,
    pub name: Untrusted,
    /// The image as it was named when the container was made.
    pub image: Untrusted,
    /// As the engine resolved the name; several where the engine distinguishes an index from a
    /// platform's manifest.
    pub image_ids: Vec<ImageId>,
    /// `running`, `exited`, ...
    pub state: Untrusted,
    /// Images mounted into it (`--mount type=image`), by name or id.
    pub image_mounts: Vec<Untrusted>,
}
