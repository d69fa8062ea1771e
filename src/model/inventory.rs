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

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Inventory {
    /// By the host's wall clock.
    pub taken_at: DateTime<Utc>,
    pub engine: EngineFacts,
    /// Also intermediate ones.
    #[serde(with = "by_id")]
    #[cfg_attr(test, schemars(with = "Vec<Image>"))]
    pub images: BTreeMap<ImageId, Image>,
    /// In any state.
    pub containers: Vec<Container>,
    pub at_work: AtWork,
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
