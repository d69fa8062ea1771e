//! What is wanted: the retention policy. Decides what a policy file means, and
//! refuses one that is not clear. It never looks at a host.

#[cfg(test)]
pub(crate) mod document;
mod file;
mod model;
mod pattern;
mod read;
mod retain;
#[cfg(test)]
pub(crate) mod schema;
mod shape;
#[cfg(test)]
mod tests;
mod unmatched;
mod value;
mod wording;

pub use model::{
    Archive, ArchiveLimits, Compress, DEFAULT, DeployLock, DiskLimits, Guard, LabelRule, Limits,
    Policy, Promised, Pulls, RestoreLimits, RoomLimits, Share,
};
pub use pattern::NamePattern;
pub use retain::{DigestPinned, Retain, Retention, Term};
pub use unmatched::Unmatched;
pub use wording::PolicyError;
