//! All that one survey of a host found.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::model::at_work::AtWork;
use crate::model::conditions::disk::Disk;
use crate::model::container::Container;
use crate::model::engine::EngineFacts;
use crate::model::event::Event;
use crate::model::id::ImageId;
use crate::model::image::Image;
use crate::model::observed::Observed;

/// All that one look at a host found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inventory {
    /// When, by the host's wall clock.
    pub taken_at: DateTime<Utc>,
    /// The engine.
    pub engine: EngineFacts,
    /// Every image, intermediate ones too.
    #[serde(with = "by_id")]
    pub images: BTreeMap<ImageId, Image>,
    /// Every container, in any state.
    pub containers: Vec<Container>,
    /// What Swarm wants and what is being built.
    pub at_work: AtWork,
    /// What happened since the last look, as far as the engine remembers.
    pub events: Vec<Event>,
    /// The file system that holds the images.
    pub disk: Observed<Disk>,
}

/// In JSON the images are a list: each carries its own id.
mod by_id {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::id::ImageId;
    use crate::model::image::Image;

    pub(super) fn serialize<S: Serializer>(
        images: &BTreeMap<ImageId, Image>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_seq(images.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<BTreeMap<ImageId, Image>, D::Error> {
        let images = Vec::<Image>::deserialize(from)?;
        Ok(images
            .into_iter()
            .map(|image| (image.id.clone(), image))
            .collect())
    }
}
