//! What containers use, over time: amounts by replica, in buckets that get coarser with age.
//!
//! Read in this order: [`target`] (who is sampled), [`counters`] (one sample of a container), [`amounts`] (what was used between
//! two of them), [`meter`] (from samples to amounts, restarts and gaps included), [`bucket`] (which
//! span of time an amount is booked in, and when it moves into a coarser one), [`ledger`] (booking and
//! ageing, wherever buckets are kept), [`account`] (sums for people and bills).

pub mod account;
pub mod amounts;
pub mod bucket;
pub mod counters;
pub mod ledger;
pub mod meter;
pub mod target;

pub use self::account::{Account, By, Line, Query, Tally};
pub use self::amounts::Amounts;
pub use self::bucket::{Bucket, Level};
pub use self::counters::Counters;
pub use self::ledger::{Block, MemoryShelf, Pending, Shelf};
pub use self::meter::{Flavor, Life, Mark, Marks, Meter, Series, Sighting};
pub use self::target::{Target, targets};
