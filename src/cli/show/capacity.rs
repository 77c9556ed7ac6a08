//! What a node has, and what of it is promised.

use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::spec::{Overcommit, Room};

use super::words::size;
use crate::api::protocol::NodeStatus;

/// Capacity, what is reserved of it, how often the rest may be promised, what that comes to, and what
/// of it is promised.
#[must_use]
pub fn rows(node: &NodeStatus) -> Vec<(&'static str, String)> {
    let mut rows = Vec::new();
    let declared = room(&node.capacity);
    let told = match (node.cpus, node.memory) {
        (Some(cpus), Some(memory)) => Some(format!("{cpus} cpus, {} of memory", size(memory))),
        _ => None,
    };
    let capacity = match (declared.is_empty(), told) {
        (true, told) => told,
        (false, None) => Some(declared),
        (false, Some(told)) => Some(format!("{declared}, as declared; its engine has {told}")),
    };
    rows.extend(capacity.map(|text| ("Capacity", text)));
    let reserved = Some(room(&node.reserved)).filter(|text| !text.is_empty());
    rows.extend(reserved.map(|text| ("Reserved", text)));
    rows.extend(overcommit(&node.overcommit).map(|text| ("Overcommit", text)));
    if let (Some(cpus), Some(memory)) = (node.cpus_room, node.memory_room) {
        let note = |is_border: bool| if is_border { "" } else { " (only weighed)" };
        let (of_cpus, of_memory) = node.borders;
        let cpus = format!("{} cpus{}", Cpus(cpus), note(of_cpus));
        let memory = format!("{} of memory{}", size(memory), note(of_memory));
        rows.push(("Allocatable", format!("{cpus}, {memory}")));
    }
    let used = format!("{} cpus, {} of memory", Cpus(node.cpus_used), size(node.memory_used));
    let replicas = super::words::count32(node.replicas, "replica");
    rows.push(("Allocated", format!("{used}: the limits of {replicas}")));
    rows
}

/// What is said of room: `cpus 4, memory 8Gi`.
#[must_use]
pub fn room(room: &Room) -> String {
    let Room { cpus, memory, pids, instances } = room;
    let said = [
        cpus.map(|cpus| format!("cpus {cpus}")),
        memory.map(|Bytes(memory)| format!("memory {}", size(memory))),
        pids.map(|pids| format!("pids {pids}")),
        instances.map(|instances| format!("instances {instances}")),
    ];
    said.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// What is said of how often it may be promised: `cpus 2, memory 1.2`.
#[must_use]
pub fn overcommit(over: &Overcommit) -> Option<String> {
    let Overcommit { cpus, memory } = over;
    let cpus = cpus.map(|ratio| format!("cpus {ratio}"));
    let memory = memory.map(|ratio| format!("memory {ratio}"));
    let said: Vec<String> = cpus.into_iter().chain(memory).collect();
    (!said.is_empty()).then(|| said.join(", "))
}
