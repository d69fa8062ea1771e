//! Makes a valid policy from a typed one. There is no default for `age.min_age`.

mod archive;
mod cache;
mod restore;
mod retain;

use std::time::Duration;

use toml::Spanned;

use crate::model::conditions::LockKind;
use crate::policy::file::{Disk, GuardFile, LimitsFile, Lock, PolicyFile, RoomFile};
use crate::policy::pattern::NamePattern;
use crate::policy::retain::DigestPinned;
use crate::policy::valid::{
    DeployLock, DiskLimits, Guard, LabelRule, Limits, Policy, Pulls, RoomLimits,
};
use crate::policy::value;
use crate::policy::value::{absolute, absolute_pattern, age, age_or, each, percent, size, word};
use crate::policy::wording::{PolicyError, Unplaced, in_words};

impl Policy {
    /// Reads and validates a policy; `name` is what errors call it (a path).
    pub fn parse(text: &str, name: &str) -> Result<Self, PolicyError> {
        let typed = toml::from_str::<PolicyFile>(text).map_err(|error| Unplaced {
            span: error.span(),
            message: in_words(text, error.span(), error.message()),
        });
        typed
            .and_then(validate)
            .map_err(|error| error.placed(text, name))
    }
}

fn validate(file: PolicyFile) -> Result<Policy, Unplaced> {
    let min_age = age("age.min_age", &file.age.min_age)?;
    let digest_pinned = match &file.age.digest_pinned {
        None => DigestPinned::Keep,
        Some(text) => value::digest_pinned("age.digest_pinned", text)?,
    };
    // Only the ledger distinguishes a digest-pinned image from a superseded one, and losing it
    // must not make anything go sooner.
    if let (DigestPinned::After(pinned), Some(text)) = (digest_pinned, &file.age.digest_pinned)
        && pinned < min_age
    {
        let message = format!(
            "age.digest_pinned is {:?}, less than age.min_age, which is {:?}; wanted at least that, or \"keep\"",
            text.get_ref(),
            file.age.min_age.get_ref()
        );
        return Err(Unplaced::at(text, message));
    }
    let mut policy = Policy {
        min_age,
        digest_pinned,
        keep_images: each("keep.images", &file.keep.images, NamePattern::parse)?,
        keep_labels: each("keep.labels", &file.keep.labels, LabelRule::parse)?,
        previous: file.keep.previous.map_or(1, |n| n.into_inner() as usize),
        retain: Vec::new(),
        disk: disk(&file.disk)?,
        limits: limits(&file.limits)?,
        guard: guard(&file.guard)?,
        data_root: file
            .engine
            .data_root
            .map(|text| absolute("engine.data_root", &text))
            .transpose()?,
        promised: cache::read(&file.cache)?,
        restore: restore::read(&file.restore)?,
        archive: archive::read(&file.archive)?,
        room: room(&file.room)?,
    };
    policy.retain = retain::read(&file.retain, &policy)?;
    Ok(policy)
}

fn disk(file: &Disk) -> Result<DiskLimits, Unplaced> {
    let start = percent(
        "disk.start_above_percent",
        file.start_above_percent.as_ref(),
        85.0,
    )?;
    let stop = percent(
        "disk.stop_below_percent",
        file.stop_below_percent.as_ref(),
        75.0,
    )?;
    if stop > start {
        let given = file.stop_below_percent.as_ref();
        let message = if given.is_some() {
            format!(
                "disk.stop_below_percent is {stop}, above disk.start_above_percent, which is {start}; wanted at most that"
            )
        } else {
            format!(
                "disk.stop_below_percent is not given, and its default, {stop}, is above disk.start_above_percent, which is {start}: give it, at most {start}"
            )
        };
        let span = given.or(file.start_above_percent.as_ref());
        let span = span.map(Spanned::span);
        return Err(Unplaced { span, message });
    }
    let min_free = file.min_free.as_ref();
    let min_free = min_free.map(|text| size("disk.min_free", text));
    Ok(DiskLimits {
        start_above_percent: start,
        stop_below_percent: stop,
        min_free: min_free.transpose()?,
    })
}

fn room(file: &RoomFile) -> Result<RoomLimits, Unplaced> {
    let (warn, crit) = (file.warn_percent.as_ref(), file.crit_percent.as_ref());
    let crit_percent = percent("room.crit_percent", crit, 95.0)?;
    let warn_percent = percent("room.warn_percent", warn, 85.0)?;
    if warn_percent > crit_percent {
        // A threshold that is not given follows the other.
        let (Some(at), Some(_)) = (warn, crit) else {
            let both = if crit.is_some() {
                crit_percent
            } else {
                warn_percent
            };
            return Ok(RoomLimits {
                warn_percent: both,
                crit_percent: both,
            });
        };
        let message = format!(
            "room.warn_percent is {warn_percent}, above room.crit_percent, which is {crit_percent}; wanted at most that"
        );
        return Err(Unplaced::at(at, message));
    }
    Ok(RoomLimits {
        warn_percent,
        crit_percent,
    })
}

fn limits(file: &LimitsFile) -> Result<Limits, Unplaced> {
    let max_images = match &file.max_images {
        Some(n) if *n.get_ref() == 0 => {
            return Err(Unplaced::at(
                n,
                "limits.max_images is 0; wanted at least 1 (`secateur plan` removes nothing)"
                    .into(),
            ));
        }
        Some(n) => *n.get_ref() as usize,
        None => 50,
    };
    let max_fraction = match &file.max_fraction {
        Some(x) if *x.get_ref() > 0.0 && *x.get_ref() <= 1.0 => *x.get_ref(),
        Some(x) => {
            let message = format!(
                "limits.max_fraction is {}; wanted above 0, at most 1",
                x.get_ref()
            );
            return Err(Unplaced::at(x, message));
        }
        None => 0.5,
    };
    let max_run = age_or(
        "limits.max_run",
        file.max_run.as_ref(),
        Duration::from_mins(5),
    )?;
    Ok(Limits {
        max_images,
        max_fraction,
        max_run,
        max_answer: max_answer(file.max_answer.as_ref(), max_run)?,
    })
}

/// The default: an engine under load answers a list in seconds.
const MAX_ANSWER: Duration = Duration::from_secs(30);

/// No engine answers faster.
const LEAST_ANSWER: Duration = Duration::from_secs(1);

/// How long the engine may take for one answer: no longer than the run.
fn max_answer(given: Option<&Spanned<String>>, max_run: Duration) -> Result<Duration, Unplaced> {
    let Some(text) = given else {
        return Ok(MAX_ANSWER.min(max_run));
    };
    let (key, seen) = ("limits.max_answer", text.get_ref());
    let time = age(key, text)?;
    if time < LEAST_ANSWER {
        let message = format!("{key} is {seen:?}; wanted at least \"1s\"");
        return Err(Unplaced::at(text, message));
    }
    if time > max_run {
        let run = humantime::format_duration(max_run);
        let message = format!(
            "{key} is {seen:?}, more than limits.max_run, which is {run}; wanted at most that"
        );
        return Err(Unplaced::at(text, message));
    }
    Ok(time)
}

/// systemd/tmpfiles.d makes it, and docs/deploy-lock.md tells deploys to take it.
const SHARED_LOCK: &str = "/run/secateur/deploy.lock";

fn guard(file: &GuardFile) -> Result<Guard, Unplaced> {
    let pulls = word(
        "guard.pulls",
        file.pulls.as_ref(),
        [
            ("require", Pulls::Require),
            ("best-effort", Pulls::BestEffort),
        ],
        Pulls::Require,
    )?;
    let alert_after = age_or(
        "guard.alert_after",
        file.alert_after.as_ref(),
        Duration::from_hours(6),
    )?;
    let locks = match &file.lock {
        Some(locks) => locks.iter().map(lock).collect::<Result<_, _>>()?,
        // A policy without locks still takes the one that deploys here are told to
        // share. `lock = []` takes none.
        None => vec![DeployLock {
            path: SHARED_LOCK.into(),
            kind: LockKind::Flock,
        }],
    };
    Ok(Guard {
        pulls,
        alert_after,
        locks,
    })
}

fn lock(file: &Lock) -> Result<DeployLock, Unplaced> {
    let path = absolute_pattern("guard.lock.path", &file.path)?;
    // The default is the kind that refuses more.
    let kind = word(
        "guard.lock.kind",
        file.kind.as_ref(),
        [("flock", LockKind::Flock), ("exists", LockKind::Exists)],
        LockKind::Exists,
    )?;
    Ok(DeployLock { path, kind })
}
