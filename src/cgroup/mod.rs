//! Control groups: what the kernel lets projects and containers use, on the node's own host.
//!
//! Read in this order: [`hierarchy`] (where the groups are), [`sample`] (what containers use).

pub mod hierarchy;
pub mod sample;
