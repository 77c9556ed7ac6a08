//! All limits of a project's group, and of a container: from values to files and back.

use std::collections::BTreeSet;
use std::io;

use reconciler::model::groups::{GroupLimit, GroupLimits};
use reconciler::model::observed::Limits;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::BlockIo;

use super::files::{Group, Refused, Setting};
use super::hierarchy::{Controller, Hierarchy, Version};
use super::{cpu, cpuset, io as block, memory, pids};

/// The kinds of limits that this host's kernel has none of for the group of a project.
#[must_use]
pub fn missing(trees: &Hierarchy) -> BTreeSet<GroupLimit> {
    let has = |controller| trees.offers(controller);
    let mut missing = BTreeSet::new();
    let mut lacks = |is_there: bool, kind| {
        if !is_there {
            missing.insert(kind);
        }
    };
    lacks(has(Controller::Cpu), GroupLimit::Cpus);
    lacks(has(Controller::Memory), GroupLimit::Memory);
    lacks(has(Controller::Pids), GroupLimit::Pids);
    // In version 1 a group's rates count for processes right in it, and for no group below.
    let of_groups = trees.version() == Version::Two && has(Controller::Io);
    lacks(of_groups, GroupLimit::Io);
    lacks(of_groups && block::has_weights(trees), GroupLimit::IoWeight);
    missing
}

/// The controllers that a project's group needs.
#[must_use]
pub fn controllers(limits: &GroupLimits) -> Vec<Controller> {
    let each = |kind| match kind {
        GroupLimit::Cpus => Controller::Cpu,
        GroupLimit::Memory => Controller::Memory,
        GroupLimit::Pids => Controller::Pids,
        GroupLimit::Io | GroupLimit::IoWeight => Controller::Io,
    };
    // Containers are made below it in all of them.
    limits.kinds().into_iter().map(each).chain([Controller::Cpu, Controller::Memory]).collect()
}

/// Brings the group of a project to these limits, complete, or leaves it as it was.
///
/// # Errors
/// What the kernel refuses.
pub fn set_group(group: &Group<'_>, limits: &GroupLimits) -> Result<(), Refused> {
    let GroupLimits { nano_cpus, memory: bytes, pids: count, io } = limits;
    memory::make_room(group, *bytes)?;
    let version = group.version();
    let mut settings = cpu::cap(version, *nano_cpus);
    settings.push(memory::limit(version, *bytes));
    settings.push(pids::limit(*count));
    if version == Version::Two {
        settings.extend(block::limits(group, io).map_err(refused)?);
    }
    // What the kernel has no file for was not asked for: see `missing`.
    settings.retain(|setting| group.has(setting.controller, setting.file));
    group.write_all(&settings)
}

/// The limits of a project's group; `None` if it is not there.
///
/// # Errors
/// If a file cannot be read.
pub fn read_group(group: &Group<'_>, told: &BlockIo) -> io::Result<Option<GroupLimits>> {
    if !group.exists() {
        return Ok(None);
    }
    let io = match group.version() {
        Version::One => BlockIo::default(),
        Version::Two => {
            BlockIo { weight: block::live_weight(group, told.weight)?, ..block::live(group, told)? }
        }
    };
    Ok(Some(GroupLimits {
        nano_cpus: cpu::read_cap(group)?.unwrap_or(0),
        memory: memory::read_limit(group)?.unwrap_or(0),
        pids: pids::read_limit(group)?.unwrap_or(0),
        io: Sparse::new(io),
    }))
}

/// Brings a container to these limits, complete, or leaves it as it was; and to these of block
/// devices, if any are said.
///
/// # Errors
/// What the kernel refuses.
pub fn set_container(
    group: &Group<'_>,
    limits: &Limits,
    io: Option<&BlockIo>,
) -> Result<(), Refused> {
    let Limits { nano_cpus, memory: bytes, memory_swap, pids: count, cpu_shares, cpuset } = limits;
    let unread = |error: io::Error| refused(format!("read its limits: {error}"));
    memory::make_room(group, *bytes)?;
    let mut settings: Vec<Setting> = Vec::new();
    let mut differs = |is_as_asked: bool, more: Vec<Setting>| {
        if !is_as_asked {
            settings.extend(more);
        }
    };
    let version = group.version();
    let cap = cpu::live_cap(group, *nano_cpus).map_err(unread)? == *nano_cpus;
    differs(cap, cpu::cap(version, *nano_cpus));
    let weight = cpu::live_weight(group, *cpu_shares).map_err(unread)? == *cpu_shares;
    differs(weight, vec![cpu::weight(version, *cpu_shares)]);
    let set = cpuset::live(group, cpuset).map_err(unread)?.is_none();
    differs(set, cpuset::limit(group, cpuset).map_err(unread)?.into_iter().collect());
    let present = memory::live(group, limits).map_err(unread)?;
    let memory = memory::limits(group, *bytes, *memory_swap).map_err(unread)?;
    differs(present == (*bytes, *memory_swap), memory);
    let pids = pids::read_limit(group).map_err(unread)? == Some(*count);
    differs(pids, vec![pids::limit(*count)]);
    if let Some(io) = io {
        settings.extend(block::limits(group, io).map_err(refused)?);
    }
    settings.retain(|setting| group.has(setting.controller, setting.file));
    group.write_all(&settings)
}

/// The limits that the kernel holds a container to: each as it was `configured`, if the kernel says
/// that. `None` if it has no group.
///
/// # Errors
/// If a file cannot be read.
pub fn live(group: &Group<'_>, configured: &Limits) -> io::Result<Option<Limits>> {
    let (cap, pids) = (cpu::read_cap(group)?, pids::read_limit(group)?);
    if cap.is_none() && pids.is_none() {
        return Ok(None);
    }
    let (memory, memory_swap) = memory::live(group, configured)?;
    Ok(Some(Limits {
        nano_cpus: cpu::as_configured(cap, configured.nano_cpus),
        memory,
        memory_swap,
        pids: pids.unwrap_or(configured.pids),
        cpu_shares: cpu::live_weight(group, configured.cpu_shares)?,
        cpuset: match cpuset::live(group, &configured.cpuset)? {
            Some(cpus) => cpus.into(),
            None => configured.cpuset.clone(),
        },
    }))
}

fn refused(message: String) -> Refused {
    Refused { message, at_odds: false }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn v1() -> Fixture {
        let room = Fixture::new(Version::One);
        let files = [
            (Controller::Cpu, "cpu.cfs_period_us", "100000"),
            (Controller::Cpu, "cpu.cfs_quota_us", "-1"),
            (Controller::Cpu, "cpu.shares", "1024"),
            (Controller::Cpuset, "cpuset.cpus", "0-1"),
            (Controller::Memory, "memory.limit_in_bytes", "9223372036854771712"),
            (Controller::Pids, "pids.max", "max"),
        ];
        for group in ["/w/shop", "/w/shop/1a"] {
            for (controller, file, text) in files {
                room.put(controller, group, file, text);
            }
        }
        room
    }

    fn v2() -> Fixture {
        let room = Fixture::new(Version::Two);
        let files = [
            ("cpu.max", "max 100000"),
            ("cpu.weight", "100"),
            ("cpuset.cpus", ""),
            ("memory.max", "max"),
            ("memory.swap.max", "max"),
            ("memory.current", "4096"),
            ("pids.max", "max"),
            ("io.max", ""),
        ];
        for group in ["/w/shop", "/w/shop/1a"] {
            for (file, text) in files {
                room.put(Controller::Cpu, group, file, text);
            }
        }
        room
    }

    #[test]
    fn limits_of_projects_are_read_as_they_were_set() {
        let limits = GroupLimits {
            nano_cpus: 500_000_000,
            memory: 64 << 20,
            pids: 40,
            io: Sparse::default(),
        };
        for room in [v1(), v2()] {
            let group = room.group("/w/shop");
            set_group(&group, &limits).expect("set");
            let found = read_group(&group, &BlockIo::default()).expect("read");
            assert_eq!(found, Some(limits.clone()));
            set_group(&group, &GroupLimits::default()).expect("lifted");
            let found = read_group(&group, &BlockIo::default()).expect("read");
            assert_eq!(found, Some(GroupLimits::default()));
        }
    }

    #[test]
    fn limits_of_containers_are_read_as_they_were_set() {
        let limits = Limits {
            nano_cpus: 1_500_000_000,
            memory: 64 << 20,
            memory_swap: 64 << 20,
            pids: 7,
            cpu_shares: 512,
            cpuset: "0".into(),
        };
        for (room, keeps_swap) in [(v1(), false), (v2(), true)] {
            let group = room.group("/w/shop/1a");
            let nothing = Limits::default();
            assert_eq!(live(&group, &nothing).expect("read"), Some(nothing.clone()));
            set_container(&group, &limits, None).expect("set");
            let found = live(&group, &limits).expect("read").expect("there");
            assert_eq!(found, limits);
            let found = live(&group, &nothing).expect("read").expect("there");
            let shares = found.cpu_shares;
            let swap = if keeps_swap { limits.memory_swap } else { 0 };
            assert!(shares == 512 || keeps_swap, "{shares}");
            assert_eq!(
                found,
                Limits { cpu_shares: shares, memory_swap: swap, ..limits.clone() },
                "what another hand set is seen"
            );
            set_container(&group, &nothing, None).expect("lifted");
            assert_eq!(live(&group, &nothing).expect("read"), Some(nothing));
        }
    }

    #[test]
    fn a_limit_below_what_is_in_use_changes_nothing() {
        let room = v2();
        room.put(Controller::Memory, "/w/shop", "memory.current", "134217728");
        let group = room.group("/w/shop");
        let limits = GroupLimits { nano_cpus: 1, memory: 64 << 20, ..GroupLimits::default() };
        let refused = set_group(&group, &limits).expect_err("more is in use");
        assert!(refused.message.contains("128Mi are in use"), "{}", refused.message);
        assert_eq!(room.get(Controller::Cpu, "/w/shop", "cpu.max"), "max 100000");
    }

    #[test]
    fn a_group_that_is_not_there_has_no_limits() {
        let room = v1();
        assert_eq!(read_group(&room.group("/w/none"), &BlockIo::default()).expect("read"), None);
        assert_eq!(live(&room.group("/w/none/1a"), &Limits::default()).expect("read"), None);
    }

    #[test]
    fn what_a_kernel_lacks_is_known_before_anybody_asks_for_it() {
        let room = v2();
        assert_eq!(
            missing(&room.trees),
            [GroupLimit::IoWeight].into(),
            "no weights without a model"
        );
        room.put(Controller::Io, "/", "io.cost.qos", "");
        assert!(missing(&room.trees).is_empty());
        room.put(Controller::Cpu, "/", "cgroup.controllers", "cpuset cpu io memory\n");
        assert_eq!(missing(&room.trees), [GroupLimit::Pids].into());
    }
}
