//! What a container that failed printed last: read once after each end, kept in memory, and shown.
//! It is never written down, since what programs print may hold secrets.

use super::{Effect, Engine};
use crate::model::health::LastLines;
use crate::model::ids::{ContainerId, ObjectId, ReplicaKey};
use crate::model::observed::ContainerState;
use crate::model::snapshot::Snapshot;
use crate::model::spec::Power;

/// So many lines are kept: what a program says as it dies stands in its last words.
const LAST_LINES_MAX: u32 = 5;

/// So many bytes of them are kept, all lines together: thousands of crash loops fit in memory, and
/// each on a screen.
const LAST_BYTES_MAX: usize = 600;

impl Engine {
    /// Asks for the last lines of those that failed since, and forgets those that are gone.
    pub(super) fn read_last_lines(&mut self) {
        if !self.acts {
            return;
        }
        let Snapshot { desired, in_flight, containers, last_lines, .. } = &mut self.snapshot;
        last_lines.retain(|replica, _| containers.contains_key(replica));
        for (replica, located) in containers.iter() {
            let newest = located.iter().max_by_key(|at| at.container.identity.incarnation);
            let Some(at) = newest else { continue };
            let ContainerState::Exited(exit) = &at.container.state else { continue };
            let declared = desired.instances.get(&replica.instance);
            let shall_run = declared.is_some_and(|one| one.spec.power == Power::Running);
            // What a step of ours ended did not fail.
            let is_ours = || in_flight.contains_key(&ObjectId::Replica(replica.clone()));
            if exit.code == 0 || !shall_run || is_ours() {
                continue;
            }
            let known = last_lines.get(replica);
            if known.is_some_and(|known| {
                known.container == at.id && known.finished_at == exit.finished_at
            }) {
                continue;
            }
            // What it printed before an earlier end is better than nothing until this one comes.
            let lines = known.filter(|known| known.container == at.id);
            let lines = lines.map(|known| known.lines.clone()).unwrap_or_default();
            let (container, finished_at) = (at.id.clone(), exit.finished_at);
            self.effects.push(Effect::ReadLog {
                replica: replica.clone(),
                node: at.node.clone(),
                container: container.clone(),
                lines: LAST_LINES_MAX,
            });
            last_lines.insert(replica.clone(), LastLines { container, finished_at, lines });
        }
    }

    /// The last lines of a container came.
    pub(super) fn log_read(
        &mut self,
        replica: &ReplicaKey,
        container: &ContainerId,
        lines: Vec<String>,
    ) {
        let known = self.snapshot.last_lines.get_mut(replica);
        if let Some(known) = known.filter(|known| known.container == *container) {
            known.lines = shortened(lines);
        }
    }
}

/// As many of the last lines as may be kept, each cut to what is left for it.
fn shortened(lines: Vec<String>) -> Vec<String> {
    let mut left = LAST_BYTES_MAX;
    let mut kept: Vec<String> = Vec::new();
    for mut line in lines.into_iter().rev().take(LAST_LINES_MAX as usize) {
        // What moves a terminal's cursor is not shown on one.
        line.retain(|c| !c.is_control());
        if line.len() > left {
            let end = (0..=left).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
            line.truncate(end);
            left = 0;
        } else {
            left -= line.len();
        }
        if !line.is_empty() {
            kept.push(line);
        }
        if left == 0 {
            break;
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_few_and_short() {
        let all: Vec<String> = (0..20).map(|n| format!("line {n}")).collect();
        assert_eq!(shortened(all).join("|"), "line 15|line 16|line 17|line 18|line 19");
        let long = vec!["é".repeat(1000), "\u{1b}[2Jend".to_owned()];
        let kept = shortened(long);
        assert_eq!(kept[1], "[2Jend");
        assert!(kept[0].len() <= LAST_BYTES_MAX && kept[0].starts_with('é'));
        assert!(shortened(vec![String::new()]).is_empty());
    }
}
