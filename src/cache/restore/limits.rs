//! Limits of one run: time, disk, and bytes. Checked several times a second during a transfer.

use std::cell::Cell;
use std::path::PathBuf;
use std::time::Instant;

use crate::engine::{Amount, Info};
use crate::host::clock::monotonic;
use crate::host::disk;
use crate::host::signals::EndRequest;
use crate::model::Bytes;
use crate::policy::{Policy, Share};

use crate::cache::restore::brought::Missed;
use crate::cache::restore::left_out::LeftOut;
use crate::cache::restore::room;

pub struct Limits<'a> {
    info: &'a Info,
    policy: &'a Policy,
    /// The folders where the engine writes downloads and images.
    folders: Vec<Folder>,
    asked: &'a EndRequest,
    until: Option<Instant>,
    /// Bytes that the run may bring.
    most: u64,
    brought: u64,
}

/// A folder, and its free bytes when it was last measured.
struct Folder {
    path: PathBuf,
    free: Cell<Option<u64>>,
}

impl Folder {
    fn new(path: PathBuf) -> Self {
        let free = Cell::default();
        Self { path, free }
    }

    /// Assumes that as much is written until the next measurement as since the last one.
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
    /// For a run that begins now. `folders`: the first contains the images.
    pub fn new(
        info: &'a Info,
        policy: &'a Policy,
        folders: Vec<PathBuf>,
        asked: &'a EndRequest,
    ) -> Self {
        let size = folders.first().and_then(|path| disk::read(path).ok());
        let size = size.map_or(0, |disk| {
            disk.bytes.used.saturating_add(disk.bytes.available)
        });
        Self {
            info,
            policy,
            folders: folders.into_iter().map(Folder::new).collect(),
            asked,
            until: monotonic().checked_add(policy.restore.max_run),
            most: most(policy.restore.max_share, size),
            brought: 0,
        }
    }

    pub fn count(&mut self, bytes: Bytes) {
        self.brought = self.brought.saturating_add(bytes.0);
    }

    /// Why the run does nothing more.
    pub fn over(&self) -> Option<LeftOut> {
        if self.asked.is() {
            Some(LeftOut::Interrupted)
        } else if self.until.is_some_and(|until| monotonic() >= until) {
            Some(LeftOut::MaxRun)
        } else {
            None
        }
    }

    /// Why no more may be transferred, if this much is coming.
    fn reached(&self, coming: Amount) -> Option<LeftOut> {
        let limit = self.over().or_else(|| {
            let all = self.brought.saturating_add(coming.total);
            (all > self.most).then_some(LeftOut::MaxShare(Bytes(self.most)))
        });
        limit.or_else(|| {
            let mut folders = self.folders.iter();
            folders.find_map(|folder| folder.reached(self, Bytes(coming.coming())))
        })
    }

    /// An error if the run is asked to end before `work` is done.
    pub async fn unless_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Missed> {
        let done = self.asked.unless(work).await;
        done.ok_or(Missed::Limit(LeftOut::Interrupted))
    }

    /// An error if a limit is reached; otherwise calls `on_amount`.
    pub fn allow(&self, coming: Amount, on_amount: &mut dyn FnMut(Amount)) -> Result<(), Missed> {
        match self.reached(coming) {
            Some(limit) => Err(Missed::Limit(limit)),
            None => {
                on_amount(coming);
                Ok(())
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
