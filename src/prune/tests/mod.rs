//! The real prune with a small fake world that is both its engine and its host.

mod scene;
mod short;
mod world;

mod answers;
mod changes;
mod confirm;
mod earlier_runs;
mod end;
mod journal;
mod locks;
mod losses;
mod names;
mod slow;
mod together;
mod untie;
mod went_along;
