//! What containers use, for those who ask: read from control groups where they are on this host, else,
//! for `top` alone, from engines.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use reconciler::model::ids::Name;
use reconciler::model::snapshot::Snapshot;
use reconciler::model::spec::Quota;
use reconciler::ports::{Driver, Usage};
use reconciler::usage::{Counters, Query, targets};
use tokio::sync::mpsc;

use super::meter::{Order, Seen};
use super::{Shell, requests};
use crate::api::metrics::{self, Facts};
use crate::api::protocol::{Frame, ProjectUse, UsageRow};
use crate::api::used::within;
use crate::api::view;

/// Questions to engines at once: one needs milliseconds for it, and more of them only queue.
const SAMPLES_AT_ONCE: usize = 8;

/// What projects may use, and which they are parts of.
type Quotas = BTreeMap<Name, (Quota, Option<Name>)>;

type Answer = mpsc::UnboundedSender<Frame>;

impl Shell {
    /// Has all that runs looked at, since it is time.
    pub(super) fn look(&mut self) {
        let targets = targets(self.engine.snapshot());
        self.meter.order(Order::Look(targets));
    }

    /// Answers what containers use.
    pub(super) fn usage(&mut self, answer: Answer) {
        let snapshot = self.engine.snapshot();
        let (nodes, quotas, all) = (view::nodes(snapshot), quotas(snapshot), targets(snapshot));
        let drivers: BTreeMap<Name, Arc<dyn Driver>> =
            self.nodes.iter().map(|(node, found)| (node.clone(), found.driver())).collect();
        let runtime = tokio::runtime::Handle::current();
        let then = move |seen: Vec<Seen>| {
            let projects = projects(quotas, &seen);
            let rows: Vec<_> = seen
                .into_iter()
                .map(|seen| {
                    let driver = drivers.get(&seen.target.node).cloned();
                    row(seen, driver)
                })
                .collect();
            runtime.spawn(async move {
                let rows: Vec<UsageRow> =
                    stream::iter(rows).buffered(SAMPLES_AT_ONCE).collect().await;
                requests::finish(&answer, Frame::Used { rows, nodes, projects });
            });
        };
        self.meter.order(Order::Tell(all, Box::new(then)));
    }

    /// Answers what was used.
    pub(super) fn account(&mut self, query: Query, answer: Answer) {
        let snapshot = self.engine.snapshot();
        let (quotas, all) = (quotas(snapshot), targets(snapshot));
        let then = move |account, seen: Vec<Seen>| match account {
            Ok(account) => {
                let projects = projects(quotas, &seen);
                requests::finish(&answer, Frame::Accounted { account, projects });
            }
            Err(error) => {
                let error: reconciler::ports::StoreError = error;
                let help = Some("what was used is kept apart: nothing else is touched".to_owned());
                requests::finish_with_error(&answer, error.to_string(), help);
            }
        };
        self.meter.order(Order::Account(all, query, Box::new(then)));
    }

    /// Answers with all metrics.
    pub(super) fn metrics(&mut self, answer: Answer) {
        let snapshot = self.engine.snapshot();
        let (quotas, all) = (quotas(snapshot), targets(snapshot));
        let facts = Facts {
            counts: self.engine.report().counts,
            is_settled: self.engine.is_settled(),
            is_degraded: self.engine.degraded().is_some(),
            rounds: self.rounds,
            last_round: self.last_round,
            nodes: view::nodes(snapshot),
        };
        let then = move |seen: Vec<Seen>| {
            let projects = projects(quotas, &seen);
            let rows: Vec<UsageRow> = seen.into_iter().map(read_here).collect();
            let text = metrics::render(&facts, &rows, &projects);
            requests::finish(&answer, Frame::Metrics { text });
        };
        self.meter.order(Order::Tell(all, Box::new(then)));
    }
}

fn quotas(snapshot: &Snapshot) -> Quotas {
    let declared = snapshot.desired.projects.iter();
    let each = declared.map(|(name, declared)| {
        let spec = &declared.spec;
        (name.clone(), (spec.quota.clone(), spec.parent.clone()))
    });
    each.collect()
}

/// What projects use, with those that are parts of them: those that are declared, and those that
/// something runs of.
fn projects(quotas: Quotas, seen: &[Seen]) -> Vec<ProjectUse> {
    let parents: BTreeMap<Name, Name> = quotas
        .iter()
        .filter_map(|(name, (_, parent))| Some((name.clone(), parent.clone()?)))
        .collect();
    let unused = |(name, (quota, parent))| ProjectUse {
        name,
        parent,
        quota,
        nano_cpus: None,
        memory: 0,
        pids: 0,
        containers: 0,
        unseen: 0,
    };
    let declared = quotas.into_iter().map(unused);
    let mut all: BTreeMap<Name, ProjectUse> =
        declared.map(|project| (project.name.clone(), project)).collect();
    for Seen { target, at: _, counters, nano_cpus } in seen {
        for name in within(&target.replica.instance.project, |inner| parents.get(inner)) {
            let one = all
                .entry(name.clone())
                .or_insert_with(|| unused((name.clone(), (Quota::default(), None))));
            one.containers += 1;
            match counters {
                Some(Counters { memory, pids, .. }) => {
                    one.memory += memory;
                    one.pids += pids;
                }
                None => one.unseen += 1,
            }
            if let Some(nano_cpus) = nano_cpus {
                *one.nano_cpus.get_or_insert(0) += nano_cpus;
            }
        }
    }
    all.into_values().collect()
}

/// What was read here.
fn read_here(seen: Seen) -> UsageRow {
    let Seen { target, at, counters, nano_cpus: _ } = seen;
    let usage = counters.map(|counters| Usage {
        at_ns: u64::try_from(at.0).unwrap_or(0).saturating_mul(1_000_000),
        cpu_ns: counters.cpu_ns,
        memory: counters.memory,
        pids: counters.pids,
    });
    let (replica, node, limits) = (target.replica, target.node, target.limits);
    UsageRow { replica, node, limits, usage, counters, message: None }
}

/// What was read here, or what the engine says of a container that is elsewhere.
async fn row(seen: Seen, driver: Option<Arc<dyn Driver>>) -> UsageRow {
    let container = seen.target.life.container.clone();
    let row = read_here(seen);
    let Some(driver) = driver.filter(|_| row.usage.is_none()) else { return row };
    match driver.usage(&container.0).await {
        Ok(usage) => UsageRow { usage: Some(usage), ..row },
        Err(error) => UsageRow { message: Some(error.message), ..row },
    }
}
