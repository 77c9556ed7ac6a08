//! A look into a file that may be anything.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::{Contents, Fault, Platform, Pulse, Stall, look_into};

/// As [`examine`](super::examine) looks, without its thread.
pub(in super::super) fn look_at(file: File, platform: &Platform) {
    let stall = Arc::new(Stall::new(Duration::MAX));
    let pulse = Pulse { stall, given_up: Arc::new(AtomicBool::new(false)) };
    match look_into(file, platform, &pulse) {
        Ok(Contents { id, prefix }) => {
            assert!(id.is_some() || prefix.is_empty(), "what is put before a file is of an image");
        }
        Err(Fault(text)) => assert!(!text.is_empty(), "what is wrong is said"),
    }
}
