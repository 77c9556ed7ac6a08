//! What containers use, read from the files of their control groups: no call of an engine.
//!
//! Most of the time goes into finding a file by its path, so the groups above are kept open, and files
//! are found from there. To keep the files themselves open would take a sixth of the time, and eight of
//! them a container: more than a process may usually have open, with a page of the kernel's memory each.

use std::collections::BTreeMap;

use reconciler::ports::Sampler;
use reconciler::pressure::Readings;
use reconciler::usage::{Counters, Target};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::{Errno, read};

use super::files::Above;
use super::hierarchy::{Controller, Hierarchy, Version, container_group};

/// The longest file that is read whole: `memory.stat` has some 1.5 KB, and `io.stat` some 100 bytes a
/// device.
const FILE_BYTES_MAX: usize = 16 * 1024;

/// The kernel hands out these files a page at a time: what is shorter is whole.
const PAGE_BYTES: usize = 4096 - 512;

/// So many groups of projects are kept open, with a handle a controller; with more of them, all are
/// opened anew.
const PARENTS_MAX: usize = 64;

/// What hardly ever changes is read at one look in so many: a file takes as long as another.
const SELDOM: u8 = 3;

/// Reads control groups.
#[derive(Debug)]
pub struct Groups {
    trees: Option<Hierarchy>,
    parents: BTreeMap<String, Above>,
    buffer: Vec<u8>,
    name: String,
    /// Counts looks at everybody.
    turn: u8,
}

impl Groups {
    /// Those of this host; if it has none, there are no figures.
    #[must_use]
    pub fn of_host() -> Self {
        let trees = Hierarchy::of_host();
        if let Err(error) = &trees {
            tracing::debug!(%error, "no figures of control groups");
        }
        Self::new(trees.ok())
    }

    /// Those of these trees.
    #[must_use]
    pub fn new(trees: Option<Hierarchy>) -> Self {
        let (parents, buffer, name) = (BTreeMap::new(), vec![0; FILE_BYTES_MAX], String::new());
        Self { trees, parents, buffer, name, turn: 0 }
    }

    /// The figures of a group; `None` if it is not there.
    #[must_use]
    pub fn counters(&mut self, group: &str) -> Option<Counters> {
        let (above, own) = group.rsplit_once('/').unwrap_or(("", group));
        let was_open = self.parents.contains_key(above);
        let found = self.read(above, own);
        if found.is_some() || !was_open {
            return found;
        }
        // The group above may have been removed and made again meanwhile.
        self.parents.remove(above);
        self.read(above, own)
    }

    fn read(&mut self, above: &str, own: &str) -> Option<Counters> {
        let Self { trees, parents, buffer, name, turn } = self;
        let trees = trees.as_ref()?;
        if !parents.contains_key(above) {
            if parents.len() >= PARENTS_MAX {
                parents.clear();
            }
            parents.insert(above.to_owned(), Above::open(trees, above));
        }
        let parent = parents.get(above)?;
        let first = own.bytes().next().unwrap_or_default();
        let in_full = first.wrapping_add(*turn).is_multiple_of(SELDOM);
        let mut of = Of { parent, own, buffer, name, in_full };
        match trees.version() {
            Version::One => of.version_one(),
            Version::Two => of.version_two(),
        }
    }
}

impl Sampler for Groups {
    fn sample(&mut self, target: &Target) -> Option<Counters> {
        let Target { driver, parent, life, .. } = target;
        self.counters(&container_group(parent, *driver, &life.container.0))
    }

    fn host(&mut self) -> Readings {
        self.turn = self.turn.wrapping_add(1);
        let of = |what: &str| {
            let text = std::fs::read(format!("/proc/pressure/{what}"));
            // A kernel that does not count it waits for nothing, as far as anybody can tell.
            text.map_or(0, |text| stalled_us(&text))
        };
        Readings { memory_stalled_us: of("memory"), io_stalled_us: of("io"), ..Readings::default() }
    }
}

/// One group that is being read.
struct Of<'a> {
    parent: &'a Above,
    /// Its name below that.
    own: &'a str,
    buffer: &'a mut Vec<u8>,
    name: &'a mut String,
    /// Whether what changes seldom is read, too.
    in_full: bool,
}

impl Of<'_> {
    fn version_one(&mut self) -> Option<Counters> {
        // Whoever has no processor time to tell of is not there.
        let cpu_ns = number(self.read(Controller::Cpuacct, "cpuacct.usage")?);
        let mut counters = Counters { cpu_ns, ..Counters::default() };
        if let Some(text) = self.read(Controller::Cpu, "cpu.stat") {
            for (key, value) in pairs(text) {
                match key {
                    b"nr_periods" => counters.periods = value,
                    b"nr_throttled" => counters.throttled_periods = value,
                    b"throttled_time" => counters.throttled_ns = value,
                    _ => {}
                }
            }
        }
        let used = self.read(Controller::Memory, "memory.usage_in_bytes").map_or(0, number);
        counters.memory = used.saturating_sub(self.stat(b"total_inactive_file"));
        if let Some(text) = self.read(Controller::Memory, "memory.oom_control") {
            counters.oom_kills = value_of(text, b"oom_kill");
        }
        counters.pids = self.read(Controller::Pids, "pids.current").map_or(0, number);
        if self.in_full
            && let Some(text) = self.read(Controller::Pids, "pids.events")
        {
            counters.pids_refused = Some(value_of(text, b"max"));
        }
        if let Some(text) = self.read(Controller::Io, "blkio.throttle.io_service_bytes_recursive") {
            (counters.read_bytes, counters.written_bytes) = both_ways(text);
        }
        // Who moved nothing needs no look at how often.
        if counters.read_bytes + counters.written_bytes > 0
            && let Some(text) = self.read(Controller::Io, "blkio.throttle.io_serviced_recursive")
        {
            (counters.reads, counters.writes) = both_ways(text);
        }
        Some(counters)
    }

    fn version_two(&mut self) -> Option<Counters> {
        let mut counters = Counters::default();
        for (key, value) in pairs(self.read(Controller::Cpu, "cpu.stat")?) {
            match key {
                b"usage_usec" => counters.cpu_ns = value.saturating_mul(1000),
                b"nr_periods" => counters.periods = value,
                b"nr_throttled" => counters.throttled_periods = value,
                b"throttled_usec" => counters.throttled_ns = value.saturating_mul(1000),
                _ => {}
            }
        }
        let used = self.read(Controller::Memory, "memory.current").map_or(0, number);
        counters.memory = used.saturating_sub(self.stat(b"inactive_file"));
        if let Some(text) = self.read(Controller::Memory, "memory.events") {
            counters.oom_kills = value_of(text, b"oom_kill");
        }
        counters.pids = self.read(Controller::Pids, "pids.current").map_or(0, number);
        if self.in_full
            && let Some(text) = self.read(Controller::Pids, "pids.events")
        {
            counters.pids_refused = Some(value_of(text, b"max"));
        }
        for word in self.read(Controller::Io, "io.stat").unwrap_or_default().split(is_space) {
            let Some(equals) = word.iter().position(|byte| *byte == b'=') else { continue };
            let (key, value) = (&word[..equals], number(&word[equals + 1..]));
            match key {
                b"rbytes" => counters.read_bytes += value,
                b"wbytes" => counters.written_bytes += value,
                b"rios" => counters.reads += value,
                b"wios" => counters.writes += value,
                _ => {}
            }
        }
        counters.memory_stalled_us =
            self.read(Controller::Memory, "memory.pressure").map_or(0, stalled_us);
        counters.io_stalled_us = self.read(Controller::Io, "io.pressure").map_or(0, stalled_us);
        Some(counters)
    }

    /// A figure of `memory.stat`: file contents that nobody used for a while, which engines leave out
    /// of what they show as used.
    fn stat(&mut self, key: &[u8]) -> u64 {
        self.read(Controller::Memory, "memory.stat").map_or(0, |text| value_of(text, key))
    }

    /// A file of the group; `None` if it cannot be read.
    fn read(&mut self, controller: Controller, file: &str) -> Option<&[u8]> {
        self.name.clear();
        self.name.push_str(self.own);
        self.name.push('/');
        self.name.push_str(file);
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        // One that is not there is that of a container which has just ended, or of another kernel.
        let file = openat(self.parent.dir(controller)?, &*self.name, flags, Mode::empty()).ok()?;
        let mut length = 0;
        loop {
            match read(&file, self.buffer.get_mut(length..)?) {
                Ok(0) => break,
                Ok(more) => {
                    length += more;
                    if more < PAGE_BYTES {
                        break;
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
        self.buffer.get(..length)
    }
}

fn is_space(byte: &u8) -> bool {
    byte.is_ascii_whitespace()
}

/// The number at the beginning; 0 if there is none.
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits
        .fold(0, |sum: u64, digit| sum.saturating_mul(10).saturating_add(u64::from(*digit - b'0')))
}

/// Lines of a key and a number.
fn pairs(text: &[u8]) -> impl Iterator<Item = (&[u8], u64)> {
    text.split(|byte| *byte == b'\n').filter_map(|line| {
        let space = line.iter().position(|byte| *byte == b' ')?;
        Some((&line[..space], number(&line[space + 1..])))
    })
}

fn value_of(text: &[u8], key: &[u8]) -> u64 {
    pairs(text).find(|(found, _)| *found == key).map_or(0, |(_, value)| value)
}

/// How long something waited, of a file of pressures: `some avg10=0.00 avg60=0.00 avg300=0.00 total=12`.
fn stalled_us(text: &[u8]) -> u64 {
    let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"some "));
    let mut words = line.unwrap_or_default().split(is_space);
    words.find_map(|word| word.strip_prefix(b"total=")).map_or(0, number)
}

/// What was read and what was written, of all devices; each has a line for `Read` and for `Write`, as
/// `8:0 Read 4096`.
fn both_ways(text: &[u8]) -> (u64, u64) {
    let (mut read, mut written) = (0_u64, 0_u64);
    for line in text.split(|byte| *byte == b'\n') {
        let mut words = line.split(is_space);
        match (words.next(), words.next(), words.next()) {
            (Some(_), Some(b"Read"), Some(value)) => read += number(value),
            (Some(_), Some(b"Write"), Some(value)) => written += number(value),
            _ => {}
        }
    }
    (read, written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a directory")).expect("made");
            fs::write(path, text).expect("written");
        }
    }

    const EXPECTED: Counters = Counters {
        cpu_ns: 1_234_567_000,
        memory: 7_000_000,
        pids: 5,
        read_bytes: 12_288,
        written_bytes: 8192,
        reads: 3,
        writes: 2,
        throttled_periods: 7,
        throttled_ns: 90_000,
        oom_kills: 1,
        periods: 70,
        pids_refused: Some(4),
        memory_stalled_us: 0,
        io_stalled_us: 0,
    };

    #[test]
    fn version_one_has_a_folder_a_controller() {
        let room = tempfile::tempdir().expect("a directory");
        let bytes = "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 12288\n8:0 Async 0\n8:0 Discard 0\n\
                     8:0 Total 12288\n8:16 Read 8192\n8:16 Write 0\n8:16 Total 8192\nTotal 20480\n";
        let times = "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\n8:16 Read 2\n8:16 Total 2\nTotal 5\n";
        write(
            room.path(),
            &[
                ("cpuacct/w/a/cpuacct.usage", "1234567000\n"),
                ("cpu/w/a/cpu.stat", "nr_periods 70\nnr_throttled 7\nthrottled_time 90000\n"),
                ("memory/w/a/memory.usage_in_bytes", "8000000\n"),
                ("memory/w/a/memory.stat", "inactive_file 3\ntotal_inactive_file 1000000\n"),
                ("memory/w/a/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n"),
                ("pids/w/a/pids.current", "5\n"),
                ("pids/w/a/pids.events", "max 4\n"),
                ("blkio/w/a/blkio.throttle.io_service_bytes_recursive", bytes),
                ("blkio/w/a/blkio.throttle.io_serviced_recursive", times),
            ],
        );
        let mut groups = Groups::new(Some(Hierarchy::at(Version::One, room.path())));
        groups.turn = 2;
        assert_eq!(groups.counters("/w/a"), Some(EXPECTED));
        assert_eq!(groups.counters("/w/b"), None, "it is not there");
    }

    fn pressure(total: u64) -> String {
        let line =
            |kind, total| format!("{kind} avg10=1.50 avg60=0.00 avg300=0.00 total={total}\n");
        line("some", total) + &*line("full", 3)
    }

    #[test]
    fn version_two_has_one_folder() {
        let room = tempfile::tempdir().expect("a directory");
        write(
            room.path(),
            &[
                (
                    "w/a/cpu.stat",
                    "usage_usec 1234567\nuser_usec 1\nsystem_usec 2\nnr_periods 70\n\
                     nr_throttled 7\nthrottled_usec 90\n",
                ),
                ("w/a/memory.current", "8000000\n"),
                ("w/a/memory.stat", "anon 1\nfile 2\ninactive_file 1000000\n"),
                (
                    "w/a/memory.events",
                    "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n",
                ),
                ("w/a/pids.current", "5\n"),
                ("w/a/pids.events", "max 4\n"),
                ("w/a/memory.pressure", &pressure(77)),
                ("w/a/io.pressure", &pressure(88)),
                (
                    "w/a/io.stat",
                    "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n\
                     8:16 rbytes=8192 wbytes=0 rios=2 wios=0 dbytes=0 dios=0\n",
                ),
            ],
        );
        let mut groups = Groups::new(Some(Hierarchy::at(Version::Two, room.path())));
        groups.turn = 2;
        let expected = Counters { memory_stalled_us: 77, io_stalled_us: 88, ..EXPECTED };
        assert_eq!(groups.counters("/w/a"), Some(expected));
        assert_eq!(groups.counters("w/b"), None, "it is not there");
    }

    #[test]
    fn a_controller_that_is_missing_takes_its_own_figures_only() {
        let room = tempfile::tempdir().expect("a directory");
        write(room.path(), &[("cpuacct/w/a/cpuacct.usage", "12\n")]);
        let mut groups = Groups::new(Some(Hierarchy::at(Version::One, room.path())));
        let expected = Counters { cpu_ns: 12, ..Counters::default() };
        assert_eq!(groups.counters("/w/a"), Some(expected));
    }

    #[test]
    fn nonsense_is_no_panic() {
        let room = tempfile::tempdir().expect("a directory");
        let long = "9".repeat(FILE_BYTES_MAX * 2);
        write(
            room.path(),
            &[
                ("w/a/cpu.stat", "\n\n usage_usec\nx"),
                ("w/a/io.stat", "= ==\n\u{0}=1"),
                ("w/a/memory.current", &long),
            ],
        );
        let mut groups = Groups::new(Some(Hierarchy::at(Version::Two, room.path())));
        let counters = groups.counters("w/a").expect("it is there");
        assert_eq!((counters.cpu_ns, counters.memory), (0, u64::MAX));
    }
}
