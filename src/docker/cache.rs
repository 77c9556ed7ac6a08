//! What inspects brought, kept as long as nothing can have changed it.
//!
//! A list carries neither limits nor exit codes, and one inspect a container at each rescan would
//! be a thousand calls. So the answers are kept while a watch is open, which tells of every change.
//! Without a watch nothing is kept.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reconciler::model::ids::ContainerId;
use reconciler::model::observed::ObservedContainer;

/// Age at which an answer is asked for again: the last net below events that an engine lost.
const AGE_MAX: Duration = Duration::from_secs(600);

/// The answers of inspects, by container id.
#[derive(Debug, Default)]
pub(super) struct InspectCache {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watches: usize,
    entries: HashMap<ContainerId, Entry>,
    /// Inspects that are under way, and whether what they will bring is already outdated.
    asking: BTreeMap<u64, (ContainerId, bool)>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    container: Arc<ObservedContainer>,
    asked_at: Instant,
}

/// An inspect that is under way.
#[derive(Debug)]
pub(super) struct Asking<'a> {
    cache: &'a InspectCache,
    ticket: u64,
    asked_at: Instant,
}

/// An open watch: answers are kept while there is one.
#[derive(Debug)]
pub(super) struct Watching<'a>(&'a InspectCache);

impl InspectCache {
    /// What is known of a container.
    pub(super) fn get(&self, id: &ContainerId) -> Option<Arc<ObservedContainer>> {
        let state = self.state();
        let entry = state.entries.get(id).filter(|entry| entry.asked_at.elapsed() < AGE_MAX)?;
        Some(Arc::clone(&entry.container))
    }

    /// Says that an inspect of `id` goes out now.
    pub(super) fn ask(&self, id: &ContainerId) -> Asking<'_> {
        let mut state = self.state();
        let ticket = state.next;
        state.next += 1;
        state.asking.insert(ticket, (id.clone(), false));
        Asking { cache: self, ticket, asked_at: Instant::now() }
    }

    /// Something happened to a container.
    pub(super) fn drop_one(&self, id: &ContainerId) {
        let mut state = self.state();
        state.entries.remove(id);
        for (asked, outdated) in state.asking.values_mut() {
            *outdated |= asked == id;
        }
    }

    /// Forgets the containers that `keep` does not know.
    pub(super) fn retain(&self, keep: impl Fn(&ContainerId) -> bool) {
        self.state().entries.retain(|id, _| keep(id));
    }

    /// Says that a watch is open, until the answer is dropped.
    pub(super) fn watching(&self) -> Watching<'_> {
        let mut state = self.state();
        state.watches += 1;
        // What was asked for before may have changed before the watch began.
        for (_, outdated) in state.asking.values_mut() {
            *outdated = true;
        }
        Watching(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Asking<'_> {
    /// Keeps the answer, unless it may be outdated.
    pub(super) fn answered(self, id: &ContainerId, container: &Arc<ObservedContainer>) {
        let mut state = self.cache.state();
        let outdated = state.asking.get(&self.ticket).is_none_or(|(_, outdated)| *outdated);
        if state.watches > 0 && !outdated {
            let entry = Entry { container: Arc::clone(container), asked_at: self.asked_at };
            state.entries.insert(id.clone(), entry);
        }
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.cache.state().asking.remove(&self.ticket);
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.watches = state.watches.saturating_sub(1);
        state.entries.clear();
        for (_, outdated) in state.asking.values_mut() {
            *outdated = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use reconciler::model::ids::{ImageId, ReplicaKey, Revision};
    use reconciler::model::observed::{ContainerConfig, ContainerState, HealthState, Identity};
    use reconciler::model::time::Timestamp;

    use super::*;

    fn container() -> Arc<ObservedContainer> {
        Arc::new(ObservedContainer {
            name: "shop.web.0.1".to_owned(),
            identity: Identity {
                replica: ReplicaKey::new("shop/web".parse().expect("a key"), 0),
                revision: Revision("r".into()),
                incarnation: 1,
                uid: "u".to_owned(),
            },
            state: ContainerState::Created,
            health: HealthState::None,
            image: ImageId("sha256:0".into()),
            config: ContainerConfig::default(),
            address: None,
            addresses: Default::default(),
            created_at: Timestamp(0),
            masked_paths: None,
            shared_mounts: None,
            hosts_path: None,
            hosts: None,
        })
    }

    #[test]
    fn answers_are_kept_only_while_nothing_can_have_changed() {
        let cache = InspectCache::default();
        let (a, b) = (ContainerId("a".into()), ContainerId("b".into()));
        let ask = |id: &ContainerId| cache.ask(id).answered(id, &container());

        ask(&a);
        assert!(cache.get(&a).is_none(), "without a watch");

        let early = cache.ask(&a);
        let watching = cache.watching();
        early.answered(&a, &container());
        assert!(cache.get(&a).is_none(), "asked before the watch began");

        ask(&a);
        ask(&b);
        assert!(cache.get(&a).is_some() && cache.get(&b).is_some());
        cache.drop_one(&a);
        assert!(cache.get(&a).is_none() && cache.get(&b).is_some(), "an event of a");

        let asking = cache.ask(&a);
        cache.drop_one(&a);
        asking.answered(&a, &container());
        assert!(cache.get(&a).is_none(), "an event while it was asked for");

        cache.retain(|id| *id != b);
        assert!(cache.get(&b).is_none(), "gone from the list");
        ask(&a);
        drop(watching);
        assert!(cache.get(&a).is_none(), "a gap in the stream");
    }
}
