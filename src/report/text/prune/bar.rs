//! The disk as a bar: how much is used, and where removing starts and stops.

use std::fmt::Write as _;

use crate::decide::plan::Plan;
use crate::model::Observed;
use crate::model::conditions::Disk;
use crate::policy::DiskLimits;
use crate::report::text::layout::{FINE, LOUD, WARN};
use crate::report::text::screen::Screen;

/// A cell is some 2.8 percent.
const CELLS: usize = 36;

/// The bar of a disk before and after. The freed part is drawn as `-`.
pub(crate) fn bar(out: &mut Screen, plan: &Plan, before: &Observed<Disk>, after: &Observed<Disk>) {
    let (Some(before), Some(after)) = (before.known(), after.known()) else {
        return;
    };
    let percent = |disk| plan.engine().used_percent(disk);
    let (Some(was), Some(used)) = (percent(before), percent(after)) else {
        return;
    };
    let thresholds = Thresholds::of(plan.limits(), after);
    let style = match &thresholds {
        Some(it) if used > it.start => LOUD,
        Some(it) if used > it.stop => WARN,
        Some(_) | None => FINE,
    };
    let marks = thresholds.as_ref().map(Thresholds::cells);
    let mut cells = String::new();
    for cell in 0..CELLS {
        cells.push(match marks {
            Some([_, start]) if cell == start => '>',
            Some([stop, _]) if cell == stop => '<',
            _ if cell < filled(used) => '#',
            _ if cell < filled(was) => '-',
            _ => ' ',
        });
    }
    let (full, rest) = cells.split_at(filled(used));
    let legend = thresholds.map_or_else(String::new, |it| it.legend());
    // Writing to a screen cannot fail.
    let _ = write!(out, "        [{style}{full}{style:#}{rest}]");
    let room = out.columns() - CELLS - "        []".len();
    if legend.chars().count() > room {
        let _ = write!(out, "\n       ");
    }
    let _ = writeln!(out, "{legend}");
}

/// In percent. If `min_free` asks for more, it is the threshold.
struct Thresholds {
    start: f64,
    stop: f64,
}

impl Thresholds {
    /// `None` if every run may remove, however little is used.
    fn of(limits: DiskLimits, disk: &Disk) -> Option<Self> {
        let all = disk.bytes.used as f64 + disk.bytes.available as f64;
        // `min_free` is in bytes; if the inodes are fuller, the bar shows those.
        let of_bytes = disk.used_percent() <= disk.bytes.used_percent() && all > 0.0;
        let least = limits.min_free.filter(|_| of_bytes);
        let most = least.map_or(100.0, |free| (100.0 - free.0 as f64 * 100.0 / all).max(0.0));
        (limits.start_above_percent > 0.0).then(|| Self {
            start: limits.start_above_percent.min(most),
            stop: limits.stop_below_percent.min(most),
        })
    }

    /// Which cells are marked: where removing stops, and where it starts.
    fn cells(&self) -> [usize; 2] {
        let start = cell(self.start);
        let stop = cell(self.stop);
        let apart = if stop == start && self.stop < self.start {
            start.saturating_sub(1)
        } else {
            stop
        };
        [apart, start]
    }

    fn legend(&self) -> String {
        let (stop, start) = (shown(self.stop), shown(self.start));
        if stop == start {
            return format!("  start > {start} %");
        }
        format!("  stop < {stop} %, start > {start} %")
    }
}

/// Without a fraction of 0.
fn shown(percent: f64) -> String {
    let text = format!("{percent:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 100 percent"
)]
fn cell(percent: f64) -> usize {
    ((percent * CELLS as f64 / 100.0) as usize).min(CELLS - 1)
}

/// How many cells are used: any use of one counts.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 100 percent"
)]
fn filled(percent: f64) -> usize {
    ((percent * CELLS as f64 / 100.0).ceil() as usize).min(CELLS)
}
