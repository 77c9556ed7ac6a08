//! What outsiders may write, as functions of bytes: no input makes them panic, hang or take memory
//! without bounds. They also hold what windlass makes of an input against what else it says of it, so
//! that a wrong answer is a panic, too.
//!
//! `tests/fuzz` hunts with them, by coverage; `tests/it/fuzz.rs` plays the corpus that is kept there,
//! and mutations of it, at each run of the tests. Both go through [`TARGETS`]. The bodies stand beside
//! what they try, since that is private: `manifest/fuzzing.rs`, and so on.
//!
//! An input of several parts (files of a set, a script and its cases) has a line `%%` between them.

mod compose;
mod daemon;
mod policies;

/// Something that reads what outsiders write.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// What it is called: its corpus is the directory of that name.
    pub name: &'static str,
    /// Reads an input. It panics if anything is wrong with how that is read.
    pub run: fn(&[u8]),
}

/// All of them, by name.
pub const TARGETS: [Target; 8] = [
    Target { name: "archives", run: crate::docker::fuzzing::archives },
    Target { name: "compose", run: compose::compose },
    Target { name: "engine", run: crate::docker::fuzzing::engine },
    Target { name: "journal", run: crate::journal::fuzzing::journal },
    Target { name: "policies", run: policies::policies },
    Target { name: "records", run: crate::store::fuzzing::records },
    Target { name: "requests", run: daemon::requests },
    Target { name: "specs", run: crate::manifest::fuzzing::specs },
];

/// Reads an input by the target of that name.
///
/// # Panics
/// If there is no such target, or it finds a fault.
pub fn run(name: &str, input: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target.expect("a target").run)(input);
}

/// The parts of an input. It has at most so many: what follows is left out.
pub(crate) fn parts(input: &[u8], parts_max: usize) -> Vec<&[u8]> {
    let mut parts = vec![input];
    while let Some(last) = parts.last().filter(|_| parts.len() <= parts_max) {
        let mark = b"\n%%\n";
        let Some(at) = last.windows(mark.len()).position(|found| found == mark) else { break };
        // The part keeps its own line end.
        let (before, after) = last.split_at(at + 1);
        let after = &after[mark.len() - 1..];
        parts.pop();
        parts.extend([before, after]);
    }
    parts.truncate(parts_max);
    parts
}
