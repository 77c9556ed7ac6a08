//! The tools that hold packet rules. They are run by a thread that is in the engine's network, so
//! that is where they work.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};

use reconciler::model::fence::{Fence, Rules};

use super::host::Lack;
use super::rules;

/// Seconds that the tools wait while somebody else uses them.
pub(super) const LOCK_WAIT_S: &str = "5";

/// What reads them.
const TOOL: &str = "iptables";

/// The chain that engines keep for rules that are not theirs: they ask it first, and leave it alone.
const USERS_CHAIN: &str = "DOCKER-USER";

/// Says whether packets within one bridge are asked about at all.
const BRIDGE_FILTER: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

/// What is in force in `chain`.
///
/// # Errors
/// Why nobody can tell, or why no rules can be set here.
pub(super) fn look(chain: &str) -> Result<Fence, String> {
    let table = table()?;
    let (lines, is_led) = lines_of(&table, chain)?;
    let (rules, intact) = rules::read(chain, &lines);
    let is_bare = rules.is_empty() && lines.is_empty();
    let asked = bridge_filter()?;
    Ok(Fence::InForce { rules, intact: intact && (is_bare || is_led && asked) })
}

/// What it says of this host that the tools cannot say what is in force.
pub(super) fn lack(why: String) -> Lack {
    let missing = Command::new(TOOL).arg("--version").stdin(Stdio::null()).output();
    match missing {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Lack::that_stays(why),
        Ok(_) | Err(_) => Lack::from(why),
    }
}

/// Puts rules in place of those of `chain`, all at once.
///
/// # Errors
/// What the tools said.
pub(super) fn set(chain: &str, rules: &Rules) -> Result<(), String> {
    let table = table()?;
    let (_, is_led) = lines_of(&table, chain)?;
    if !bridge_filter()? {
        std::fs::write(BRIDGE_FILTER, "1")
            .map_err(|error| format!("set {BRIDGE_FILTER}: {error}"))?;
    }
    // Naming the chain makes it, or empties it.
    let mut input = format!("*filter\n:{chain} - [0:0]\n");
    for line in rules::written(chain, rules) {
        input.push_str(&line);
        input.push('\n');
    }
    match (rules.is_empty(), is_led) {
        (false, false) => input.push_str(&format!("-I {USERS_CHAIN} 1 -j {chain}\n")),
        (false, true) => {}
        (true, true) => input.push_str(&format!("-D {USERS_CHAIN} -j {chain}\n-X {chain}\n")),
        (true, false) => input.push_str(&format!("-X {chain}\n")),
    }
    input.push_str("COMMIT\n");
    run("iptables-restore", &["--noflush", "--wait", LOCK_WAIT_S], &input).map(drop)
}

/// All chains and rules that say what passes.
fn table() -> Result<String, String> {
    run(TOOL, &["--wait", LOCK_WAIT_S, "-S"], "")
}

/// The rules of `chain`, and whether the user's chain leads through it.
fn lines_of<'t>(table: &'t str, chain: &str) -> Result<(Vec<&'t str>, bool), String> {
    let users = format!("-N {USERS_CHAIN}");
    if !table.lines().any(|line| line == users) {
        return Err(format!(
            "the engine's network has no chain {USERS_CHAIN}: the engine sets no packet rules \
             (iptables=false), or sets them with another version of the tools than the `iptables` \
             that windlass finds"
        ));
    }
    let of = |name: &str| {
        let head = format!("-A {name} ");
        table.lines().filter(move |line| line.starts_with(&head))
    };
    let is_led = of(USERS_CHAIN).any(|line| rules::leads_through(line, chain));
    Ok((of(chain).collect(), is_led))
}

fn bridge_filter() -> Result<bool, String> {
    let text = std::fs::read_to_string(BRIDGE_FILTER).map_err(|error| {
        format!("read {BRIDGE_FILTER}: {error}; load the kernel's module br_netfilter")
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
        format!("run {program}: {error}; install the package iptables on the engine's host")
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
