//! What is run short of: on record, and in the snapshot for conditions.

use super::Engine;
use crate::model::ids::{Name, ReplicaKey};
use crate::model::journal::Entry;
use crate::pressure::{News, PressureNote};

impl Engine {
    /// Somebody began to be short of something, or is so no longer. Nothing is planned from it.
    pub(super) fn pressed(&mut self, all: Vec<(Option<ReplicaKey>, Name, News)>) {
        let now = self.snapshot.now;
        for (replica, node, News { pressure, message }) in all {
            let whose = (replica.clone(), node.clone());
            let going_on = self.snapshot.pressures.entry(whose.clone()).or_default();
            match &message {
                Some(message) => {
                    let since = going_on.get(&pressure).map_or(now, |note| note.since);
                    going_on.insert(pressure, PressureNote { since, message: message.clone() });
                }
                None => {
                    going_on.remove(&pressure);
                }
            }
            if going_on.is_empty() {
                self.snapshot.pressures.remove(&whose);
            }
            self.record(Entry::Pressed { replica, node, pressure, message });
        }
        self.flush();
    }
}
