//! The nouns: what is declared, what is seen, what is remembered, and the snapshot of all three.
//!
//! Read in this order: [`ids`] (how things are named), [`quantity`] and [`time`] (how they are
//! measured), [`spec`] (what a user declares), [`desired`] (the set of all declarations),
//! [`observed`] (what the nodes hold), [`record`] (what only windlass knows), [`fence`] (what may talk to what), [`groups`] (what projects may use on a node), [`journal`] (the
//! entries that change records), [`snapshot`] (all of it at one instant). [`policies`] are their texts, [`subnet`] counts
//! addresses, [`glob`] is a pattern of names, and [`sparse`] and [`few`] keep what is rarely said, or said once or twice,
//! from taking more memory than it needs.

pub mod cordon;
pub mod cpuset;
pub mod desired;
pub mod fence;
pub mod few;
pub mod glob;
pub mod groups;
pub mod health;
pub mod ids;
pub mod journal;
pub mod observed;
pub mod policies;
pub mod quantity;
pub mod record;
pub mod rollout;
pub mod snapshot;
pub mod sparse;
pub mod spec;
pub mod subnet;
pub mod suspend;
pub mod time;
pub mod verdicts;
