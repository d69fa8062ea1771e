//! Finds out how to repair each damaged image, and changes nothing: what uses it, which source
//! has the exact image, and which images share layers with it.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::{Contents, EngineError, Failure, Info, Reader};
use crate::exit::Fault;
use crate::model::reference::Reference;
use crate::model::{Image, ImageId, Store};
use crate::policy::Policy;

use crate::cache::checks::whole::layers_here;
use crate::cache::findings::Line;
use crate::cache::promise::{Wanted, digests_in, with_all_digests};
use crate::cache::restore::damaged::{Available, Damaged, Names, sharing, used};
use crate::cache::restore::order::Target;
use crate::cache::restore::repair::{Call, Commands, Group, Repair};
use crate::cache::restore::restored::Origin;
use crate::cache::restore::source::Source;
use crate::cache::state::State;

pub struct Repairs<'a> {
    pub reader: &'a Reader,
    pub info: &'a Info,
    pub policy: &'a Policy,
    /// In the order in which a restore asks them.
    pub sources: Vec<Source<'a>>,
    pub call: &'a Call,
}

impl Repairs<'_> {
    /// Adds the repair to each damaged image.
    pub async fn note(mut self, lines: &mut [Line]) -> Result<(), Fault> {
        let is_damaged = |line: &&Line| line.state == State::Damaged;
        if !lines.iter().any(|line| is_damaged(&line)) {
            return Ok(());
        }
        let mut contents = Box::pin(self.reader.contents(self.info)).await?;
        contents.images = with_all_digests(contents.images, self.info.facts.store);
        let mut damaged: Vec<Damaged> = Vec::new();
        for line in lines.iter().filter(is_damaged) {
            let Some(image) = line.image.find(&contents.images) else {
                continue;
            };
            let promised = line.image.to_string();
            match damaged.iter_mut().find(|it| it.id == image.id) {
                Some(known) => known.promised.push(promised),
                None => damaged.push(self.examine(image, promised, &contents).await?),
            }
        }
        let read = lines
            .iter()
            .filter_map(|line| line.image.find(&contents.images));
        let read = read.map(|image| &image.id).collect();
        let others = self.others(&contents, &read).await?;
        for line in lines.iter_mut() {
            let image = line.image.find(&contents.images);
            let image = image.filter(|_| line.state == State::Damaged);
            line.repair = image.map(|image| self.repair(&image.id, &damaged, &others));
        }
        Ok(())
    }

    async fn examine(
        &mut self,
        image: &Image,
        promised: String,
        contents: &Contents,
    ) -> Result<Damaged, Fault> {
        let names = self.names(image).await?;
        let state = match used(image, contents) {
            Some(by) => Err(Repair::InUse(by)),
            None => self
                .find_source(image, &names)
                .await
                .map_err(Repair::Nowhere),
        };
        Ok(Damaged {
            id: image.id.clone(),
            promised: vec![promised],
            names,
            layers: self.layers(image).await?,
            state,
        })
    }

    /// The image's own names: the engine's list has the digest of only one repository, even if
    /// the image has names in several.
    async fn names(&self, image: &Image) -> Result<Names, EngineError> {
        let asked = match self.reader.inspect(&image.id).await {
            Err(error) if error.kind == Failure::Lost => return Err(error),
            // An overlay2 engine cannot describe an image whose layer folder is gone.
            asked => asked.ok().flatten(),
        };
        let store = self.info.facts.store;
        Ok(match asked {
            Some(seen) => {
                let made_up =
                    |name: &&Reference| store == Store::Containerd && seen.made_up.contains(name);
                let pinned = seen.digests.iter().filter(|name| !made_up(name));
                Names {
                    pinned: pinned.cloned().collect(),
                    tags: seen.tags.into_iter().chain(seen.ours).collect(),
                }
            }
            None => Names {
                tags: image.tags.iter().chain(&image.ours).cloned().collect(),
                pinned: image.digests.iter().cloned().collect(),
            },
        })
    }

    async fn layers(&self, image: &Image) -> Result<Option<Vec<String>>, EngineError> {
        match self.reader.described(&image.id).await {
            Err(error) if error.kind == Failure::Lost => Err(error),
            Err(_) => Ok(layers_here(&self.info.facts, image)),
            Ok(described) => Ok(described.layers),
        }
    }

    /// The layers of images that nobody promised, and so were not read.
    async fn others(
        &self,
        contents: &Contents,
        read: &BTreeSet<&ImageId>,
    ) -> Result<BTreeMap<String, Vec<String>>, EngineError> {
        let mut others = BTreeMap::new();
        for image in contents.images.values() {
            if !read.contains(&image.id)
                && let Some(layers) = self.layers(image).await?
            {
                let name = image.names().next().map(Reference::familiar);
                others.insert(name.unwrap_or_else(|| image.id.to_string()), layers);
            }
        }
        Ok(others)
    }

    /// The source that has all that the commands restore; the error tells why none has.
    async fn find_source(&mut self, image: &Image, names: &Names) -> Result<Available, String> {
        let target = |name: &Reference| Target {
            wanted: Wanted::Name(name.clone()),
            digests: digests_in(image, &name.repository()),
            id: Some(image.id.clone()),
        };
        let (mut by, mut lost, mut why_not) = (None, Vec::new(), Vec::new());
        let mut all = names.tags.iter().chain(&names.pinned);
        let promised = &self.policy.promised;
        if let Some(never) = all.find_map(|name| promised.never(name)) {
            return Err(never);
        }
        // One source of a tag is enough: once the image is here, its other tags are only set.
        for name in &names.tags {
            match self.first_source(&target(name)).await {
                Ok(from) => {
                    by = Some((from, name.familiar()));
                    break;
                }
                Err(why) => why_not.push(why),
            }
        }
        for name in &names.pinned {
            let target = Target {
                digests: Vec::from_iter(name.digest().map(str::to_owned)),
                id: None,
                ..target(name)
            };
            match self.first_source(&target).await {
                Ok(from) => by = by.or_else(|| Some((from, name.familiar()))),
                Err(why) => {
                    lost.push(name.clone());
                    why_not.push(why);
                }
            }
        }
        if let Some((from, by)) = by {
            return Ok(Available { from, by, lost });
        }
        if !why_not.is_empty() {
            why_not.dedup();
            return Err(why_not.join("; "));
        }
        let nameless = Target {
            wanted: Wanted::Id(image.id.clone()),
            digests: Vec::new(),
            id: Some(image.id.clone()),
        };
        let from = self.first_source(&nameless).await?;
        let by = image.id.to_string();
        Ok(Available { from, by, lost })
    }

    /// The first source that has the target.
    async fn first_source(&mut self, target: &Target) -> Result<Origin, String> {
        let mut why_not = Vec::new();
        for source in &mut self.sources {
            match source.has(target).await {
                Ok(()) => return Ok(source.kind()),
                Err(why) => why_not.push(why),
            }
        }
        Err(why_not.join("; "))
    }

    fn repair(
        &self,
        id: &ImageId,
        damaged: &[Damaged],
        others: &BTreeMap<String, Vec<String>>,
    ) -> Repair {
        let (own, rest) = sharing(id, damaged);
        let available = match &own.state {
            Ok(available) => available.clone(),
            Err(why) => return why.clone(),
        };
        let mut group = Group {
            id: id.short().to_owned(),
            ..Group::default()
        };
        let mut lost = Vec::new();
        for image in std::iter::once(own).chain(rest) {
            match &image.state {
                Ok(its) => {
                    lost.extend(its.lost.iter().cloned());
                    image.add_names(&mut group, its);
                }
                Err(why) => {
                    let (name, why) = (&image.promised[0], why.message());
                    let why =
                        format!("it shares layers with {name}, which is damaged, too, and {why}");
                    return Repair::Shared(why);
                }
            }
            group.promised.push(image.promised[0].clone());
        }
        let layers = own.layers.iter().flatten();
        let layers: BTreeSet<&String> = layers.collect();
        let not_read = others.iter();
        let not_read = not_read.filter(|(_, its)| its.iter().any(|it| layers.contains(it)));
        Repair::Commands(Commands {
            from: available.from,
            lines: self.call.lines(&group),
            lost,
            not_read: not_read.map(|(name, _)| name.clone()).collect(),
        })
    }
}
