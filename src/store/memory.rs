//! The store's twin in memory, for tests and the simulator.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use reconciler::model::ids::{ContainerId, Name};
use reconciler::model::observed::ObservedContainer;
use reconciler::model::record::Records;
use reconciler::ports::{StateStore, StoreError, Write};

/// A store in memory. Clones share it: one goes to who writes, one stays to look on.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    records: Records,
    seq: u64,
    observed: BTreeMap<Name, BTreeMap<ContainerId, ObservedContainer>>,
    saves: u64,
    failures: u64,
}

impl MemoryStore {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many saves succeeded.
    #[must_use]
    pub fn saves(&self) -> u64 {
        self.lock().saves
    }

    /// Lets the next `count` saves fail.
    pub fn fail_next(&self, count: u64) {
        self.lock().failures = count;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for MemoryStore {
    fn load(&self) -> Result<(Records, u64), StoreError> {
        let inner = self.lock();
        Ok((inner.records.clone(), inner.seq))
    }

    fn save(&self, writes: &[Write], seq: u64) -> Result<(), StoreError> {
        let mut inner = self.lock();
        if inner.failures > 0 {
            inner.failures -= 1;
            return Err(StoreError {
                operation: "save records in memory".to_owned(),
                message: "no space left on device (injected)".to_owned(),
            });
        }
        let Inner { records, observed, .. } = &mut *inner;
        for write in writes {
            match write {
                Write::Common(common) => {
                    records.owner.clone_from(&common.owner);
                    records.guard.clone_from(&common.guard);
                    records.suspended.clone_from(&common.suspended);
                }
                Write::Instance(key, record) => put(&mut records.instances, key, record.as_ref()),
                Write::Image(name, record) => put(&mut records.images, name, record.as_ref()),
                Write::Volume(key, record) => put(&mut records.volumes, key, record.as_ref()),
                Write::Network(key, record) => put(&mut records.networks, key, record.as_ref()),
                Write::Node(name, record) => put(&mut records.nodes, name, record.as_ref()),
                Write::Rollout(key, rollout) => put(&mut records.rollouts, key, rollout.as_ref()),
                Write::Kept(key, kept) => put(&mut records.kept, key, kept.as_ref()),
                Write::Text(file, text) => put(&mut records.texts, file, text.as_ref()),
                Write::Observed(node, id, container) => {
                    put(observed.entry(node.clone()).or_default(), id, container.as_deref());
                }
                Write::ObservedAll(node, all) => {
                    observed.insert(node.clone(), all.clone());
                }
            }
        }
        inner.seq = seq;
        inner.saves += 1;
        Ok(())
    }

    fn observed(
        &self,
        node: &Name,
    ) -> Result<BTreeMap<ContainerId, ObservedContainer>, StoreError> {
        Ok(self.lock().observed.get(node).cloned().unwrap_or_default())
    }
}

fn put<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, key: &K, value: Option<&V>) {
    match value {
        Some(value) => {
            map.insert(key.clone(), value.clone());
        }
        None => {
            map.remove(key);
        }
    }
}
