//! What `--restore` did about an image, and in all.

use std::fmt::Write as _;

use crate::cache::checks::reused::shown;
use crate::cache::findings::{Findings, Line};
use crate::cache::restore::restored::{From, Restored};
use crate::model::Bytes;
use crate::report::text::layout::wrapped;
use crate::report::text::screen::Screen;

pub(super) fn restored(out: &mut Screen, line: &Line) {
    match &line.restored {
        None => {}
        Some(Ok(restored)) => wrapped(out, "         restored       ", &came(restored)),
        Some(Err(why)) => wrapped(out, "         not restored   ", &why.message()),
    }
}

fn came(restored: &Restored) -> String {
    let time = shown(restored.took);
    match restored.from {
        From::Archive => format!("from the archive, {} in {time}", restored.bytes),
        From::Registry => format!("from its registry, {} in {time}", restored.bytes),
        From::Here => format!("it was here, and its tag is set again, {time}"),
    }
}

/// What follows the result.
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
