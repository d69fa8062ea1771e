//! MESSAGE_ID of each kind of entry. An id never gets another meaning.

/// How a prune ended.
pub const PRUNED: &str = "65707a70ceda4b28a1233fafb47abcc7";
/// An image was removed.
pub const REMOVED: &str = "501e5e13f9014ed6910d2c954d3cffa4";
/// An image of the plan stayed: skipped, failed, or not known.
pub const STAYED: &str = "03d5ae94d66a4ccbb7c42e1e47b2f644";
/// Something went that the plan did not name.
pub const LOST: &str = "5d8a5295b88d4f1dbc9d23424d7ac1d4";
/// A refusal.
pub const REFUSED: &str = "fa31eb2e308b4869951991da572612a4";
/// How a verify-cache ended.
pub const VERIFIED: &str = "5f01f812bd3642d7a7a0d2f0f23fbdf3";
/// A promised image, or the store, is not as it should be.
pub const PROMISE: &str = "ee1a88bed34d44d896811c63c345bd98";
/// A promised image was restored, or its tag was set again.
pub const RESTORED: &str = "c47dd5c41f0b4d69a1c8f1a52a2a0b7e";
/// A command ended without a report.
pub const FAULT: &str = "dc3fd1e746ee469e90616a0d85398bb0";
/// A note: a stale sign of a pull, a ledger set aside.
pub const NOTE: &str = "58be57eaecc647509ddfaeadf02626b9";
