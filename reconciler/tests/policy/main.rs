//! Policies: scripts, what they see, and what becomes of what they say.

mod hostile;
mod lab;
mod traps;
mod views;
