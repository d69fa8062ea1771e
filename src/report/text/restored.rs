//! How `--restore` ended for an image, and in all.

use std::fmt::Write as _;

use crate::cache::checks::reused::shown;
use crate::cache::findings::{Findings, Line};
use crate::cache::restore::restored::{Origin, Restored};
use crate::model::Bytes;
use crate::report::text::layout::{command, wrapped};
use crate::report::text::screen::Screen;

pub(super) fn restored(out: &mut Screen, line: &Line) {
    match &line.restored {
        None => {}
        Some(Ok(restored)) => wrapped(out, "         restored       ", &came(restored)),
        Some(Err(why)) => wrapped(out, "         not restored   ", &why.message()),
    }
}

/// How a person repairs a damaged image: each command on a line of its own.
pub(super) fn repair(out: &mut Screen, line: &Line) {
    let Some(repair) = &line.repair else { return };
    wrapped(out, "         repair         ", &repair.message());
    for line in repair.lines() {
        command(out, line);
    }
}

fn came(restored: &Restored) -> String {
    let time = shown(restored.took);
    match restored.from {
        Origin::Archive => format!("from the archive, {} in {time}", restored.bytes),
        Origin::Registry => format!("from its registry, {} in {time}", restored.bytes),
        Origin::Here => format!("it was here, and its tag is set again, {time}"),
    }
}

/// Fit to follow the result.
pub(super) fn counts(findings: &Findings) -> String {
    let mut line = String::new();
    let came = findings.restored().count();
    if came > 0 {
        let bytes: Bytes = findings.restored().map(|it| it.bytes).sum();
        let _ = write!(line, "; {came} restored ({bytes})");
    }
    let left_out = findings.left_out();
    if left_out > 0 {
        let _ = write!(line, "; {left_out} not restored");
    }
    line
}
