//! Memory, and swap beside it.

use std::io;

use reconciler::model::groups::is_same_memory;
use reconciler::model::observed::Limits;
use reconciler::model::quantity::Bytes;

use super::files::{Group, Refused, Setting};
use super::hierarchy::{Controller, Version};

const LIMIT: &str = "memory.limit_in_bytes";
const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";
const MAX: &str = "memory.max";
const SWAP_MAX: &str = "memory.swap.max";
const CURRENT: &str = "memory.current";
const RECLAIM: &str = "memory.reclaim";

/// From here on, in bytes, version 1 says "no limit": the largest number of whole pages.
const UNLIMITED_FROM: u64 = 1 << 60;

fn set(file: &'static str, value: String) -> Setting {
    Setting::new(Controller::Memory, file, value)
}

fn bytes(version: Version, bytes: u64) -> String {
    match (version, bytes) {
        (Version::One, 0) => "-1".to_owned(),
        (Version::Two, 0) => "max".to_owned(),
        (_, bytes) => bytes.to_string(),
    }
}

/// A limit of memory alone, in bytes; 0 is none.
#[must_use]
pub fn limit(version: Version, memory: u64) -> Setting {
    let file = match version {
        Version::One => LIMIT,
        Version::Two => MAX,
    };
    set(file, bytes(version, memory))
}

/// Limits of memory, and of memory and swap together, in an order in which the kernel takes them.
///
/// # Errors
/// If a file cannot be read.
pub fn limits(group: &Group<'_>, memory: u64, with_swap: u64) -> io::Result<Vec<Setting>> {
    let version = group.version();
    let memory_first = limit(version, memory);
    match version {
        Version::One => {
            let Some(present) = read_bytes(group, WITH_SWAP)? else {
                return Ok(vec![memory_first]);
            };
            let swap = set(WITH_SWAP, bytes(version, with_swap));
            // The one is never more than the other, at no moment.
            let grows = present != 0 && (memory == 0 || memory > present);
            Ok(if grows { vec![swap, memory_first] } else { vec![memory_first, swap] })
        }
        Version::Two => {
            if !group.has(Controller::Memory, SWAP_MAX) {
                return Ok(vec![memory_first]);
            }
            let swap = match with_swap {
                0 => "max".to_owned(),
                with_swap => with_swap.saturating_sub(memory).to_string(),
            };
            Ok(vec![memory_first, set(SWAP_MAX, swap)])
        }
    }
}

/// A limit in bytes; 0 for none.
fn read_bytes(group: &Group<'_>, file: &str) -> io::Result<Option<u64>> {
    let text = group.read(Controller::Memory, file)?;
    Ok(text.and_then(|text| match text.as_str() {
        "max" => Some(0),
        number => {
            let number = number.parse::<u64>().ok()?;
            Some(if number >= UNLIMITED_FROM { 0 } else { number })
        }
    }))
}

/// The limit of a group, in bytes; 0 for none, `None` if the kernel does not say.
///
/// # Errors
/// If a file cannot be read.
pub fn read_limit(group: &Group<'_>) -> io::Result<Option<u64>> {
    read_bytes(group, limit(group.version(), 0).file)
}

/// The limits in force, of memory and of memory and swap together: each as `configured`, if the
/// kernel says that.
///
/// # Errors
/// If a file cannot be read.
pub fn live(group: &Group<'_>, configured: &Limits) -> io::Result<(u64, u64)> {
    let memory = read_limit(group)?.unwrap_or(configured.memory);
    let same = is_same_memory(configured.memory, memory);
    let memory = if same { configured.memory } else { memory };
    if configured.memory_swap == Limits::NOT_ENFORCED {
        return Ok((memory, Limits::NOT_ENFORCED));
    }
    let with_swap = match group.version() {
        Version::One => read_bytes(group, WITH_SWAP)?,
        Version::Two => match group.read(Controller::Memory, SWAP_MAX)?.as_deref() {
            Some("max") => Some(0),
            Some(swap) => swap.parse::<u64>().ok().map(|swap| memory.saturating_add(swap)),
            None => None,
        },
    };
    let with_swap = with_swap.unwrap_or(configured.memory_swap);
    let same = is_same_memory(configured.memory_swap, with_swap);
    Ok((memory, if same { configured.memory_swap } else { with_swap }))
}

/// Sees to it that a group uses no more than it shall have, before it is told so. Version 1 refuses a
/// limit below what is in use; version 2 would kill until it fits.
///
/// # Errors
/// If more stays in use.
pub fn make_room(group: &Group<'_>, memory: u64) -> Result<(), Refused> {
    if group.version() == Version::One || memory == 0 {
        return Ok(());
    }
    let in_use = || group.read(Controller::Memory, CURRENT).ok().flatten()?.parse::<u64>().ok();
    let Some(used) = in_use().filter(|used| *used > memory) else { return Ok(()) };
    if group.has(Controller::Memory, RECLAIM) {
        // What it takes back is seen below; that it took back less than this is no news.
        let _ = group.write_all(&[Setting {
            undo: Some("0".to_owned()),
            ..set(RECLAIM, (used - memory).to_string())
        }]);
    }
    match in_use().filter(|used| *used > memory) {
        None => Ok(()),
        Some(used) => Err(Refused {
            message: format!(
                "a memory limit of {} is refused: {} are in use just now, and the kernel would \
                 kill for it",
                Bytes(memory),
                Bytes(used)
            ),
            at_odds: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::Fixture;
    use super::*;

    fn lines(settings: &[Setting]) -> Vec<String> {
        settings.iter().map(|one| format!("{}={}", one.file, one.value)).collect()
    }

    #[test]
    fn swap_goes_first_where_it_would_be_too_small() {
        let room = Fixture::new(Version::One);
        room.put(Controller::Memory, "/w/a", LIMIT, "67108864\n");
        let group = room.group("/w/a");
        let of = |memory, swap| lines(&limits(&group, memory, swap).expect("read"));
        assert_eq!(of(1 << 20, 2 << 20), ["memory.limit_in_bytes=1048576"]);
        room.put(Controller::Memory, "/w/a", WITH_SWAP, "134217728\n");
        assert_eq!(
            of(256 << 20, 512 << 20),
            ["memory.memsw.limit_in_bytes=536870912", "memory.limit_in_bytes=268435456"]
        );
        assert_eq!(
            of(1 << 20, 2 << 20),
            ["memory.limit_in_bytes=1048576", "memory.memsw.limit_in_bytes=2097152"]
        );
        assert_eq!(of(0, 0), ["memory.memsw.limit_in_bytes=-1", "memory.limit_in_bytes=-1"]);
    }

    #[test]
    fn version_two_counts_swap_alone() {
        let room = Fixture::new(Version::Two);
        room.put(Controller::Memory, "/w/a", SWAP_MAX, "max\n");
        let group = room.group("/w/a");
        let of = |memory, swap| lines(&limits(&group, memory, swap).expect("read"));
        assert_eq!(of(1 << 20, 3 << 20), ["memory.max=1048576", "memory.swap.max=2097152"]);
        assert_eq!(of(1 << 20, 0), ["memory.max=1048576", "memory.swap.max=max"]);
        assert_eq!(of(0, 0), ["memory.max=max", "memory.swap.max=max"]);
    }

    #[test]
    fn no_limit_is_a_large_number() {
        let room = Fixture::new(Version::One);
        room.put(Controller::Memory, "/w/a", LIMIT, "9223372036854771712\n");
        assert_eq!(read_limit(&room.group("/w/a")).expect("read"), Some(0));
        let configured = Limits { memory: 10_000, memory_swap: 20_000, ..Limits::default() };
        assert_eq!(live(&room.group("/w/a"), &configured).expect("read"), (0, 20_000));
        room.put(Controller::Memory, "/w/a", LIMIT, "8192\n");
        assert_eq!(live(&room.group("/w/a"), &configured).expect("read"), (10_000, 20_000));
    }

    #[test]
    fn nobody_is_killed_for_a_smaller_limit() {
        let room = Fixture::new(Version::Two);
        room.put(Controller::Memory, "/w/a", CURRENT, "50331648\n");
        let refused = make_room(&room.group("/w/a"), 32 << 20).expect_err("more is in use");
        assert!(refused.message.contains("48Mi are in use"), "{}", refused.message);
        make_room(&room.group("/w/a"), 48 << 20).expect("it fits");
        make_room(&room.group("/w/a"), 0).expect("no limit fits");
    }
}
