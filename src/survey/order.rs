//! In which order a host is asked, so that the answers fit each other.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;

use crate::decide::plan::{Entry, Plan};
use crate::decide::{Trust, decide};
use crate::engine::{Contents, EngineError, Failure, Inspected};
use crate::exit::Fault;
use crate::guard::{Activity, standing};
use crate::memory::clock::{Clock, dated_from};
use crate::memory::ledger::Ledger;
use crate::memory::state::Known;
use crate::model::conditions::{ClockReading, Disk};
use crate::model::{AtWork, EngineFacts, Event, Image, ImageId, Inventory, Observed, Store};
use crate::policy::Policy;
use crate::survey::no_survey::NoSurvey;
use crate::survey::untied;

/// How long a run that was cut off can have taken to give its names: what the
/// engine dates within this time of an intent is our own doing.
const NAMING: TimeDelta = TimeDelta::seconds(60);

/// How many images are inspected at once: enough to keep an engine busy, few
/// enough to be one client among others.
const AT_ONCE: usize = 8;

/// All that a survey asks: a live engine and its host, or a model of both.
#[expect(async_fn_in_trait, reason = "used with static dispatch, on one thread")]
pub trait Sources {
    /// The clocks, now.
    fn clock(&self) -> Result<ClockReading, Fault>;
    /// Locks, signs of pulls and clocks; `ledger` is the memory of the last run.
    fn activity(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Activity;
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

/// What a survey found, and what follows from it.
pub struct Found {
    /// The host.
    pub inventory: Inventory,
    /// The memory after this survey.
    pub ledger: Ledger,
    /// What becomes of each image.
    pub plan: Plan,
    /// What went on around it: before the images were read, and after.
    pub activities: Vec<Activity>,
}

/// Asks these sources for everything once, in the order that makes the answers
/// fit each other, and decides.
pub async fn survey_of<S: Sources>(
    sources: &S,
    engine: &EngineFacts,
    policy: &Policy,
    known: Known<'_>,
    trust: Trust,
) -> Result<Found, NoSurvey> {
    let before = sources.clock()?;
    let last = known.ledger.clock();
    let from = last.map_or(DateTime::<Utc>::MAX_UTC, |last| dated_from(last, &before));
    let since = known.ledger.asks_since().map(|since| since.min(from));
    // Where nothing is remembered, all ages begin now, whatever happened before;
    // unless the engine's dates are to count.
    let since = since.or((trust == Trust::EngineDates).then_some(DateTime::UNIX_EPOCH));
    // Before the images: a pull that ends while they are read has been seen.
    // The engine has not been asked yet.
    let first = sources.activity(&before, known.ledger, AtWork::idle());
    let contents = sources.contents().await?;
    let now = sources.clock()?;
    // Last, and up to the moment that the ledger remembers as this survey: what
    // happened while the lists were read is in them or in these.
    let events = sources.events(since, now.wall).await?;
    let mut images = contents.images;
    for image in images.values_mut() {
        image.dates.stored = sources.stored(image);
        let intended = known.intended.get(&image.id);
        image.ours_until = intended.and_then(|it| it.at.checked_add_signed(NAMING));
        image.resists = known.resisting.contains(&image.id);
    }
    if engine.store == Store::Containerd {
        untied::tie_again(&mut images, known.intended, &events);
        untied::keep_what_nothing_tells_of(&mut images, known.intended);
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
    let second = sources.activity(&now, known.ledger, inventory.at_work.clone());
    let shift = match Clock::between(known.ledger.clock(), &now) {
        Clock::Sound => TimeDelta::zero(),
        Clock::Doubtful { shift, .. } => shift,
    };
    let ledger = known
        .ledger
        .observe(&inventory, &now, shift)
        .with_standing(standing(policy, &second));
    let plan =
        decide_on_what_was_inspected(sources, policy, &mut inventory, &ledger, trust).await?;
    Ok(Found {
        inventory,
        ledger,
        plan,
        activities: vec![first, second],
    })
}

/// When a tag was last set shows only where an image is inspected, and to inspect
/// all of them would cost more than all the rest. So: decide, inspect what would
/// go, decide again with what that showed, until nothing goes that was not
/// inspected. Each round inspects at least one image more.
async fn decide_on_what_was_inspected<S: Sources>(
    sources: &S,
    policy: &Policy,
    inventory: &mut Inventory,
    ledger: &Ledger,
    trust: Trust,
) -> Result<Plan, Fault> {
    loop {
        let plan = decide(policy, inventory, ledger, trust);
        let uninspected: Vec<ImageId> = plan
            .removals()
            .map(Entry::image)
            .filter(|image| image.last_tag_time.is_none())
            .map(|image| image.id.clone())
            .collect();
        if uninspected.is_empty() {
            return Ok(plan);
        }
        let inspected = futures_util::stream::iter(uninspected).map(|id| async {
            let seen = sources.inspect(&id).await;
            (id, seen)
        });
        let mut inspected = std::pin::pin!(inspected.buffered(AT_ONCE));
        while let Some((id, seen)) = inspected.next().await {
            let unknown = |why: String| (Observed::Unknown(why.clone()), Observed::Unknown(why));
            let (last_tag_time, restorable) = match seen {
                Ok(Some(seen)) => (seen.last_tag_time, seen.descriptor.map(|_| ())),
                Ok(None) => unknown("it went while it was inspected".into()),
                Err(error) if error.kind == Failure::Lost => return Err(error.into()),
                Err(error) => unknown(error.to_string()),
            };
            if let Some(image) = inventory.images.get_mut(&id) {
                image.last_tag_time = Some(last_tag_time);
                image.restorable = Some(restorable);
            }
        }
    }
}
