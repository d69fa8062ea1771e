//! All answers together, and what they come to. Decides the result, the exit
//! code and the order of the report: worst first.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::exit::Exit;
use crate::guard::Refusal;
use crate::model::EngineFacts;

use crate::cache::promise::Wanted;
use crate::cache::registry::Cost;
use crate::cache::{Check, Kind, Status};

/// What was found of one promised image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The image as it was promised.
    pub image: Wanted,
    /// All that was looked at.
    pub checks: Vec<Check>,
    /// What no registry was asked about it.
    pub not_asked: Vec<NotAsked>,
}

/// A check that was wanted, and that this image gives no occasion for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotAsked {
    /// Which.
    pub kind: Kind,
    /// In words fit to print.
    pub why: &'static str,
}

impl Line {
    /// The worst of its answers.
    pub fn status(&self) -> Status {
        self.checks
            .iter()
            .map(|check| check.status)
            .min()
            .unwrap_or(Status::Unknown)
    }
}

/// What one registry was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name, fit to print.
    pub registry: String,
    /// What was sent.
    pub cost: Cost,
}

/// What a run found.
#[derive(Debug, Clone)]
pub struct Findings {
    /// When it ended.
    pub at: DateTime<Utc>,
    /// The engine.
    pub engine: EngineFacts,
    /// Why the pass was refused; then there is nothing else.
    pub refusals: Vec<Refusal>,
    /// One for each promise.
    pub images: Vec<Line>,
    /// The store itself, also where nothing is promised.
    pub store: Option<Check>,
    /// What the registries were asked.
    pub asked: Vec<Asked>,
    /// What was not looked at because nobody asked for it, with the option
    /// that does.
    pub not_looked: Vec<(Kind, &'static str)>,
    /// `unknown` is a fault, too.
    pub strict: bool,
}

impl Findings {
    /// Nothing looked at yet.
    pub fn new(at: DateTime<Utc>, engine: EngineFacts, strict: bool) -> Self {
        Self {
            at,
            engine,
            refusals: Vec::new(),
            images: Vec::new(),
            store: None,
            asked: Vec::new(),
            not_looked: Vec::new(),
            strict,
        }
    }

    /// Worst first; among equals by name.
    pub fn sort(&mut self) {
        self.images
            .sort_by(|a, b| (a.status(), &a.image).cmp(&(b.status(), &b.image)));
    }

    /// Promised images with an answer of that kind.
    pub fn count(&self, status: Status) -> usize {
        let any = |line: &&Line| line.checks.iter().any(|check| check.status == status);
        self.images.iter().filter(any).count()
    }

    /// Single answers of that kind.
    pub fn answers(&self, status: Status) -> usize {
        let checks = self.images.iter().flat_map(|line| &line.checks);
        checks.filter(|check| check.status == status).count()
    }

    /// Promised images of which no registry was asked what was wanted.
    pub fn not_asked(&self) -> usize {
        let lines = self.images.iter();
        lines.filter(|line| !line.not_asked.is_empty()).count()
    }

    /// Whether any promise is not kept.
    pub fn is_broken(&self) -> bool {
        self.worst() == Status::Broken || (self.strict && self.worst() == Status::Unknown)
    }

    /// As it stands in JSON.
    pub fn result(&self) -> &'static str {
        if !self.refusals.is_empty() {
            "refused"
        } else if self.is_broken() {
            "broken"
        } else {
            "held"
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        if !self.refusals.is_empty() {
            crate::guard::exit(&self.refusals)
        } else if self.is_broken() {
            Exit::NotAllWell
        } else {
            Exit::Done
        }
    }

    fn worst(&self) -> Status {
        let store = self.store.iter().map(|check| check.status);
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
            image: crate::testing::wanted(status.word()),
            checks: vec![
                Check::new(Kind::Present, Status::Ok, ""),
                Check::new(Kind::Current, *status, ""),
            ],
            not_asked: Vec::new(),
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
    fn a_store_in_memory_is_broken_even_if_nothing_is_promised() {
        let mut findings = findings(&[], false);
        findings.store = Some(Check::new(Kind::Lasting, Status::Broken, ""));
        assert_eq!(findings.result(), "broken");
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
