//! The line about the disk.

use std::fmt::Write as _;

use crate::decide::plan::{Plan, Pressure};
use crate::model::conditions::{Disk, Usage};
use crate::model::{Bytes, Observed};
use crate::prune::outcome::Outcome;
use crate::report::text::layout::wrapped;
use crate::report::text::prune::bar::bar;
use crate::report::text::screen::Screen;

/// Whether the disk needs space, why, and how much.
pub(crate) fn disk(out: &mut Screen, plan: &Plan) {
    let mut text = match plan.pressure() {
        Pressure::Asked { why, .. } => format!("needs space: {why}"),
        Pressure::Room { why } => format!("has room: {why}"),
        Pressure::Unknown(why) => format!("cannot be measured, so nothing goes: {why}"),
    };
    if let Some(disk) = plan.disk().known() {
        let _ = write!(text, "; {}", room(disk));
    }
    if let Pressure::Asked {
        wanted: Some(wanted),
        ..
    } = plan.pressure()
    {
        let _ = match wanted {
            Bytes(0) => write!(text, ", no more needed (disk.stop_below_percent)"),
            more => write!(text, ", {more} more needed"),
        };
    }
    wrapped(out, "disk    ", &text);
    bar(out, plan, plan.disk(), plan.disk());
}

pub(crate) fn disk_after(out: &mut Screen, plan: &Plan, outcome: &Outcome) {
    let text = match (&outcome.disk_before, &outcome.disk_after) {
        (Observed::Known(before), Observed::Known(after)) => {
            let percents = [before, after].map(|disk| plan.engine().used_percent(disk));
            let reclaimed = outcome.reclaimed().unwrap_or_default();
            let used = match percents {
                [Some(before), Some(after)] => {
                    format!("{before:.1} % used before, {after:.1} % after: ")
                }
                _ => String::new(),
            };
            format!("{used}{reclaimed} reclaimed, {}", room(after))
        }
        (Observed::Unknown(why), _) | (_, Observed::Unknown(why)) => {
            format!("what was reclaimed cannot be measured: {why}")
        }
    };
    wrapped(out, "disk    ", &text);
    bar(out, plan, &outcome.disk_before, &outcome.disk_after);
}

/// Names the inodes if they are fuller than the bytes.
fn room(disk: &Disk) -> String {
    let inodes = disk.inodes.map(Usage::used_percent);
    match inodes.filter(|percent| *percent > disk.bytes.used_percent()) {
        Some(percent) => format!("{percent:.1} % of the inodes used, {} free", disk.free()),
        None => format!("{} free", disk.free()),
    }
}
