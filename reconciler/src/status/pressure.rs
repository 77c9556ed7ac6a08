//! What is run short of, as conditions.

use super::{Condition, Truth};
use crate::model::ids::{Key, Name};
use crate::model::snapshot::Snapshot;
use crate::pressure::{Pressure, PressureNote};

/// What replicas of an instance are short of, one condition a kind.
#[must_use]
pub fn of_instance(snapshot: &Snapshot, key: &Key) -> Vec<Condition> {
    let mut found: Vec<Condition> = Vec::new();
    for ((replica, node), pressures) in &snapshot.pressures {
        let Some(replica) = replica.as_ref().filter(|replica| replica.instance == *key) else {
            continue;
        };
        for (pressure, note) in pressures {
            let message = format!("{}/{} on {node}: {}", key.name, replica.ordinal, note.message);
            match found.iter_mut().find(|one| one.kind == pressure.condition()) {
                Some(known) => {
                    known.message = format!("{}; {message}", known.message);
                    known.last_transition_time = known.last_transition_time.max(Some(note.since));
                }
                None => found.push(condition(*pressure, note, message)),
            }
        }
    }
    found
}

/// What a node as a whole is short of.
#[must_use]
pub fn of_node(snapshot: &Snapshot, node: &Name) -> Vec<Condition> {
    let pressures = snapshot.pressures.get(&(None, node.clone())).into_iter().flatten();
    pressures.map(|(pressure, note)| condition(*pressure, note, note.message.clone())).collect()
}

fn condition(pressure: Pressure, note: &PressureNote, message: String) -> Condition {
    Condition {
        kind: pressure.condition().to_owned(),
        status: Truth::True,
        reason: "Observed".to_owned(),
        message,
        last_transition_time: Some(note.since),
    }
}
