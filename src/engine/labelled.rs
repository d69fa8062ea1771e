//! Running containers that carry a label (GET /containers/json).

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::json;

use crate::engine::allowance::{Allowance, Weighed};
use crate::engine::error::EngineError;
use crate::engine::info::Info;
use crate::engine::items::Form;
use crate::engine::reader::Reader;
use crate::engine::sparing::first;
use crate::model::ImageId;
use crate::model::text::{Untrusted, encode};

/// A container that runs, and what its label says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    pub name: Untrusted,
    /// `None` where the engine names none that can be read.
    pub image: Option<ImageId>,
    pub value: Untrusted,
}

impl Weighed for Labelled {
    fn weight(&self) -> usize {
        size_of::<Self>() + 128 + self.name.raw().len() + self.value.raw().len()
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: Option<String>,
    #[serde(default, rename = "Names", deserialize_with = "first")]
    name: Option<String>,
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    #[serde(default, deserialize_with = "labels")]
    labels: BTreeMap<String, String>,
}

fn labels<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<String, String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

/// States in which a container has work under way.
const BUSY: [&str; 3] = ["running", "paused", "restarting"];

impl Reader {
    /// The containers at work that carry this label, their own or their image's: an engine
    /// lists both alike.
    pub async fn labelled(&self, info: &Info, label: &str) -> Result<Vec<Labelled>, EngineError> {
        let filters = json!({"label": [label], "status": BUSY}).to_string();
        let path = format!("/containers/json?filters={}", encode(&filters));
        let keep = |listed: Listed| {
            // An engine that filters otherwise must not make a container busy.
            let value = listed.labels.get(label);
            let name = listed.name.or(listed.id).unwrap_or_default();
            Ok(Vec::from_iter(value.map(|value| Labelled {
                name: Untrusted::new(name.trim_start_matches('/')),
                image: listed.image_id.as_deref().and_then(|id| id.parse().ok()),
                value: Untrusted::new(value.as_str()),
            })))
        };
        let doing = "list the containers with a label (GET /containers/json)";
        self.list(doing, &path, Form::Array, &Allowance::of(info), keep)
            .await
    }
}
