//! Compares what an instance's spec asks for with a container as it is, field by field.
//!
//! [`fields`] lists one row for each field of an Instance, as users write it: what a difference
//! needs, and how the engine's form of it is made comparable. A difference in an
//! [`InPlace`](Class::InPlace) field (or a [`Kernel`](Class::Kernel) one, where that can be) is repaired while the container lives, one in a
//! [`Replace`](Class::Replace) field by another container; an [`Ignored`](Class::Ignored) field is
//! no part of a container. Images add variables, labels and ports of their own, so a field that
//! merges with the image's is compared as a part of what is there.
//!
//! The comparisons themselves are in [`usual`], [`resources`], [`network`] and [`rare`].

mod network;
mod rare;
mod resources;
#[cfg(test)]
mod tests;
mod usual;

use crate::links::Linked;
use crate::model::ids::{ImageId, ReplicaKey};
use crate::model::observed::{Limits, ObservedContainer};
use crate::model::spec::InstanceSpec;
use crate::step::FieldChange;

pub use self::network::is_of_a_network;
pub(crate) use self::network::{NetworkWant, is_as_wanted, is_of_network, left, network_of};
pub use self::resources::{CPUS, CPUSET};
pub(crate) use self::resources::{is_of_io, show_bytes, show_count, show_cpus};
pub use self::usual::short_id;

/// What a difference in a field needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A change of the container that lives.
    InPlace,
    /// The same where the node's kernel can be told, which engines do not do; elsewhere another
    /// container.
    Kernel,
    /// Another container.
    Replace,
    /// Nothing: the field is no part of a container.
    Ignored,
}

/// What a replica's container shall be.
#[derive(Debug, Clone, Copy)]
pub struct Want<'a> {
    /// The replica.
    pub replica: &'a ReplicaKey,
    /// Its spec.
    pub spec: &'a InstanceSpec,
    /// The limits of its spec, as engines have them.
    pub limits: &'a Limits,
    /// What its links bring.
    pub linked: &'a Linked,
    /// The image's id on the replica's node, if it is known.
    pub image: Option<&'a ImageId>,
    /// Whether the node's kernel can be told of limits.
    pub kernel: bool,
}

/// Tells of each difference in one field.
type Compare = fn(&Want<'_>, &ObservedContainer, &mut dyn FnMut(FieldChange));

/// How one field is compared.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The field, as users write it.
    pub name: &'static str,
    /// What a difference needs.
    pub class: Class,
    /// How the engine's form and the user's are made comparable; for an ignored field, why it is.
    pub normalised: &'static str,
    compare: Option<Compare>,
}

const fn in_place(name: &'static str, compare: Compare, normalised: &'static str) -> Row {
    Row { name, class: Class::InPlace, normalised, compare: Some(compare) }
}

const fn kernel(name: &'static str, compare: Compare, normalised: &'static str) -> Row {
    Row { name, class: Class::Kernel, normalised, compare: Some(compare) }
}

const fn replace(name: &'static str, compare: Compare, normalised: &'static str) -> Row {
    Row { name, class: Class::Replace, normalised, compare: Some(compare) }
}

/// Only another revision shows it: engines do not give it back.
const fn revised(name: &'static str, normalised: &'static str) -> Row {
    Row { name, class: Class::Replace, normalised, compare: None }
}

const fn ignored(name: &'static str, normalised: &'static str) -> Row {
    Row { name, class: Class::Ignored, normalised, compare: None }
}

/// Fields that every container has.
const USUAL: [Row; 25] = [
    replace("image", usual::image, "by the image's id on the node"),
    replace("command", usual::command, "the image's own if not said"),
    replace("args", usual::args, "the image's own if neither they nor a command are said"),
    replace("env", usual::env, "as a part of what is there: images bring variables"),
    replace("labels", usual::labels, "as a part of what is there: images bring labels"),
    replace("hostname", usual::hostname, "NAME-ORDINAL if not said"),
    replace("ports", usual::ports, "what is only exposed may be the image's; 0.0.0.0 is none"),
    replace("volumes", usual::volumes, "by target; volumes that an image asks for may be there"),
    replace("health.exec", usual::health, "in milliseconds; CMD-SHELL spelled out"),
    replace("stop.signal", usual::stop_signal, "with SIG before it; the image's own if not said"),
    replace("network mode", network::mode, "the engine's `default` is its `bridge`"),
    in_place("resources.cpus", resources::cpus, "in billionths, from a quota and its period too"),
    // No engine lifts these two while the container lives; its kernel does.
    kernel("resources.cpus", resources::cpus_lifted, "0 is no limit"),
    kernel("resources.cpuset", resources::cpuset_lifted, "empty is no limit"),
    in_place("resources.cpuShares", resources::cpu_shares, "1024 if not said"),
    in_place("resources.cpuset", resources::cpuset, "in its shortest form"),
    in_place("resources.memory", resources::memory, "in bytes; 0 is no limit"),
    in_place("resources.memorySwap", resources::memory_swap, "twice the memory if not said"),
    in_place("resources.pids", resources::pids, "0 is no limit"),
    in_place("engine restart policy", usual::restart_policy, "always `no`: windlass restarts"),
    in_place("networks", network::attachments, "the engine's own aliases left out"),
    ignored("resources.cpuPolicy", "the cpus that it gets stand in cpuset"),
    ignored("flavor", "stands in resources"),
    ignored("replicas", "says how many, not what"),
    ignored("power", "a state that is held, not a setting"),
];

/// Fields that most containers leave out: compared only where spec or container has one.
const RARE: [Row; 41] = [
    replace("workdir", rare::workdir, "the image's own if not said"),
    revised("files", "by digest, in the revision: engines do not tell what a file holds"),
    revised("userData", "as files"),
    ignored("envFiles", "their variables stand in env"),
    replace("dns", rare::dns, "as it is"),
    replace("extraHosts", rare::extra_hosts, "by name"),
    replace("init", rare::init, "as the engine does it if not said"),
    replace("tty", rare::tty, "false if not said"),
    replace("log", rare::log, "as the engine does it if not said"),
    replace("resources.disk", resources::disk, "in bytes; one that the driver has not is none"),
    // Engines take other rates, and do nothing.
    kernel("resources.io", resources::io, "a weight that the kernel has not is no difference"),
    replace("security.user", rare::user, "the image's own if not said"),
    replace("security.groups", rare::groups, "as a set"),
    replace("security.readOnlyRoot", rare::read_only_root, "false if not said"),
    replace("security.noNewPrivileges", rare::no_new_privileges, "false if not said"),
    replace("security.capAdd", rare::cap_add, "as a set, in capitals, without CAP_"),
    replace("security.capDrop", rare::cap_drop, "as a set, in capitals, without CAP_"),
    replace("security.privileged", rare::privileged, "false if not said"),
    replace("security.devices", rare::devices, "by the path inside"),
    replace("security.seccomp", rare::seccomp, "as JSON without blanks; the engine's if not said"),
    replace("security.apparmor", rare::apparmor, "the engine's own if not said"),
    replace("security.sysctls", rare::sysctls, "by name"),
    replace("security.ulimits", rare::ulimits, "as a part of what is there: engines have defaults"),
    replace("security.namespaces.ipc", rare::ipc, "as the engine does it if not said"),
    replace("security.namespaces.pid", rare::pid, "its own if not said"),
    replace("security.namespaces.uts", rare::uts, "its own if not said"),
    replace("security.namespaces.cgroup", rare::cgroup, "as the engine does it if not said"),
    replace("security.namespaces.user", rare::users, "as the engine does it if not said"),
    ignored("update", "says how it changes, not what it is"),
    ignored("placement", "says where, not what"),
    ignored("dependsOn", "says when, not what"),
    ignored("requests", "what policies go by; the limits are enforced"),
    ignored("protected", "says what may be done to it, not what it is"),
    ignored("restart", "windlass restarts, not the engine"),
    ignored("stop.timeout", "said with each stop"),
    ignored("health.http", "windlass asks, not the engine"),
    ignored("health.tcp", "windlass asks, not the engine"),
    ignored("health.interval", "beside exec it is compared with it; else windlass's own"),
    ignored("health.timeout", "beside exec it is compared with it; else windlass's own"),
    ignored("health.retries", "beside exec it is compared with it; else windlass's own"),
    ignored("health.startPeriod", "beside exec it is compared with it; else windlass's own"),
];

/// All fields of an Instance, one row each.
pub fn fields() -> impl Iterator<Item = &'static Row> {
    USUAL.iter().chain(&RARE)
}

/// The fields in which a container is not what it shall be, with what each needs.
#[must_use]
pub fn differences(want: &Want<'_>, have: &ObservedContainer) -> Vec<(Class, FieldChange)> {
    let mut found = Vec::new();
    let mut compare = |row: &Row| {
        if let Some(compare) = row.compare {
            let class = match row.class {
                Class::Kernel if !want.kernel => Class::Replace,
                class @ (Class::InPlace | Class::Kernel | Class::Replace | Class::Ignored) => class,
            };
            compare(want, have, &mut |change| found.push((class, change)));
        }
    };
    USUAL.iter().for_each(&mut compare);
    let is_plain = want.spec.more.is_empty()
        && want.spec.resources.io.is_empty()
        && want.spec.resources.disk.is_none()
        && have.config.more.is_empty();
    if !is_plain {
        RARE.iter().for_each(&mut compare);
    }
    found
}

fn change(field: &str, from: impl Into<String>, to: impl Into<String>) -> FieldChange {
    FieldChange { field: field.to_owned(), from: from.into(), to: to.into() }
}
