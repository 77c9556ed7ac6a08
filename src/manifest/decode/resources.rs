//! Limits of an Instance or a Flavor, and the flavor that stands for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::ids::{Key, Name};
use reconciler::model::quantity::{self, Bytes, Cpus, QuantityError};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::limits::{CPU_SHARES, IO_RATES, IO_WEIGHTS, PIDS_MAX};
use reconciler::model::spec::{
    BUILT_IN_FLAVORS, BlockIo, CpuPolicy, Flavor, Requests, Resources, Swap,
};

use super::super::problem::{Problem, Span};
use super::super::tree::{Node, Value};
use super::fields::{Context, Fields, short};
use super::value;

/// A flavor that an instance names, and that is not built in.
#[derive(Debug, Clone)]
pub(crate) struct FlavorUse {
    pub(crate) span: Span,
    /// As it is written.
    pub(crate) text: String,
    /// The Flavors that it may be, first the one in the instance's own project.
    pub(crate) keys: Vec<Key>,
}

/// What an instance says of its limits.
pub(super) struct Limits {
    pub(super) resources: Resources,
    pub(super) flavor: Option<String>,
    pub(super) used: Option<FlavorUse>,
}

/// The `resources` or the `flavor` of an Instance in `project`.
pub(super) fn of_instance(
    context: &mut Context<'_>,
    fields: &mut Fields<'_, '_>,
    project: &Name,
) -> Limits {
    let resources = fields.entry("resources");
    let flavor = fields.entry("flavor");
    if let (Some(resources), Some(flavor)) = (resources, flavor) {
        let problem = Problem::new(flavor.key_span, "both `resources` and `flavor`");
        let problem = problem.label("a flavor is a set of resources: take one of the two out");
        context.note(problem.also(resources.key_span, "the resources"));
    }
    let limits = resources.and_then(|entry| {
        let mut fields = Fields::of(context, &entry.value, "resources", "resources.")?;
        let resources = decode(context, &mut fields);
        fields.finish(context, &UNBUILT);
        Some(resources)
    });
    let mut found = Limits { resources: limits.unwrap_or_default(), flavor: None, used: None };
    let Some(entry) = flavor else { return found };
    let names = BUILT_IN_FLAVORS.iter().map(|flavor| flavor.name).collect::<Vec<_>>();
    let expected = format!("the name of a Flavor, or one of {}", names.join(", "));
    let Some(name) = value::text(context, &entry.value, "flavor", &expected) else { return found };
    found.flavor = Some(name.to_owned());
    if let Some(flavor) = Flavor::built_in(name) {
        found.resources = flavor.resources();
        return found;
    }
    let keys = match name.split_once('/') {
        Some((project, name)) => {
            Name::new(project).and_then(|project| Ok(vec![Key::new(project, Name::new(name)?)]))
        }
        None => Name::new(name).map(|name| {
            let shared = Key::new(Name::default_project(), name.clone());
            vec![Key::new(project.clone(), name), shared]
        }),
    };
    match keys {
        Ok(keys) => {
            found.used = Some(FlavorUse { span: entry.value.span, text: name.to_owned(), keys });
        }
        // No Flavor can have that name; the built-in ones hold a dot.
        Err(_) => context.note(unknown_flavor(entry.value.span, name, &names)),
    }
    found
}

/// What to say of a flavor that nobody knows.
pub(crate) fn unknown_flavor(span: Span, name: &str, known: &[&str]) -> Problem {
    let problem = Problem::new(span, format!("unknown flavor `{}`", short(name)));
    match super::did_you_mean(name, known.iter().copied()) {
        Some(near) => problem.label(format!("did you mean `{near}`?")),
        None => problem.label(format!("expected one of {}", known.join(", "))),
    }
}

/// Fields of resources that are designed, but not built.
pub(super) const UNBUILT: [&str; 3] = ["memoryReservation", "blkio", "gpus"];

/// The fields of a set of resources; the caller says what else may stand beside them.
pub(super) fn decode(context: &mut Context<'_>, fields: &mut Fields<'_, '_>) -> Resources {
    let cpus = fields.take("cpus");
    let cpus = cpus.and_then(|node| value::quantity(context, node, &fields.name("cpus")));
    let cpu_policy = cpu_policy(context, fields, cpus);
    let cpu_shares = fields
        .take("cpuShares")
        .and_then(|node| value::integer(context, node, &fields.name("cpuShares"), CPU_SHARES));
    let cpuset = fields.take("cpuset");
    let cpuset = cpuset.and_then(|node| self::cpuset(context, node, &fields.name("cpuset")));
    let memory = fields.take("memory").and_then(|node| {
        let memory: Bytes = value::quantity(context, node, &fields.name("memory"))?;
        if memory < Bytes::MEMORY_MIN {
            let label = format!("engines need at least {}, this is {memory}", Bytes::MEMORY_MIN);
            context.out_of_range(node.span, &fields.name("memory"), label);
            return None;
        }
        Some(memory)
    });
    let memory_swap = fields.take("memorySwap");
    let memory_swap =
        memory_swap.and_then(|node| swap(context, node, &fields.name("memorySwap"), memory));
    let pids = fields
        .take("pids")
        .and_then(|node| value::integer(context, node, &fields.name("pids"), (1, PIDS_MAX)));
    let disk = fields.take("disk").and_then(|node| {
        let disk: Bytes = value::quantity(context, node, &fields.name("disk"))?;
        if disk < Bytes::DISK_MIN {
            let label = format!("at least {} is needed, this is {disk}", Bytes::DISK_MIN);
            context.out_of_range(node.span, &fields.name("disk"), label);
            return None;
        }
        Some(disk)
    });
    let io = fields.take("io").and_then(|node| io(context, node, &fields.name("io")));
    let io = Sparse::new(io.unwrap_or_default());
    Resources { cpus, cpu_shares, cpuset, cpu_policy, memory, memory_swap, pids, disk, io }
}

/// Whose the cpus are. Who has some for itself says how many, and not which.
fn cpu_policy(
    context: &mut Context<'_>,
    fields: &mut Fields<'_, '_>,
    cpus: Option<Cpus>,
) -> CpuPolicy {
    const WORDS: [(&str, CpuPolicy); 2] =
        [("shared", CpuPolicy::Shared), ("dedicated", CpuPolicy::Dedicated)];
    let name = fields.name("cpuPolicy");
    let Some(node) = fields.take("cpuPolicy") else { return CpuPolicy::Shared };
    let synonyms = [("exclusive", "dedicated"), ("static", "dedicated"), ("none", "shared")];
    let policy = value::choice(context, node, &name, &WORDS, &synonyms).unwrap_or_default();
    if policy == CpuPolicy::Shared {
        return policy;
    }
    match (fields.take("cpus"), cpus) {
        (None, _) => {
            context.invalid(node.span, &name, "needs `cpus` beside it: how many it has for itself");
        }
        (Some(said), Some(cpus)) if !cpus.0.is_multiple_of(Cpus::NANO) => {
            let label = format!("a whole number is needed with `cpuPolicy: dedicated`, not {cpus}");
            context.out_of_range(said.span, &fields.name("cpus"), label);
        }
        (Some(_), _) => {}
    }
    if let Some(entry) = fields.entry("cpuset") {
        let label = "with `cpuPolicy: dedicated` windlass chooses the cpus; take it out";
        context.invalid(entry.key_span, &fields.name("cpuset"), label);
    }
    policy
}

/// What an instance usually needs; at most its `limits`, where they are known.
pub(super) fn requests(
    context: &mut Context<'_>,
    node: &Node<'_>,
    limits: Option<&Resources>,
) -> Option<Requests> {
    let mut fields = Fields::of(context, node, "requests", "requests.")?;
    let cpus = fields.take("cpus");
    let cpus = cpus.map(|node| value::quantity(context, node, "requests.cpus"));
    let memory = fields.take("memory");
    let memory = memory.map(|node| value::quantity(context, node, "requests.memory"));
    fields.finish(context, &["pids", "io"]);
    let cpus = cpus.map_or(Some(None), |cpus| cpus.map(Some))?;
    let memory = memory.map_or(Some(None), |memory| memory.map(Some))?;
    let requests = Requests { cpus, memory };
    if let Some(problem) = limits.and_then(|limits| too_much(node.span, &requests, limits)) {
        context.note(problem);
    }
    Some(requests)
}

/// What to say of requests that are more than the limits, if they are.
pub(crate) fn too_much(span: Span, requests: &Requests, limits: &Resources) -> Option<Problem> {
    let (name, asked, limit) = requests.above(limits)?;
    let problem = Problem::new(span, format!("`requests.{name}` is more than its limit"));
    Some(problem.label(format!("{asked} are requested, and {limit} is all that it gets")))
}

/// Memory and swap together.
fn swap(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    memory: Option<Bytes>,
) -> Option<Swap> {
    let is_unlimited =
        matches!(&node.value, Value::Scalar { text, .. } if matches!(&**text, "unlimited" | "-1"));
    let swap = if is_unlimited {
        Swap::Unlimited
    } else {
        Swap::Total(value::quantity(context, node, field)?)
    };
    let Some(memory) = memory else {
        context.invalid(node.span, field, "needs `memory` beside it: it counts both together");
        return None;
    };
    if let Swap::Total(total) = swap
        && total < memory
    {
        let label = format!("memory and swap together, so at least the memory: {memory}");
        context.out_of_range(node.span, field, label);
        return None;
    }
    Some(swap)
}

/// `0-1,3`, in its shortest form: what is compared with what engines report.
fn cpuset(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<Arc<str>> {
    let expected = "cpus such as `0-1,3`";
    let text = value::text(context, node, field, expected)?;
    match quantity::cpuset(text) {
        Ok(cpus) => Some(cpus.into()),
        Err(QuantityError::Range(why)) => {
            context.out_of_range(node.span, field, why);
            None
        }
        Err(QuantityError::Form(_) | QuantityError::Unit { .. }) => {
            context.wrong_type(node, field, expected);
            None
        }
    }
}

/// Limits on block devices.
pub(super) fn io(context: &mut Context<'_>, node: &Node<'_>, field: &str) -> Option<BlockIo> {
    let path = format!("{field}.");
    let mut fields = Fields::of(context, node, field, &path)?;
    let weight = fields
        .take("weight")
        .and_then(|node| value::integer(context, node, &fields.name("weight"), IO_WEIGHTS));
    let mut bytes = |context: &mut Context<'_>, name: &'static str| {
        let node = fields.take(name)?;
        per_device(context, node, &format!("{field}.{name}"), |context, node, field| {
            let rate: Bytes = value::quantity(context, node, field)?;
            if rate.0 == 0 {
                context.out_of_range(node.span, field, "a rate of 0 lets nothing through");
                return None;
            }
            Some(rate)
        })
    };
    let read_bps = bytes(context, "readBps").unwrap_or_default();
    let write_bps = bytes(context, "writeBps").unwrap_or_default();
    let mut counts = |context: &mut Context<'_>, name: &'static str| {
        let node = fields.take(name)?;
        per_device(context, node, &format!("{field}.{name}"), |context, node, field| {
            value::integer(context, node, field, IO_RATES)
        })
    };
    let read_iops = counts(context, "readIops").unwrap_or_default();
    let write_iops = counts(context, "writeIops").unwrap_or_default();
    fields.finish(context, &[]);
    let weight = weight.and_then(|weight| u16::try_from(weight).ok());
    Some(BlockIo { weight, read_bps, write_bps, read_iops, write_iops })
}

/// A mapping of paths of devices to rates.
fn per_device<T>(
    context: &mut Context<'_>,
    node: &Node<'_>,
    field: &str,
    mut rate: impl FnMut(&mut Context<'_>, &Node<'_>, &str) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    let Value::Mapping(entries) = &node.value else {
        context.wrong_type(node, field, "a mapping of devices to rates, { /dev/sda: … }");
        return None;
    };
    let mut rates = BTreeMap::new();
    for entry in entries.iter() {
        let name = format!("{field}.{}", short(&entry.key));
        if !entry.key.starts_with("/dev/") {
            context.invalid(entry.key_span, &name, "expected the path of a device: `/dev/sda`");
            continue;
        }
        if let Some(rate) = rate(context, &entry.value, &name) {
            rates.insert(entry.key.clone().into_owned(), rate);
        }
    }
    Some(rates)
}
