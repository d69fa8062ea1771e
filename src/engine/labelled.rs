//! Running containers that carry a label (GET /containers/json).

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use crate::engine::allowance::{Allowance, Weighed};
use crate::engine::error::EngineError;
use crate::engine::info::Info;
use crate::engine::items::Form;
use crate::engine::reader::Reader;
use crate::engine::sparing::first;
use crate::model::ImageId;
use crate::model::text::{Untrusted, encode};

/// A running container, and the value of its label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    pub name: Untrusted,
    /// `None` where the engine gives no readable id.
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
    labels: Option<BTreeMap<String, String>>,
}

/// States of a container that works.
const BUSY: [&str; 3] = ["running", "paused", "restarting"];

impl Reader {
    /// The working containers with this label, their own or their image's: an engine lists both
    /// alike.
    pub async fn labelled(&self, info: &Info, label: &str) -> Result<Vec<Labelled>, EngineError> {
        let filters = json!({"label": [label], "status": BUSY}).to_string();
        let path = format!("/containers/json?filters={}", encode(&filters));
        let keep = |listed: Listed| {
            // An engine that filters differently must not make a container busy.
            let value = listed.labels.as_ref().and_then(|all| all.get(label));
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
