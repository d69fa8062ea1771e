//! Words that reports of several formats share.

use crate::cache::Status;
use crate::cache::findings::Findings;
use crate::model::conditions::LeftBehind;
use crate::model::text::escape_path;
use crate::prune::outcome::Ending;

/// Shown for a lost name that can be pulled from nowhere.
pub(crate) const TO_BE_BUILT: &str = "no registry is known to have it: build it again";

/// Why a run ended early; `None` if it did not.
pub(crate) fn ending(ending: &Ending) -> Option<String> {
    match ending {
        Ending::Done => None,
        Ending::Refused => Some("something speaks against removing anything now".to_owned()),
        Ending::PlanRefused(why) => Some(why.clone()),
        Ending::OutOfTime => Some("limits.max_run is used up; the next run continues".to_owned()),
        Ending::Interrupted => Some("by a signal; the next run continues".to_owned()),
        Ending::EngineLost(why) => Some(format!("the engine went away: {why}")),
        Ending::Surprised => {
            Some("something happened that must not happen; see below, and the journal".to_owned())
        }
        Ending::StateLost(why) => Some(format!("nothing more is removed without a journal: {why}")),
    }
}

/// A store that the engine used before, and what to do about it.
pub(crate) fn left_behind(store: &LeftBehind) -> (String, &'static str) {
    let least = if store.all { "" } else { "at least " };
    let (layers, records) = (escape_path(&store.layers), escape_path(&store.records));
    let fact = format!(
        "{least}{}, {least}{} of layers, are in {layers} and {records}, which this engine used \
         before: it does not list them, and nothing removes them",
        images(store.images),
        store.bytes
    );
    let way_out = "if you do not go back to that store, remove it by hand: operating.md, \"An \
                   image store that was left behind\"";
    (fact, way_out)
}

/// How many images have this status as the worst of their checks.
pub(crate) fn count(findings: &Findings, status: Status) -> usize {
    let images = findings.images.iter();
    images.filter(|line| line.status() == status).count()
}

/// "1 image", "2 images".
pub(crate) fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}
