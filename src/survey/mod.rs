//! One look at a host from end to end: engine, locks, signs, disk, memory, and
//! the plan that follows. It orders the reading, so that what is judged last
//! was seen last, and decides nothing itself. It writes nothing.

pub mod saved;
pub mod watch;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;

use crate::decide::plan::{Entry, Plan};
use crate::decide::{Trust, decide};
use crate::engine::{Contents, EngineError, Failure, Info, Inspected, Reader};
use crate::exit::{Exit, Fault};
use crate::guard::{Cause, Look, Refusal, standing};
use crate::host;
use crate::memory::clock::Clock;
use crate::memory::ledger::Ledger;
use crate::memory::state::{Known, Memory};
use crate::model::conditions::{ClockReading, Disk, SignState};
use crate::model::text::escape;
use crate::model::time::span;
use crate::model::{
    AtWork, Deploy, EngineFacts, Event, Image, ImageId, Inventory, Observed, Store, Swarm,
};
use crate::policy::Policy;
use crate::survey::watch::Watch;

/// How long a run that was cut off can have taken to give its names: what the
/// engine dates within this time of an intent is our own doing.
const NAMING: TimeDelta = TimeDelta::seconds(60);

/// How many images are looked at at once: enough to keep an engine busy, few
/// enough to be one client among others.
const AT_ONCE: usize = 8;

/// What one look found, and what follows from it.
pub struct Survey<'a> {
    /// The host.
    pub inventory: Inventory,
    /// The memory after this look.
    pub ledger: Ledger,
    /// What becomes of each image.
    pub plan: Plan,
    /// What went on around it: before the images were read, and after.
    pub looks: Vec<Look>,
    /// Goes on watching.
    pub watch: Watch<'a>,
    /// What the engine says of itself.
    pub info: Info,
}

/// Why there is no survey.
#[derive(Debug)]
pub enum NoSurvey {
    /// The engine's answers contradict each other: nothing to decide on.
    Contradiction(String),
    /// Anything else.
    Fault(Fault),
}

impl From<Fault> for NoSurvey {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<NoSurvey> for Fault {
    fn from(why: NoSurvey) -> Self {
        match why {
            NoSurvey::Contradiction(why) => {
                let refusal = Refusal::from(Cause::EngineInconsistent(why));
                let (message, way_out) = (refusal.message(), refusal.way_out());
                Self::new(Exit::Engine, format!("{message}; {way_out}"))
            }
            NoSurvey::Fault(fault) => fault,
        }
    }
}

impl From<EngineError> for NoSurvey {
    fn from(error: EngineError) -> Self {
        match error.kind {
            Failure::Contradiction => Self::Contradiction(error.to_string()),
            _ => Self::Fault(error.into()),
        }
    }
}

/// The engine as it describes itself, and where it is seen from here.
pub async fn engine(reader: &Reader, policy: &Policy) -> Result<Info, Fault> {
    let mut info = reader.info().await?;
    let facts = &mut info.facts;
    if let Some(root) = &policy.data_root {
        facts.data_root.clone_from(root);
    }
    if facts.store == Store::Containerd {
        facts.containerd_root = Some(host::containerd::root(
            facts,
            info.containerd_address.as_deref(),
        ));
    }
    Ok(info)
}

/// Looks at everything once and decides.
pub async fn survey<'a>(
    reader: &Reader,
    info: Info,
    policy: &'a Policy,
    memory: &Memory,
    trust: Trust,
    interrupted: Arc<AtomicBool>,
) -> Result<Survey<'a>, NoSurvey> {
    let live = Live {
        reader,
        info: &info,
        watch: Watch::new(policy, &info.facts, interrupted),
    };
    let Seen {
        inventory,
        ledger,
        plan,
        looks,
    } = look_around(&live, &info.facts, policy, memory.known(), trust).await?;
    let watch = live.watch;
    Ok(Survey {
        inventory,
        ledger,
        plan,
        looks,
        watch,
        info,
    })
}

/// All that a survey asks: a live engine and its host, or a model of both.
#[expect(async_fn_in_trait, reason = "used with static dispatch, on one thread")]
pub trait Sources {
    /// The clocks, now.
    fn clock(&self) -> Result<ClockReading, Fault>;
    /// Locks, signs of pulls and clocks; `ledger` is the memory of the last run.
    fn look(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Look;
    /// Images, containers, builds and deploys.
    async fn contents(&self) -> Result<Contents, EngineError>;
    /// What the engine remembers of the time between these moments.
    async fn events(
        &self,
        since: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Event>, EngineError>;
    /// One image, looked at by itself; `None` where it is gone.
    async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError>;
    /// When this host stored an image, where that can be read.
    fn stored(&self, image: &Image) -> Option<DateTime<Utc>>;
    /// The file system that holds the images.
    fn disk(&self) -> Observed<Disk>;
}

struct Live<'a, 'p> {
    reader: &'a Reader,
    info: &'a Info,
    watch: Watch<'p>,
}

impl Sources for Live<'_, '_> {
    fn clock(&self) -> Result<ClockReading, Fault> {
        host::clock::read().map_err(|error| Fault::new(Exit::State, format!("{error:#}")))
    }
    fn look(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Look {
        self.watch.look(now, ledger, at_work)
    }
    async fn contents(&self) -> Result<Contents, EngineError> {
        self.reader.contents(self.info).await
    }
    async fn events(
        &self,
        since: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Event>, EngineError> {
        self.reader.events(self.info, since, until).await
    }
    async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError> {
        self.reader.inspect(id).await
    }
    fn stored(&self, image: &Image) -> Option<DateTime<Utc>> {
        stored(&self.info.facts, image)
    }
    fn disk(&self) -> Observed<Disk> {
        self.watch.disk()
    }
}

/// What one look around found, and what follows from it.
pub struct Seen {
    /// The host.
    pub inventory: Inventory,
    /// The memory after this look.
    pub ledger: Ledger,
    /// What becomes of each image.
    pub plan: Plan,
    /// What went on around it: before the images were read, and after.
    pub looks: Vec<Look>,
}

/// Asks these sources for everything once, in the order that makes the answers
/// fit each other, and decides.
pub async fn look_around<S: Sources>(
    sources: &S,
    engine: &EngineFacts,
    policy: &Policy,
    known: Known<'_>,
    trust: Trust,
) -> Result<Seen, NoSurvey> {
    let before = sources.clock()?;
    let since = known.ledger.asks_since();
    // Where nothing is remembered, all ages begin now, whatever happened before;
    // unless the engine's dates are to count.
    let since = since.or((trust == Trust::EngineDates).then_some(DateTime::UNIX_EPOCH));
    // Before the images: a pull that ends while they are read has been seen.
    // The engine has not been asked yet.
    let first = sources.look(&before, known.ledger, AtWork::idle());
    let contents = sources.contents().await?;
    let now = sources.clock()?;
    // Last, and up to the moment that the ledger remembers as this look: what
    // happened while the lists were read is in them or in these.
    let events = sources.events(since, now.wall).await?;
    let mut images = contents.images;
    for image in images.values_mut() {
        image.dates.stored = sources.stored(image);
        image.ours_until = known
            .intended
            .get(&image.id)
            .and_then(|at| at.checked_add_signed(NAMING));
        image.resists = known.resisting.contains(&image.id);
    }
    let disk = sources.disk();
    let mut inventory = Inventory {
        taken_at: now.wall,
        engine: engine.clone(),
        images,
        containers: contents.containers,
        at_work: contents.at_work,
        events,
        disk,
    };
    let second = sources.look(&now, known.ledger, inventory.at_work.clone());
    let shift = match Clock::between(known.ledger.clock(), &now) {
        Clock::Sound => TimeDelta::zero(),
        Clock::Doubtful { shift, .. } => shift,
    };
    let ledger = known
        .ledger
        .observe(&inventory, &now, shift)
        .with_standing(standing(policy, &second));
    let plan =
        decide_on_what_was_looked_at(sources, policy, &mut inventory, &ledger, trust).await?;
    Ok(Seen {
        inventory,
        ledger,
        plan,
        looks: vec![first, second],
    })
}

/// When a tag was last set shows only in a look at each image, and a look at
/// all of them would cost more than all the rest. So: decide, look at what
/// would go, decide again with what that showed, until nothing goes that was
/// not looked at. Each round looks at one image more at least.
async fn decide_on_what_was_looked_at<S: Sources>(
    sources: &S,
    policy: &Policy,
    inventory: &mut Inventory,
    ledger: &Ledger,
    trust: Trust,
) -> Result<Plan, Fault> {
    loop {
        let plan = decide(policy, inventory, ledger, trust);
        let unseen: Vec<ImageId> = plan
            .removals()
            .map(Entry::image)
            .filter(|image| image.last_tag_time.is_none())
            .map(|image| image.id.clone())
            .collect();
        if unseen.is_empty() {
            return Ok(plan);
        }
        let looks = futures_util::stream::iter(unseen).map(|id| async {
            let seen = sources.inspect(&id).await;
            (id, seen)
        });
        let mut looks = std::pin::pin!(looks.buffered(AT_ONCE));
        while let Some((id, seen)) = looks.next().await {
            let last_tag_time = match seen {
                Ok(Some(seen)) => seen.last_tag_time,
                Ok(None) => Observed::Unknown("it went while it was looked at".into()),
                Err(error) if error.kind == Failure::Lost => return Err(error.into()),
                Err(error) => Observed::Unknown(error.to_string()),
            };
            if let Some(image) = inventory.images.get_mut(&id) {
                image.last_tag_time = Some(last_tag_time);
            }
        }
    }
}

/// What goes with the report, in words fit to print: stale signs, and why ages
/// start anew.
pub fn notes(memory: &Memory, looks: &[Look]) -> Vec<String> {
    let stale = looks.last().into_iter().flat_map(|look| &look.pulls.signs).filter_map(|sign| match &sign.state {
        SignState::Stale { quiet } => {
            let quiet = span(TimeDelta::from_std(*quiet).unwrap_or(TimeDelta::MAX));
            let path = escape(&sign.path.to_string_lossy());
            Some(format!("{path} is left from a pull that is over (untouched for {quiet}); it holds nothing up"))
        }
        SignState::Live(_) | SignState::Build => None,
    });
    let stuck = looks
        .last()
        .into_iter()
        .flat_map(|look| stuck(&look.at_work));
    memory
        .notes
        .iter()
        .cloned()
        .chain(stale)
        .chain(stuck)
        .collect()
}

/// Services that would hold up every run for ever, if Swarm's words were all.
fn stuck(at_work: &AtWork) -> Vec<String> {
    let Swarm::Manager { under_way, .. } = &at_work.swarm else {
        return Vec::new();
    };
    let stuck = under_way.iter().filter(|deploy| deploy.stuck);
    let note = |deploy: &Deploy| {
        let (service, what) = (deploy.service.escaped(), &deploy.what);
        format!(
            "service {service}: {what}; nothing of it moves, so it holds nothing up, and its images are kept"
        )
    };
    stuck.map(note).collect()
}

/// When this host stored an image: the mtime of its file in the graphdriver's
/// image database. Only for what might go, and only where it can be read: by our
/// own memory it can make the image younger alone, and by the engine's dates
/// nothing goes without it.
fn stored(engine: &EngineFacts, image: &Image) -> Option<DateTime<Utc>> {
    if engine.store != Store::Graphdriver || !image.is_dangling() {
        return None;
    }
    let folder = Path::new("image")
        .join(engine.driver.raw())
        .join("imagedb/content/sha256");
    let path = engine.data_root.join(folder).join(image.id.hex());
    let meta = std::fs::symlink_metadata(path).ok()?;
    Some(host::modified(&meta))
}
