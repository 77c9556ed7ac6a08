//! The Docker driver against real engines.

mod archives;
mod engine;
mod events;
mod images;
mod life;
mod logs;
mod loss;
mod measure;
mod registry;
mod round_trip;
mod signatures;
