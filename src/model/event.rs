//! Events of the engine that show that an image was wanted.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::text::Untrusted;

/// Something that happened since the last survey, by the engine's memory, and that
/// shows that an image was wanted then.
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
    /// An image event: tagged, untagged, built, and what no other kind is.
    Named,
    /// The event has the name that was asked for, and not the image.
    Pulled,
    /// Loaded or imported: the event has the image, and not the tags that it got.
    Loaded,
    /// A container event: created, renamed, destroyed, and what no other kind is.
    Used,
    /// A container event that shows a run: started, died.
    Ran,
}
