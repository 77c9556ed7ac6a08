//! Places where a test can have the process die, so that a crash is enumerated and not waited for.
//!
//! `WINDLASS_CRASH_AT=journal:3` aborts the process right after its third durable append,
//! `reply:2` right after the second answer of an engine. Release builds know nothing of it.

/// The variable that says where to die: a kind and a count from 1, `journal:3`.
pub const CRASH_AT: &str = "WINDLASS_CRASH_AT";

/// Says that the process has come to a place of this kind once more.
#[cfg(not(debug_assertions))]
#[inline]
pub fn reached(_kind: &'static str) {}

/// Says that the process has come to a place of this kind once more.
#[cfg(debug_assertions)]
pub fn reached(kind: &'static str) {
    use std::collections::BTreeMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    static WANTED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let wanted = std::env::var(CRASH_AT).ok()?;
        let (kind, count) = wanted.split_once(':')?;
        Some((kind.to_owned(), count.parse().ok()?))
    });
    static COUNTS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

    let Some((wanted, at)) = &*WANTED else { return };
    if wanted != kind {
        return;
    }
    // The lock is held while dying: no other thread passes the same place in between.
    let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
    let count = counts.entry(kind).or_default();
    *count += 1;
    if *count == *at {
        std::process::abort();
    }
}
