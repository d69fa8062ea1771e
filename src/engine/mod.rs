//! The engine: the only room that names bollard and speaks HTTP to it. It turns an engine's
//! answers into the model's values, and sentinels into Unknown. It never decides. [`Reader`]
//! can change nothing. [`Remover`], which only a cleared plan leads to, can name one image,
//! drop one name, and put a name back. [`Puller`] can pull one name, [`Tagger`] set one tag,
//! [`Loader`] load one image from files and name it.

mod address;
mod allowance;
mod builds;
mod connect;
mod connection;
mod containers;
mod contents;
mod context;
mod deploys;
mod descriptor;
mod digest_names;
mod environment;
mod error;
mod events;
mod export;
mod held;
mod images;
mod info;
mod inspect;
mod items;
mod labelled;
mod list;
mod load;
mod names;
mod platform;
mod pull;
mod put_back;
mod reader;
mod registries;
mod remove;
mod socket;
mod sparing;
mod stream;
mod swarm;
mod tag;
mod tar;
mod tasks;
mod upload;

pub use address::Address;
pub use contents::Contents;
pub use descriptor::Descriptor;
pub use environment::{AddressError, Environment};
pub use error::{EngineError, Failure};
pub use events::{Claim, ImageAction, ImageEvent};
pub use export::Export;
pub use held::{Completeness, StoredContent};
pub use info::Info;
pub use inspect::{Described, Inspected, Leads};
pub use labelled::Labelled;
pub use load::{Loader, NotLoaded};
pub use platform::Platform;
pub use pull::Puller;
pub use reader::Reader;
pub use registries::{Insecure, host_and_port};
pub use remove::{Dropped, Remover};
pub use stream::{Amount, End, Lines as PullLines, Message as PullMessage, Pulled};
pub use swarm::wanted_by_swarm;
pub use tag::Tagger;
pub use upload::{Open, Part};
