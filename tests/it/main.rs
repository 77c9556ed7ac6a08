//! Integration tests: one binary, so that one engine serves them all.

mod docker;
