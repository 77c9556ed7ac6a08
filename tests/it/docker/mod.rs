//! The Docker driver against a real engine.

mod engine;
mod life;
mod round_trip;
