//! The sources that images are restored from.

use crate::engine::Amount;
use crate::guard::Undisturbed;

use crate::cache::restore::brought::{Brought, Missed};
use crate::cache::restore::from_archive::FromArchive;
use crate::cache::restore::from_registry::FromRegistry;
use crate::cache::restore::limits::Limits;
use crate::cache::restore::order::Target;
use crate::cache::restore::restored::Origin;

/// Sources are asked in the order in which they are given.
pub enum Source<'a> {
    Archive(FromArchive<'a>),
    Registry(FromRegistry<'a>),
}

impl Source<'_> {
    pub fn kind(&self) -> Origin {
        match self {
            Self::Archive(_) => Origin::Archive,
            Self::Registry(_) => Origin::Registry,
        }
    }

    /// What was wrong with it, fit to print.
    pub fn take_notes(&mut self) -> Vec<String> {
        match self {
            Self::Archive(archive) => archive.take_notes(),
            Self::Registry(_) => Vec::new(),
        }
    }

    /// Whether it has exactly this image now; an archive's blobs are read completely. The error
    /// tells why not, fit to print.
    pub async fn has(&mut self, target: &Target) -> Result<(), String> {
        match self {
            Self::Archive(archive) => archive.has(target).await,
            Self::Registry(registry) => registry.has(target).await,
        }
    }

    /// Brings exactly the target image. Sets the target's tag only if it leads nowhere, and only
    /// as part of the load or pull. `on_amount` is called with the progress.
    pub async fn bring(
        &mut self,
        undisturbed: &Undisturbed,
        limits: &Limits<'_>,
        target: &Target,
        on_amount: &mut dyn FnMut(Amount),
    ) -> Result<Brought, Missed> {
        match self {
            Self::Archive(archive) => {
                let work = archive.bring(undisturbed, limits, target, on_amount);
                Box::pin(work).await
            }
            Self::Registry(registry) => {
                let work = registry.bring(undisturbed, limits, target, on_amount);
                Box::pin(work).await
            }
        }
    }
}
