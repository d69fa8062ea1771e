//! Whether every layer of an image has its digest: exports the image and hashes everything. (A
//! graphdriver engine first writes a temporary copy.)

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
pub use store::layers_here;

#[cfg(test)]
mod testing;
