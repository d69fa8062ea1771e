//! How long registries may keep a run waiting: after that one registry, or all, are asked
//! no more, so that the report is always written.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::cache::registry::Upstream;
use crate::host::clock::monotonic;

/// A registry is given up after so many silences in a row.
const IN_A_ROW: u32 = 4;

/// For all registries of a run together. The unit gives a run 30 minutes.
const IN_ALL: Duration = Duration::from_mins(10);

pub struct Patience {
    until: Instant,
}

impl Patience {
    pub fn begins() -> Self {
        Self {
            until: monotonic() + IN_ALL,
        }
    }

    #[cfg(test)]
    pub fn over() -> Self {
        Self { until: monotonic() }
    }

    /// Why no registry is asked any more.
    pub fn ended(&self) -> Option<String> {
        let minutes = IN_ALL.as_secs() / 60;
        (monotonic() >= self.until)
            .then(|| format!("registries were waited for {minutes} minutes in this run"))
    }
}

/// How often one registry gave no answer.
#[derive(Default)]
pub struct Silence(Cell<u32>);

impl Silence {
    pub fn count(&self, upstream: &Upstream) {
        let silent = matches!(upstream, Upstream::Silent(_));
        // Answers that were under way when it was given up do not bring it back.
        if silent {
            self.0.set(self.0.get() + 1);
        } else {
            self.end();
        }
    }

    /// An answer came, and all of it.
    pub fn end(&self) {
        if self.0.get() < IN_A_ROW {
            self.0.set(0);
        }
    }

    /// Why this registry is asked no more.
    pub fn given_up(&self) -> Option<String> {
        (self.0.get() >= IN_A_ROW)
            .then(|| format!("not asked: no answer came {IN_A_ROW} times in a row"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_silence_in_a_row_counts() {
        let silence = Silence::default();
        let silent = Upstream::Silent("no answer within 20 s".into());
        for _ in 1..IN_A_ROW {
            silence.count(&silent);
        }
        silence.count(&Upstream::Unknown("it answered 503".into()));
        silence.count(&silent);
        assert_eq!(silence.given_up(), None);
        for _ in 1..IN_A_ROW {
            silence.count(&silent);
        }
        assert!(silence.given_up().is_some());
        silence.count(&Upstream::Gone);
        assert!(silence.given_up().is_some(), "it stays so");
    }
}
