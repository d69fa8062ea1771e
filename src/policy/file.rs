//! The keys of a policy file and their types.

use serde::Deserialize;
use toml::Spanned;

// The schema takes its words from config/policy.toml.
#[cfg(test)]
use crate::policy::schema as form;

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    pub(super) age: Age,
    #[serde(default)]
    pub(super) keep: Keep,
    #[serde(default)]
    pub(super) disk: Disk,
    #[serde(default)]
    pub(super) limits: LimitsFile,
    #[serde(default)]
    pub(super) guard: GuardFile,
    #[serde(default)]
    pub(super) engine: Engine,
    #[serde(default)]
    pub(super) retain: Vec<RetainFile>,
    #[serde(default)]
    pub(super) cache: Cache,
    #[serde(default)]
    pub(super) restore: RestoreFile,
    #[serde(default)]
    pub(super) archive: ArchiveFile,
    #[serde(default)]
    pub(super) room: RoomFile,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Age {
    #[cfg_attr(test, schemars(with = "form::Age"))]
    pub(super) min_age: Spanned<String>,
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "form::AgeOrKeep"))]
    pub(super) digest_pinned: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Keep {
    #[cfg_attr(test, schemars(with = "Vec<form::ImagePattern>"))]
    pub(super) images: Vec<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "Vec<form::Label>"))]
    pub(super) labels: Vec<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Count"))]
    pub(super) previous: Option<Spanned<u32>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Disk {
    #[cfg_attr(test, schemars(with = "form::Percent"))]
    pub(super) start_above_percent: Option<Spanned<f64>>,
    #[cfg_attr(test, schemars(with = "form::Percent"))]
    pub(super) stop_below_percent: Option<Spanned<f64>>,
    #[cfg_attr(test, schemars(with = "form::Size"))]
    pub(super) min_free: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "the keys are called so")]
pub(super) struct LimitsFile {
    #[cfg_attr(test, schemars(with = "form::AtLeastOne"))]
    pub(super) max_images: Option<Spanned<u32>>,
    #[cfg_attr(test, schemars(with = "form::Fraction"))]
    pub(super) max_fraction: Option<Spanned<f64>>,
    #[cfg_attr(test, schemars(with = "form::Age"))]
    pub(super) max_run: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Age"))]
    pub(super) max_answer: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct GuardFile {
    #[cfg_attr(test, schemars(with = "form::Pulls"))]
    pub(super) pulls: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Age"))]
    pub(super) alert_after: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "Vec<Lock>"))]
    pub(super) lock: Option<Vec<Lock>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct Lock {
    #[cfg_attr(test, schemars(with = "form::PathPattern"))]
    pub(super) path: Spanned<String>,
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "form::LockKind"))]
    pub(super) kind: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Engine {
    #[cfg_attr(test, schemars(with = "form::AbsolutePath"))]
    pub(super) data_root: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub(super) struct RetainFile {
    #[cfg_attr(test, schemars(with = "form::ImagePatterns"))]
    pub(super) images: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "form::Age"))]
    pub(super) min_age: Option<Spanned<String>>,
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "form::Count"))]
    pub(super) previous: Option<Spanned<u32>>,
    #[serde(default)]
    #[cfg_attr(test, schemars(with = "form::AgeOrKeep"))]
    pub(super) digest_pinned: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct Cache {
    #[cfg_attr(test, schemars(with = "Vec<form::ImageName>"))]
    pub(super) images: Vec<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "Vec<form::PathPattern>"))]
    pub(super) lists: Vec<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Age"))]
    pub(super) recent: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "Vec<form::ImagePattern>"))]
    pub(super) never: Vec<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct RestoreFile {
    #[cfg_attr(test, schemars(with = "form::Share"))]
    pub(super) max_share: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Percent"))]
    pub(super) max_cpu_pressure: Option<Spanned<f64>>,
    #[cfg_attr(test, schemars(with = "Vec<form::Label>"))]
    pub(super) busy_labels: Option<Vec<Spanned<String>>>,
    #[cfg_attr(test, schemars(with = "form::Count"))]
    pub(super) min_pulls_left: Option<Spanned<u32>>,
    #[cfg_attr(test, schemars(with = "form::Age"))]
    pub(super) max_run: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct ArchiveFile {
    #[cfg_attr(test, schemars(with = "form::AbsolutePath"))]
    pub(super) dir: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Size"))]
    pub(super) max_size: Option<Spanned<String>>,
    #[cfg_attr(test, schemars(with = "form::Compress"))]
    pub(super) compress: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub(super) struct RoomFile {
    #[cfg_attr(test, schemars(with = "form::Percent"))]
    pub(super) warn_percent: Option<Spanned<f64>>,
    #[cfg_attr(test, schemars(with = "form::Percent"))]
    pub(super) crit_percent: Option<Spanned<f64>>,
}
