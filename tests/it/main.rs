//! Integration tests: one binary, so that one engine serves them all.

#[macro_use]
mod lab;
mod cli;
mod docker;
mod emulated;
mod fuzz;
mod kernel;
mod tidy;
mod walk;
