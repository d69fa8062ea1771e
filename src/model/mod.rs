//! What exists on one host, as plain values: images, containers, services, the engine. `engine`
//! and `host` fill these in and serde writes and reads them, so that a saved host, a test
//! fixture and a live engine are the same to the rest of the program. It decides what counts as
//! known; it never asks an engine.

mod at_work;
mod bytes;
pub mod conditions;
mod container;
mod engine;
mod event;
mod id;
mod image;
mod inventory;
pub(crate) mod kinds;
pub mod labels;
pub mod lost;
pub mod names;
pub mod nearest;
mod observed;
mod pace;
pub mod reference;
pub mod secret;
pub mod text;
pub mod time;

pub use at_work::{AtWork, Deploy, ServiceImage, Spec, Swarm};
pub use bytes::Bytes;
pub use container::Container;
pub use engine::{EngineFacts, Measure, Store};
pub use event::{Event, EventKind};
pub use id::{BadImageId, ImageId};
pub use image::{Dates, Image, Incomplete};
pub use inventory::Inventory;
pub use observed::Observed;
pub use pace::Pace;
