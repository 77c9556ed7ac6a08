//! What the thread that looks what containers use is made of.

use reconciler::model::time::Timestamp;
use reconciler::ports::{StoreError, UsageStore};
use reconciler::usage::{Marks, Pending, Tally};

use super::{Mode, Settings, open_patiently};
use crate::cgroup::sample::Groups;
use crate::shell::{Metering, OpenStore};
use crate::state::{StateDir, StatePaths};
use crate::store::SledUsage;

/// A daemon keeps what it sees; whoever only looks reads what was kept.
pub(super) fn metering(settings: &Settings, mode: Mode) -> Metering {
    let keeps = matches!(mode, Mode::Act { hold: true });
    let every = Some(settings.usage_every).filter(|every| keeps && !every.is_zero());
    let path = StatePaths::new(&settings.state).usage();
    let store: OpenStore = if keeps {
        Box::new(move || Ok(Some(Box::new(SledUsage::open(&path)?) as Box<dyn UsageStore>)))
    } else {
        let settings = settings.clone();
        Box::new(move || open_beside(&settings))
    };
    Metering { sampler: Box::new(|| Box::new(Groups::of_host())), store, every, keeps }
}

/// What was kept, while nobody else writes in the state directory.
fn open_beside(settings: &Settings) -> Result<Option<Box<dyn UsageStore>>, StoreError> {
    let path = StatePaths::new(&settings.state).usage();
    if !crate::files::is_there(&path)? {
        return Ok(None);
    }
    let state = open_patiently(&settings.state)?;
    let kept = SledUsage::open(&path)?;
    Ok(Some(Box::new(Beside { kept, _state: state })))
}

/// What was kept, with the lock of the directory that it is in.
struct Beside {
    kept: SledUsage,
    // Let go after it.
    _state: StateDir,
}

impl UsageStore for Beside {
    fn marks(&mut self) -> Result<Option<Marks>, StoreError> {
        self.kept.marks()
    }

    fn book(&mut self, pending: &Pending, marks: &Marks, now: Timestamp) -> Result<(), StoreError> {
        self.kept.book(pending, marks, now)
    }

    fn tell(&mut self, tally: &mut Tally) -> Result<(), StoreError> {
        self.kept.tell(tally)
    }
}
