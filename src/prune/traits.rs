//! What a run asks of its engine and of its host.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::engine::{Descriptor, Dropped, EngineError, ImageEvent, Inspected, Leads};
use crate::guard::Refusal;
use crate::memory::journal::Record;
use crate::model::conditions::Disk;
use crate::model::reference::Reference;
use crate::model::{AtWork, Container, Event, ImageId, Observed, Swarm};

#[expect(async_fn_in_trait, reason = "used with static dispatch, on one thread")]
pub trait Engine {
    /// `None` if the image is gone.
    async fn inspect(&self, id: &ImageId) -> Result<Option<Inspected>, EngineError>;
    /// Gives an image our name.
    async fn name_ours(&self, id: &ImageId) -> Result<Reference, EngineError>;
    async fn drop_name(&self, name: &Reference) -> Result<Dropped, EngineError>;
    async fn leads(&self, name: &Reference) -> Result<Leads, EngineError>;
    /// Gives the image this tag, and takes it from any other image.
    async fn put_back_tag(&self, id: &ImageId, tag: &Reference) -> Result<(), EngineError>;
    /// Gives digest references to an image that the engine has.
    async fn put_back_digests(
        &self,
        names: &[Reference],
        descriptor: &Descriptor,
    ) -> Result<(), EngineError>;
    /// What is being built. The answer may take seconds if the build cache is large.
    async fn builds(&self) -> Result<Observed<Vec<String>>, EngineError>;
    async fn swarm(&self) -> Result<Swarm, EngineError>;
    /// Containers in any state.
    async fn containers(&self) -> Result<Vec<Container>, EngineError>;
    /// Which images were named or used since this moment; some events from shortly before
    /// it may be among them.
    async fn events(&self, since: DateTime<Utc>) -> Result<Vec<Event>, EngineError>;
    /// What was done to images and their names since this moment, oldest first.
    async fn meanwhile(&self, since: DateTime<Utc>) -> Result<Vec<ImageEvent>, EngineError>;
    /// Images that nothing keeps, by a new survey.
    async fn candidates(&self) -> Result<BTreeSet<ImageId>, EngineError>;
}

pub trait Host {
    /// Takes every deploy lock that can be held, unless they are held already.
    fn hold(&mut self) -> Result<(), Vec<Refusal>>;
    /// Adds the processes that hold the locks to refusals of [`Host::hold`]. Slow.
    fn name_holders(&self, refusals: Vec<Refusal>) -> Vec<Refusal> {
        refusals
    }
    /// How long a deploy may have been waiting for the locks: zero where there is no file to
    /// wait for, `None` if they are not held.
    fn held_for(&self) -> Option<Duration>;
    fn let_go(&mut self);
    /// All reasons against the next removal.
    fn refusals(&mut self, at_work: &AtWork) -> Vec<Refusal>;
    fn disk(&mut self) -> Observed<Disk>;
    /// Time since the run began, by the monotonic clock.
    fn elapsed(&self) -> Duration;
    /// The wall clock.
    fn now(&self) -> DateTime<Utc>;
    /// Whether the run was asked to end.
    fn interrupted(&self) -> bool;
    /// Whether the run was stopped (SIGSTOP) and continued: earlier answers are old then.
    fn was_stopped(&self) -> bool;
    /// Appends to the journal; with `durable` it returns when the records would survive
    /// a crash of the host.
    fn record(&mut self, records: &[Record], durable: bool) -> Result<(), String>;
    /// Shows how many images had their turn. Never waits for a reader.
    fn progress(&mut self, done: usize, of: usize);
}
