//! How `--restore` ended for an image, and how to repair a damaged one.

use serde::Serialize;

use crate::cache::findings::Line;
use crate::cache::restore::left_out::{LeftOut, LeftOutKind};
use crate::cache::restore::repair::{Repair, RepairKind};
use crate::cache::restore::restored::{Origin, Restored};

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RestoredPart {
    from: Origin,
    bytes: u64,
    milliseconds: u64,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct LeftOutPart {
    kind: LeftOutKind,
    message: String,
}

pub(super) fn restored(line: &Line) -> (Option<RestoredPart>, Option<LeftOutPart>) {
    let came = |it: &Restored| RestoredPart {
        from: it.from,
        bytes: it.bytes.0,
        milliseconds: it.milliseconds(),
    };
    let not = |why: &LeftOut| LeftOutPart {
        kind: why.kind(),
        message: why.message(),
    };
    match &line.restored {
        None => (None, None),
        Some(Ok(it)) => (Some(came(it)), None),
        Some(Err(why)) => (None, Some(not(why))),
    }
}

/// How a person repairs a damaged image.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(super) struct RepairPart<'a> {
    kind: RepairKind,
    message: String,
    /// For a shell, in this order.
    commands: &'a [String],
}

impl<'a> RepairPart<'a> {
    pub(super) fn of(repair: &'a Repair) -> Self {
        Self {
            kind: repair.kind(),
            message: repair.message(),
            commands: repair.lines(),
        }
    }
}
