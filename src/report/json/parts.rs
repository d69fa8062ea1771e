//! Parts that the documents share.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::decide::plan::KeepReason;
use crate::guard::{Cause, NoRoom, Refusal};
use crate::model::EngineFacts;
use crate::model::text::escape_path;
use crate::report::context::Context;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PolicyPart {
    source: Option<String>,
    fingerprint: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EnginePart<'a> {
    /// Raw, because programs compare it.
    id: &'a str,
    version: String,
    store: String,
    root_dir: &'a PathBuf,
}

#[derive(Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[expect(clippy::struct_field_names, reason = "the contract calls it so")]
pub(crate) struct Message {
    kind: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    way_out: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held_seconds: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<chrono::DateTime<chrono::Utc>>"))]
    ready_at: Option<String>,
}

pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn policy(context: &Context) -> PolicyPart {
    PolicyPart {
        // As text: a path that is no UTF-8 would fail the whole document.
        source: context
            .policy
            .file
            .as_ref()
            .map(|file| file.to_string_lossy().into_owned()),
        fingerprint: context.policy.fingerprint.clone(),
    }
}

pub(crate) fn engine(facts: &EngineFacts) -> EnginePart<'_> {
    EnginePart {
        id: facts.id.raw(),
        version: facts.version.escaped(),
        store: facts.store.to_string(),
        root_dir: &facts.root_dir,
    }
}

pub(crate) fn refusal(refusal: &Refusal) -> Message {
    let path = match &refusal.cause {
        Cause::DeployLock { path, .. }
        | Cause::Pull { path, .. }
        | Cause::SignsUnreadable { path, .. }
        | Cause::Disk(NoRoom::Above { path, .. } | NoRoom::Below { path, .. }) => Some(path),
        Cause::Build(_)
        | Cause::BuildKit { .. }
        | Cause::BuildUnclear(_)
        | Cause::Deploy { .. }
        | Cause::DeployUnclear(_)
        | Cause::OtherRun(_)
        | Cause::Clock(_)
        | Cause::MaxFraction { .. }
        | Cause::EngineInconsistent(_)
        | Cause::Disk(NoRoom::Unclear(_))
        | Cause::CpuPressure { .. }
        | Cause::Busy { .. }
        | Cause::PullsLeft { .. } => None,
    };
    Message {
        kind: refusal.kind().name(),
        message: refusal.message(),
        way_out: Some(refusal.way_out()),
        path: path.map(|path| escape_path(path)),
        held_seconds: refusal.lasted.map(|time| time.num_seconds()),
        ..Message::default()
    }
}

pub(crate) fn reason(reason: &KeepReason) -> Message {
    Message {
        kind: reason.kind().name(),
        message: reason.message(),
        ready_at: reason.ready_at().map(time),
        ..Message::default()
    }
}

pub(crate) fn rounded(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}
