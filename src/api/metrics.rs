//! Metrics in the text format of Prometheus, version 0.0.4.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use reconciler::report::Counts;
use reconciler::usage::Counters;

use super::node::NodeStatus;
use super::used::{ProjectUse, UsageRow};

/// The type of the content, with the version of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What is known of the loop.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// How many objects are in which case.
    pub counts: Counts,
    /// Whether nothing is left to do.
    pub is_settled: bool,
    /// Whether nothing is done at all, since something is wrong.
    pub is_degraded: bool,
    /// How many rounds there were.
    pub rounds: u64,
    /// How long the last one took.
    pub last_round: Duration,
    /// The nodes.
    pub nodes: Vec<NodeStatus>,
}

/// All metrics. What cannot be read here is absent, and not 0.
#[must_use]
pub fn render(facts: &Facts, rows: &[UsageRow], projects: &[ProjectUse]) -> String {
    let mut page = Page::default();
    instances(&mut page, rows);
    of_projects(&mut page, projects);
    of_nodes(&mut page, &facts.nodes);
    of_loop(&mut page, facts);
    page.0
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
}

#[derive(Debug, Default)]
struct Page(String);

impl Page {
    /// One metric with all its samples; nothing if it has none.
    fn metric(&mut self, kind: Kind, name: &str, help: &str, samples: &[(Labels<'_>, f64)]) {
        if samples.is_empty() {
            return;
        }
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // A string takes all that is written to it.
        let _ =
            writeln!(self.0, "# HELP {name} {}", help.replace('\\', r"\\").replace('\n', r"\n"));
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        for (labels, value) in samples {
            self.0.push_str(name);
            for (at, (label, text)) in labels.iter().enumerate() {
                let before = if at == 0 { '{' } else { ',' };
                let _ = write!(self.0, "{before}{label}=\"{}\"", escaped(text));
            }
            if !labels.is_empty() {
                self.0.push('}');
            }
            let _ = writeln!(self.0, " {value}");
        }
    }
}

type Labels<'a> = Vec<(&'static str, &'a str)>;

fn escaped(text: &str) -> String {
    text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n")
}

fn instances(page: &mut Page, rows: &[UsageRow]) {
    struct Of {
        project: String,
        instance: String,
        ordinal: String,
        node: String,
        counters: Counters,
        memory_limit: u64,
        nano_cpus_limit: u64,
    }
    // While a replica is replaced it has two containers: one sample for both.
    let mut all: BTreeMap<(String, String), Of> = BTreeMap::new();
    for row in rows {
        let Some(counters) = row.counters else { continue };
        let (replica, node) = (&row.replica, row.node.to_string());
        match all.entry((replica.to_string(), node.clone())) {
            std::collections::btree_map::Entry::Vacant(entry) => {
                entry.insert(Of {
                    project: replica.instance.project.to_string(),
                    instance: replica.instance.name.to_string(),
                    ordinal: replica.ordinal.to_string(),
                    node,
                    counters,
                    memory_limit: row.limits.memory,
                    nano_cpus_limit: row.limits.nano_cpus,
                });
            }
            std::collections::btree_map::Entry::Occupied(mut entry) => {
                let both = entry.get_mut();
                both.counters = both.counters.and(&counters);
                both.memory_limit += row.limits.memory;
                both.nano_cpus_limit += row.limits.nano_cpus;
            }
        }
    }
    let each = |value: &dyn Fn(&Of) -> Option<f64>| -> Vec<(Labels<'_>, f64)> {
        let sample = |of| Some((labels(of), value(of)?));
        fn labels(of: &Of) -> Labels<'_> {
            vec![
                ("project", &of.project),
                ("instance", &of.instance),
                ("ordinal", &of.ordinal),
                ("node", &of.node),
            ]
        }
        all.values().filter_map(sample).collect()
    };
    let limit = |limit: u64| (limit > 0).then(|| float(limit));
    let mut counter = |name: &str, help: &str, value: &dyn Fn(&Counters) -> f64| {
        page.metric(Kind::Counter, name, help, &each(&|of| Some(value(&of.counters))));
    };
    counter("windlass_instance_cpu_seconds_total", "Time on processors.", &|of| seconds(of.cpu_ns));
    counter(
        "windlass_instance_throttled_seconds_total",
        "Time for which the processor limit held it up.",
        &|of| seconds(of.throttled_ns),
    );
    counter(
        "windlass_instance_throttled_periods_total",
        "Periods in which the processor limit held it up.",
        &|of| float(of.throttled_periods),
    );
    counter("windlass_instance_io_read_bytes_total", "Bytes read from block devices.", &|of| {
        float(of.read_bytes)
    });
    counter("windlass_instance_io_written_bytes_total", "Bytes written to block devices.", &|of| {
        float(of.written_bytes)
    });
    counter("windlass_instance_io_reads_total", "Reads from block devices.", &|of| float(of.reads));
    counter("windlass_instance_io_writes_total", "Writes to block devices.", &|of| {
        float(of.writes)
    });
    counter(
        "windlass_instance_oom_kills_total",
        "Processes that the kernel ended for their use of memory.",
        &|of| float(of.oom_kills),
    );
    page.metric(
        Kind::Counter,
        "windlass_instance_pids_refused_total",
        "Processes and threads that could not be made; absent until that was looked at.",
        &each(&|of| of.counters.pids_refused.map(float)),
    );
    let mut gauge = |name: &str, help: &str, value: &dyn Fn(&Of) -> Option<f64>| {
        page.metric(Kind::Gauge, name, help, &each(value));
    };
    gauge(
        "windlass_instance_memory_bytes",
        "Memory in use, without file contents that nobody used for a while.",
        &|of| Some(float(of.counters.memory)),
    );
    gauge("windlass_instance_memory_limit_bytes", "The memory limit; absent if none.", &|of| {
        limit(of.memory_limit)
    });
    gauge("windlass_instance_cpu_limit_cores", "The processor limit; absent if none.", &|of| {
        limit(of.nano_cpus_limit).map(|limit| limit / 1e9)
    });
    gauge("windlass_instance_pids", "Processes and threads.", &|of| Some(float(of.counters.pids)));
    // Version 1 counts stalls of the host only; where nothing ever waited there is nothing to say.
    let stalled = |us: u64| (us > 0).then(|| float(us) / 1e6);
    page.metric(
        Kind::Counter,
        "windlass_instance_memory_stalled_seconds_total",
        "Time in which something of it waited for memory.",
        &each(&|of| stalled(of.counters.memory_stalled_us)),
    );
    page.metric(
        Kind::Counter,
        "windlass_instance_io_stalled_seconds_total",
        "Time in which something of it waited for block devices.",
        &each(&|of| stalled(of.counters.io_stalled_us)),
    );
}

fn of_projects(page: &mut Page, projects: &[ProjectUse]) {
    let (mut quotas, mut used) = (Vec::new(), Vec::new());
    let names: Vec<String> = projects.iter().map(|project| project.name.to_string()).collect();
    for (project, name) in projects.iter().zip(&names) {
        let ProjectUse { name: _, parent: _, quota, nano_cpus, memory, pids, containers, unseen } =
            project;
        let labels = |resource| vec![("project", name.as_str()), ("resource", resource)];
        let limits = [
            ("cpus", quota.cpus.map(|cpus| float(cpus.0) / 1e9)),
            ("memory", quota.memory.map(|memory| float(memory.0))),
            ("pids", quota.pids.map(float)),
            ("instances", quota.instances.map(float)),
        ];
        quotas.extend(limits.into_iter().filter_map(|(of, limit)| Some((labels(of), limit?))));
        // A sum without some of its parts would be taken for less than it is.
        let whole = (*unseen == 0).then_some(());
        let figures = [
            ("cpus", whole.and(*nano_cpus).map(|cpus| float(cpus) / 1e9)),
            ("memory", whole.map(|()| float(*memory))),
            ("pids", whole.map(|()| float(*pids))),
            ("instances", Some(f64::from(*containers))),
        ];
        used.extend(figures.into_iter().filter_map(|(of, figure)| Some((labels(of), figure?))));
    }
    let help = "What a project may use: cores, bytes, processes and threads, replicas.";
    page.metric(Kind::Gauge, "windlass_project_quota", help, &quotas);
    let help = "What a project uses just now, in the units of its quota.";
    page.metric(Kind::Gauge, "windlass_project_used", help, &used);
}

fn of_nodes(page: &mut Page, nodes: &[NodeStatus]) {
    let names: Vec<String> = nodes.iter().map(|node| node.name.to_string()).collect();
    let sample = |(node, name): (&NodeStatus, _)| {
        let up = if node.ready { 1.0 } else { 0.0 };
        (vec![("node", String::as_str(name))], up)
    };
    let samples: Vec<_> = nodes.iter().zip(&names).map(sample).collect();
    page.metric(Kind::Gauge, "windlass_node_up", "Whether the node's engine answers.", &samples);
}

fn of_loop(page: &mut Page, facts: &Facts) {
    let Facts { counts, is_settled, is_degraded, rounds, last_round, nodes: _ } = facts;
    let Counts {
        add,
        change,
        replace,
        destroy,
        denied,
        unknown,
        held,
        waiting,
        suspended,
        later,
        behind,
        settled,
    } = *counts;
    let states = [
        ("add", add),
        ("change", change),
        ("replace", replace),
        ("destroy", destroy),
        ("denied", denied),
        ("unknown", unknown),
        ("held", held),
        ("waiting", waiting),
        ("suspended", suspended),
        ("later", later),
        ("behind", behind),
        ("settled", settled),
    ];
    let samples = states.map(|(state, count)| (vec![("state", state)], f64::from(count)));
    let help = "Objects by what the last round found to do about them.";
    page.metric(Kind::Gauge, "windlass_objects", help, &samples);
    let flag = |is_so: bool| [(Vec::new(), if is_so { 1.0 } else { 0.0 })];
    let help = "Whether nothing is left to do.";
    page.metric(Kind::Gauge, "windlass_settled", help, &flag(*is_settled));
    let help = "Whether nothing is done, since something is wrong.";
    page.metric(Kind::Gauge, "windlass_degraded", help, &flag(*is_degraded));
    let one = |value| [(Vec::new(), value)];
    page.metric(Kind::Counter, "windlass_rounds_total", "Rounds planned.", &one(float(*rounds)));
    let help = "How long the last round took.";
    page.metric(Kind::Gauge, "windlass_round_seconds", help, &one(last_round.as_secs_f64()));
}

fn seconds(ns: u64) -> f64 {
    float(ns) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "the format has no other numbers")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler::model::ids::{Name, ReplicaKey};
    use reconciler::model::observed::Limits;

    #[test]
    fn a_replica_that_is_replaced_has_one_sample_for_both_containers() {
        let row = |cpu_ns| UsageRow {
            replica: ReplicaKey::new("shop/web".parse().expect("a key"), 1),
            node: Name::local_node(),
            limits: Limits { memory: 1 << 20, ..Limits::default() },
            usage: None,
            counters: Some(Counters { cpu_ns, pids: 2, ..Counters::default() }),
            message: None,
        };
        let elsewhere = UsageRow { counters: None, ..row(7) };
        let rows = [row(1_500_000_000), row(250_000_000), elsewhere];
        let text = render(&Facts::default(), &rows, &[]);
        let of = |name: &str| {
            text.lines().filter(|line| line.starts_with(&format!("{name}{{"))).collect::<Vec<_>>()
        };
        assert_eq!(
            of("windlass_instance_cpu_seconds_total"),
            [
                "windlass_instance_cpu_seconds_total{project=\"shop\",instance=\"web\",ordinal=\"1\",node=\"local\"} 1.75"
            ]
        );
        assert_eq!(of("windlass_instance_pids").len(), 1);
        assert_eq!(of("windlass_instance_cpu_limit_cores"), Vec::<&str>::new(), "it has none");
    }

    #[test]
    fn labels_and_texts_are_escaped() {
        let mut page = Page::default();
        let samples = [(vec![("label", "a\"b\\c\nd")], 1.0)];
        page.metric(Kind::Gauge, "windlass_x", "a\\b\nc", &samples);
        assert_eq!(
            page.0,
            "# HELP windlass_x a\\\\b\\nc\n# TYPE windlass_x gauge\n\
             windlass_x{label=\"a\\\"b\\\\c\\nd\"} 1\n"
        );
    }
}
