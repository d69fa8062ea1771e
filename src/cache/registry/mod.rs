//! Asks one registry with as few requests as possible: whether it accepts the credentials, for
//! the digest of a name, for manifests and blobs. It decides nothing about images.
//!
//! A registry may redirect to another host, whose challenge says nothing about the registry
//! itself: see [`authorization`].

mod admission;
mod authorization;
mod challenge;
mod client;
mod cost;
mod digest;
mod fetch;
mod probe;
#[cfg(test)]
pub(crate) mod served;
mod token;
mod transport;
mod upstream;

pub use admission::Admission;
pub use client::Registry;
pub use cost::Cost;
pub use fetch::{BlobBody, Manifest};
pub use transport::Transport;
pub use upstream::Upstream;

#[cfg(test)]
mod tests;
