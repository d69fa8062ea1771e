//! The survey of a live engine and its host.

use chrono::{DateTime, Utc};

use crate::decide::Trust;
use crate::decide::plan::Plan;
use crate::engine::{Contents, EngineError, Info, Inspected, Reader};
use crate::exit::Fault;
use crate::guard::Activity;
use crate::host;
use crate::host::DatedFiles;
use crate::host::signals::EndRequest;
use crate::memory::ledger::Ledger;
use crate::memory::state::Memory;
use crate::model::conditions::{ClockReading, Disk};
use crate::model::{AtWork, EngineFacts, Event, Image, ImageId, Inventory, Observed, Store};
use crate::policy::Policy;
use crate::survey::error::SurveyError;
use crate::survey::order::{Found, Sources, survey_of};
use crate::survey::watch::Watch;

/// The survey of a live host, and the plan that follows.
pub struct Survey<'a> {
    pub inventory: Inventory,
    /// The ledger after this survey.
    pub ledger: Ledger,
    pub plan: Plan,
    /// The conditions before the images were read, and after.
    pub activities: Vec<Activity>,
    pub watch: Watch<'a>,
    pub info: Info,
}

/// The engine's description of itself, with its folders as this program sees them.
pub fn on_this_host(mut info: Info, policy: &Policy) -> Info {
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
    info
}

/// Surveys a live host once, and decides.
pub async fn survey<'a>(
    reader: &Reader,
    info: Info,
    policy: &'a Policy,
    memory: &Memory,
    trust: Trust,
    asked: EndRequest,
) -> Result<Survey<'a>, SurveyError> {
    let live = Live {
        reader,
        info: &info,
        watch: Watch::new(policy, &info.facts, asked),
        database: database(&info.facts),
    };
    let Found {
        inventory,
        ledger,
        plan,
        activities,
    } = survey_of(&live, &info.facts, policy, memory.remembered(), trust).await?;
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
    database: Option<DatedFiles>,
}

impl Sources for Live<'_, '_> {
    fn clock(&self) -> Result<ClockReading, Fault> {
        host::clock::read()
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
    /// Not for images that cannot go.
    fn stored(&self, image: &Image) -> Option<DateTime<Utc>> {
        let database = self.database.as_ref().filter(|_| image.is_dangling());
        database?.modified(image.id.hex())
    }
    fn disk(&self) -> Observed<Disk> {
        self.watch.disk()
    }
}

/// The image database of a graphdriver store: the mtime of an image's file in it is when this
/// host stored the image. By the ledger's dates it can only make the image younger, and by the
/// engine's dates nothing goes without it.
fn database(engine: &EngineFacts) -> Option<DatedFiles> {
    if engine.store != Store::Graphdriver {
        return None;
    }
    let images = engine.data_root.join("image").join(engine.driver.raw());
    DatedFiles::of(&images.join("imagedb/content/sha256"))
}
