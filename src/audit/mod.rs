//! Where changes come from: the Git checkout that the specs directory is, if it is one. It is read from
//! files where that is enough, and `git` is asked only when something changed.

mod checkout;
mod git;

pub use checkout::Checkouts;
