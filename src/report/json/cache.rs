//! `secateur/cache/2`.

use serde::Serialize;

use crate::cache::archive::{NotSavedKind, Saved};
use crate::cache::checks::room::{Level, Room};
use crate::cache::findings::{Findings, Line, NotAsked};
use crate::cache::promise::{By, ByKind};
use crate::cache::{Check, Kind, State, Status};
use crate::model::EngineFacts;
use crate::model::text::{EscapedJson, escape_path};
use crate::report::context::Context;
use crate::report::json::parts::{
    EnginePart, Message, PolicyPart, engine, policy, refusal, rounded, time,
};
use crate::report::json::restored::{LeftOutPart, RepairPart, RestoredPart, restored};
use crate::report::wording::count;

pub(crate) const CACHE: &str = "secateur/cache/2";

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Document<'a> {
    schema: &'static str,
    #[cfg_attr(test, schemars(with = "chrono::DateTime<chrono::Utc>"))]
    generated_at: String,
    result: &'static str,
    policy: PolicyPart,
    engine: Option<EnginePart<'a>>,
    refusals: Vec<Message>,
    notes: &'a [String],
    store: Option<&'a Check>,
    room: Option<RoomPart<'a>>,
    images: Vec<ImagePart<'a>>,
    registries: Vec<RegistryPart<'a>>,
    not_checked: Vec<Kind>,
    summary: Summary,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ImagePart<'a> {
    image: String,
    promised_by: Vec<ByPart>,
    state: State,
    #[cfg_attr(test, schemars(with = "Option<chrono::DateTime<chrono::Utc>>"))]
    since: Option<String>,
    status: Status,
    checks: &'a [Check],
    not_asked: &'a [NotAsked],
    restored: Option<RestoredPart>,
    not_restored: Option<LeftOutPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    repair: Option<RepairPart<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    saved: Option<SavedPart<'a>>,
}

/// What was written to the archive, or why nothing was.
#[derive(Default, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct SavedPart<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_written: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blobs_written: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    not_saved: Option<NotSavedKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

fn saved(saved: &Saved) -> SavedPart<'_> {
    match saved {
        Saved::Kept(written) => SavedPart {
            bytes_written: Some(written.bytes.0),
            blobs_written: Some(written.blobs),
            milliseconds: Some(written.milliseconds),
            ..SavedPart::default()
        },
        Saved::Not(not) => SavedPart {
            not_saved: Some(not.kind),
            message: Some(&not.message),
            ..SavedPart::default()
        },
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct ByPart {
    kind: ByKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    days_of_use: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_used_on: Option<String>,
}

fn by(by: &By) -> ByPart {
    let part = ByPart {
        kind: by.kind(),
        file: None,
        line: None,
        days_of_use: None,
        last_used_on: None,
    };
    match by {
        By::List { file, line } => ByPart {
            file: Some(escape_path(file)),
            line: Some(*line),
            ..part
        },
        By::Recent { days, last } => ByPart {
            days_of_use: Some(*days),
            last_used_on: Some(last.to_string()),
            ..part
        },
        By::Argument | By::Policy | By::Keep | By::Baseline => part,
    }
}

fn image(line: &Line) -> ImagePart<'_> {
    let (restored, not_restored) = restored(line);
    ImagePart {
        image: line.image.full(),
        promised_by: line.by.iter().map(by).collect(),
        state: line.state,
        since: line.since.map(time),
        status: line.status(),
        checks: &line.checks,
        not_asked: &line.not_asked,
        restored,
        not_restored,
        repair: line.repair.as_ref().map(RepairPart::of),
        saved: line.saved.as_ref().map(saved),
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RoomPart<'a> {
    status: Status,
    level: Level,
    message: &'a str,
    path: Option<String>,
    used_percent: Option<f64>,
    free_bytes: Option<u64>,
    warn_percent: f64,
    crit_percent: f64,
    largest: Option<LargestPart>,
}

/// The largest promised image that is here.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct LargestPart {
    image: String,
    size_bytes: u64,
}

fn room<'a>(room: &'a Room, engine: Option<&EngineFacts>) -> RoomPart<'a> {
    let disk = room.disk.as_ref();
    RoomPart {
        status: room.check.status,
        level: room.level,
        message: &room.check.message,
        path: disk.map(|disk| escape_path(&disk.path)),
        used_percent: disk
            .and_then(|disk| engine?.used_percent(disk))
            .map(rounded),
        free_bytes: disk.map(|disk| disk.free().0),
        warn_percent: room.limits.warn_percent,
        crit_percent: room.limits.crit_percent,
        largest: room.largest.as_ref().map(|largest| LargestPart {
            image: largest.image.full(),
            size_bytes: largest.size.0,
        }),
    }
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct RegistryPart<'a> {
    registry: &'a str,
    head_requests: u32,
    get_requests: u32,
    other_requests: u32,
    rate_limit_remaining: Option<&'a str>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Summary {
    images: usize,
    ok: usize,
    broken: usize,
    moved: usize,
    unknown: usize,
    /// Counts answers, not images: a broken image may have some as well.
    unknown_answers: usize,
    /// Promised and here, but not saved.
    not_saved: usize,
}

pub fn report(findings: &Findings, context: &Context) -> String {
    EscapedJson::pretty(&Document {
        schema: CACHE,
        generated_at: time(findings.at),
        result: findings.result(),
        policy: policy(context),
        engine: findings.engine.as_ref().map(engine),
        refusals: findings.refusals.iter().map(refusal).collect(),
        notes: &context.notes,
        store: findings.store.as_ref(),
        room: findings
            .room
            .as_ref()
            .map(|it| room(it, findings.engine.as_ref())),
        images: findings.images.iter().map(image).collect(),
        registries: findings
            .asked
            .iter()
            .map(|asked| RegistryPart {
                registry: &asked.registry,
                head_requests: asked.cost.heads,
                get_requests: asked.cost.gets,
                other_requests: asked.cost.others,
                rate_limit_remaining: asked.cost.left.as_deref(),
            })
            .collect(),
        not_checked: findings.not_made.iter().map(|(kind, _)| *kind).collect(),
        summary: Summary {
            images: findings.images.len(),
            ok: count(findings, Status::Ok),
            broken: count(findings, Status::Broken),
            moved: count(findings, Status::Moved),
            unknown: count(findings, Status::Unknown),
            unknown_answers: findings.answers(Status::Unknown),
            not_saved: findings.unsaved(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::archive::{NotSaved, Written};
    use crate::cache::findings::Line;
    use crate::report::context::PolicySource;
    use crate::testing::{at, inventory};

    #[test]
    fn the_fields_of_the_contract_are_there() {
        let checks = vec![
            Check::new(Kind::Present, Status::Broken, "gone"),
            Check::new(Kind::Current, Status::Unknown, "not asked"),
        ];
        let images = vec![Line {
            checks,
            state: State::Missing,
            since: Some(at(0)),
            saved: Some(Saved::Not(NotSaved::new(NotSavedKind::Unfit, "why"))),
            by: vec![
                By::Policy,
                By::List {
                    file: "/l".into(),
                    line: 3,
                },
                By::Recent {
                    days: 2,
                    last: at(0).date_naive(),
                },
            ],
            ..crate::testing::line("app:1")
        }];
        let findings = Findings {
            images,
            ..Findings::new(at(0), inventory([]).engine, false)
        };
        let policy = PolicySource {
            file: None,
            fingerprint: String::new(),
        };
        let context = Context::new(policy, Vec::new());
        let json: serde_json::Value = serde_json::from_str(&report(&findings, &context)).unwrap();
        assert_eq!(json["schema"], "secateur/cache/2");
        assert_eq!(json["result"], "broken");
        assert_eq!(json["images"][0]["image"], "docker.io/library/app:1");
        // Of images, by the worst of their answers; and of answers.
        assert_eq!(json["summary"]["unknown"], 0);
        assert_eq!(json["summary"]["unknown_answers"], 1);
        let wanted = serde_json::json!({"kind": "present", "status": "broken", "message": "gone"});
        assert_eq!(json["images"][0]["checks"][0], wanted);
        let by = serde_json::json!([
            {"kind": "policy"},
            {"kind": "list", "file": "/l", "line": 3},
            {"kind": "recent", "days_of_use": 2, "last_used_on": "2027-01-15"},
        ]);
        assert_eq!(json["images"][0]["promised_by"], by);
        assert_eq!(json["images"][0]["state"], "missing");
        assert_eq!(json["images"][0]["since"], time(at(0)));
        let kept = Saved::Kept(Written {
            bytes: crate::model::Bytes(7),
            blobs: 2,
            milliseconds: 3,
        });
        let wanted = serde_json::json!({
            "bytes_written": 7, "blobs_written": 2, "milliseconds": 3,
        });
        assert_eq!(serde_json::to_value(saved(&kept)).unwrap(), wanted);
        assert_eq!(json["images"][0]["saved"]["not_saved"], "unfit");
    }
}
