//! The order in which a host is asked, so that the answers fit each other.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;

use crate::decide::plan::Plan;
use crate::decide::{Trust, decide};
use crate::engine::{Contents, EngineError, Failure, Inspected};
use crate::exit::Fault;
use crate::guard::{Activity, causes_since};
use crate::memory::clock::{Clock, dated_from};
use crate::memory::ledger::Ledger;
use crate::memory::state::Remembered;
use crate::model::conditions::{ClockReading, Disk};
use crate::model::{AtWork, EngineFacts, Event, Image, ImageId, Inventory, Observed, Store};
use crate::policy::Policy;
use crate::survey::error::SurveyError;
use crate::survey::untied;

/// The longest time in which a run that was cut off gave its names: a tag time within it of an
/// intent is our own.
const NAMING: TimeDelta = TimeDelta::seconds(60);

/// Images that are inspected at once: enough to keep an engine busy, few enough to be one
/// client among others.
const AT_ONCE: usize = 8;

/// What a survey asks: a live engine and its host, or a model of both.
#[expect(async_fn_in_trait, reason = "used with static dispatch, on one thread")]
pub trait Sources {
    fn clock(&self) -> Result<ClockReading, Fault>;
    /// `ledger` is that of the last run.
    fn activity(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Activity;
    async fn contents(&self) -> Result<Contents, EngineError>;
    async fn events(
        &self,
        since: Option<DateTime<Utc>>,
        until: DateTime<Utc>,
    ) -> Result<Vec<Event>, EngineError>;
    /// `None` where the image is gone.
    async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError>;
    /// When this host stored the image; `None` where that cannot be read.
    fn stored(&self, image: &Image) -> Option<DateTime<Utc>>;
    /// Of the file system that holds the images.
    fn disk(&self) -> Observed<Disk>;
}

/// What a survey found, and the plan that follows.
pub struct Found {
    pub inventory: Inventory,
    /// After this survey.
    pub ledger: Ledger,
    pub plan: Plan,
    /// Before the images were read, and after.
    pub activities: Vec<Activity>,
}

/// Asks the sources for everything once, and decides.
pub async fn survey_of<S: Sources>(
    sources: &S,
    engine: &EngineFacts,
    policy: &Policy,
    remembered: Remembered<'_>,
    trust: Trust,
) -> Result<Found, SurveyError> {
    let before = sources.clock()?;
    let last = remembered.ledger.clock();
    let from = last.map_or(DateTime::<Utc>::MAX_UTC, |last| dated_from(last, &before));
    let since = remembered
        .ledger
        .events_since()
        .map(|since| since.min(from));
    // Without a ledger all ages begin now, whatever happened before; unless the engine's dates
    // count.
    let since = since.or((trust == Trust::EngineDates).then_some(DateTime::UNIX_EPOCH));
    // Before the images, so that a pull that ends while they are read is seen; only a plan, which
    // removes nothing, has the engine begin their list before. Whether the engine is at work has
    // not been asked yet.
    let first = sources.activity(&before, remembered.ledger, AtWork::idle());
    let contents = sources.contents().await?;
    let now = sources.clock()?;
    // After the lists, and up to the moment that the ledger remembers as this survey: whatever
    // happens while the lists are read is in the lists or in the events.
    let events = sources.events(since, now.wall).await?;
    let mut images = contents.images;
    for image in images.values_mut() {
        image.dates.stored = sources.stored(image);
        let intended = remembered.intended.get(&image.id);
        image.ours_until = intended.and_then(|it| it.at.checked_add_signed(NAMING));
        image.resists = remembered.resisting.contains(&image.id);
    }
    if engine.store == Store::Containerd {
        untied::restore_untied(&mut images, remembered.intended, &events);
        untied::keep_without_intent(&mut images, remembered.intended);
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
    let second = sources.activity(&now, remembered.ledger, inventory.at_work.clone());
    let shift = match Clock::between(remembered.ledger.clock(), &now) {
        Clock::Sound => TimeDelta::zero(),
        Clock::Doubtful { shift, .. } => shift,
    };
    let ledger = remembered
        .ledger
        .observe(&inventory, &now, shift)
        .with_causes_since(causes_since(policy, &second));
    let plan =
        decide_on_what_was_inspected(sources, policy, &mut inventory, &ledger, trust).await?;
    Ok(Found {
        inventory,
        ledger,
        plan,
        activities: vec![first, second],
    })
}

/// Only an inspection shows when a tag was last set, and inspecting all images would cost more
/// than all the rest. So: decide, inspect what would go, decide again, until nothing goes that
/// was not inspected. Each round inspects at least one more image.
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
            .map(|entry| &*entry.image)
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
