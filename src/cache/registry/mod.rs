//! One registry, asked as little as possible: whether it takes the credentials,
//! which digest a name has, and for manifests and blobs. It decides nothing about images.
//!
//! A registry may redirect to another host. What that host asks for says nothing
//! of the registry itself: see [`authorization`].

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
