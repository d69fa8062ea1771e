//! Which image a tag led to.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::model::ImageId;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerImage {
    pub id: ImageId,
    /// The digests in its names then, of any repository, except its id.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub digests: BTreeSet<String>,
}
