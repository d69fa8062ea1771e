//! What one run may take: of time, of the disk, and of what it brings. They are looked after
//! while something comes, some times a second.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::engine::{Amount, Info};
use crate::host::clock::monotonic;
use crate::host::disk;
use crate::host::signals::AskedToEnd;
use crate::model::Bytes;
use crate::policy::{Policy, Share};

use crate::cache::restore::left_out::LeftOut;
use crate::cache::restore::room;

/// How often the disk is measured, and a signal looked for.
const TICK: Duration = Duration::from_millis(100);

pub struct Limits<'a> {
    info: &'a Info,
    policy: &'a Policy,
    /// Where the engine puts what comes: downloads and images.
    places: Vec<Place>,
    asked: &'a AskedToEnd,
    until: Option<Instant>,
    /// Bytes that the run may bring.
    most: u64,
    brought: u64,
}

/// A folder, and what was free there when it was last measured.
struct Place {
    path: PathBuf,
    free: Cell<Option<u64>>,
}

impl Place {
    fn new(path: PathBuf) -> Self {
        let free = Cell::default();
        Self { path, free }
    }

    /// What is written between two measurements counts as if it were written once more.
    fn reached(&self, limits: &Limits<'_>, coming: Bytes) -> Option<LeftOut> {
        let disk = disk::read(&self.path).ok()?;
        let free = disk.free().0;
        let before = self.free.replace(Some(free)).unwrap_or(free);
        let coming = Bytes(coming.0.max(before.saturating_sub(free)));
        let (engine, policy) = (&limits.info.facts, &limits.policy.disk);
        room::reached(&disk, engine, policy, coming).map(LeftOut::Disk)
    }
}

impl<'a> Limits<'a> {
    /// Of a run that begins now. `folders`: the first has the images.
    pub fn new(
        info: &'a Info,
        policy: &'a Policy,
        folders: Vec<PathBuf>,
        asked: &'a AskedToEnd,
    ) -> Self {
        let size = folders.first().and_then(|path| disk::read(path).ok());
        let size = size.map_or(0, |disk| {
            disk.bytes.used.saturating_add(disk.bytes.available)
        });
        Self {
            info,
            policy,
            places: folders.into_iter().map(Place::new).collect(),
            asked,
            until: monotonic().checked_add(policy.restore.max_run),
            most: most(policy.restore.max_share, size),
            brought: 0,
        }
    }

    pub fn count(&mut self, bytes: Bytes) {
        self.brought = self.brought.saturating_add(bytes.0);
    }

    /// Why nothing is done any more, whatever it takes.
    pub fn over(&self) -> Option<LeftOut> {
        if self.asked.is() {
            Some(LeftOut::Interrupted)
        } else if self.until.is_some_and(|until| monotonic() >= until) {
            Some(LeftOut::MaxRun)
        } else {
            None
        }
    }

    /// Why no more may come, where so much is coming.
    pub fn reached(&self, coming: Amount) -> Option<LeftOut> {
        let limit = self.over().or_else(|| {
            let all = self.brought.saturating_add(coming.total);
            (all > self.most).then_some(LeftOut::Share(Bytes(self.most)))
        });
        limit.or_else(|| {
            let mut places = self.places.iter();
            places.find_map(|place| place.reached(self, Bytes(coming.coming())))
        })
    }

    /// Waits for this work, and gives it up where a limit is reached. `amount`: what has
    /// come so far, which `on_amount` is told of.
    pub async fn watch<T>(
        &self,
        work: impl Future<Output = T>,
        amount: &Cell<Amount>,
        on_amount: &mut dyn FnMut(Amount),
    ) -> Result<T, LeftOut> {
        let mut work = std::pin::pin!(work);
        loop {
            if let Some(limit) = self.reached(amount.get()) {
                return Err(limit);
            }
            on_amount(amount.get());
            if let Ok(done) = tokio::time::timeout(TICK, &mut work).await {
                return Ok(done);
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 or more, at most a u64"
)]
fn most(share: Share, size: u64) -> u64 {
    match share {
        Share::Size(size) => size.0,
        Share::Percent(percent) => (size as f64 * percent / 100.0) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_one_of_the_whole_file_system() {
        assert_eq!(most(Share::Percent(10.0), 1000), 100);
        assert_eq!(most(Share::Percent(0.0), 1000), 0);
        assert_eq!(most(Share::Size(Bytes(7)), 1000), 7);
    }
}
