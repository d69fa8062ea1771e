//! The real prune over a small world that is both its engine and its host.

mod scene;
mod short;
mod world;

mod answers;
mod changes;
mod confirm;
mod end;
mod journal;
mod locks;
mod losses;
mod names;
mod slow;
mod untie;
mod went_along;
