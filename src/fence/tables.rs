//! The tools that hold packet rules. They are run by a thread that is in the engine's network, so
//! that is where they work.

use std::io::{ErrorKind, Write as _};
use std::process::{Command, Stdio};

use reconciler::model::fence::{Fence, Rules};

use super::rules;
use crate::peer::Lack;

/// Seconds that the tools wait while somebody else uses them.
pub(super) const LOCK_WAIT_S: &str = "5";

/// What reads them.
const TOOL: &str = "iptables";

/// The chain that engines keep for rules that are not theirs: they ask it first, and leave it alone.
const USERS_CHAIN: &str = "DOCKER-USER";

/// The kernel's chain for what passes through, which engines have lead through the user's chain.
const KERNELS_CHAIN: &str = "FORWARD";

/// Says whether packets within one bridge are asked about at all.
const BRIDGE_FILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// The chains whose changes may change what is in force in `chain`.
pub(super) fn chains(chain: &str) -> [String; 2] {
    [chain.to_owned(), USERS_CHAIN.to_owned()]
}

/// Whether the kernel tells of what these tools change.
///
/// # Errors
/// What the tools said.
pub(super) fn are_told_of() -> Result<bool, String> {
    Ok(run(TOOL, &["--version"], "")?.contains("nf_tables"))
}

/// What is in force in `chain`.
///
/// # Errors
/// Why nobody can tell, or why no rules can be set here.
pub(super) fn look(chain: &str) -> Result<Fence, String> {
    let text = text()?;
    let table = Table::of(&text, chain)?;
    let (rules, intact) = rules::read(chain, &table.lines);
    let is_bare = rules.is_empty() && table.lines.is_empty();
    let asked = bridge_filter()?;
    Ok(Fence::InForce { rules, intact: intact && (is_bare || table.leads() && asked) })
}

/// What it says of this host that the tools cannot say what is in force.
pub(super) fn lack(why: String) -> Lack {
    let missing = Command::new(TOOL).arg("--version").stdin(Stdio::null()).output();
    match missing {
        Err(error) if error.kind() == ErrorKind::NotFound => Lack::that_stays(why),
        Ok(_) | Err(_) => Lack::from(why),
    }
}

/// Puts rules in place of those of `chain`, all at once. `leads` if what passes is known to be led
/// through the chain: then it need not be read how things stand. If that is no longer so, the next
/// look says it.
///
/// # Errors
/// What the tools said.
pub(super) fn set(chain: &str, rules: &Rules, leads: bool) -> Result<(), String> {
    // Naming the chain makes it, or empties it.
    let mut input = format!("*filter\n:{chain} - [0:0]\n");
    for line in rules::written(chain, rules) {
        input.push_str(&line);
        input.push('\n');
    }
    if rules.is_empty() {
        let text = text()?;
        for _ in 0..Table::of(&text, chain)?.jumps {
            input.push_str(&format!("-D {USERS_CHAIN} -j {chain}\n"));
        }
        input.push_str(&format!("-X {chain}\n"));
    } else if !leads {
        let text = text()?;
        let table = Table::of(&text, chain)?;
        if table.jumps == 0 {
            input.push_str(&format!("-I {USERS_CHAIN} 1 -j {chain}\n"));
        }
        // Its engine does the same at each start.
        if !table.is_asked {
            input.push_str(&format!("-I {KERNELS_CHAIN} 1 -j {USERS_CHAIN}\n"));
        }
    }
    if !bridge_filter()? {
        std::fs::write(BRIDGE_FILTER, "1")
            .map_err(|error| format!("set {BRIDGE_FILTER}: {error}"))?;
    }
    input.push_str("COMMIT\n");
    run("iptables-restore", &["--noflush", "--wait", LOCK_WAIT_S], &input).map(drop)
}

/// What the tables hold of one chain.
struct Table<'t> {
    /// Its rules.
    lines: Vec<&'t str>,
    /// How often the user's chain leads through it.
    jumps: usize,
    /// Whether the user's chain is asked about what passes.
    is_asked: bool,
}

impl<'t> Table<'t> {
    fn of(text: &'t str, chain: &str) -> Result<Self, String> {
        let users = format!("-N {USERS_CHAIN}");
        if !text.lines().any(|line| line == users) {
            return Err(format!(
                "the engine's network has no chain {USERS_CHAIN}. An engine makes it when it \
                 starts, unless it is told to set no packet rules (iptables=false), or sets them \
                 by other tools than the `iptables` that windlass finds (iptables-nft, \
                 iptables-legacy, nft)"
            ));
        }
        let of = |name: &str| {
            let head = format!("-A {name} ");
            text.lines().filter(move |line| line.starts_with(&head))
        };
        let jumps = of(USERS_CHAIN).filter(|line| rules::leads_through(line, chain)).count();
        let is_asked = of(KERNELS_CHAIN).any(|line| rules::leads_through(line, USERS_CHAIN));
        Ok(Self { lines: of(chain).collect(), jumps, is_asked })
    }

    /// Whether all that passes is led through the chain.
    fn leads(&self) -> bool {
        self.jumps > 0 && self.is_asked
    }
}

/// All chains and rules that say what passes.
fn text() -> Result<String, String> {
    run(TOOL, &["--wait", LOCK_WAIT_S, "-S"], "")
}

fn bridge_filter() -> Result<bool, String> {
    let text = std::fs::read_to_string(BRIDGE_FILTER).map_err(|error| {
        format!(
            "read {BRIDGE_FILTER}: {error}; load the kernel's module br_netfilter (`modprobe \
             br_netfilter`)"
        )
    })?;
    Ok(text.trim() == "1")
}

fn run(program: &str, arguments: &[&str], input: &str) -> Result<String, String> {
    let spawned = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            format!("there is no `{program}` where windlass runs; install the package iptables")
        } else {
            format!("run {program}: {error}")
        }
    })?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends without reading says why by its exit code.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| format!("run {program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>();
    Err(format!("{program} failed: {}", said.join("; ")))
}
