//! The program against an engine that answers wrongly: tests/support/fake is that
//! engine. It needs no root and no lab. Rows of faults are tried in `bytes`
//! (how an answer comes), `answers` (what it says), `labels` (what builders may
//! write), `removals` (what becomes of a removal), `refusals` (what a refused run
//! sends), `registries` (one that never answers), `memory` (what is remembered of
//! which engine), `restore` (what is brought back), `newest` (what the newest engines
//! tell, and no longer tell), `promises`
//! (what verify-cache promises, and its lists), `files` (what is named and is no file),
//! `screens` (how wide and how coloured a report is), `documents` (JSON, held against its
//! schema), `terminals` (stopped runs, and output that nobody reads) and `bounds` (how much
//! memory a run takes).

mod answers;
mod bounds;
mod bytes;
mod contexts;
mod documents;
mod files;
mod labels;
mod memory;
mod newest;
mod promises;
mod refusals;
mod registries;
mod removals;
mod restore;
mod screens;
mod terminals;

use std::sync::{Mutex, PoisonError};

use crate::fake::Fake;
use crate::fake::weighed::{self, Weighed};
use crate::fake::world::{World, text};
use crate::support::{EAGER, Secateur};

/// Engine and store of a recording.
pub(crate) const KINDS: [&str; 5] = [
    "20.10 overlay2",
    "28.5 overlay2",
    "28.5 containerd",
    "29.7 overlay2",
    "29.7 containerd",
];

/// What most tests use: it has everything that can be asked for.
pub(crate) const KIND: &str = "28.5 overlay2";

/// The most memory that a run may have, whatever an engine of a small host
/// sends: 64 MiB.
pub(crate) const MOST_KIB: u64 = 64 << 10;

/// A ledger, as it lies in a state folder.
#[derive(Clone)]
struct Ledger {
    name: std::ffi::OsString,
    bytes: Vec<u8>,
}

/// A fake engine, and a program that remembers its images for long enough: the
/// next prune takes what is untagged.
pub(crate) struct Host {
    pub(crate) fake: Fake,
    pub(crate) secateur: Secateur,
}

impl Host {
    pub(crate) fn of(kind: &str) -> Host {
        Host::new(kind, Fake::new(kind))
    }

    /// Has this path asked for: an engine's version is only where no head tells which API it speaks.
    fn asks_for(&self, path: &str) {
        self.fake.world(|world| world.tells = path != "/version");
    }

    /// The first look at a kind of host is taken once, for it takes a while
    /// until anything is old enough.
    fn new(kind: &str, fake: Fake) -> Host {
        static SEEN: Mutex<Vec<(String, Ledger)>> = Mutex::new(Vec::new());
        let secateur = Secateur::at(&fake.host(), EAGER);
        // One that failed has written nothing there.
        let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
        let known = seen.iter().find(|(other, _)| other == kind);
        let ledger = if let Some((_, ledger)) = known {
            ledger.clone()
        } else {
            let first = Host {
                fake: Fake::new(kind),
                secateur: Secateur::at(&fake.host(), EAGER),
            };
            first.secateur.remember_all();
            let path = first.secateur.ledger();
            let ledger = Ledger {
                name: path.file_name().expect("a name").into(),
                bytes: std::fs::read(path).expect("the ledger"),
            };
            seen.push((kind.to_owned(), ledger.clone()));
            ledger
        };
        std::fs::create_dir(secateur.state()).expect("a state folder");
        std::fs::write(secateur.state().join(ledger.name), ledger.bytes).expect("a ledger");
        Host { fake, secateur }
    }

    pub(crate) fn run(&self, args: &[&str]) -> Weighed {
        weighed::run(&self.secateur.command(args))
    }

    /// The images that a prune takes where nothing is wrong: those without any
    /// name, oldest first, and that is by id here.
    pub(crate) fn litter(&self) -> Vec<String> {
        self.fake.world(|world| litter(world))
    }

    /// Fails unless everything is there but these images, with all its names.
    #[track_caller]
    pub(crate) fn is_whole_but_for(&self, gone: &[String]) {
        self.whole_but_for(gone)
            .unwrap_or_else(|why| panic!("{why}"));
    }

    /// Whether everything is there but these images, with all its names.
    pub(crate) fn whole_but_for(&self, gone: &[String]) -> Result<(), String> {
        let kind = self.fake.world(|world| world.kind.clone());
        let before = Fake::new(&kind);
        let (mut ids, names) = before.world(|world| (world.ids(), world.names()));
        ids.retain(|id| !gone.contains(id));
        let (here, mut left) = self.fake.world(|world| (world.ids(), world.names()));
        left.retain(|name| !name.starts_with("secateur.invalid/"));
        if (&here, &left) == (&ids, &names) {
            return Ok(());
        }
        Err(format!("wanted {ids:?} {names:?}, found {here:?} {left:?}"))
    }

    /// Which of these images are gone.
    pub(crate) fn gone(&self, ids: &[String]) -> Vec<String> {
        let gone = |id: &&String| !self.fake.world(|world| world.has(id));
        ids.iter().filter(gone).cloned().collect()
    }
}

fn litter(world: &World) -> Vec<String> {
    let list = |image: &serde_json::Value, key: &str| {
        let names = image[key].as_array().cloned().unwrap_or_default();
        names
            .iter()
            .any(|name| name != "<none>:<none>" && name != "<none>@<none>")
    };
    let nameless =
        |image: &&serde_json::Value| !list(image, "RepoTags") && !list(image, "RepoDigests");
    let mut ids: Vec<String> = world
        .images
        .iter()
        .filter(nameless)
        .map(|image| text(image, "Id"))
        .collect();
    ids.sort();
    ids
}
