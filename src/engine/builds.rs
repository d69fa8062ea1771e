//! Which builds are under way (GET /system/df). bollard reads only the newest form of the
//! build cache, so both forms are read here.

use serde::{Deserialize, Deserializer};

use crate::engine::error::EngineError;
use crate::engine::list::{LONGEST_WHOLE, object};
use crate::engine::reader::Reader;
use crate::engine::sparing::some_of;
use crate::model::Observed;
use crate::model::text::escape;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Usage {
    /// Up to API 1.51.
    #[serde(default, deserialize_with = "in_use")]
    build_cache: Vec<BuildRecord>,
    /// From API 1.52 on.
    build_cache_usage: Option<BuildUsage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildUsage {
    #[serde(default, deserialize_with = "in_use")]
    items: Vec<BuildRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildRecord {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(default)]
    in_use: bool,
}

/// At most so many builds are named.
const NAMED: usize = 20;

/// The first few build records that are in use: the list is long, and one is enough to
/// refuse.
fn in_use<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BuildRecord>, D::Error> {
    let mut left = NAMED;
    some_of(from, |record: BuildRecord| {
        let named = record.in_use && left > 0;
        left -= usize::from(named);
        Some(record).filter(|_| named)
    })
}

impl Reader {
    /// Build records in use. Before API 1.42 an engine can only be asked for all of
    /// /system/df, which hangs on large hosts: there, the files of a build's pull are the
    /// sign.
    pub async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError> {
        if self.api < (1, 42) || self.podman {
            return Ok(Observed::Known(Vec::new()));
        }
        let doing = "read the build cache (GET /system/df?type=build-cache)";
        let path = "/system/df?type=build-cache";
        let body = self.whole(doing, path, LONGEST_WHOLE).await?;
        let usage: Usage = object(&body).map_err(|why| EngineError::nonsense(doing, why))?;
        let items = usage.build_cache_usage.map(|usage| usage.items);
        let in_use = usage
            .build_cache
            .into_iter()
            .chain(items.into_iter().flatten());
        Ok(Observed::Known(
            in_use
                .map(|r| {
                    format!(
                        "build record {} is in use",
                        escape(r.id.as_deref().unwrap_or("?"))
                    )
                })
                .collect(),
        ))
    }
}
