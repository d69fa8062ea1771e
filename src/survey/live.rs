//! The survey of a live engine and its host.

use std::path::Path;

use chrono::{DateTime, Utc};

use crate::decide::Trust;
use crate::decide::plan::Plan;
use crate::engine::{Contents, EngineError, Info, Inspected, Reader};
use crate::exit::{Exit, Fault};
use crate::guard::Activity;
use crate::host;
use crate::host::signals::AskedToEnd;
use crate::memory::ledger::Ledger;
use crate::memory::state::Memory;
use crate::model::conditions::{ClockReading, Disk};
use crate::model::{AtWork, EngineFacts, Event, Image, ImageId, Inventory, Observed, Store};
use crate::policy::Policy;
use crate::survey::no_survey::NoSurvey;
use crate::survey::order::{Found, Sources, survey_of};
use crate::survey::watch::Watch;

/// What a survey of a live host found, and what follows from it.
pub struct Survey<'a> {
    /// The host.
    pub inventory: Inventory,
    /// The memory after this survey.
    pub ledger: Ledger,
    /// What becomes of each image.
    pub plan: Plan,
    /// What went on around it: before the images were read, and after.
    pub activities: Vec<Activity>,
    /// Goes on watching.
    pub watch: Watch<'a>,
    /// What the engine says of itself.
    pub info: Info,
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

/// Surveys a live host once, and decides.
pub async fn survey<'a>(
    reader: &Reader,
    info: Info,
    policy: &'a Policy,
    memory: &Memory,
    trust: Trust,
    asked: AskedToEnd,
) -> Result<Survey<'a>, NoSurvey> {
    let live = Live {
        reader,
        info: &info,
        watch: Watch::new(policy, &info.facts, asked),
    };
    let Found {
        inventory,
        ledger,
        plan,
        activities,
    } = survey_of(&live, &info.facts, policy, memory.known(), trust).await?;
    let watch = live.watch;
    Ok(Survey {
        inventory,
        ledger,
        plan,
        activities,
        watch,
        info,
    })
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
    fn activity(&self, now: &ClockReading, ledger: &Ledger, at_work: AtWork) -> Activity {
        self.watch.activity(now, ledger, at_work)
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
