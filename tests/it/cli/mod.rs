//! The commands, as users and scripts see them.
//!
//! Read in this order: [`rendering`] (answers that are made up, as text), [`commands`] (one process on
//! a real engine), [`daemon`] (`up`, with other commands beside it),
//! [`looking`] (lists, waits, events), [`exec`] with [`terminal`] (a pseudo-terminal).

mod commands;
mod daemon;
mod exec;
mod looking;
mod rendering;
mod terminal;
