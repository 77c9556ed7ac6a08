//! Going back to an earlier revision, and what operators ask for about rollouts.
//!
//! [`overlay`] puts an earlier revision in the place of the one that specs ask for; what decides
//! when stands in [`plan`](crate::plan), beside the rest of planning. [`ask`] answers operators.

pub mod ask;
pub mod overlay;
