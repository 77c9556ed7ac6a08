//! What is put on record for those who audit, and changes nothing of what is planned.

use super::Engine;
use crate::model::journal::{Checkout, Entry, PolicySetNote, VerdictNote};

impl Engine {
    /// Puts an entry on record.
    pub(super) fn note(&mut self, entry: Entry, at_once: bool) {
        self.record(entry);
        if at_once {
            self.flush();
        }
    }

    /// The specs directory stands at this commit. It rides on the next commit of the journal: what
    /// changes with it stands behind it.
    pub(super) fn stands_at(&mut self, checkout: Option<Checkout>) {
        if self.snapshot.records.guard.checkout != checkout {
            self.record(Entry::Checkout { checkout });
        }
    }

    /// Takes what policy said, of a set of policies and of the objects that were looked at. What
    /// changed is put on record with the next commit; all else is there already.
    pub fn judged(&mut self, set: &PolicySetNote, verdicts: Vec<VerdictNote>) {
        for entry in self.told.news(set, verdicts) {
            self.record(entry);
        }
    }

    /// A decision about a new spec, with the place of that spec.
    pub(super) fn with_place(&self, mut decision: Entry) -> Entry {
        if let Entry::Declared { instance, from, .. } = &mut decision {
            let declared = self.snapshot.desired.instances.get(instance);
            *from = declared.map(|declared| declared.source.to_string().into());
        }
        decision
    }

    /// The number of the entry that was recorded last.
    #[must_use]
    pub fn last_recorded(&self) -> u64 {
        self.next_seq - 1
    }

    /// Why the journal cannot be written, if it cannot.
    #[must_use]
    pub fn journal_error(&self) -> Option<&str> {
        self.journal_error.as_deref()
    }

    /// Whether all entries up to this one are durable.
    #[must_use]
    pub fn is_durable_to(&self, seq: u64) -> bool {
        let waits = |of: u64| of <= seq;
        !self.uncommitted.iter().any(|(_, stamped)| waits(stamped.seq))
            && !self.riding.iter().any(|stamped| waits(stamped.seq))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::engine::{Effect, Event, Operator};
    use crate::model::ids::Digest;
    use crate::model::journal::VerdictOutcome;
    use crate::model::record::Records;
    use crate::model::snapshot::Config;
    use crate::model::spec::Endpoint;
    use crate::model::spec::policy::{Level, Point};
    use crate::model::time::Timestamp;
    use crate::policy::Policies;

    fn engine() -> Engine {
        let endpoint = Endpoint::Unix("/e".to_owned());
        let (config, records) = (Config::default(), Records::default());
        Engine::new(config, records, 0, Policies::allow_all(), endpoint)
    }

    fn asked(verb: &str) -> Entry {
        Entry::Asked { by: "ops@host".to_owned(), verb: verb.to_owned(), what: None }
    }

    fn committed(effects: Vec<Effect>) -> Vec<(u64, Vec<Entry>)> {
        let commits = effects.into_iter().filter_map(|effect| {
            let Effect::Commit { ticket, entries } = effect else { return None };
            Some((ticket, entries.into_iter().map(|stamped| stamped.entry).collect()))
        });
        commits.collect()
    }

    #[test]
    fn a_note_is_durable_before_it_counts_and_wants_no_round() {
        let mut engine = engine();
        let note =
            |entry, at_once| Event::Operator(Operator::Note { entry: Box::new(entry), at_once });
        assert_eq!(committed(engine.handle(Timestamp(1), note(asked("apply"), false))), []);
        let commits = committed(engine.handle(Timestamp(2), note(asked("exec"), true)));
        assert_eq!(commits, [(1, vec![asked("apply"), asked("exec")])]);
        assert_eq!((engine.last_recorded(), engine.is_stale()), (2, false));
        assert!(!engine.is_durable_to(2) && !engine.is_durable_to(1));
        let _ = engine.handle(Timestamp(3), Event::Committed { ticket: 1, result: Ok(()) });
        assert!(engine.is_durable_to(2));
        // What comes later is nobody's concern.
        let _ = engine.handle(Timestamp(4), note(asked("apply"), true));
        assert!(engine.is_durable_to(2) && !engine.is_durable_to(3));
    }

    #[test]
    fn a_journal_that_cannot_be_written_makes_nothing_durable() {
        let mut engine = engine();
        let note = Operator::Note { entry: Box::new(asked("exec")), at_once: true };
        let _ = engine.handle(Timestamp(1), Event::Operator(note));
        let result = Err("no space left".to_owned());
        let _ = engine.handle(Timestamp(2), Event::Committed { ticket: 1, result });
        assert!(!engine.is_durable_to(1));
        assert!(engine.degraded().is_some_and(|why| why.contains("no space left")));
    }

    #[test]
    fn what_was_lost_is_sent_again_in_a_row_and_once() {
        let mut engine = engine();
        let note = |verb| {
            let entry = Box::new(asked(verb));
            Event::Operator(Operator::Note { entry, at_once: true })
        };
        let answer = |ticket, result: Result<(), &str>| Event::Committed {
            ticket,
            result: result.map_err(str::to_owned),
        };
        assert_eq!(committed(engine.handle(Timestamp(1), note("a"))), [(1, vec![asked("a")])]);
        assert_eq!(committed(engine.handle(Timestamp(1), note("b"))), [(2, vec![asked("b")])]);
        // The second one cannot succeed any more, and has not come back yet.
        let _ = engine.handle(Timestamp(2), answer(1, Err("no space left")));
        assert_eq!(committed(engine.handle(Timestamp(2), note("c"))), []);
        let _ = engine.handle(Timestamp(3), answer(2, Err("not next in the row")));
        let sent = committed(engine.handle(Timestamp(4), note("d")));
        assert_eq!(sent, [(3, ["a", "b", "c", "d"].map(asked).to_vec())]);
        let _ = engine.handle(Timestamp(5), answer(3, Ok(())));
        assert!(engine.is_durable_to(4) && engine.journal_error().is_none());
        assert_eq!(committed(engine.handle(Timestamp(6), note("e"))), [(4, vec![asked("e")])]);
    }

    #[test]
    fn a_commit_is_on_record_once() {
        let mut engine = engine();
        let checkout = Some(Checkout {
            commit: "4be21c7".into(),
            branch: None,
            author: None,
            at: None,
            dirty: Some(false),
        });
        for _ in 0..2 {
            let _ = engine.handle(Timestamp(1), Event::Checkout(checkout.clone()));
        }
        assert_eq!(engine.last_recorded(), 1);
        assert_eq!(engine.snapshot().records.guard.checkout, checkout);
        let _ = engine.handle(Timestamp(2), Event::Checkout(None));
        assert_eq!(engine.last_recorded(), 2);
    }

    #[test]
    fn verdicts_are_on_record_where_they_change() {
        let mut engine = engine();
        let set = PolicySetNote { digest: Digest::of(b"set"), policies: BTreeMap::new() };
        let verdict = VerdictNote {
            object: "shop/web".into(),
            policy: "CIS-5.5".into(),
            version: "1".into(),
            sha256: Digest::of(b"source"),
            set: Digest::of(b"set"),
            binding: "shop/all".into(),
            level: Level::Hard,
            point: Point::Act,
            outcome: VerdictOutcome::Fail,
            waived_by: None,
            findings: vec!["privileged".to_owned()],
            inputs: Digest::of(b"inputs"),
            cost: 12,
            asked: None,
        };
        for _ in 0..3 {
            engine.judged(&set, vec![verdict.clone()]);
        }
        assert_eq!(engine.last_recorded(), 2);
    }
}
