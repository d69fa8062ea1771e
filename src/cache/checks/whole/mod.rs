//! Whether every layer of an image is what it says: exports the image and hashes all of it.
//! (A graphdriver engine writes a temporary copy of its own before it sends.)

mod check;
pub mod compare;
mod containerd;
pub mod export;
mod failed;
mod graphdriver;
pub mod read;
pub mod store;
pub mod tar;
pub mod verdict;

pub use check::check;

#[cfg(test)]
mod testing;
