//! The result of a run: all checks, the exit code, and the order of the report, worst first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::exit::{Exit, Fault};
use crate::guard::Refusal;
use crate::model::EngineFacts;

use crate::cache::archive::{Saved, Written};
use crate::cache::check::{Check, Kind, Status};
use crate::cache::checks::room::Room;
use crate::cache::promise::{By, ByKind, Promise, Wanted};
use crate::cache::registry::Cost;
use crate::cache::restore::left_out::LeftOut;
use crate::cache::restore::repair::Repair;
use crate::cache::restore::restored::Restored;
use crate::cache::state::State;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub image: Wanted,
    pub by: Vec<By>,
    pub state: State,
    /// The last time that it was in another state; for a ready image, the first time that it was
    /// here.
    pub since: Option<DateTime<Utc>>,
    pub checks: Vec<Check>,
    /// The registry checks that were asked for and not made.
    pub not_asked: Vec<NotAsked>,
    /// The result of `--restore`, if the image was not here.
    pub restored: Option<Result<Restored, LeftOut>>,
    /// How to repair it, if it is damaged and `--restore` was given.
    pub repair: Option<Repair>,
    pub saved: Option<Saved>,
}

/// A check of a registry that was wanted, where no registry can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NotAsked {
    pub kind: Kind,
    /// Why; fit to print.
    pub message: &'static str,
}

impl Line {
    /// The worst check. Without an engine there are no checks, and the answer is whether the
    /// image is in the archive.
    pub fn status(&self) -> Status {
        let worst = self.checks.iter().map(|check| check.status).min();
        worst.unwrap_or(match &self.saved {
            Some(saved) if saved.is_fault() => Status::Broken,
            Some(_) => Status::Ok,
            None => Status::Unknown,
        })
    }

    /// Whether there is nothing to report.
    pub fn is_fine(&self) -> bool {
        self.status() == Status::Ok && !self.saved.as_ref().is_some_and(Saved::is_fault)
    }
}

/// What asking one registry cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Fit to print.
    pub registry: String,
    pub cost: Cost,
}

#[derive(Debug, Clone)]
pub struct Findings {
    pub at: DateTime<Utc>,
    /// `None` if no engine was asked.
    pub engine: Option<EngineFacts>,
    /// What the run refused to do: `--redeploy` and `--restore` check the host before each image.
    pub refusals: Vec<Refusal>,
    pub images: Vec<Line>,
    /// The check of the store, made even if nothing is promised.
    pub store: Option<Check>,
    pub room: Option<Room>,
    pub asked: Vec<Asked>,
    /// The checks that were not asked for, each with its option.
    pub not_made: Vec<(Kind, &'static str)>,
    /// Whether `unknown` also counts as a fault.
    pub strict: bool,
    /// Whether the run was asked to end before it had done everything.
    pub interrupted: bool,
    /// What ended its changes: no more was brought, or nothing saved.
    pub fault: Option<Fault>,
}

impl Findings {
    pub fn new(at: DateTime<Utc>, engine: impl Into<Option<EngineFacts>>, strict: bool) -> Self {
        Self {
            at,
            engine: engine.into(),
            refusals: Vec::new(),
            images: Vec::new(),
            store: None,
            room: None,
            asked: Vec::new(),
            not_made: Vec::new(),
            strict,
            interrupted: false,
            fault: None,
        }
    }

    /// A run without an engine, and so without checks.
    pub fn without_engine(
        at: DateTime<Utc>,
        promises: &[Promise],
        (mut saved, asked): (BTreeMap<Wanted, Saved>, Vec<Asked>),
        strict: bool,
    ) -> Self {
        let line = |promise: &Promise| Line {
            image: promise.wanted.clone(),
            by: promise.by.clone(),
            state: State::Unknown,
            since: None,
            checks: Vec::new(),
            not_asked: Vec::new(),
            restored: None,
            repair: None,
            saved: saved.remove(&promise.wanted),
        };
        let mut findings = Self {
            images: promises.iter().map(line).collect(),
            asked,
            not_made: Kind::ALL.map(|kind| (kind, "")).to_vec(),
            ..Self::new(at, None, strict)
        };
        findings.sort();
        findings
    }

    /// Worst first, then by name.
    pub fn sort(&mut self) {
        self.images
            .sort_by(|a, b| (a.status(), &a.image).cmp(&(b.status(), &b.image)));
    }

    /// The run ends before it has done everything. Returns a note that says so.
    pub fn interrupt(&mut self) -> String {
        self.interrupted = true;
        "the run was asked to end: what it did not come to is not known, and not done".to_owned()
    }

    /// Adds the results of saving.
    pub fn saved(&mut self, saved: &BTreeMap<Wanted, Saved>) {
        for line in &mut self.images {
            line.saved = saved.get(&line.image).cloned();
        }
    }

    /// The number of promised images with such a check.
    pub fn count(&self, status: Status) -> usize {
        let any = |line: &&Line| line.checks.iter().any(|check| check.status == status);
        self.images.iter().filter(any).count()
    }

    /// The number of promised images in this state.
    pub fn in_state(&self, state: State) -> usize {
        let images = self.images.iter();
        images.filter(|line| line.state == state).count()
    }

    /// The number of images promised by this source; an image with several sources counts for
    /// each.
    pub fn promised_by(&self, kind: ByKind) -> usize {
        let by = |line: &&Line| line.by.iter().any(|by| by.kind() == kind);
        self.images.iter().filter(by).count()
    }

    /// The number of checks with this status.
    pub fn answers(&self, status: Status) -> usize {
        let checks = self.images.iter().flat_map(|line| &line.checks);
        checks.filter(|check| check.status == status).count()
    }

    /// The number of promised images without a registry check that was asked for.
    pub fn not_asked(&self) -> usize {
        let lines = self.images.iter();
        lines.filter(|line| !line.not_asked.is_empty()).count()
    }

    /// The number of promised images that are here and could not be saved.
    pub fn unsaved(&self) -> usize {
        let saved = self.images.iter().filter_map(|line| line.saved.as_ref());
        saved.filter(|saved| saved.is_fault()).count()
    }

    /// What was written to the archive; `None` if nothing was to be saved.
    pub fn written(&self) -> Option<Written> {
        let saved = self.images.iter().filter_map(|line| line.saved.as_ref());
        saved.fold(None, |sum, saved| {
            let sum = sum.unwrap_or_default();
            Some(match saved {
                Saved::Kept(written) => sum.and(*written),
                Saved::Not(_) => sum,
            })
        })
    }

    /// The checks that are about no single image.
    pub fn of_store(&self) -> impl Iterator<Item = &Check> {
        let room = self.room.iter().map(|room| &room.check);
        self.store.iter().chain(room)
    }

    /// Whether checks were made: a run that is refused at its start makes none.
    pub fn is_checked(&self) -> bool {
        self.store.is_some()
    }

    /// The images that were brought back, or tagged again.
    pub fn restored(&self) -> impl Iterator<Item = &Restored> {
        let each = self.images.iter().filter_map(|line| line.restored.as_ref());
        each.filter_map(|came| came.as_ref().ok())
    }

    /// The number of images that `--restore` left out.
    pub fn left_out(&self) -> usize {
        let lines = self.images.iter();
        lines
            .filter(|line| matches!(line.restored, Some(Err(_))))
            .count()
    }

    /// Whether it was asked to end, or met a fault, before it had done everything.
    pub fn ended_early(&self) -> bool {
        self.interrupted || self.fault.is_some() && !self.was_turned_away()
    }

    /// Whether another run was writing to the archive.
    fn was_turned_away(&self) -> bool {
        let fault = self.fault.as_ref();
        fault.is_some_and(|fault| fault.exit == Exit::RefusedForNow)
    }

    /// Whether a promise is broken, an image that is here could not be saved, or the run did not
    /// come to its end.
    pub fn is_broken(&self) -> bool {
        self.ended_early()
            || self.unsaved() > 0
            || self.worst() == Status::Broken
            || (self.strict && self.worst() == Status::Unknown)
    }

    /// As in JSON.
    pub fn result(&self) -> &'static str {
        if !self.refusals.is_empty() || self.was_turned_away() {
            "refused"
        } else if self.is_broken() {
            "broken"
        } else {
            "held"
        }
    }

    pub fn exit(&self) -> Exit {
        if let Some(fault) = &self.fault {
            fault.exit
        } else if !self.refusals.is_empty() {
            crate::guard::exit(&self.refusals)
        } else if self.is_broken() {
            Exit::NotAllWell
        } else {
            Exit::Done
        }
    }

    fn worst(&self) -> Status {
        let store = self.of_store().map(|check| check.status);
        let images = self.images.iter().map(Line::status);
        store.chain(images).min().unwrap_or(Status::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{at, inventory};

    fn findings(statuses: &[Status], strict: bool) -> Findings {
        let line = |status: &Status| Line {
            checks: vec![
                Check::new(Kind::Present, Status::Ok, ""),
                Check::new(Kind::Current, *status, ""),
            ],
            ..crate::testing::line(status.name())
        };
        let images = statuses.iter().map(line).collect();
        Findings {
            images,
            ..Findings::new(at(0), inventory([]).engine, strict)
        }
    }

    #[test]
    fn broken_is_1_and_moved_is_0() {
        assert_eq!(
            findings(&[Status::Ok, Status::Moved], false).exit(),
            Exit::Done
        );
        assert_eq!(
            findings(&[Status::Ok, Status::Broken], false).exit(),
            Exit::NotAllWell
        );
        assert_eq!(findings(&[], false).exit(), Exit::Done);
    }

    #[test]
    fn unknown_alone_is_0_and_with_strict_1() {
        assert_eq!(findings(&[Status::Unknown], false).exit(), Exit::Done);
        assert_eq!(findings(&[Status::Unknown], true).exit(), Exit::NotAllWell);
        assert_eq!(findings(&[Status::Moved], true).exit(), Exit::Done);
    }

    #[test]
    fn a_run_that_was_cut_short_has_not_proved_anything() {
        let mut findings = findings(&[Status::Ok], false);
        findings.interrupt();
        assert_eq!(
            (findings.result(), findings.exit()),
            ("broken", Exit::NotAllWell)
        );
    }

    #[test]
    fn a_fault_of_the_state_breaks_and_another_writer_refuses_and_both_have_their_code() {
        for (exit, result) in [(Exit::State, "broken"), (Exit::RefusedForNow, "refused")] {
            let mut findings = findings(&[Status::Ok], false);
            findings.fault = Some(Fault::new(exit, "x"));
            assert_eq!((findings.result(), findings.exit()), (result, exit));
        }
    }

    #[test]
    fn a_store_in_memory_is_broken_even_if_nothing_is_promised() {
        let mut findings = findings(&[], false);
        findings.store = Some(Check::new(Kind::Lasting, Status::Broken, ""));
        assert_eq!(findings.result(), "broken");
    }

    #[test]
    fn no_room_is_broken_even_if_every_image_is_here() {
        let mut findings = findings(&[Status::Ok], false);
        for (used, result) in [(94, "held"), (95, "broken")] {
            findings.room = Some(crate::testing::room(used, None));
            assert_eq!(findings.result(), result, "{used}");
        }
    }

    #[test]
    fn without_an_engine_all_is_well_that_is_in_the_archive() {
        use crate::cache::archive::{NotSaved, NotSavedKind};
        let name = |text: &str| crate::testing::wanted(text);
        let promise = |text| Promise::new(name(text), By::Argument);
        let promises = ["app:1", "db:1", "pr:1"].map(promise);
        let ended = |db: Saved| {
            let never = Saved::Not(NotSaved::new(NotSavedKind::Never, ""));
            let app = Saved::Kept(Written::default());
            let saved = [("app:1", app), ("db:1", db), ("pr:1", never)];
            let saved = saved.map(|(text, saved)| (name(text), saved)).into();
            let found = Findings::without_engine(at(0), &promises, (saved, Vec::new()), true);
            (found.result(), found.exit(), found.images[0].image.clone())
        };
        let kept = ended(Saved::Kept(Written::default()));
        assert_eq!((kept.0, kept.1), ("held", Exit::Done));
        let gone = NotSaved::new(NotSavedKind::Registry, "gone");
        let seen = ended(Saved::Not(gone));
        assert_eq!(seen, ("broken", Exit::NotAllWell, name("db:1")));
    }

    #[test]
    fn a_deploy_under_way_is_75() {
        let mut findings = findings(&[Status::Ok], false);
        findings.refusals = vec![crate::testing::deploy("x")];
        assert_eq!(
            (findings.exit(), findings.result()),
            (Exit::RefusedForNow, "refused")
        );
    }

    #[test]
    fn the_worst_comes_first() {
        let mut findings = findings(
            &[Status::Ok, Status::Moved, Status::Broken, Status::Unknown],
            false,
        );
        findings.sort();
        let order: Vec<Status> = findings.images.iter().map(Line::status).collect();
        assert_eq!(
            order,
            [Status::Broken, Status::Unknown, Status::Moved, Status::Ok]
        );
    }
}
