//! Words that reports of several formats share.

use crate::prune::outcome::Ending;

/// Shown for a lost name that can be pulled from nowhere.
pub(crate) const TO_BE_BUILT: &str = "no registry is known to have it: build it again";

/// Why a run ended early; `None` where it came to its end.
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

/// "1 image", "2 images".
pub(crate) fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}
