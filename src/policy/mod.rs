//! What is wanted: the retention policy. Decides what a policy file means, and
//! refuses one that is not clear. It never reads a host.

#[cfg(test)]
pub(crate) mod document;
mod file;
mod pattern;
mod read;
mod retain;
#[cfg(test)]
pub(crate) mod schema;
mod shape;
#[cfg(test)]
mod tests;
mod unmatched;
mod valid;
mod value;
mod wording;

pub use pattern::NamePattern;
pub use retain::{DigestPinned, Effective, Retain, Retention};
pub use unmatched::Unmatched;
pub use valid::{
    Archive, ArchiveLimits, Compress, DEFAULT, DeployLock, DiskLimits, Guard, LabelRule, Limits,
    Policy, Promised, Pulls, RestoreLimits, RoomLimits, Share,
};
pub use wording::PolicyError;
