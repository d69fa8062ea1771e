//! The pretended host: what is on it, and what a request does to it. As little
//! as a prune needs; how real engines behave is for the lab to show.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::recorded::Recorded;
use super::wire::Answer;

pub struct World {
    /// Which recording it is.
    pub kind: String,
    pub version: Value,
    /// Whether the heads of answers tell of the engine, as real ones do.
    pub tells: bool,
    /// Without the counts of images and containers, which are counted, unless
    /// `counts` says otherwise.
    pub info: Value,
    /// As GET /images/json lists them.
    pub images: Vec<Value>,
    /// Images as they are listed, word for word, as long as they do not change.
    texts: BTreeMap<String, String>,
    /// What GET /images/<id>/json has beside the names.
    pub inspects: BTreeMap<String, Value>,
    pub containers: Vec<Value>,
    pub services: Vec<Value>,
    pub tasks: Vec<Value>,
    pub build_cache: Value,
    pub events: Vec<Value>,
    /// By seconds, once they were asked for.
    happened_at: Option<i64>,
    /// Tags that images were given: the image, the tag, and when.
    pub tagged: Vec<(String, String, i64)>,
    /// What GET /info counts where that is not the truth: containers, images.
    pub counts: Option<(i64, i64)>,
    /// What the next DELETEs answer instead of doing it.
    pub refuse: Vec<(u16, &'static str)>,
    /// DELETE answers as if it had done it, and did not.
    pub lies: bool,
    /// Somebody gives this image this name at the same moment as we do ours.
    pub rival: Option<(String, String)>,
    /// Listed as untagged, or as deleted, by each DELETE beside the truth.
    pub also: Vec<Value>,
}

impl World {
    pub fn new(recorded: &Recorded, root: &Path) -> World {
        let list = |part| match recorded.part(part, root) {
            Value::Array(list) => list,
            other => panic!("{part} is {other}"),
        };
        World {
            kind: recorded.1.clone(),
            version: recorded.part("version", root),
            tells: true,
            info: recorded.part("info", root),
            images: list("images"),
            texts: BTreeMap::new(),
            inspects: list("inspects")
                .into_iter()
                .map(|image| (text(&image, "Id"), image))
                .collect(),
            containers: list("containers"),
            services: list("services"),
            tasks: list("tasks"),
            build_cache: recorded.part("build_cache", root),
            events: list("events"),
            happened_at: None,
            tagged: Vec::new(),
            counts: None,
            refuse: Vec::new(),
            lies: false,
            rival: None,
            also: Vec::new(),
        }
    }

    /// A host of so many small images, nine in ten without any name. Of each
    /// only the names are kept as values: there may be very many.
    pub fn crowd(recorded: &Recorded, root: &Path, count: usize) -> World {
        let mut world = World::new(recorded, root);
        world.containers.clear();
        world.services.clear();
        world.tasks.clear();
        world.events.clear();
        world.inspects.clear();
        world.images.clear();
        for number in 0..count {
            let id = format!("sha256:{number:064x}");
            let (mut tags, mut digests) = (vec![], vec![]);
            if number % 10 == 0 {
                tags.push(format!("crowd/app-{number}:1"));
                digests.push(format!("crowd/app-{number}@{id}"));
            }
            let text = format!(
                r#"{{"Containers":0,"Created":1714557600,"Id":"{id}","Labels":{{"org.opencontainers.image.revision":"{number:040x}","org.opencontainers.image.source":"https://code.example/app-{number}"}},"ParentId":"","RepoDigests":{digests:?},"RepoTags":{tags:?},"SharedSize":0,"Size":1012}}"#
            );
            let image = json!({"Id": id, "RepoTags": tags, "RepoDigests": digests});
            world.images.push(image);
            world.texts.insert(id, text);
        }
        world
    }

    /// From API 1.52 on the records are left out unless `verbose` asks for them.
    fn build_usage(&self, query: &str) -> Value {
        let mut usage = self.build_cache.clone();
        if let Some(usage) = usage["BuildCacheUsage"].as_object_mut()
            && !asks(query, "verbose")
        {
            usage.remove("Items");
        }
        usage
    }

    fn listing(&self, query: &str) -> Answer {
        let manifests = asks(query, "manifests");
        let mut list = String::from("[");
        for image in &self.images {
            if list.len() > 1 {
                list.push(',');
            }
            match image["Id"].as_str().and_then(|id| self.texts.get(id)) {
                Some(text) => list.push_str(text),
                None if manifests => list.push_str(&image.to_string()),
                None => {
                    let mut image = image.clone();
                    image.as_object_mut().expect("an image").remove("Manifests");
                    list.push_str(&image.to_string());
                }
            }
        }
        list.push_str("]\n");
        raw(200, list.into_bytes())
    }

    pub fn image(&mut self, id: &str) -> &mut Value {
        let mut images = self.images.iter_mut();
        images.find(|image| image["Id"] == id).expect("the image")
    }

    pub fn has(&self, id: &str) -> bool {
        self.images.iter().any(|image| image["Id"] == id)
    }

    pub fn ids(&self) -> Vec<String> {
        self.images.iter().map(|image| text(image, "Id")).collect()
    }

    /// Every name that some image has, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.images.iter().flat_map(names).collect();
        names.sort();
        names
    }

    fn containerd(&self) -> bool {
        self.info["DriverStatus"]
            .to_string()
            .contains("io.containerd.snapshotter")
    }

    pub(super) fn told(&self) -> String {
        if !self.tells {
            return String::new();
        }
        let podman = self.version["Components"].to_string().contains("Podman");
        let server = if podman { "Libpod" } else { "Docker" };
        let api = text(&self.version, "ApiVersion");
        format!("Api-Version: {api}\r\nServer: {server}/0 (linux)\r\n")
    }

    pub(super) fn answer(&mut self, method: &str, path: &str) -> Answer {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        match (method, parts.as_slice()) {
            ("GET", ["version"]) => ok(&self.version),
            ("GET", ["_ping"]) => raw(200, b"OK".to_vec()),
            ("GET", ["info"]) => ok(&self.info()),
            ("GET", ["images", "json"]) => self.listing(query),
            ("GET", ["containers", "json"]) => ok(&json!(self.containers)),
            ("GET", ["services"]) => ok(&json!(self.services)),
            ("GET", ["tasks"]) => ok(&json!(self.tasks)),
            ("GET", ["system", "df"]) => ok(&self.build_usage(query)),
            ("GET", ["events"]) => self.happened(query),
            ("GET", ["images", id, "json"]) => self.inspect(&decode(id)),
            ("POST", ["images", id, "tag"]) => self.tag(&decode(id), query),
            ("DELETE", ["images", name @ ..]) => self.delete(&decode(&name.join("/")), query),
            ("POST", ["images", "create"]) => raw(
                200,
                b"{\"status\":\"Status: Image is up to date\"}\n".to_vec(),
            ),
            _ => error(404, "page not found"),
        }
    }

    fn info(&self) -> Value {
        let mut info = self.info.clone();
        let truth = (self.containers.len(), self.images.len());
        let truth = (
            i64::try_from(truth.0).expect("few"),
            i64::try_from(truth.1).expect("few"),
        );
        let (containers, images) = self.counts.unwrap_or(truth);
        info["Containers"] = json!(containers);
        info["Images"] = json!(images);
        info
    }

    /// What happened to containers, as if it had been a moment ago when that was
    /// asked for the first time; and tags that were given.
    fn happened(&mut self, query: &str) -> Answer {
        let moment = |key: &str| {
            let mut pairs = query.split('&');
            let time = pairs.find_map(|pair| pair.strip_prefix(key))?;
            time.split('.').next()?.parse::<i64>().ok()
        };
        let (since, until) = (moment("since="), moment("until="));
        let when = *self.happened_at.get_or_insert(until.unwrap_or_default());
        let mut lines = Vec::new();
        for (id, tag, at) in &self.tagged {
            if since <= Some(*at) && Some(*at) <= until {
                let actor = json!({"ID": id, "Attributes": {"name": tag}});
                let event = json!({"Type": "image", "Action": "tag", "Actor": actor, "time": at});
                lines.extend(format!("{event}\n").into_bytes());
            }
        }
        if since > Some(when) {
            return raw(200, lines);
        }
        for event in self
            .events
            .iter()
            .filter(|event| event["Type"] == "container")
        {
            let mut event = event.clone();
            event["time"] = json!(when);
            event["timeNano"] = json!(when * 1_000_000_000);
            lines.extend(format!("{event}\n").into_bytes());
        }
        raw(200, lines)
    }

    fn inspect(&self, id: &str) -> Answer {
        // Podman lists ids without their algorithm, and takes both.
        let is = |image: &&Value| {
            let own = image["Id"].as_str().unwrap_or_default();
            own == id || id.strip_prefix("sha256:") == Some(own)
        };
        let Some(image) = self.images.iter().find(is) else {
            return error(404, &format!("No such image: {id}"));
        };
        let mut inspect = match self.inspects.get(id) {
            Some(inspect) => inspect.clone(),
            None => json!({"Id": id, "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"}}),
        };
        for key in ["RepoTags", "RepoDigests"] {
            let mut list = image[key].as_array().cloned().unwrap_or_default();
            list.retain(|name| !name.as_str().is_some_and(|name| name.starts_with("<none>")));
            inspect[key] = json!(list);
        }
        ok(&inspect)
    }

    /// This image is going to change: what is listed of it is no longer as it was.
    fn unfold(&mut self, id: &str) {
        if let Some(text) = self.texts.remove(id) {
            *self.image(id) = serde_json::from_str(&text).expect("JSON");
        }
    }

    fn tag(&mut self, id: &str, query: &str) -> Answer {
        let value = |key: &str| {
            let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let found = pairs
                .filter(|(name, _)| *name == key)
                .map(|(_, value)| decode(value))
                .next();
            found.unwrap_or_default()
        };
        let name = format!("{}:{}", value("repo"), value("tag"));
        if !self.has(id) {
            return error(404, &format!("No such image: {id}"));
        }
        self.unfold(id);
        for image in &mut self.images {
            drop_from(image, "RepoTags", &name);
        }
        let made_up = self.containerd().then(|| format!("{}@{id}", value("repo")));
        let image = self.image(id);
        add_to(image, "RepoTags", &name);
        if let Some(made_up) = made_up {
            // Tagging a dangling image takes the engine's own record away.
            image["RepoDigests"] = json!([]);
            add_to(image, "RepoDigests", &made_up);
        }
        if let Some((_, name)) = self.rival.take_if(|(rival, _)| rival == id) {
            add_to(self.image(id), "RepoTags", &name);
        }
        raw(201, Vec::new())
    }

    /// By name alone, not forced, without parents: anything else is not what
    /// secateur may ask for, and does not work here.
    fn delete(&mut self, name: &str, query: &str) -> Answer {
        let asked = |pair: &str, or: &str| query.split('&').any(|p| p == pair || p == or);
        if !asked("noprune=true", "noprune=1") || asked("force=true", "force=1") {
            return error(400, "a test wants noprune and no force");
        }
        if !self.refuse.is_empty() {
            let (status, why) = self.refuse.remove(0);
            return error(status, why);
        }
        let has = |image: &&mut Value| names(image).iter().any(|own| own == name);
        let containers = self.containers.clone();
        let made_up_too = self.containerd();
        let Some(image) = self.images.iter_mut().find(has) else {
            return error(404, &format!("No such image: {name}"));
        };
        let id = text(image, "Id");
        let repository = |name: &str| {
            name.split('@')
                .next()
                .unwrap_or_default()
                .rsplit_once(':')
                .map_or_else(
                    || name.split('@').next().unwrap_or_default().to_owned(),
                    |(repo, tag)| {
                        if tag.contains('/') {
                            name.to_owned()
                        } else {
                            repo.to_owned()
                        }
                    },
                )
        };
        let made_up = |other: &String| {
            other.contains('@')
                && !name.contains('@')
                && other.split('@').next() == Some(&*repository(name))
        };
        let last = names(image)
            .iter()
            .all(|other| other == name || made_up(other));
        let user = containers
            .iter()
            .find(|container| container["ImageID"] == id.as_str());
        if let (true, Some(user)) = (last, user) {
            let user = text(user, "Id");
            return error(
                409,
                &format!(
                    "conflict: unable to remove repository reference \"{name}\" (must force) - container {} is using its referenced image {}",
                    &user[..12],
                    &id[7..19]
                ),
            );
        }
        let mut items = vec![json!({"Untagged": name})];
        if last {
            items.push(json!({"Deleted": id}));
        }
        items.extend(self.also.iter().cloned());
        if !self.lies {
            drop_from(image, "RepoTags", name);
            drop_from(image, "RepoDigests", name);
            if let (true, Some(list)) = (made_up_too, image["RepoDigests"].as_array_mut()) {
                list.retain(|other| {
                    !other
                        .as_str()
                        .is_some_and(|other| made_up(&other.to_owned()))
                });
            }
            if last {
                self.images.retain(|image| image["Id"] != id.as_str());
            }
        }
        ok(&json!(items))
    }
}

/// `key=1`, among others.
fn asks(query: &str, key: &str) -> bool {
    query
        .split('&')
        .any(|pair| pair.strip_prefix(key) == Some("=1"))
}

fn names(image: &Value) -> Vec<String> {
    let lists = ["RepoTags", "RepoDigests"].into_iter();
    let entries = lists.flat_map(|key| image[key].as_array().cloned().unwrap_or_default());
    let names = entries.map(|name| name.as_str().expect("a name").to_owned());
    names.filter(|name| !name.starts_with("<none>")).collect()
}

fn drop_from(image: &mut Value, key: &str, name: &str) {
    if let Some(list) = image[key].as_array_mut() {
        list.retain(|other| other != name);
    }
}

fn add_to(image: &mut Value, key: &str, name: &str) {
    if !image[key].is_array() {
        image[key] = json!([]);
    }
    let list = image[key].as_array_mut().expect("a list");
    list.retain(|other| {
        !other
            .as_str()
            .is_some_and(|other| other.starts_with("<none>"))
    });
    list.push(json!(name));
}

pub fn text(value: &Value, key: &str) -> String {
    value[key]
        .as_str()
        .unwrap_or_else(|| panic!("no {key} in {value}"))
        .to_owned()
}

fn ok(value: &Value) -> Answer {
    raw(200, format!("{value}\n").into_bytes())
}

fn error(status: u16, why: &str) -> Answer {
    raw(status, json!({"message": why}).to_string().into_bytes())
}

fn raw(status: u16, body: Vec<u8>) -> Answer {
    Answer {
        status,
        body,
        kind: "application/json",
        told: String::new(),
    }
}

/// Percent-decodes.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits: String = rest.by_ref().take(2).map(char::from).collect();
        bytes.push(u8::from_str_radix(&digits, 16).expect("two hex digits"));
    }
    String::from_utf8(bytes).expect("UTF-8")
}
