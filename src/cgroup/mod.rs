//! Control groups: what the kernel lets projects and containers use, on the node's own host.
//!
//! [`Governed`] stands before a node's driver. It reads what the kernel holds in place of what the
//! engine believes, sets what the engine has no word for, and hears of what another hand writes. Read in
//! this order: [`hierarchy`] (where the groups are), [`files`] (how they are read and written), one
//! controller a file ([`cpu`], [`memory`], [`pids`], [`cpuset`], [`io`]: values to files and back),
//! [`limits`] (those of a project, and of a container), `remains` (groups of containers that are gone), [`Governed`] (who asks for all that), then
//! [`sample`] (what containers use).

pub mod cpu;
pub mod cpuset;
mod ear;
pub mod files;
#[cfg(test)]
pub(crate) mod fixture;
mod governed;
pub mod hierarchy;
pub mod io;
pub mod limits;
pub mod memory;
pub mod pids;
mod reach;
mod remains;
pub mod sample;

pub use governed::Governed;
