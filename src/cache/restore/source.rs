//! Where images are brought back from.

use crate::engine::Amount;
use crate::guard::Undisturbed;

use crate::cache::restore::brought::{Brought, Missed};
use crate::cache::restore::from_archive::FromArchive;
use crate::cache::restore::from_registry::FromRegistry;
use crate::cache::restore::limits::Limits;
use crate::cache::restore::order::Target;
use crate::cache::restore::restored::From;

/// One place that images come from. They are asked in the order in which they are given.
pub enum Source<'a> {
    Archive(FromArchive<'a>),
    Registry(FromRegistry<'a>),
}

impl Source<'_> {
    pub fn kind(&self) -> From {
        match self {
            Self::Archive(_) => From::Archive,
            Self::Registry(_) => From::Registry,
        }
    }

    /// What could not be used of it, fit to print.
    pub fn take_notes(&mut self) -> Vec<String> {
        match self {
            Self::Archive(archive) => archive.take_notes(),
            Self::Registry(_) => Vec::new(),
        }
    }

    /// Brings one image, and none but the one that is meant. It sets the target's tag only
    /// where that leads nowhere, and only while it loads or pulls by that very tag.
    /// `on_amount` is told how much has come.
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
