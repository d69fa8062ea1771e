//! What races with the janitor: a tag or a container, aimed at an image whose
//! turn it is or comes soon.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::turns::Turns;
use crate::lab::image::{noise, unique};
use crate::lab::{Engine, Response};

/// What is done to an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// It gets a tag that no other image has.
    Tag,
    /// A container is created from it.
    Create,
    /// A container is created that has it mounted.
    Mount,
}

/// The image of the containers that mount others.
pub const BASE: &str = "base:v1";

/// One try, and what the engine answered.
#[derive(Debug)]
pub struct Shot {
    pub image: String,
    /// The tag, or the container's id.
    pub what: String,
    pub answer: Answer,
    /// It had to wait for the shared lock.
    pub waited: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 201: from now on the image is wanted.
    Acknowledged,
    /// 404: the image was gone before.
    Late,
    /// Anything else: nothing was promised.
    Refused(u16),
}

/// A racer shoots until it is over.
pub struct Racer<'a> {
    pub engine: &'a Engine,
    pub act: Act,
    /// Candidates, in the order of their removal.
    pub order: &'a [String],
    /// How many images ahead of the turn it aims at most.
    pub ahead: usize,
    /// Taken shared around each try, as a deploy does.
    pub lock: Option<&'a Path>,
}

impl Racer<'_> {
    pub fn run(&self, turns: &Turns) -> Vec<Shot> {
        let place: BTreeMap<&str, usize> = self.order.iter().map(|id| &**id).zip(0..).collect();
        let mut shots: Vec<Shot> = Vec::new();
        while let Some((turn, pace)) = turns.next() {
            let Some(place) = place.get(&*turn) else {
                continue;
            };
            let ahead = usize::from(noise(1)[0]) % (self.ahead + 1);
            let Some(image) = self.order.get(place + ahead) else {
                continue;
            };
            // The aim: anywhere within the time that one removal takes.
            let part = u32::from(noise(1)[0]);
            std::thread::sleep(pace.min(Duration::from_millis(20)) * part / 256);
            shots.push(self.shoot(image));
        }
        shots
    }

    fn shoot(&self, image: &str) -> Shot {
        let mut waited = false;
        let held = self.lock.map(|path| {
            let file = File::open(path).expect("the shared lock");
            match file.try_lock_shared() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    waited = true;
                    file.lock_shared().expect("the shared lock");
                }
                Err(TryLockError::Error(error)) => panic!("the shared lock: {error}"),
            }
            file
        });
        let tag = format!("raced:{}", unique());
        let response = match self.act {
            Act::Tag => self.post(&format!("/images/{image}/tag?repo={tag}"), None),
            Act::Create => self.create(&json!({"Image": image, "Cmd": ["/nothing"]})),
            Act::Mount => {
                let mounts = json!([{"Type": "image", "Source": image, "Target": "/mounted"}]);
                let host = json!({"Mounts": mounts});
                self.create(&json!({"Image": BASE, "Cmd": ["/nothing"], "HostConfig": host}))
            }
        };
        drop(held);
        let answer = match response.status {
            201 => Answer::Acknowledged,
            404 => Answer::Late,
            status => Answer::Refused(status),
        };
        let what = match (self.act, answer) {
            (Act::Create | Act::Mount, Answer::Acknowledged) => {
                let id = response.json()["Id"].as_str().map(str::to_owned);
                id.expect("a container's id")
            }
            _ => tag,
        };
        Shot {
            image: image.to_owned(),
            what,
            answer,
            waited,
        }
    }

    fn create(&self, body: &Value) -> Response {
        self.post("/containers/create", Some(body))
    }

    fn post(&self, path: &str, body: Option<&Value>) -> Response {
        self.engine.api("POST", path, body)
    }
}
