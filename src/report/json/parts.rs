//! Parts that the documents share, and how a document is written.

use std::path::PathBuf;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;

use crate::decide::plan::KeepReason;
use crate::guard::{Cause, NoRoom, Refusal};
use crate::model::EngineFacts;
use crate::model::text::{escape, escape_json};
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

#[derive(Serialize)]
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

/// Characters that a terminal would act on become JSON's own escapes. A program
/// reads the same text, and a terminal does nothing. They occur only in strings.
pub(crate) fn written(document: &impl Serialize) -> String {
    let json = serde_json::to_string_pretty(document).unwrap_or_default();
    let mut text = escape_json(&json);
    text.push('\n');
    text
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
        path: path.map(|path| escape(&path.to_string_lossy())),
        held_seconds: refusal.lasted.map(|time| time.num_seconds()),
        ready_at: None,
    }
}

pub(crate) fn reason(reason: &KeepReason) -> Message {
    Message {
        kind: reason.kind().name(),
        message: reason.message(),
        way_out: None,
        path: None,
        held_seconds: None,
        ready_at: reason.ready_at().map(time),
    }
}

pub(crate) fn rounded(percent: f64) -> f64 {
    (percent * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::is_invisible;

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]
        #[test]
        fn no_text_of_a_document_reaches_a_terminal_raw_or_is_lost(
            text in proptest::collection::vec(proptest::char::any(), 0..100),
        ) {
            let text: String = text.into_iter().collect();
            let document = std::collections::BTreeMap::from([(text.clone(), text)]);
            let shown = written(&document);
            let raw = |ch: char| ch != '\n' && (ch.is_control() || is_invisible(ch));
            proptest::prop_assert!(!shown.chars().any(raw), "{shown:?}");
            let read: std::collections::BTreeMap<String, String> =
                serde_json::from_str(&shown).unwrap();
            proptest::prop_assert_eq!(read, document);
        }
    }

    #[test]
    fn nothing_that_a_terminal_acts_on_is_written_raw_and_nothing_is_lost() {
        let nasty = "a\u{9b}31m\u{202e}\u{7f}\u{e0001}\u{1b}]0;x\u{7}";
        let text = written(&nasty);
        let shown = text.trim_end_matches('\n');
        assert!(
            shown
                .chars()
                .all(|ch| !ch.is_control() && !is_invisible(ch)),
            "{shown:?}"
        );
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), nasty);
    }
}
