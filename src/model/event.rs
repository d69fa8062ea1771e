//! Events of the engine that show that an image was wanted.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::text::Untrusted;

/// Something the engine remembers to have happened since the last look, and
/// which shows that an image was wanted then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: DateTime<Utc>,
    /// The image by id or by name, as the engine gave it.
    pub image: Untrusted,
    /// Whether it was tagged or used.
    pub what: EventKind,
    /// The tag that it was given, where the event tells the image by its id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<Untrusted>,
}

/// What an event shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EventKind {
    /// An image event: tagged, untagged, built, and what no other kind is.
    Named,
    /// Pulled; the event has the name that was asked for, and not the image.
    Pulled,
    /// Loaded or imported; the event has the image, and not the tags that it got.
    Loaded,
    /// A container event: created, started, died, destroyed.
    Used,
}
