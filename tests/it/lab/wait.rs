//! Waiting: the only place where tests may poll, and the turnstile to the engines.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Tests that work on an engine at once. Two cores starve beyond this, and time limits lose their sense.
const HEAVY_MAX: u32 = 4;

/// First pause between two looks.
const PAUSE_MIN: Duration = Duration::from_millis(5);
/// Longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Waits until `done` says so, and returns how long that took.
///
/// # Panics
/// After `timeout`, with `what` in the message.
pub(crate) fn eventually(
    what: &str,
    timeout: Duration,
    mut done: impl FnMut() -> bool,
) -> Duration {
    let started = Instant::now();
    let mut pause = PAUSE_MIN;
    loop {
        if done() {
            return started.elapsed();
        }
        assert!(started.elapsed() < timeout, "not within {timeout:?}: {what}");
        std::thread::sleep(pause);
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// As [`eventually`]; where it never comes, what stands in its way is told.
pub(crate) fn eventually_or<T: std::fmt::Debug>(
    what: &str,
    timeout: Duration,
    mut done: impl FnMut() -> Result<(), T>,
) {
    let mut last = None;
    let started = Instant::now();
    while started.elapsed() < timeout {
        match done() {
            Ok(()) => return,
            Err(why) => last = Some(why),
        }
        std::thread::sleep(PAUSE_MAX);
    }
    panic!("not within {timeout:?}: {what}: {last:#?}");
}

static TAKEN: Mutex<u32> = Mutex::new(0);
static FREED: Condvar = Condvar::new();

thread_local! {
    // A test that holds one place needs no second: two tests that wait for each other's would hang.
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// A place among the tests that work on an engine. It stays on the thread that took it, as a guard does,
/// but others may look at what holds it.
pub(crate) struct Place(PhantomData<MutexGuard<'static, ()>>);

impl Place {
    /// Waits for a free place.
    pub(crate) fn take() -> Self {
        if HELD.get() == 0 {
            let taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            let mut taken = FREED
                .wait_while(taken, |taken| *taken >= HEAVY_MAX)
                .unwrap_or_else(PoisonError::into_inner);
            *taken += 1;
        }
        HELD.set(HELD.get() + 1);
        Self(PhantomData)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        HELD.set(HELD.get() - 1);
        if HELD.get() == 0 {
            *TAKEN.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
            FREED.notify_one();
        }
    }
}
