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
    #[serde(default, deserialize_with = "records")]
    build_cache: Vec<BuildRecord>,
    /// From API 1.52 on.
    build_cache_usage: Option<BuildUsage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildUsage {
    #[serde(default, deserialize_with = "records")]
    items: Vec<BuildRecord>,
    /// Also where no record is listed.
    #[serde(default)]
    active_count: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BuildRecord {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(default)]
    in_use: bool,
}

/// Records that are named, at most.
const NAMED: usize = 20;

#[derive(Debug)]
pub(super) struct BuildCache {
    /// Ids of records that running builds use.
    pub(super) in_use: Observed<Vec<String>>,
    /// There is at least one record.
    pub(super) any: bool,
}

/// Keeps the first record and the first few in use: the list is long, and one is enough to
/// refuse.
fn records<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<BuildRecord>, D::Error> {
    let (mut left, mut first) = (NAMED, true);
    some_of(from, |record: BuildRecord| {
        let named = record.in_use && left > 0;
        left -= usize::from(named);
        let kept = named || first;
        first = false;
        Some(record).filter(|_| kept)
    })
}

impl Reader {
    /// The ids of build records in use. Before API 1.42 an engine can only be asked for all of
    /// /system/df, which hangs on large hosts; there, the files that a build pulls are the
    /// sign.
    pub async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError> {
        Ok(self.build_cache().await?.in_use)
    }

    pub(super) async fn build_cache(&self) -> Result<BuildCache, EngineError> {
        if self.api < (1, 42) || self.podman {
            return Ok(BuildCache {
                in_use: Observed::Known(Vec::new()),
                any: false,
            });
        }
        let doing = "read the build cache (GET /system/df?type=build-cache)";
        // From 1.52 on the records are listed only where that is asked for.
        let path = if self.api >= (1, 52) {
            "/system/df?type=build-cache&verbose=1"
        } else {
            "/system/df?type=build-cache"
        };
        let body = self.whole(doing, path, LONGEST_WHOLE).await?;
        let usage: Usage = object(&body).map_err(|why| EngineError::nonsense(doing, why))?;
        Ok(under_way(usage))
    }
}

/// An id is `?` where the engine gives none.
fn under_way(usage: Usage) -> BuildCache {
    let (items, active) = usage
        .build_cache_usage
        .map(|usage| (usage.items, usage.active_count))
        .unwrap_or_default();
    let mut records = usage.build_cache;
    records.extend(items);
    let any = !records.is_empty() || active != 0;
    records.retain(|record| record.in_use);
    let id = |record: BuildRecord| escape(record.id.as_deref().unwrap_or("?"));
    let mut in_use: Vec<String> = records.into_iter().map(id).collect();
    if in_use.is_empty() && active != 0 {
        in_use.push("?".to_owned());
    }
    BuildCache {
        in_use: Observed::Known(in_use),
        any,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_in_use_is_seen_in_each_form_also_where_it_is_only_counted() {
        let seen = |text: &str| {
            let cache = under_way(object(text.as_bytes()).unwrap());
            cache.in_use.known().cloned().unwrap()
        };
        let named = ["a"];
        let records = r#"[{"ID":"a","InUse":true},{"ID":"b","InUse":false}]"#;
        assert_eq!(seen(&format!(r#"{{"BuildCache":{records}}}"#)), named);
        let usage = |inner: &str| format!(r#"{{"BuildCacheUsage":{{{inner}}}}}"#);
        let listed = format!(r#""ActiveCount":1,"Items":{records},"TotalCount":2"#);
        assert_eq!(seen(&usage(&listed)), named);
        let counted = r#""ActiveCount":1,"TotalCount":2"#;
        assert_eq!(seen(&usage(counted)), ["?"]);
        for none in [
            "{}",
            r#"{"BuildCache":null}"#,
            &usage(""),
            &usage(r#""Items":[]"#),
        ] {
            assert_eq!(seen(none), [""; 0], "{none}");
        }
    }
}
