//! The trail that an auditor follows: entries of the journal in words, each with who is behind it, of
//! which commit, and what came of it.
//!
//! Most entries do not say who: a step follows from a spec, and a spec from a commit. So the entries
//! are read in their order, and what was said last of an instance counts for what follows.

use std::collections::BTreeMap;

use reconciler::model::ids::{Key, Name, ObjectId};
use reconciler::model::journal::{Checkout, Entry, Stamped, VerdictOutcome};
use reconciler::model::spec::policy::Level;
use serde::Serialize;

use super::noted::noted;
use super::protocol::Noted;

/// Who is behind what nobody asked for: repairs, restarts, what a crash left over.
pub const OURSELVES: &str = "windlass";

/// What came of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum RowResult {
    /// It was done.
    Done,
    /// It could not be done.
    Failed,
    /// Policy denied it.
    Denied,
    /// Policy found something, and a waiver let it pass.
    Waived,
    /// Policy found something, and told it.
    Found,
}

impl RowResult {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Denied => "denied",
            Self::Waived => "waived",
            Self::Found => "found",
        }
    }
}

/// An entry with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it says.
    pub noted: Noted,
    /// Who is behind it, if that is known.
    pub actor: Option<String>,
    /// The commit that the specs stood at, and whether the directory differed from it.
    pub commit: Option<String>,
    /// Where the object is declared.
    pub from: Option<String>,
    /// Why, if it is an action or its result.
    pub cause: Option<String>,
    /// What is done, if it is an action or its result.
    pub deed: Option<String>,
    /// What came of it, if it is an end.
    pub result: Option<RowResult>,
}

/// Who is behind an instance as it is declared.
#[derive(Debug, Clone, Default)]
struct Origin {
    actor: Option<String>,
    commit: Option<String>,
}

/// Reads entries in their order.
#[derive(Debug, Default)]
pub struct Trail {
    checkout: Option<Checkout>,
    instances: BTreeMap<Key, Origin>,
    /// Who told a node to be left.
    drained: BTreeMap<Name, String>,
    /// Who gave the last command that says no name of its own.
    asked: Option<String>,
    /// Who asked last for everything to go.
    down: Option<String>,
    /// What the intents of an object said.
    intents: BTreeMap<ObjectId, (Origin, String, Option<String>)>,
}

impl Trail {
    /// The row of an entry; `None` of one that says nothing to people.
    pub fn row(&mut self, stamped: &Stamped) -> Option<Row> {
        let noted = noted(stamped)?;
        let mut row = Row {
            noted,
            actor: None,
            commit: None,
            from: None,
            cause: None,
            deed: None,
            result: None,
        };
        self.fill(&stamped.entry, &mut row);
        Some(row)
    }

    fn fill(&mut self, entry: &Entry, row: &mut Row) {
        let mut by = |by: &str| row.actor = Some(by.to_owned()).filter(|by| !by.is_empty());
        match entry {
            Entry::Checkout { checkout } => {
                self.checkout.clone_from(checkout);
                let Origin { actor: _, commit } = self.now();
                row.commit = commit;
                let author = checkout.as_ref().and_then(|checkout| checkout.author.as_ref());
                row.actor = author.map(ToString::to_string);
            }
            Entry::Declared { instance, from, .. } => {
                let origin = self.now();
                (row.actor, row.commit) = (origin.actor.clone(), origin.commit.clone());
                row.from = from.as_ref().map(ToString::to_string);
                self.instances.insert(instance.clone(), origin);
            }
            Entry::Text { .. } => {
                let Origin { actor, commit } = self.now();
                (row.actor, row.commit) = (actor, commit);
            }
            Entry::Intent { object, node, deed, cause, from } => {
                let origin = self.behind(object, node, cause);
                (row.actor, row.commit) = (origin.actor.clone(), origin.commit.clone());
                let from = from.as_ref().map(ToString::to_string);
                (row.from, row.cause) = (from.clone(), Some(cause.clone()));
                row.deed = Some(deed.verb().to_owned());
                self.intents.insert(object.clone(), (origin, cause.clone(), from));
            }
            Entry::Done { object, deed, .. } => {
                self.result(object, row, RowResult::Done);
                row.deed = Some(deed.verb().to_owned());
            }
            Entry::Failed { object, failure, .. } => {
                self.result(object, row, RowResult::Failed);
                row.deed = Some(failure.step.clone());
            }
            Entry::Asked { by: who, verb, what: _ } => {
                by(who);
                self.asked = Some(who.clone());
                if verb == "down" {
                    self.down = Some(who.clone());
                }
            }
            Entry::NodeOrder { node, by: who, .. } => {
                by(who);
                self.drained.insert(node.clone(), who.clone());
            }
            Entry::Suspended { by: who, .. }
            | Entry::RolloutPaused { by: who, .. }
            | Entry::RolloutResumed { by: who, .. } => by(who),
            Entry::Undone { instance, by: who, .. }
            | Entry::RestartAsked { instance, by: who }
            | Entry::Ahead { instance, by: Some(who) } => {
                by(who);
                let actor = Some(who.clone());
                self.instances.insert(instance.clone(), Origin { actor, commit: None });
            }
            // The command stands before them.
            Entry::Approved { .. } | Entry::Retried | Entry::Resumed { .. } => {
                row.actor.clone_from(&self.asked);
            }
            Entry::Exec { exec, .. } => by(&exec.by),
            Entry::ExecEnded { exec, code, why, .. } => {
                by(&exec.by);
                let is_good = *code == Some(0) && why.is_none();
                row.result = Some(if is_good { RowResult::Done } else { RowResult::Failed });
            }
            Entry::Verdict { verdict } => {
                let denies = matches!(verdict.level, Level::Soft | Level::Hard);
                row.result = match verdict.outcome {
                    VerdictOutcome::Fail | VerdictOutcome::Error if denies => {
                        Some(RowResult::Denied)
                    }
                    VerdictOutcome::Fail | VerdictOutcome::Error => Some(RowResult::Found),
                    VerdictOutcome::Info => Some(RowResult::Found),
                    VerdictOutcome::Waived => Some(RowResult::Waived),
                    VerdictOutcome::Pass | VerdictOutcome::Undefined => None,
                };
            }
            Entry::RolloutFailed { .. } | Entry::SetAside { .. } => {
                row.actor = Some(OURSELVES.to_owned());
                row.result = Some(RowResult::Failed);
            }
            Entry::Unhealthy { .. } | Entry::Healthy { .. } | Entry::Ahead { by: None, .. } => {
                row.actor = Some(OURSELVES.to_owned());
            }
            Entry::Checkpoint { .. }
            | Entry::Owner { .. }
            | Entry::Root { .. }
            | Entry::Node { .. }
            | Entry::Linked { .. }
            | Entry::Placed { .. }
            | Entry::Addressed { .. }
            | Entry::Cores { .. }
            | Entry::Subnet { .. }
            | Entry::LinksBy { .. }
            | Entry::Protected { .. }
            | Entry::Admitted { .. }
            | Entry::Resolved { .. }
            | Entry::Ended { .. }
            | Entry::Gone { .. }
            | Entry::PolicySet { .. }
            | Entry::Pressed { .. }
            | Entry::Kept { .. }
            | Entry::RolledOut { .. }
            | Entry::Restarted { .. }
            | Entry::Settled { .. } => {}
        }
    }

    /// Who is behind a change of the directory now. What is not committed is nobody's yet.
    fn now(&self) -> Origin {
        let Some(Checkout { commit, author, dirty, .. }) = &self.checkout else {
            return Origin::default();
        };
        match dirty {
            Some(false) => Origin {
                actor: author.as_ref().map(ToString::to_string),
                commit: Some(commit.to_string()),
            },
            Some(true) => Origin { actor: None, commit: Some(format!("{commit}, changed")) },
            None => Origin { actor: None, commit: Some(format!("{commit}, perhaps changed")) },
        }
    }

    /// Who is behind an action.
    fn behind(&self, object: &ObjectId, node: &Name, cause: &str) -> Origin {
        /// Causes that nobody asked for, as they begin.
        const OWN: [&str; 6] = [
            "drift: ",
            "removed by another hand",
            "killed for its use of memory",
            "ended with exit code",
            "unhealthy",
            "was under way",
        ];
        let of = |actor: Option<String>| Origin { actor, commit: None };
        if OWN.iter().any(|own| cause.starts_with(own)) {
            return of(Some(OURSELVES.to_owned()));
        }
        if let Some(who) = cause.strip_prefix("new container asked for by ") {
            return of(Some(who.to_owned()));
        }
        match cause {
            "taken down" => return of(self.down.clone()),
            "no longer declared" => return self.now(),
            _ => {}
        }
        if cause.ends_with(" is drained") {
            return of(self.drained.get(node).cloned());
        }
        let needed = cause.strip_prefix("needed by ").and_then(|by| {
            let (key, _) = by.split_once([',', ' ']).unwrap_or((by, ""));
            let whole: Option<Key> = key.parse().ok();
            // A replica is named with its ordinal.
            whole.or_else(|| key.rsplit_once('/')?.0.parse().ok())
        });
        let instance = match object {
            ObjectId::Replica(replica) => Some(&replica.instance),
            ObjectId::Image { .. }
            | ObjectId::Volume { .. }
            | ObjectId::Network { .. }
            | ObjectId::Fence { .. }
            | ObjectId::Group { .. } => needed.as_ref(),
        };
        instance.and_then(|key| self.instances.get(key)).cloned().unwrap_or_default()
    }

    fn result(&self, object: &ObjectId, row: &mut Row, result: RowResult) {
        row.result = Some(result);
        if let Some((origin, cause, from)) = self.intents.get(object) {
            (row.actor, row.commit) = (origin.actor.clone(), origin.commit.clone());
            (row.cause, row.from) = (Some(cause.clone()), from.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use reconciler::model::ids::{Digest, ReplicaKey};
    use reconciler::model::journal::Deed;
    use reconciler::model::time::Timestamp;

    use super::*;

    fn checkout(dirty: bool) -> Entry {
        Entry::Checkout {
            checkout: Some(Checkout {
                commit: "4be21c7".into(),
                branch: None,
                author: Some("Dev <dev@example.org>".into()),
                at: None,
                dirty: Some(dirty),
            }),
        }
    }

    fn declared() -> Entry {
        Entry::Declared {
            instance: "shop/web".parse().unwrap(),
            uid: String::new(),
            digest: Digest::of(b"spec"),
            from: Some("web.yaml:3".into()),
        }
    }

    fn intent(cause: &str) -> Entry {
        let object = ObjectId::Replica(ReplicaKey::new("shop/web".parse().unwrap(), 0));
        let node = Name::new("n1").unwrap();
        let deed = Deed::Start { restart: false, in_a_row: false, earlier: false };
        Entry::Intent { object, node, deed, cause: cause.to_owned(), from: None }
    }

    /// Who is behind the last of these entries, and of which commit.
    fn behind(entries: Vec<Entry>) -> (Option<String>, Option<String>) {
        let mut trail = Trail::default();
        let rows = entries.into_iter().map(|entry| Stamped { seq: 1, at: Timestamp(0), entry });
        let row = rows.filter_map(|stamped| trail.row(&stamped)).last().expect("a row");
        (row.actor, row.commit)
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn a_step_is_its_authors() {
        let dev = some("Dev <dev@example.org>");
        let found = behind(vec![checkout(false), declared(), intent("declared")]);
        assert_eq!(found, (dev.clone(), some("4be21c7")));
        // A later commit that does not touch it changes nothing of that.
        let found = behind(vec![checkout(false), declared(), checkout(true), intent("declared")]);
        assert_eq!(found.0, dev);
        let found = behind(vec![checkout(true), declared(), intent("declared")]);
        assert_eq!(found, (None, some("4be21c7, changed")), "who edits without a commit?");
        assert_eq!(behind(vec![declared(), intent("declared")]), (None, None));
    }

    #[test]
    fn repairs_are_our_own_and_commands_are_their_operators() {
        let found = behind(vec![checkout(false), declared(), intent("drift: memory 1 -> 2")]);
        assert_eq!(found, (some(OURSELVES), None));
        let asked = |verb: &str| Entry::Asked {
            by: "ops@host".to_owned(),
            verb: verb.to_owned(),
            what: None,
        };
        assert_eq!(
            behind(vec![declared(), asked("down"), intent("taken down")]).0,
            some("ops@host")
        );
        let found = behind(vec![declared(), intent("new container asked for by ops@host")]);
        assert_eq!(found.0, some("ops@host"));
        assert_eq!(behind(vec![asked("apply")]).0, some("ops@host"));
    }

    #[test]
    fn a_result_belongs_to_its_intent() {
        let Entry::Intent { object, node, deed, .. } = intent("declared") else { unreachable!() };
        let mut trail = Trail::default();
        let mut row = |entry| trail.row(&Stamped { seq: 1, at: Timestamp(0), entry }).unwrap();
        row(intent("drift: memory 1 -> 2"));
        let done = row(Entry::Done { object, node, deed });
        assert_eq!((done.result, done.actor), (Some(RowResult::Done), some(OURSELVES)));
        assert_eq!(done.cause.as_deref(), Some("drift: memory 1 -> 2"));
    }
}
