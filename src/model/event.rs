use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::text::Untrusted;

/// An event of the engine since the last survey that shows that an image was wanted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    pub at: DateTime<Utc>,
    /// The image by id or by name, as the engine gave it.
    pub image: Untrusted,
    pub what: EventKind,
    /// The tag that the image got, where the event has the image by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Untrusted>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// An image event: tagged, untagged, built, and those of no other kind.
    Named,
    /// The event has the requested name, not the image.
    Pulled,
    /// Loaded or imported: the event has the image, not the tags that it got.
    Loaded,
    /// A container event: created, renamed, destroyed, and those of no other kind.
    Used,
    /// A container event that shows a run: started, died.
    Ran,
}
