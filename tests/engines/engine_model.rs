//! The simulator's model of an engine against live ones: the same random
//! operations on both, and after each the same answer and the same images, as
//! secateur itself reads them.

// The simulator uses more of it.
#[allow(dead_code)]
#[path = "../simulator/engine.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::model::{Moment, Stored};
use crate::lab::image::Archive;
use crate::lab::{Engine, Kind, Registry};
use chrono::DateTime;
use fastrand::Rng;
use secateur::engine::{Address, Environment, Failure, Reader};
use secateur::model::reference::Reference;
use secateur::model::{ImageId, Store};
use serde_json::{Value, json};

const IMAGES: usize = 4;
const CONTAINERS: usize = 3;
const TAGS: usize = 5;
/// Of how many there are digest references: the registry's own, and two of others.
const REPOSITORIES: usize = 3;

#[derive(Debug, Clone, Copy)]
enum Operation {
    Load {
        image: usize,
        tag: Option<usize>,
    },
    Tag {
        image: usize,
        tag: usize,
    },
    NameOurs {
        image: usize,
    },
    Drop {
        tag: usize,
    },
    DropOurs {
        image: usize,
    },
    DropDigest {
        image: usize,
        of: usize,
    },
    Pull {
        image: usize,
        by_digest: bool,
    },
    /// Of an index, with a digest reference and without content.
    LoadIndex {
        image: usize,
        of: usize,
    },
    Create {
        image: usize,
    },
    CreateByTag {
        tag: usize,
    },
    CreateByDigest {
        image: usize,
        of: usize,
    },
    Mount {
        image: usize,
        tag: Option<usize>,
    },
    MountByDigest {
        image: usize,
        of: usize,
    },
    RemoveContainer {
        nth: usize,
    },
    Commit {
        nth: usize,
        tag: Option<usize>,
    },
}

fn operation(rng: &mut Rng) -> Operation {
    use Operation as O;
    let (image, tag, nth, of) = (
        rng.usize(0..IMAGES),
        rng.usize(0..TAGS),
        rng.usize(0..CONTAINERS),
        rng.usize(0..REPOSITORIES),
    );
    let some_tag = rng.bool().then_some(tag);
    match rng.u32(0..120) {
        0..12 => O::Load {
            image,
            tag: some_tag,
        },
        12..30 => O::Tag { image, tag },
        30..38 => O::NameOurs { image },
        38..54 => O::Drop { tag },
        54..64 => O::DropOurs { image },
        64..76 => O::DropDigest { image, of },
        76..88 => O::Pull {
            image,
            by_digest: rng.bool(),
        },
        88..96 => O::LoadIndex { image, of },
        96..99 => O::Create { image },
        99..101 => O::CreateByTag { tag },
        101..104 => O::CreateByDigest { image, of },
        104..107 => O::Mount {
            image,
            tag: some_tag,
        },
        107..109 => O::MountByDigest { image, of },
        109..117 => O::RemoveContainer { nth },
        _ => O::Commit { nth, tag: some_tag },
    }
}

/// What an operation came to: failed how, or which names and images went.
type Answer = Result<(BTreeSet<String>, BTreeSet<ImageId>), Failure>;

/// A live engine and the model, kept in step.
struct Pair {
    live: Engine,
    model: model::Engine,
    registry: Registry,
    archives: Vec<Archive>,
    /// By which the registry has them.
    digests: Vec<String>,
    /// What an index says of each image that was here once, on the containerd store.
    descriptors: BTreeMap<ImageId, Value>,
    /// The id of each archive on this engine, once it is known.
    ids: BTreeMap<usize, ImageId>,
    /// Which of the model's containers is which of the engine's.
    containers: Vec<(u64, String)>,
    kind: Kind,
    runtime: tokio::runtime::Runtime,
}

const NOW: Moment = Moment {
    wall: DateTime::UNIX_EPOCH,
    steady: 0,
};

impl Pair {
    fn on(kind: Kind) -> Pair {
        let store = if kind.containerd() {
            Store::Containerd
        } else {
            Store::Graphdriver
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let registry = Registry::start();
        let archives: Vec<Archive> = (0..IMAGES).map(|_| Archive::new()).collect();
        let images = archives.iter().enumerate();
        let digests =
            images.map(|(image, archive)| registry.put(&format!("app:content{image}"), archive));
        Pair {
            live: Engine::start(kind),
            model: model::Engine::new(store),
            digests: digests.collect(),
            descriptors: BTreeMap::new(),
            registry,
            archives,
            ids: BTreeMap::new(),
            containers: Vec::new(),
            kind,
            runtime: runtime.expect("a runtime"),
        }
    }

    /// Two tags of one repository, one of another, two of the registry's own.
    fn tag(&self, tag: usize) -> Reference {
        let registrys = ["app:1", "app:2"].map(|name| self.registry.name(name));
        let text = ["app:1", "app:2", "db:1", &registrys[0], &registrys[1]][tag];
        text.parse().expect("a name")
    }

    /// A digest reference; the first is of the registry's own repository.
    fn digest(&self, image: usize, of: usize) -> Reference {
        let digest = &self.digests[image];
        let own = self.registry.name("app");
        let repository = [&own, "app", "db"][of];
        format!("{repository}@{digest}").parse().expect("a name")
    }

    /// The id by which an image is known, if it ever was on this engine.
    fn id(&self, image: usize) -> ImageId {
        let unknown = || format!("{:064x}", 0xdead + image).parse().expect("an id");
        self.ids.get(&image).cloned().unwrap_or_else(unknown)
    }

    fn learn(&mut self, image: usize, name: &str) -> ImageId {
        let id: ImageId = self.live.id(name).parse().expect("an id");
        self.ids.insert(image, id.clone());
        id
    }

    fn status(status: u16) -> Result<(), Failure> {
        match status {
            200..300 => Ok(()),
            404 => Err(Failure::NotFound),
            409 => Err(Failure::Conflict),
            other => Err(Failure::Status(other)),
        }
    }

    fn drop_live(&self, name: &Reference) -> Answer {
        let answer = self.live.remove(&name.to_string());
        Pair::status(answer.status)?;
        if std::env::var("DBG").is_ok() {
            println!("{name}: {}", answer.text());
            println!(
                "  {:?}",
                self.live
                    .get("/images/json?all=1")
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|i| (
                        i["Id"].to_string()[..16].to_string(),
                        i["RepoTags"].to_string()
                    ))
                    .collect::<Vec<_>>()
            );
        }
        let list = answer.json();
        let texts = |key: &str| {
            let items = list.as_array().expect("a list").iter();
            items
                .filter_map(|item| item[key].as_str())
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        // The containerd store's own record, which may stand beside any name. By a digest
        // reference that is not there, it goes alone.
        let (records, untagged): (Vec<_>, Vec<_>) = texts("Untagged")
            .into_iter()
            .partition(|text| text.starts_with("moby-dangling@"));
        if !records.is_empty() && untagged.is_empty() && texts("Deleted").is_empty() {
            return Err(Failure::NotFound);
        }
        let images = texts("Deleted")
            .into_iter()
            .filter_map(|text| text.parse().ok());
        // A graphdriver lists the layers, too.
        let known = images.filter(|id| self.model.images.contains_key(id));
        Ok((untagged.into_iter().collect(), known.collect()))
    }

    fn drop_both(&mut self, name: &Reference) -> (Answer, Answer) {
        let live = self.drop_live(name);
        let model = self.model.begin_drop(NOW, name).map(|dropping| {
            let dropped = self.model.end_drop(dropping).expect("it was not restarted");
            let deleted = dropped.deleted.iter().filter_map(|text| text.parse().ok());
            (dropped.untagged.into_iter().collect(), deleted.collect())
        });
        (live, model)
    }

    fn tag_both(&mut self, image: usize, name: &Reference) -> (Answer, Answer) {
        let id = self.id(image);
        let path = format!(
            "/images/{id}/tag?repo={}&tag={}",
            name.repository(),
            name.tag().unwrap_or_default()
        );
        let live = Pair::status(self.live.api("POST", &path, None).status);
        let model = self.model.tag(NOW, &id, name);
        (nothing(live), nothing(model))
    }

    fn create_both(&mut self, image: &str, mounts: &[String]) -> (Answer, Answer) {
        let mounted: Vec<_> = mounts
            .iter()
            .map(|source| json!({"Type": "image", "Source": source, "Target": "/mounted"}))
            .collect();
        let body = json!({"Image": image, "Cmd": ["/nothing"], "HostConfig": {"Mounts": mounted}});
        let answer = self.live.api("POST", "/containers/create", Some(&body));
        let live = Pair::status(answer.status);
        let model = self.model.create(NOW, image, mounts);
        if let (Ok(()), Ok(number)) = (&live, &model) {
            let id = answer.json()["Id"].as_str().expect("an id").to_owned();
            self.containers.push((*number, id));
        }
        (nothing(live), nothing(model.map(drop)))
    }

    /// From the registry, by `app:1` or by its digest.
    fn pull_both(&mut self, image: usize, by_digest: bool) {
        let (digest, tag) = (self.digest(image, 0), self.tag(3));
        self.registry.retag(&format!("app:content{image}"), "app:1");
        let name = if by_digest { &digest } else { &tag };
        self.live
            .pull(&name.to_string(), Some(&self.registry.auth_header()));
        let id = self.learn(image, &name.to_string());
        let tag = (!by_digest).then_some(&tag);
        self.model.pulled(NOW, &id, Stored::default(), tag, &digest);
        let described = self.live.get(&format!("/images/{id}/json"));
        self.descriptors.insert(id, described["Descriptor"].clone());
    }

    /// Does it on both; `None` where it makes no sense now.
    fn does(&mut self, operation: Operation) -> Option<(Answer, Answer)> {
        use Operation as O;
        let done = (Ok(Default::default()), Ok(Default::default()));
        Some(match operation {
            O::Load { image, tag } => {
                let mut archive = self.archives[image].clone();
                let name = tag.map(|tag| self.tag(tag));
                if let Some(name) = &name {
                    archive = archive.tag(&name.to_string());
                }
                let id = self.live.load(&archive);
                let id = self.learn(image, &id);
                self.model.load(NOW, &id, Stored::default(), name.as_ref());
                done
            }
            O::Tag { image, tag } => self.tag_both(image, &self.tag(tag)),
            O::NameOurs { image } => self.tag_both(image, &Reference::ours(&self.id(image))),
            O::Drop { tag } => self.drop_both(&self.tag(tag)),
            O::DropOurs { image } => self.drop_both(&Reference::ours(&self.id(image))),
            // A graphdriver has the registry's own alone.
            O::DropDigest { of, .. } if of > 0 && !self.kind.containerd() => return None,
            O::DropDigest { image, of } => self.drop_both(&self.digest(image, of)),
            O::LoadIndex { .. } if !self.kind.containerd() => return None,
            O::LoadIndex { image, of } => {
                let name = self.digest(image, of);
                let id: ImageId = name.digest()?.parse().expect("an id");
                let described = self.descriptors.get(&id)?;
                self.live.load_name(&name.to_string(), described);
                self.model.load_index(NOW, &id, &name);
                done
            }
            O::Pull { image, by_digest } => {
                self.pull_both(image, by_digest);
                done
            }
            _ if self.containers.len() >= CONTAINERS
                && !matches!(operation, O::RemoveContainer { .. } | O::Commit { .. }) =>
            {
                return None;
            }
            O::Create { image } => self.create_both(&self.id(image).to_string(), &[]),
            O::CreateByTag { tag } => self.create_both(&self.tag(tag).familiar(), &[]),
            O::CreateByDigest { image, of } => {
                self.create_both(&self.digest(image, of).familiar(), &[])
            }
            O::Mount { .. } | O::MountByDigest { .. } if self.kind == Kind::Overlay20 => {
                return None;
            }
            O::Mount { image, tag } => {
                let mounted = tag.map_or_else(
                    || self.id(image).to_string(),
                    |tag| self.tag(tag).familiar(),
                );
                let own = self.model.images.keys().next()?.to_string();
                self.create_both(&own, &[mounted])
            }
            O::MountByDigest { image, of } => {
                let own = self.model.images.keys().next()?.to_string();
                self.create_both(&own, &[self.digest(image, of).familiar()])
            }
            O::RemoveContainer { nth } => {
                if nth >= self.containers.len() {
                    return None;
                }
                let (number, id) = self.containers.remove(nth);
                self.live.remove_container(&id);
                self.model.remove_container(NOW, number);
                done
            }
            O::Commit { nth, tag } => {
                let (number, id) = self.containers.get(nth)?.clone();
                let held = self
                    .model
                    .containers
                    .iter()
                    .find(|held| held.number == number)?
                    .clone();
                let name = tag.map(|tag| self.tag(tag));
                let text = name.as_ref().map(ToString::to_string);
                let child: ImageId = self
                    .live
                    .commit(&id, text.as_deref())
                    .parse()
                    .expect("an id");
                let parent = Some(held.image);
                self.model.load(
                    NOW,
                    &child,
                    Stored {
                        parent,
                        ..Stored::default()
                    },
                    name.as_ref(),
                );
                done
            }
        })
    }

    /// Names and parent of every image, as secateur reads them and as the
    /// model lists them.
    fn compare(&self) -> Result<(), String> {
        let shown = |images: BTreeMap<ImageId, secateur::model::Image>| -> Vec<String> {
            let line = |image: &secateur::model::Image| {
                // Beside a tag the containerd store makes them up, one for
                // some of its names: nothing rests on them.
                let made_up = self.kind.containerd() && !image.tags.is_empty();
                let digests = image.digests.iter().filter(|_| !made_up);
                let names = image.tags.iter().chain(digests).chain(&image.ours);
                let names: Vec<String> = names.map(Reference::familiar).collect();
                // On the containerd store some commits have none, and nothing goes by it.
                let parent = image.parent.as_ref().filter(|_| !self.kind.containerd());
                let parent = parent.map(|id| id.short().to_owned());
                format!("{} {names:?} on {parent:?}", image.id.short())
            };
            images.values().map(line).collect()
        };
        let address = Address::resolve(Some(&self.live.host()), &Environment::default(), |_| ())
            .expect("an address");
        let (live, looks) = self.runtime.block_on(async {
            let (reader, info) = Reader::connect(&address, Duration::from_secs(30))
                .await
                .expect("the engine");
            let images = reader.images(&info).await.expect("images");
            let mut looks = BTreeMap::new();
            for id in self.model.images.keys() {
                // What a commit gives on the containerd store does not read.
                if let Ok(seen) = reader.inspect(id).await {
                    looks.insert(id.clone(), seen);
                }
            }
            (images, looks)
        });
        let (live, model) = (shown(live), shown(self.model.list()));
        if live != model {
            return Err(format!("live:  {live:#?}\nmodel: {model:#?}"));
        }
        for (id, live) in looks {
            let model = self.model.look(&id);
            let made_up = |seen: &secateur::engine::Inspected| {
                self.kind.containerd() && !(seen.tags.is_empty() && seen.ours.is_empty())
            };
            let names = |seen: Option<secateur::engine::Inspected>| {
                let digests = |seen: &secateur::engine::Inspected| {
                    (!made_up(seen)).then(|| seen.digests.clone())
                };
                seen.map(|seen| (digests(&seen), seen.tags, seen.ours))
            };
            let (live, model) = (names(live), names(model));
            if live != model {
                return Err(format!("a look at {id}: live {live:?}, model {model:?}"));
            }
        }
        Ok(())
    }
}

fn nothing(result: Result<(), Failure>) -> Answer {
    result.map(|()| Default::default())
}

/// One script of so many operations on this kind of engine.
fn script(kind: Kind, seed: u64, length: usize) {
    let mut pair = Pair::on(kind);
    let rng = &mut Rng::with_seed(seed);
    let mut done: Vec<String> = Vec::new();
    let (mut refused, mut removed) = (0, 0);
    while done.len() < length {
        let operation = operation(rng);
        let Some((live, model)) = pair.does(operation) else {
            continue;
        };
        done.push(format!("{operation:?} -> {live:?}"));
        let told =
            |what: &str| format!("{}, seed {seed}: {what}\n{}", kind.name(), done.join("\n"));
        assert_eq!(live, model, "{}", told("the answers differ"));
        refused += usize::from(live == Err(Failure::Conflict));
        removed += live.as_ref().map_or(0, |(_, images)| images.len());
        pair.compare()
            .unwrap_or_else(|why| panic!("{}\n{why}", told("the images differ")));
    }
    assert!(
        refused > 0 && removed > 0,
        "{}, seed {seed}: {refused} refused, {removed} removed",
        kind.name()
    );
    println!(
        "{}, seed {seed}: {length} operations, {refused} refused, {removed} images removed",
        kind.name()
    );
}

fn length() -> usize {
    let given = std::env::var("SECATEUR_OPERATIONS").ok();
    given.map_or(100, |text| {
        text.parse().expect("SECATEUR_OPERATIONS is a number")
    })
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_model_answers_as_28_on_overlay2() {
    for kind in Kind::NEWEST_OVERLAY {
        script(kind, 5, length());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_model_answers_as_28_on_the_containerd_store() {
    for kind in Kind::NEWEST_CONTAINERD {
        script(kind, 2, length());
    }
}

#[test]
#[ignore = "needs the lab: run tests/run"]
fn the_model_answers_as_20_on_overlay2() {
    script(Kind::Overlay20, 3, length());
}
