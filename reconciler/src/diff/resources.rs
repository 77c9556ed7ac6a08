//! Limits.

use super::{Want, change};
use crate::model::groups::{is_same_cpus, is_same_memory};
use crate::model::observed::{Limits, ObservedContainer};
use crate::model::quantity::{Bytes, Cpus};
use crate::model::spec::BlockIo;
use crate::step::FieldChange;

/// The limit on cpu time: lowered and raised in place; lifted in place where the kernel can be told,
/// else by another container.
pub const CPUS: &str = "cpus";

/// The cpus that may be used: changed in place, all of them given back by their numbers; what another
/// hand set is lifted as a limit on cpu time is.
pub const CPUSET: &str = "cpuset";

pub(super) fn cpus(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let (from, to) = (have.config.limits.nano_cpus, want.limits.nano_cpus);
    if !is_same_cpus(to, from) && to != 0 {
        found(change(CPUS, show_cpus(from), show_cpus(to)));
    }
}

pub(super) fn cpus_lifted(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let (from, to) = (have.config.limits.nano_cpus, want.limits.nano_cpus);
    if from != to && to == 0 {
        found(change(CPUS, show_cpus(from), show_cpus(to)));
    }
}

pub(crate) fn show_cpus(nano: u64) -> String {
    match nano {
        0 => "unlimited".to_owned(),
        nano => Cpus(nano).to_string(),
    }
}

pub(super) fn memory(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let (from, to) = (&have.config.limits, &want.limits);
    if !is_same_memory(to.memory, from.memory) {
        found(change("memory", show_bytes(from.memory), show_bytes(to.memory)));
    }
}

pub(super) fn memory_swap(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let (from, to) = (&have.config.limits, &want.limits);
    // Where memory differs it says enough, and swap follows it.
    let differs =
        is_same_memory(to.memory, from.memory) && !is_same_memory(to.memory_swap, from.memory_swap);
    if differs && from.memory_swap != Limits::NOT_ENFORCED {
        found(change("memory and swap", show_bytes(from.memory_swap), show_bytes(to.memory_swap)));
    }
}

pub(crate) fn show_bytes(bytes: u64) -> String {
    match bytes {
        0 => "unlimited".to_owned(),
        bytes => Bytes(bytes).to_string(),
    }
}

pub(super) fn pids(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let (from, to) = (have.config.limits.pids, want.limits.pids);
    if from != to {
        found(change("pids", show_count(from), show_count(to)));
    }
}

pub(crate) fn show_count(count: u64) -> String {
    if count == 0 { "unlimited".to_owned() } else { count.to_string() }
}

pub(super) fn cpu_shares(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let (from, to) = (have.config.limits.cpu_shares, want.limits.cpu_shares);
    if from != to {
        let show = |shares: u64| if shares == 0 { "1024".to_owned() } else { shares.to_string() };
        found(change("cpuShares", show(from), show(to)));
    }
}

pub(super) fn cpuset(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let (from, to) = (&have.config.limits.cpuset, &want.limits.cpuset);
    if from != to && !to.is_empty() {
        found(change(CPUSET, show_cpuset(from), &**to));
    }
}

pub(super) fn cpuset_lifted(
    want: &Want<'_>,
    have: &ObservedContainer,
    found: &mut dyn FnMut(FieldChange),
) {
    let (from, to) = (&have.config.limits.cpuset, &want.limits.cpuset);
    if from != to && to.is_empty() {
        found(change(CPUSET, &**from, show_cpuset(to)));
    }
}

fn show_cpuset(cpus: &str) -> &str {
    if cpus.is_empty() { "all" } else { cpus }
}

pub(super) fn disk(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let (from, to) = (have.config.more.disk, want.spec.resources.disk);
    // A storage driver that knows no sizes has none: that is said as a condition.
    if from.is_some() && from != to {
        let show = |disk: Option<Bytes>| disk.map_or(0, |disk| disk.0);
        found(change("disk", show_bytes(show(from)), show_bytes(show(to))));
    }
}

/// Whether a change is one of block devices' limits.
pub(crate) fn is_of_io(change: &FieldChange) -> bool {
    change.field.starts_with("io.")
}

pub(super) fn io(want: &Want<'_>, have: &ObservedContainer, found: &mut dyn FnMut(FieldChange)) {
    let (from, to) = (&have.config.more.io, &want.spec.resources.io);
    // Everything is named: a field that is forgotten here does not compile.
    let BlockIo { weight, read_bps, write_bps, read_iops, write_iops } = &**to;
    // A kernel that has no weights drops them without a word: that is said as a condition.
    if from.weight.is_some() && from.weight != *weight {
        let show = |weight: Option<u16>| weight.map_or("none".to_owned(), |w| w.to_string());
        found(change("io.weight", show(from.weight), show(*weight)));
    }
    let rates = [
        ("io.readBps", from.read_bps == *read_bps),
        ("io.writeBps", from.write_bps == *write_bps),
        ("io.readIops", from.read_iops == *read_iops),
        ("io.writeIops", from.write_iops == *write_iops),
    ];
    for (name, same) in rates {
        if !same {
            found(change(name, "", ""));
        }
    }
}
