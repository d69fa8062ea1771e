//! Restores images from their registries by letting the engine pull.

use std::collections::BTreeSet;

use crate::engine::{Amount, End, EngineError, Leads, Reader};
use crate::guard::{Cause, Undisturbed};
use crate::model::reference::Reference;
use crate::model::text::escape;
use crate::model::{Bytes, ImageId};

use crate::cache::promise::Wanted;
use crate::cache::pull::pull;
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
    /// Registries that allow no more pulls in this run.
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
            let offer = self.registries.offer(name);
            let told = match Box::pin(limits.unless_interrupted(offer)).await? {
                Offer::Gone => continue,
                Offer::Denied(why) => return Err(Missed::Not(LeftOut::Denied(why))),
                Offer::Limited => return Err(self.spent(name, 0)),
                Offer::Has { digest, pulls_left } => match pulls_left {
                    Some(left) if left < u64::from(self.min_left) => {
                        return Err(self.spent(name, left));
                    }
                    // Pulls by digest, because a pull by tag sets the tag at its end, to whatever
                    // it leads to by then.
                    _ => Some(digest),
                },
                // The engine may reach a mirror although secateur cannot reach the registry.
                Offer::Unknown => None,
            };
            let exact = if name.is_digest() {
                Some(name.clone())
            } else {
                told.and_then(|digest| name.pinned(&digest))
            };
            if exact.is_none() && self.reader.leads(name).await? != Leads::Nowhere {
                return Err(Missed::Not(LeftOut::tagged_meanwhile()));
            }
            let name = exact.as_ref().unwrap_or(name);
            return self
                .pull(undisturbed, limits, name, target, on_amount)
                .await;
        }
        let digest = target.digests.first().cloned();
        Err(Missed::Not(LeftOut::Gone { digest }))
    }

    /// Whether its registry has exactly this image now.
    pub async fn has(&mut self, target: &Target) -> Result<(), String> {
        let mut why = "its registry no longer has it".to_owned();
        for name in names(target).map_err(|why| why.message())? {
            why = match self.registries.offer(&name).await {
                Offer::Has { .. } => return Ok(()),
                Offer::Gone => continue,
                Offer::Denied(why) => why,
                Offer::Limited => "its registry takes no more requests for now".to_owned(),
                Offer::Unknown => "its registry gives no answer".to_owned(),
            };
        }
        Err(why)
    }

    /// Stops using this registry, which allows only `left` more pulls.
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
        let host = (self.reader, &*self.registries);
        let allow = |now| limits.allow(now, on_amount);
        let pulled = pull(host, undisturbed, name, allow).await?;
        let pulled = pulled.map_err(Missed::failed)?;
        // Also of a pull that failed.
        on_amount(pulled.amount());
        if let End::Error(why) = &pulled.end {
            return Err(Missed::failed(format!("the pull failed: {}", escape(why))));
        }
        let confirmed = self.confirmed(name, target).await?;
        let id = confirmed.map_err(Missed::failed)?;
        Ok(Brought {
            id,
            bytes: Bytes(pulled.amount().done),
        })
    }

    /// The id that the name leads to after its pull, if it is the target.
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

/// The names to ask a registry for, in order.
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
