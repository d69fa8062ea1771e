//! Whether anything may be restored now: the guards of a prune, and the host limits of
//! `[restore]`. Checked before each image.

use std::collections::BTreeMap;

use crate::engine::{Info, Labelled, Reader};
use crate::exit::Fault;
use crate::guard::{Cause, Refusal, Undisturbed};
use crate::host::pressure;
use crate::memory::ledger::Ledger;
use crate::model::labels::cut;
use crate::model::{Image, ImageId, Observed};
use crate::policy::{LabelRule, Policy};

use crate::cache::redeploy::nothing_at_work;

pub struct Guards<'a> {
    pub reader: &'a Reader,
    pub info: &'a Info,
    pub policy: &'a Policy,
    pub ledger: &'a Ledger,
    /// All images, with their labels, which containers inherit.
    pub here: &'a BTreeMap<ImageId, Image>,
}

impl Guards<'_> {
    pub async fn ask(&self) -> Result<Result<Undisturbed, Vec<Refusal>>, Fault> {
        let work = nothing_at_work(self.reader, self.info, self.policy, self.ledger);
        let mut found = Vec::from_iter(self.cpu_pressure());
        for rule in &self.policy.restore.busy_labels {
            found.extend(self.busy(rule).await?);
        }
        let found = found.into_iter().map(Refusal::from);
        Ok(match Box::pin(work).await? {
            Ok(undisturbed) if found.len() == 0 => Ok(undisturbed),
            Ok(_) => Err(found.collect()),
            Err(refusals) => Err(refusals.into_iter().chain(found).collect()),
        })
    }

    fn cpu_pressure(&self) -> Option<Cause> {
        let limit = self.policy.restore.max_cpu_pressure;
        if limit >= 100.0 {
            return None;
        }
        let now = pressure::cpu();
        let fine = matches!(now, Observed::Known(now) if now <= limit);
        (!fine).then_some(Cause::CpuPressure { now, limit })
    }

    async fn busy(&self, rule: &LabelRule) -> Result<Option<Cause>, Fault> {
        let carry = self.reader.labelled(self.info, &rule.key).await?;
        let mut own = carry.into_iter().filter(|it| is_busy(it, rule, self.here));
        Ok(own.next().map(|it| Cause::Busy {
            container: it.name,
            label: rule.text(),
        }))
    }
}

/// Whether a container itself has the label: its value differs from the image's, or the image is
/// unknown. A label inherited from the image says nothing about what runs.
pub fn is_busy(container: &Labelled, rule: &LabelRule, here: &BTreeMap<ImageId, Image>) -> bool {
    let value = container.value.raw();
    if rule.value.as_deref().is_some_and(|wanted| wanted != value) {
        return false;
    }
    let image = container.image.as_ref().and_then(|id| here.get(id));
    let inherited = image.and_then(|image| image.labels.get(&rule.key));
    inherited.is_none_or(|inherited| inherited.raw() != cut(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::text::Untrusted;
    use crate::testing::{id, image};

    #[test]
    fn a_label_that_the_image_has_as_well_is_not_the_containers_own() {
        let mut job = image(1);
        let label = ("ci.run".to_owned(), Untrusted::new("image"));
        job.labels = [label].into();
        let here: BTreeMap<ImageId, Image> = [(id(1), job), (id(2), image(2))].into();
        let busy = |image: u64, value: &str, rule: &str| {
            let container = Labelled {
                name: Untrusted::new("job"),
                image: Some(id(image)),
                value: Untrusted::new(value),
            };
            let text = format!("[age]\nmin_age = \"1d\"\n[restore]\nbusy_labels = [{rule:?}]");
            let policy = Policy::parse(&text, "test").unwrap();
            is_busy(&container, &policy.restore.busy_labels[0], &here)
        };
        assert!(!busy(1, "image", "ci.run"));
        assert!(busy(1, "own", "ci.run"));
        assert!(busy(2, "image", "ci.run"));
        assert!(busy(3, "image", "ci.run"), "its image is not here");
        assert!(busy(2, "own", "ci.run=own") && !busy(2, "own", "ci.run=other"));
    }
}
