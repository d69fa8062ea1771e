//! The real prune over a small world, sentence by sentence.

mod scene;
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
