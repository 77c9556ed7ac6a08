//! What is recorded becomes durable, many entries at once; and what is done when it does not.

use super::chain::ChainState;
use super::{Effect, Engine, Happening, JOURNAL_RETRY_AFTER};
use crate::model::ids::ObjectId;
use crate::model::journal::Stamped;

impl Engine {
    /// Has all that waits made durable. Each call is one commit, also an empty one.
    pub(super) fn flush(&mut self) {
        // Commits that were under way when one before them failed come back too, since they do not
        // stand next in the row. Until then nobody knows what has to be sent again.
        if !self.acts || self.journal_drains {
            return;
        }
        let entries = std::mem::take(&mut self.riding);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.commits_under_way += 1;
        self.uncommitted.extend(entries.iter().map(|entry| (ticket, entry.clone())));
        self.effects.push(Effect::Commit { ticket, entries });
    }

    pub(super) fn committed(&mut self, ticket: u64, result: Result<(), String>) {
        self.commits_under_way = self.commits_under_way.saturating_sub(1);
        let drained = self.journal_drains;
        self.journal_drains &= self.commits_under_way > 0;
        match result {
            Ok(()) => {
                if !drained && self.journal_error.take().is_some() {
                    self.effects.push(Effect::Tell(Happening::Journal { error: None }));
                    self.want_round();
                }
                self.uncommitted.retain(|(of, _)| *of > ticket);
                let ready: Vec<ObjectId> = self
                    .chains
                    .iter()
                    .filter(|(_, chain)| chain.waits_for(ticket))
                    .map(|(object, _)| object.clone())
                    .collect();
                for object in ready {
                    self.next_step(&object);
                }
            }
            Err(error) => {
                // If the journal cannot be written, nothing is done.
                let waiting: Vec<ObjectId> = self
                    .chains
                    .iter()
                    .filter(|(_, chain)| matches!(chain.state, ChainState::Committing { .. }))
                    .map(|(object, _)| object.clone())
                    .collect();
                for object in waiting {
                    self.forget_chain(&object);
                }
                let lost = std::mem::take(&mut self.uncommitted);
                let mut entries: Vec<Stamped> = lost.into_iter().map(|(_, entry)| entry).collect();
                entries.append(&mut self.riding);
                self.riding = entries;
                if self.journal_error.as_ref() != Some(&error) {
                    let error = Some(error.clone());
                    self.effects.push(Effect::Tell(Happening::Journal { error }));
                }
                self.journal_error = Some(error);
                self.journal_drains = self.commits_under_way > 0;
                self.round_at = Some(self.snapshot.now + JOURNAL_RETRY_AFTER);
                self.tell_wake();
            }
        }
    }
}
