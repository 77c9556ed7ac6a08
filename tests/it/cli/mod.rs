//! The commands, as users and scripts see them.
//!
//! Read in this order: [`rendering`] (answers that are made up, as text), [`commands`] (one process on
//! a real engine), [`daemon`] (`up`, with other commands beside it),
//! [`looking`] (lists, waits, events), [`exec`] with [`terminal`] (a pseudo-terminal), [`import`]
//! (out of a Compose file), [`policy`] (what policies say of files), [`grammar`] (what can stand in a spec).

mod commands;
mod daemon;
mod exec;
mod grammar;
mod import;
mod looking;
mod nodes;
mod policy;
mod rendering;
mod terminal;
