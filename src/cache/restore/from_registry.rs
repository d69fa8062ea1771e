//! Brings images from their registries, by having the engine pull.

use std::cell::Cell;
use std::collections::BTreeSet;

use crate::engine::{Amount, End, EngineError, Failure, Leads, Reader};
use crate::guard::{Cause, Undisturbed};
use crate::model::reference::Reference;
use crate::model::secret::Credentials;
use crate::model::text::escape;
use crate::model::{Bytes, ImageId};

use crate::cache::promise::Wanted;
use crate::cache::questions::{Offer, Registries};
use crate::cache::restore::brought::{Brought, Missed};
use crate::cache::restore::left_out::LeftOut;
use crate::cache::restore::limits::Limits;
use crate::cache::restore::order::Target;

pub struct FromRegistry<'a> {
    reader: &'a Reader,
    registries: &'a mut Registries,
    /// `restore.min_pulls_left`.
    min_left: u32,
    /// Registries that allow no more pulls, as far as this run goes.
    spent: BTreeSet<String>,
}

impl<'a> FromRegistry<'a> {
    pub fn new(reader: &'a Reader, registries: &'a mut Registries, min_left: u32) -> Self {
        Self {
            reader,
            registries,
            min_left,
            spent: BTreeSet::new(),
        }
    }

    pub async fn bring(
        &mut self,
        undisturbed: &Undisturbed,
        limits: &Limits<'_>,
        target: &Target,
        on_amount: &mut dyn FnMut(Amount),
    ) -> Result<Brought, Missed> {
        let names = names(target).map_err(Missed::Not)?;
        let domain = names.first().map(Reference::domain).unwrap_or_default();
        if self.spent.contains(domain) {
            let why = "its registry allows no more pulls for now";
            return Err(Missed::Not(LeftOut::Refused(why.to_owned())));
        }
        for name in &names {
            match self.registries.offer(name).await {
                Offer::Gone => continue,
                Offer::Denied(why) => return Err(Missed::Not(LeftOut::Denied(why))),
                Offer::Limited => return Err(self.spent(name, 0)),
                Offer::Has(Some(left)) if left < u64::from(self.min_left) => {
                    return Err(self.spent(name, left));
                }
                // The engine may reach a mirror where secateur reaches no registry.
                Offer::Has(_) | Offer::Unknown => {}
            }
            if !name.is_digest() && self.reader.leads(name).await? != Leads::Nowhere {
                let why = "its tag was set here meanwhile, and is not moved";
                return Err(Missed::Not(LeftOut::Failed(why.to_owned())));
            }
            return self
                .pull(undisturbed, limits, name, target, on_amount)
                .await;
        }
        let digest = target.digests.first().cloned();
        Err(Missed::Not(LeftOut::Gone { digest }))
    }

    /// The registry of this name allows so many pulls: no more of them are ours.
    fn spent(&mut self, name: &Reference, left: u64) -> Missed {
        self.spent.insert(name.domain().to_owned());
        let registry = escape(name.domain());
        let wanted = self.min_left;
        Missed::Refused(
            Cause::PullsLeft {
                registry,
                left,
                wanted,
            }
            .into(),
        )
    }

    async fn pull(
        &self,
        undisturbed: &Undisturbed,
        limits: &Limits<'_>,
        name: &Reference,
        target: &Target,
        on_amount: &mut dyn FnMut(Amount),
    ) -> Result<Brought, Missed> {
        let credentials = self.registries.credentials(name);
        let auth = credentials.map(|found| found.for_engine(Registries::server(name)));
        let clear = |text: &str| Credentials::cleared(credentials, text);
        let amount = Cell::new(Amount::default());
        let puller = self.reader.puller(undisturbed);
        let pull = puller.pull(name, auth.as_ref(), clear, |now| amount.set(now));
        let ended = limits.watch(Box::pin(pull), &amount, on_amount).await;
        let failed = |why: String| Err(Missed::Not(LeftOut::Failed(why)));
        match ended.map_err(Missed::Limit)? {
            Ok(stream) => {
                if let End::Error(why) = &stream.end {
                    return failed(format!("the pull failed: {}", escape(why)));
                }
            }
            Err(error) if error.kind == Failure::Lost => {
                self.reader.info().await.map_err(Missed::from)?;
                return failed(error.to_string());
            }
            Err(error) => return failed(error.to_string()),
        }
        match self.confirmed(name, target).await? {
            Ok(id) => Ok(Brought {
                id,
                bytes: Bytes(amount.get().done),
            }),
            Err(why) => failed(why),
        }
    }

    /// The image that the name leads to after its pull: the one that was meant.
    async fn confirmed(
        &self,
        name: &Reference,
        target: &Target,
    ) -> Result<Result<ImageId, String>, EngineError> {
        if self.reader.leads(name).await? != Leads::ToAnImage {
            return Ok(Err(format!("{name} leads to no image after its pull")));
        }
        let Some(id) = self.reader.named(name).await else {
            return Ok(Err(format!("{name} cannot be inspected after its pull")));
        };
        Ok(match &target.id {
            Some(wanted) if *wanted != id => Err(format!(
                "the pull of {name} brought the image {}, wanted {}",
                id.short(),
                wanted.short()
            )),
            _ => Ok(id),
        })
    }
}

/// The names by which a registry is asked for the target, in turn.
fn names(target: &Target) -> Result<Vec<Reference>, LeftOut> {
    let Wanted::Name(name) = &target.wanted else {
        let why = "it is promised by id, and a registry is asked by name";
        return Err(LeftOut::Nameless(why));
    };
    if target.is_open() {
        return Ok(vec![name.clone()]);
    }
    let pinned = |digest: &String| name.pinned(digest);
    let pinned: Vec<Reference> = target.digests.iter().filter_map(pinned).collect();
    if pinned.is_empty() {
        let why = "it was built or loaded here: no registry is known to have it";
        return Err(LeftOut::Nameless(why));
    }
    Ok(pinned)
}
