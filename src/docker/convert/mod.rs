//! Our model and the engine's, both directions. Pure: no call is made here.
//!
//! Reading order: `labels` (who a container is), `create` and `update` (what we ask for),
//! `observe` (what is read back) with `ports`, `mounts`, `limits`, `time`, and
//! `more` for what most containers leave out.

mod apart;
mod create;
mod health;
pub mod labels;
mod limits;
mod more;
mod mounts;
mod observe;
mod ports;
mod restart;
mod time;

pub(super) use create::{container_body, volume_body};
pub(super) use limits::update_body;
pub(super) use more::{EngineDefaults, endpoint};
pub(super) use observe::{
    agrees, observed_container, observed_image, observed_networks, observed_volume,
};
pub(super) use time::event_time;
