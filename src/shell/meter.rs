//! The thread that looks what containers use, and keeps it. The loop tells it who runs and waits for
//! nothing; no look wakes a round.
//!
//! A daemon looks every few seconds, and books once a minute. Whoever only looks has no such thread
//! until somebody asks, and books nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use reconciler::engine::Event;
use reconciler::model::ids::Name;
use reconciler::model::time::Timestamp;
use reconciler::ports::{Sampler, StoreError, UsageStore};
use reconciler::pressure::{Gauges, Looked};
use reconciler::usage::{Account, Counters, Meter, Query, Tally, Target};
use tokio::sync::mpsc::UnboundedSender;

use super::{Input, now};

/// How often what was used is written. What a crash loses of it is still in the kernel's counters, but
/// for containers that have ended meanwhile.
const BOOK_EVERY: Duration = Duration::from_secs(60);

/// Two looks that are closer than this tell no rate; the one before counts.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// So many minutes wait for a store that cannot be written. Later ones are dropped then: memory is not
/// to fill up.
const PENDING_BUCKETS_MAX: usize = 240;

/// What the thread needs of the outside.
pub struct Metering {
    /// Reads figures; it is made on the thread.
    pub sampler: Box<dyn FnOnce() -> Box<dyn Sampler> + Send>,
    /// Opens what was kept; `None` if there is nothing.
    pub store: OpenStore,
    /// How often a daemon looks; never if not.
    pub every: Option<Duration>,
    /// Whether it keeps what it sees.
    pub keeps: bool,
}

/// Opens what was kept.
pub type OpenStore = Box<dyn FnMut() -> Result<Option<Box<dyn UsageStore>>, StoreError> + Send>;

impl Metering {
    /// One that sees nothing and keeps nothing.
    #[must_use]
    pub fn none() -> Self {
        struct Blind;
        impl Sampler for Blind {
            fn sample(&mut self, _: &Target) -> Option<Counters> {
                None
            }
        }
        Self {
            sampler: Box::new(|| Box::new(Blind)),
            store: Box::new(|| Ok(None)),
            every: None,
            keeps: false,
        }
    }
}

/// What was seen of a container.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) target: Target,
    pub(super) at: Timestamp,
    /// Its figures, if it runs on this host.
    pub(super) counters: Option<Counters>,
    /// Processors in use since the look before.
    pub(super) nano_cpus: Option<u64>,
}

type WithSeen = Box<dyn FnOnce(Vec<Seen>) + Send>;
type WithAccount = Box<dyn FnOnce(Result<Account, StoreError>, Vec<Seen>) + Send>;

/// What the thread is told.
pub(super) enum Order {
    /// Look: it is time.
    Look(Vec<Target>),
    /// Look, and tell.
    Tell(Vec<Target>, WithSeen),
    /// Look, and sum up.
    Account(Vec<Target>, Query, WithAccount),
}

/// The thread's other end. Dropping it has the rest booked, and waits for that.
pub(super) struct Handle {
    metering: Option<Metering>,
    inputs: UnboundedSender<Input>,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    pub(super) fn new(metering: Metering, inputs: UnboundedSender<Input>) -> Self {
        let begins = metering.every.is_some();
        let mut handle = Self { metering: Some(metering), inputs, orders: None, thread: None };
        if begins {
            handle.start();
        }
        handle
    }

    /// Has something done. An answer that cannot be had is dropped, and with it who waits for it.
    pub(super) fn order(&mut self, order: Order) {
        self.start();
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
    }

    fn start(&mut self) {
        let Some(metering) = self.metering.take() else { return };
        let (sender, orders) = channel();
        let inputs = self.inputs.clone();
        let spawned = thread::Builder::new()
            .name("meter".to_owned())
            .spawn(move || serve(metering, &orders, &inputs));
        match spawned {
            Ok(thread) => (self.orders, self.thread) = (Some(sender), Some(thread)),
            Err(error) => tracing::warn!(%error, "start the thread that looks what containers use"),
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // A panic on the thread was printed there; dropping has nobody to tell.
            let _ = thread.join();
        }
    }
}

fn serve(metering: Metering, orders: &Receiver<Order>, inputs: &UnboundedSender<Input>) {
    let Metering { sampler, store: open, every, keeps } = metering;
    let mut work = Work {
        sampler: sampler(),
        open,
        store: None,
        meter: None,
        keeps,
        booked_at: Instant::now(),
        away: BTreeSet::new(),
        gauges: Gauges::new(now()),
        inputs: inputs.clone(),
    };
    let mut next = every.map(|every| Instant::now() + every);
    loop {
        let order = match next {
            Some(at) => orders.recv_timeout(at.saturating_duration_since(Instant::now())),
            None => orders.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match order {
            Ok(Order::Look(targets)) => {
                work.look(&targets);
                if work.booked_at.elapsed() >= BOOK_EVERY {
                    work.book();
                }
            }
            Ok(Order::Tell(targets, then)) => then(work.look(&targets)),
            Ok(Order::Account(targets, query, then)) => {
                let seen = work.look(&targets);
                then(work.account(query), seen);
            }
            Err(RecvTimeoutError::Timeout) => {
                // From now: a machine that slept does not make up for it.
                next = every.map(|every| Instant::now() + every);
                if inputs.send(Input::Look).is_err() {
                    break;
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    work.book();
}

struct Work {
    sampler: Box<dyn Sampler>,
    open: OpenStore,
    /// What is kept, once it is open; only if it is ours to keep.
    store: Option<Box<dyn UsageStore>>,
    meter: Option<Meter>,
    keeps: bool,
    booked_at: Instant,
    /// Nodes of which no container was found the last time: it is looked for one of them only.
    away: BTreeSet<Name>,
    gauges: Gauges,
    inputs: UnboundedSender<Input>,
}

impl Work {
    fn look(&mut self, targets: &[Target]) -> Vec<Seen> {
        let mut all = Vec::with_capacity(targets.len());
        let (mut tried, mut here) = (BTreeSet::new(), BTreeSet::new());
        for target in targets {
            let node = &target.node;
            let is_away = self.away.contains(node) && tried.contains(node) && !here.contains(node);
            let counters = if is_away { None } else { self.sampler.sample(target) };
            if !tried.contains(node) {
                tried.insert(node.clone());
            }
            if counters.is_some() && !here.contains(node) {
                here.insert(node.clone());
            }
            let at = now();
            let mut seen = Seen { target: target.clone(), at, counters, nano_cpus: None };
            if let Some(counters) = counters {
                // Where nothing runs on this host, nothing is opened for it.
                let mut meter = self.meter.take().unwrap_or_else(|| self.begin());
                let mark = meter.marks().get(&target.life.container);
                let is_recent =
                    |since: Timestamp| since <= at && at.since(since) < LOOK_AGAIN_AFTER;
                if !mark.is_some_and(|mark| mark.since == target.life.since && is_recent(mark.at)) {
                    meter.see(target.sighting(at, counters), at);
                }
                let mark = meter.marks().get(&target.life.container);
                seen.nano_cpus = mark.and_then(|mark| mark.nano_cpus);
                if !self.keeps {
                    meter.forget_pending();
                }
                self.meter = Some(meter);
            }
            all.push(seen);
        }
        self.away = &tried - &here;
        if self.keeps {
            let news = {
                let looked = all.iter_mut().filter_map(|Seen { target, at, counters, .. }| {
                    Some(Looked { target, at: *at, counters: counters.as_mut()? })
                });
                self.gauges.see(looked.collect(), now(), self.sampler.host())
            };
            if !news.is_empty() {
                // Once the loop has ended nobody needs any.
                let _ = self.inputs.send(Input::Event(Event::Pressed(news)));
            }
        }
        all
    }

    /// Goes on where it was left. If that is not known, nothing is booked twice.
    fn begin(&mut self) -> Meter {
        if !self.keeps {
            return Meter::default();
        }
        match self.opened().and_then(|store| store.map_or(Ok(None), |store| store.marks())) {
            Ok(Some(marks)) => Meter::new(marks),
            Ok(None) => Meter::without_marks(now()),
            Err(error) => {
                tracing::warn!(%error, "what containers use counts from now on");
                Meter::without_marks(now())
            }
        }
    }

    fn opened(&mut self) -> Result<Option<&mut Box<dyn UsageStore>>, StoreError> {
        if self.store.is_none() {
            self.store = (self.open)()?;
        }
        Ok(self.store.as_mut())
    }

    fn book(&mut self) {
        self.booked_at = Instant::now();
        let Some(mut meter) = self.meter.take().filter(|_| self.keeps) else { return };
        if !meter.pending().is_empty() {
            let at = now();
            let booked = self.opened().and_then(|store| match store {
                Some(store) => store.book(meter.pending(), meter.marks(), at),
                None => Ok(()),
            });
            match booked {
                Ok(()) => meter.booked(at),
                Err(error) => {
                    tracing::warn!(%error, "keep what containers use; it is tried again");
                    if meter.pending().0.len() > PENDING_BUCKETS_MAX {
                        meter.forget_pending();
                    }
                }
            }
        }
        self.meter = Some(meter);
    }

    fn account(&mut self, query: Query) -> Result<Account, StoreError> {
        let mut tally = Tally::new(query);
        if let Some(store) = self.opened()? {
            store.tell(&mut tally)?;
        }
        if !self.keeps {
            // Others may want to open it.
            self.store = None;
        }
        let pending = self.meter.as_ref().map(|meter| &meter.pending().0);
        for (bucket, block) in pending.unwrap_or(&BTreeMap::new()) {
            for (series, amounts) in block {
                tally.add(*bucket, series, amounts);
            }
        }
        Ok(tally.account())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};

    use reconciler::model::ids::{ContainerId, ReplicaKey};
    use reconciler::model::observed::{CgroupDriver, Limits};
    use reconciler::usage::ledger::{MemoryShelf, book};
    use reconciler::usage::{Flavor, Life, Marks, Pending};
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// What is kept, in memory.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<(MemoryShelf, Marks)>>);

    impl UsageStore for Kept {
        fn marks(&mut self) -> Result<Option<Marks>, StoreError> {
            Ok(Some(self.0.lock().unwrap_or_else(PoisonError::into_inner).1.clone()))
        }

        fn book(
            &mut self,
            pending: &Pending,
            marks: &Marks,
            now: Timestamp,
        ) -> Result<(), StoreError> {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let Ok(()) = book(&mut kept.0, pending, now);
            kept.1 = marks.clone();
            Ok(())
        }

        fn tell(&mut self, tally: &mut Tally) -> Result<(), StoreError> {
            let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (bucket, block) in &kept.0.0 {
                for (series, amounts) in block {
                    tally.add(*bucket, series, amounts);
                }
            }
            Ok(())
        }
    }

    /// Who was sampled; those on the node `here` have figures, which grow with each look.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<String>>>);

    impl Sampler for Log {
        fn sample(&mut self, target: &Target) -> Option<Counters> {
            let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(target.life.container.to_string());
            let cpu_ns = 1000 * u64::try_from(log.len()).ok()?;
            let counters = Counters { cpu_ns, ..Counters::default() };
            (target.node.as_str() == "here").then_some(counters)
        }
    }

    fn target(node: &str, container: &str, since: Timestamp) -> Target {
        Target {
            replica: ReplicaKey::new("shop/web".parse().expect("a key"), 0),
            node: Name::new(node).expect("a name"),
            flavor: Flavor::Own,
            life: Life { container: ContainerId(Arc::from(container)), since },
            driver: CgroupDriver::Cgroupfs,
            parent: "/w".to_owned(),
            limits: Limits::default(),
        }
    }

    fn handle(log: &Log, kept: &Kept, keeps: bool) -> Handle {
        let (sender, _) = unbounded_channel();
        let (log, kept) = (log.clone(), kept.clone());
        let metering = Metering {
            sampler: Box::new(move || Box::new(log)),
            store: Box::new(move || Ok(Some(Box::new(kept.clone())))),
            every: None,
            keeps,
        };
        Handle::new(metering, sender)
    }

    fn account(handle: &mut Handle, targets: Vec<Target>) -> Account {
        let (sender, answer) = channel();
        let then = move |account: Result<Account, StoreError>, _| {
            sender.send(account.expect("summed up")).expect("the test waits");
        };
        handle.order(Order::Account(targets, Query::default(), Box::new(then)));
        answer.recv().expect("an answer")
    }

    #[test]
    fn a_daemon_books_at_its_end_and_whoever_looks_books_nothing() {
        let (log, kept, since) = (Log::default(), Kept::default(), now());
        let mut daemon = handle(&log, &kept, true);
        let account_of_daemon = account(&mut daemon, vec![target("here", "a", since)]);
        assert_eq!(account_of_daemon.total.amounts.cpu_ns, 1000, "what is not booked yet counts");
        drop(daemon);
        let mut looks = handle(&log, &kept, false);
        for _ in 0..2 {
            let seen = account(&mut looks, vec![target("here", "a", since)]);
            assert_eq!(seen.total.amounts.cpu_ns, 1000, "only what was kept");
        }
        drop(looks);
        let mut next = handle(&log, &kept, true);
        let goes_on = account(&mut next, vec![target("here", "a", since)]);
        // It was looked at for the fourth time; if that is within a second, it waits.
        assert!([1000, 4000].contains(&goes_on.total.amounts.cpu_ns), "{goes_on:?}");
    }

    #[test]
    fn of_a_node_elsewhere_one_container_is_looked_for() {
        let (log, kept, since) = (Log::default(), Kept::default(), now());
        let mut daemon = handle(&log, &kept, true);
        let all = ["a", "b", "c"].map(|name| target("away", name, since)).to_vec();
        for _ in 0..3 {
            assert_eq!(account(&mut daemon, all.clone()).lines, []);
        }
        let looked = log.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        assert_eq!(looked, ["a", "b", "c", "a", "a"]);
    }
}
