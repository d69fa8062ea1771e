//! Which candidates this run removes, and when it has removed enough. Decides by the disk and
//! the limits alone, not by why an image is a candidate.

use crate::decide::plan::{Entry, HeldBack, Plan, Pressure, Target, Verdict};
use crate::model::conditions::Disk;
use crate::model::{Bytes, Inventory, Measure, Observed};
use crate::policy::{DiskLimits, Policy};

/// Chooses the longest unneeded first, then by id, until the disk has enough. Images that the
/// engine refused to remove the last time come after all others and count as freeing nothing:
/// one such image must not keep all others.
pub(super) fn choose(policy: &Policy, inventory: &Inventory, mut entries: Vec<Entry>) -> Plan {
    let pressure = match (&inventory.disk, inventory.engine.measure()) {
        // The disk does not matter where every candidate is to go.
        _ if every_candidate_goes(&policy.disk) => Pressure::Asked {
            why: ALWAYS.to_owned(),
            wanted: None,
            until: Target::NEVER,
        },
        (Observed::Unknown(why), _) => Pressure::Unknown(why.clone()),
        (Observed::Known(disk), Measure::All) => pressure(&policy.disk, disk),
        (Observed::Known(disk), Measure::OnlyFree) => by_free(&policy.disk, disk),
        (Observed::Known(_), Measure::Nothing) => Pressure::Unknown(NOT_THERE.to_owned()),
    };
    let mut order: Vec<usize> = (0..entries.len())
        .filter(|&index| entries[index].verdict != Verdict::Keep)
        .collect();
    order.sort_by_key(|&index| {
        (
            entries[index].image.resists,
            entries[index].unneeded.map(|u| u.since),
            entries[index].image.id.clone(),
        )
    });
    let mut freed = Bytes(0);
    let mut removed = 0;
    for &index in &order {
        let held_back = match &pressure {
            Pressure::Room { .. } => Some(HeldBack::DiskHasRoom),
            Pressure::Unknown(_) => Some(HeldBack::DiskUnknown),
            Pressure::Asked {
                wanted: Some(wanted),
                ..
            } if freed >= *wanted => Some(HeldBack::TargetReached),
            Pressure::Asked { .. } if removed == policy.limits.max_images => {
                Some(HeldBack::MaxImages)
            }
            Pressure::Asked { .. } => None,
        };
        entries[index].verdict = held_back.map_or(Verdict::Remove, Verdict::Candidate);
        if held_back.is_none() {
            removed += 1;
            if !entries[index].image.resists {
                freed = [freed, entries[index].reclaimable].into_iter().sum();
            }
        }
    }
    order.retain(|&index| entries[index].verdict == Verdict::Remove);
    Plan {
        now: inventory.taken_at,
        engine: inventory.engine.clone(),
        disk: inventory.disk.clone(),
        pressure,
        limits: policy.disk,
        entries,
        order,
    }
}

const ALWAYS: &str = "disk.start_above_percent is 0: always";
const ONLY_FREE: &str = "the driver zfs keeps each layer in a file system of its own, so only \
    the free space can be told: give disk.min_free";
const NOT_THERE: &str = "the driver devicemapper keeps images in a pool of its own, so neither \
    disk.start_above_percent nor disk.min_free can be judged";

/// Whether the limits want every candidate gone, whatever the disk has.
fn every_candidate_goes(limits: &DiskLimits) -> bool {
    limits.start_above_percent == 0.0 && limits.stop_below_percent == 0.0
}

/// Whether this disk needs space, by these limits. Only a threshold that was crossed must be
/// reached again: a run that `disk.min_free` alone started does not go on to
/// `disk.stop_below_percent`.
pub fn pressure(limits: &DiskLimits, disk: &Disk) -> Pressure {
    let percent = disk.used_percent();
    let short = limits.min_free.and_then(|min| below(disk.free(), min));
    let full = if limits.start_above_percent == 0.0 {
        Some(ALWAYS.to_owned())
    } else if percent > limits.start_above_percent {
        Some(format!(
            "{percent:.1} % used, above {} % (disk.start_above_percent)",
            limits.start_above_percent
        ))
    } else {
        None
    };
    let until = Target {
        percent: full.as_ref().map(|_| limits.stop_below_percent),
        free: limits.min_free.filter(|_| short.is_some()),
    };
    let why: Vec<String> = full.into_iter().chain(short).collect();
    if why.is_empty() {
        return Pressure::Room {
            why: format!(
                "{percent:.1} % used, at most {} % wanted (disk.start_above_percent)",
                limits.start_above_percent
            ),
        };
    }
    Pressure::Asked {
        why: why.join("; "),
        wanted: until.missing(disk),
        until,
    }
}

/// As [`pressure`], for a disk of which only the free space is known.
fn by_free(limits: &DiskLimits, disk: &Disk) -> Pressure {
    let free = disk.free();
    let Some(min) = limits.min_free else {
        return Pressure::Unknown(ONLY_FREE.to_owned());
    };
    let until = Target {
        percent: None,
        free: Some(min),
    };
    match below(free, min) {
        Some(why) => Pressure::Asked {
            why,
            wanted: until.missing(disk),
            until,
        },
        None => Pressure::Room {
            why: format!("{free} free, at least {min} wanted (disk.min_free)"),
        },
    }
}

/// In words, where the free space is too little.
fn below(free: Bytes, min: Bytes) -> Option<String> {
    (free < min).then(|| format!("{free} free, below {min} (disk.min_free)"))
}
