//! Images, containers, deploys and builds, asked for at the same time.

use std::collections::BTreeMap;

use futures_util::future::{join, join4};

use crate::engine::allowance::Allowance;
use crate::engine::builds::BuildCache;
use crate::engine::error::EngineError;
use crate::engine::info::Info;
use crate::engine::reader::Reader;
use crate::model::{AtWork, Container, Image, ImageId, Swarm};

#[derive(Debug)]
pub struct Contents {
    pub images: BTreeMap<ImageId, Image>,
    pub containers: Vec<Container>,
    pub at_work: AtWork,
}

impl Reader {
    /// Reads everything that a decision needs except the events. Ask for those afterwards,
    /// because an event during the reading may be in none of the lists.
    pub async fn contents(&self, info: &Info) -> Result<Contents, EngineError> {
        let allowance = Allowance::of(info);
        let (images, containers, swarm, builds) = Box::pin(join4(
            self.all_images(info, &allowance),
            self.all_containers(info, &allowance),
            self.all_of_swarm(info, &allowance),
            self.build_cache(),
        ))
        .await;
        let builds = builds?;
        Ok(Contents {
            images: images?,
            containers: containers?,
            at_work: at_work(swarm?, builds),
        })
    }

    /// Deploys and builds under way, and the images of Swarm's services.
    pub async fn at_work(&self, info: &Info) -> Result<AtWork, EngineError> {
        let (swarm, builds) = join(self.swarm(info), self.build_cache()).await;
        let builds = builds?;
        Ok(at_work(swarm?, builds))
    }
}

fn at_work(swarm: Swarm, builds: BuildCache) -> AtWork {
    AtWork {
        swarm,
        builds: builds.in_use,
        built_here: builds.any,
    }
}
