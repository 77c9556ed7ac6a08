//! Policies: scripts, what they see, and what becomes of what they say.

mod evaluator;
mod hostile;
mod lab;
mod library;
mod sets;
mod seventeen;
mod traps;
mod views;
