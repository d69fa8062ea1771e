//! What was seen before, on disk: the ledger of images, the journal of removals,
//! the reading of the clocks.

pub mod clock;
pub mod journal;
pub mod ledger;
pub mod state;
