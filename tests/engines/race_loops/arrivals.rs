//! Images that arrive while a janitor in a loop removes others, with which they
//! share layers: each must be whole.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;

use serde_json::json;

use super::rounds::{is_slow, outcome};
use super::turns::Turns;
use crate::lab::image::{Archive, noise};
use crate::lab::{Engine, Kind, Registry};
use crate::support::{EAGER, Secateur, ids};

/// Layers that images share; each is there for as long as any image has it.
const SHARED: usize = 3;
/// Images in the registry, pulled in turn.
const IMAGES: usize = 12;
/// How many come at the same time.
const AT_ONCE: usize = 4;
/// Candidates that the janitor finds at most.
const LITTER: usize = 30;

/// How an image comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    Pull,
    Load,
}

/// One host, its registry, and its janitor.
pub struct Host {
    engine: Engine,
    registry: Registry,
    secateur: Secateur,
    /// What the litter is built on.
    shared: Vec<Vec<u8>>,
    images: Vec<Archive>,
    arrival: Arrival,
}

/// What came of all arrivals.
#[derive(Debug, Default)]
pub struct Arrived {
    pub arrivals: usize,
    /// While an image was removed.
    pub beside_a_removal: usize,
    pub broken: Vec<String>,
    pub runs: usize,
    pub refused: usize,
    pub removed: usize,
}

impl Host {
    pub fn new(kind: Kind, arrival: Arrival) -> Host {
        let layers = || (0..SHARED).map(|_| noise(50_000)).collect();
        let mut shared: Vec<Vec<u8>> = layers();
        let images = (0..IMAGES).map(|n| built_on(&shared[n % SHARED]).tag(&format!("app:v{n}")));
        let images: Vec<Archive> = images.collect();
        let (engine, registry) = (Engine::start(kind), Registry::start());
        for (n, image) in images.iter().enumerate() {
            registry.put(&format!("app:v{n}"), image);
        }
        engine.small("other:v1");
        if kind.containerd() && arrival == Arrival::Pull {
            // That store pulls no blob of a layer that it has unpacked from another
            // blob, a loaded one: such an image runs, and cannot be saved. Here the
            // pulled ones share layers with each other alone.
            shared = layers();
        }
        let policy = EAGER.replace(
            "min_age = \"1s\"",
            "min_age = \"1ms\"\ndigest_pinned = \"1ms\"",
        );
        let policy = format!("{policy}[keep]\nprevious = 0\n");
        let secateur = Secateur::at(&engine.host(), &policy);
        Host {
            engine,
            registry,
            secateur,
            shared,
            images,
            arrival,
        }
    }

    /// So many images arrive, each at the moment of a removal. None that is
    /// still here comes again: that is another race.
    pub fn receives(&self, wanted: usize) -> Arrived {
        let turns = Turns::follow(&self.engine, 1);
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Whatever ends one of the two, the other ends, too.
            let janitor = scope.spawn(|| {
                let _end = End(&over, &turns);
                self.janitor(&over)
            });
            let end = End(&over, &turns);
            let mut arrived = Arrived::default();
            let mut here: Vec<String> = vec![String::new(); IMAGES];
            while arrived.arrivals < wanted
                && let Some(_) = turns.next()
            {
                let gone = |n: &usize| here[*n].is_empty() || !self.engine.has(&here[*n]);
                let some: Vec<usize> = (0..IMAGES).filter(gone).take(AT_ONCE).collect();
                let before = turns.deleted();
                let came = self.arrive(&some);
                let beside = turns.deleted() > before;
                if arrived.arrivals % 100 + came.len() >= 100 {
                    super::say(&format!("so far {arrived}"));
                }
                for (n, came) in came {
                    match came {
                        Ok(id) => here[n] = id,
                        Err(broken) => arrived.broken.push(broken),
                    }
                    arrived.arrivals += 1;
                    arrived.beside_a_removal += usize::from(beside);
                }
            }
            drop(end);
            (arrived.runs, arrived.refused, arrived.removed) = janitor.join().expect("the janitor");
            arrived
        })
    }

    /// These images come at the same time, as those of a stack do.
    fn arrive(&self, some: &[usize]) -> Vec<(usize, Result<String, String>)> {
        std::thread::scope(|scope| {
            let arrivals = some.iter().map(|n| (*n, scope.spawn(|| self.arrives(*n))));
            let arrivals: Vec<_> = arrivals.collect();
            let came = |(n, arrival): (usize, ScopedJoinHandle<_>)| {
                (n, arrival.join().expect("an arrival"))
            };
            arrivals.into_iter().map(came).collect()
        })
    }

    /// Makes litter and removes it, again and again. Runs, those that were
    /// refused, and images removed.
    fn janitor(&self, over: &AtomicBool) -> (usize, usize, usize) {
        let (mut runs, mut refused, mut removed, mut waiting) = (0, 0, 0, 0);
        while !over.load(Ordering::SeqCst) {
            if waiting < LITTER {
                let shared = &self.shared[runs % SHARED];
                let litter: Vec<Archive> = (0..LITTER / 2).map(|_| built_on(shared)).collect();
                waiting += self.engine.load_all(&litter).len();
            }
            let ran = self.secateur.run(&["prune", "--format", "json"]);
            assert!(matches!(ran.code, 0 | 75) || is_slow(&ran), "{ran:?}");
            let gone = ids(&outcome(&ran), "removed").len();
            waiting = waiting.saturating_sub(gone);
            removed += gone;
            runs += 1;
            refused += usize::from(ran.code == 75);
        }
        (runs, refused, removed)
    }

    /// One image comes, is looked at, and is left to the janitor. Its id, or
    /// what is wrong with it.
    fn arrives(&self, n: usize) -> Result<String, String> {
        let name = match self.arrival {
            Arrival::Pull => {
                let name = self.registry.name(&format!("app:v{n}"));
                let auth = self.registry.auth_header();
                let pull = self.engine.pull_in_background(&name, Some(&auth));
                if let Err(error) = pull.done() {
                    return Err(format!("{name}: {error}"));
                }
                name
            }
            Arrival::Load => {
                self.engine.load(&self.images[n]);
                format!("app:v{n}")
            }
        };
        if let Some(damage) = self.engine.damage(&name) {
            return Err(format!("{name}: {damage}"));
        }
        // Which needs every layer as a file system.
        let body = json!({"Image": name, "Cmd": ["/nothing"]});
        let created = self.engine.api("POST", "/containers/create", Some(&body));
        if created.status != 201 {
            return Err(format!("{name}: {}", created.text()));
        }
        let container = created.json()["Id"].as_str().expect("an id").to_owned();
        self.engine.remove_container(&container);
        let id = self.engine.id(&name);
        self.engine.tag("other:v1", &name);
        Ok(id)
    }
}

/// An image with a layer that others have, and one of its own.
fn built_on(shared: &[u8]) -> Archive {
    let own = noise(1000);
    Archive::default()
        .layer(&[("shared", shared)])
        .layer(&[("own", &own)])
}

/// Ends both sides, also where one of them fails.
struct End<'a>(&'a AtomicBool, &'a Turns);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
        self.1.over();
    }
}

impl fmt::Display for Arrived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} arrived, {} of them while an image went, {} broken; janitor: {} runs, {} of \
             them refused, {} images removed",
            self.arrivals,
            self.beside_a_removal,
            self.broken.len(),
            self.runs,
            self.refused,
            self.removed
        )
    }
}
