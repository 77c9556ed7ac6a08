//! Admission: what projects may have, and who finds room in it.
//!
//! A project's quota counts all that is in it, and in the projects that are in it. What was made
//! stays and counts first, whatever the quota says by now: one that is lowered stops nothing. Then
//! come the containers that updates start beside others (`start-first` asks for `maxSurge` more),
//! then limits that shall be larger, then what is new; each in the order of keys and ordinals. Who
//! finds no room is passed over, and smaller ones behind may still find some. So it is known of each
//! whether it is admitted, whoever is planned first.
//!
//! Read [`Admission::of`] first; [`count`] says what is counted, [`made`] what is there.

mod count;
mod made;
mod words;

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;

use self::count::Share;
pub use self::count::{Kind, Sum};
use self::made::{Made, Present, instances, is_fetched, is_made_volume};
pub use self::words::Standing;
use crate::model::desired::DesiredSet;
use crate::model::ids::{Key, Name, ReplicaKey};
use crate::model::snapshot::Snapshot;
use crate::model::spec::{InstanceSpec, Order, Quota};

/// Whether any project has a quota that is counted: where none has, nothing is.
#[must_use]
pub fn is_any(desired: &DesiredSet) -> bool {
    desired.projects.values().any(|declared| is_counted(&declared.spec.quota))
}

fn is_counted(quota: &Quota) -> bool {
    Kind::ALL.into_iter().any(|kind| kind.limit(quota).is_some())
}

/// Who is admitted, and what projects have.
#[derive(Debug)]
pub struct Admission<'a> {
    accounts: Vec<Account<'a>>,
    /// What is in a project, and who counts it.
    inside: BTreeMap<&'a Name, Inside<'a>>,
    replicas: BTreeMap<ReplicaKey, Refusal>,
    /// Instances without room for a container beside another one.
    surges: BTreeMap<&'a Key, Refusal>,
    images: BTreeMap<&'a Key, Refusal>,
    volumes: BTreeMap<&'a Key, Refusal>,
    /// Who has most of what is bounded, in words: many are refused for the same.
    who_has: RefCell<BTreeMap<(usize, Kind), String>>,
    refused: OnceCell<BTreeMap<usize, (String, usize)>>,
}

/// What a project has, and may have.
#[derive(Debug)]
struct Account<'a> {
    project: &'a Name,
    quota: &'a Quota,
    /// What is there, and what was admitted.
    used: Sum,
    /// What is there.
    made: Sum,
}

/// What is in a project.
#[derive(Debug, Default)]
struct Inside<'a> {
    /// The accounts that count it, the innermost first.
    accounts: Vec<usize>,
    /// What each instance, image and volume has; one stands there once for what it had, and once for
    /// what it got.
    shares: Vec<Share<'a>>,
}

/// Why something is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    account: usize,
    kind: Kind,
    asks: u64,
    /// Whether there will be room once all others have what is declared for them.
    comes: bool,
}

impl<'a> Admission<'a> {
    /// Counts what is there, and goes through all that is asked for.
    #[must_use]
    pub fn of(snapshot: &'a Snapshot) -> Self {
        let mut admission = Self::with(snapshot, Made::AsItIs);
        let is_refused = !admission.replicas.is_empty()
            || !admission.surges.is_empty()
            || !admission.images.is_empty()
            || !admission.volumes.is_empty();
        if is_refused {
            // Who would find room once what shall be less is less has only to wait.
            let later = Self::with(snapshot, Made::AsDeclared);
            let Self { replicas, surges, images, volumes, .. } = &mut admission;
            for (key, refusal) in replicas {
                refusal.comes = !later.replicas.contains_key(key);
            }
            for (key, refusal) in surges {
                refusal.comes = !later.surges.contains_key(key);
            }
            for (key, refusal) in images {
                refusal.comes = !later.images.contains_key(key);
            }
            for (key, refusal) in volumes {
                refusal.comes = !later.volumes.contains_key(key);
            }
        }
        admission
    }

    fn with(snapshot: &'a Snapshot, made: Made) -> Self {
        let mut admission = Self {
            accounts: Vec::new(),
            inside: BTreeMap::new(),
            replicas: BTreeMap::new(),
            surges: BTreeMap::new(),
            images: BTreeMap::new(),
            volumes: BTreeMap::new(),
            who_has: RefCell::default(),
            refused: OnceCell::new(),
        };
        let desired = &snapshot.desired;
        let quotas = desired.projects.iter().filter(|(_, one)| is_counted(&one.spec.quota));
        for (project, declared) in quotas {
            let (quota, used, made) = (&declared.spec.quota, Sum::default(), Sum::default());
            admission.accounts.push(Account { project, quota, used, made });
        }
        let mut present = instances(snapshot, made, |project| {
            admission.enter(desired, project);
            admission.inside.get(project).is_some_and(|inside| !inside.accounts.is_empty())
        });
        for one in &present {
            admission.count(one.key, one.has());
        }
        admission.objects(snapshot);
        for account in &mut admission.accounts {
            account.made = account.used;
        }
        admission.surges(&mut present);
        admission.growth(&mut present);
        admission.new_images(snapshot);
        admission.new_replicas(&mut present);
        admission
    }

    /// Finds out which accounts count what is in a project.
    fn enter(&mut self, desired: &'a DesiredSet, project: &'a Name) {
        if self.inside.contains_key(project) {
            return;
        }
        let lineage = desired.lineage(project);
        let at = |name: &Name| self.accounts.binary_search_by(|one| one.project.cmp(name)).ok();
        let accounts = lineage.iter().rev().filter_map(at).collect();
        self.inside.insert(project, Inside { accounts, shares: Vec::new() });
    }

    /// Counts what is there.
    fn count(&mut self, key: &'a Key, has: Sum) {
        let Self { accounts, inside, .. } = self;
        let Some(inside) = inside.get_mut(&key.project) else { return };
        for at in &inside.accounts {
            if let Some(account) = accounts.get_mut(*at) {
                account.used = account.used.and(has);
            }
        }
        inside.shares.push(Share { key, has });
    }

    /// Counts what is asked for, if all quotas that it is in have room for it.
    fn admit(&mut self, key: &'a Key, asks: Sum) -> Result<(), Refusal> {
        let Self { accounts, inside, .. } = self;
        let Some(Inside { accounts: within, shares }) = inside.get_mut(&key.project) else {
            return Ok(());
        };
        for at in &*within {
            let Some(Account { quota, used, .. }) = accounts.get(*at) else { continue };
            for kind in Kind::ALL {
                let (Some(limit), more @ 1..) = (kind.limit(quota), asks.of(kind)) else {
                    continue;
                };
                if used.of(kind).saturating_add(more) > limit {
                    return Err(Refusal { account: *at, kind, asks: more, comes: false });
                }
            }
        }
        for at in &*within {
            if let Some(account) = accounts.get_mut(*at) {
                account.used = account.used.and(asks);
            }
        }
        match shares.last_mut() {
            Some(last) if last.key == key => last.has = last.has.and(asks),
            Some(_) | None => shares.push(Share { key, has: asks }),
        }
        Ok(())
    }

    /// Counts the images and volumes that are there.
    fn objects(&mut self, snapshot: &'a Snapshot) {
        let desired = &snapshot.desired;
        let under_way = Present::under_way(snapshot);
        for key in desired.images.keys() {
            self.enter(desired, &key.project);
            if is_fetched(snapshot, &under_way, key) {
                self.count(key, Sum::one(Kind::Images));
            }
        }
        for key in desired.volumes.keys() {
            self.enter(desired, &key.project);
            if is_made_volume(snapshot, &under_way, key) {
                self.count(key, Sum::one(Kind::Volumes));
            }
        }
    }

    /// Asks for the containers that updates start beside others.
    fn surges(&mut self, present: &mut [Present<'a>]) {
        for one in present.iter_mut() {
            let asks = one.largest.times(one.surge()).beyond(one.beside);
            if one.replicas.is_empty() || asks.is_nothing() {
                one.reserve = one.largest;
                continue;
            }
            match self.admit(one.key, asks) {
                Ok(()) => one.reserve = one.largest,
                Err(refusal) => drop(self.surges.insert(one.key, refusal)),
            }
        }
    }

    /// Asks for limits and ports that are more than those that are there.
    fn growth(&mut self, present: &mut [Present<'a>]) {
        for one in present.iter_mut() {
            let Some(spec) = one.spec else { continue };
            let wanted = Sum::of_container(spec);
            let replicas = std::mem::take(&mut one.replicas);
            for (ordinal, has) in replicas.range(..spec.replicas) {
                let more = wanted.beyond(*has);
                if !more.is_nothing() {
                    self.ask(one, *ordinal, more, wanted);
                }
            }
            one.replicas = replicas;
        }
    }

    /// Asks for the replicas that are not there.
    fn new_replicas(&mut self, present: &mut [Present<'a>]) {
        for one in present.iter_mut() {
            let Some(spec) = one.spec else { continue };
            let wanted = Sum::of_container(spec);
            for ordinal in 0..spec.replicas {
                if !one.replicas.contains_key(&ordinal) {
                    self.ask(one, ordinal, wanted.and(Sum::one(Kind::Instances)), wanted);
                }
            }
        }
    }

    /// Asks for `more` for a replica. The first of an instance brings what its updates need, too.
    fn ask(&mut self, one: &mut Present<'a>, ordinal: u32, more: Sum, wanted: Sum) {
        let beside = wanted.beyond(one.reserve).times(one.surge());
        match self.admit(one.key, more.and(beside)) {
            Ok(()) => {
                one.reserve = one.reserve.max(wanted);
                self.surges.remove(one.key);
            }
            Err(refusal) => {
                self.replicas.insert(ReplicaKey::new(one.key.clone(), ordinal), refusal);
            }
        }
    }

    /// Asks for the images and volumes that are not there.
    fn new_images(&mut self, snapshot: &'a Snapshot) {
        let under_way = Present::under_way(snapshot);
        for key in snapshot.desired.images.keys() {
            if !is_fetched(snapshot, &under_way, key)
                && let Err(refusal) = self.admit(key, Sum::one(Kind::Images))
            {
                self.images.insert(key, refusal);
            }
        }
        for key in snapshot.desired.volumes.keys() {
            if !is_made_volume(snapshot, &under_way, key)
                && let Err(refusal) = self.admit(key, Sum::one(Kind::Volumes))
            {
                self.volumes.insert(key, refusal);
            }
        }
    }

    /// Why a replica does not get what is declared for it, if so.
    #[must_use]
    pub fn replica(&self, key: &ReplicaKey) -> Option<Refusal> {
        self.replicas.get(key).copied()
    }

    /// Why no container of an instance is started beside another one, if so.
    #[must_use]
    pub fn surge(&self, key: &Key) -> Option<Refusal> {
        self.surges.get(key).copied()
    }

    /// Why a declared image is not fetched, if so.
    #[must_use]
    pub fn image(&self, key: &Key) -> Option<Refusal> {
        self.images.get(key).copied()
    }

    /// Why a declared volume is not made, if so.
    #[must_use]
    pub fn volume(&self, key: &Key) -> Option<Refusal> {
        self.volumes.get(key).copied()
    }

    /// What is refused for an account: the first of it, and how much else.
    fn refused(&self, account: usize) -> Option<&(String, usize)> {
        let refused = self.refused.get_or_init(|| {
            let mut refused: BTreeMap<usize, (String, usize)> = BTreeMap::new();
            let mut note = |refusal: &Refusal, what: &dyn Fn() -> String| {
                let known = refused.entry(refusal.account);
                known.and_modify(|(_, more)| *more += 1).or_insert_with(|| (what(), 0));
            };
            self.replicas.iter().for_each(|(key, refusal)| note(refusal, &|| key.to_string()));
            let surges = self.surges.iter();
            surges.for_each(|(key, refusal)| note(refusal, &|| format!("updates of {key}")));
            let images = self.images.iter();
            images.for_each(|(key, refusal)| note(refusal, &|| format!("image {key}")));
            let volumes = self.volumes.iter();
            volumes.for_each(|(key, refusal)| note(refusal, &|| format!("volume {key}")));
            refused
        });
        refused.get(&account)
    }
}

impl Refusal {
    /// Whether there will be room once all others have what is declared for them.
    #[must_use]
    pub fn comes(&self) -> bool {
        self.comes
    }
}

/// How many containers an instance's updates start beside others.
fn surge(spec: &InstanceSpec) -> u32 {
    let update = spec.update();
    match update.order {
        Order::StartFirst if spec.replicas > 0 => update.max_surge,
        Order::StartFirst | Order::StopFirst => 0,
    }
}
