//! Golden cases: a set of specs and a world, and what is planned and reported of them, as text.
//!
//! A case lives in `tests/cases/<case>/`: `specs.yaml`, `observed.yaml` and `expected.txt`. Its
//! `observed.yaml` begins with `# for: <action> × <cause or reason>`, the pair that the case is
//! there for. `UPDATE_EXPECT=1` writes what comes out; read the difference before it is committed.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]
#![allow(clippy::disallowed_methods, reason = "golden cases are files")]

mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use reconciler::check::check;
use reconciler::plan::{Plan, plan};
use reconciler::report::{Reason, Report};
use reconciler::step::Cause;

fn root() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/cases"))
}

/// Compares with what is checked in, or writes it.
fn expect(path: &PathBuf, found: &str, wrong: &mut Vec<String>) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if expected != found {
        wrong.push(format!("{}:\n-- expected\n{expected}-- found\n{found}", path.display()));
    }
}

/// All that a plan and a report say.
fn text(plan: &Plan, report: &Report) -> String {
    let mut text = plan.to_string();
    for entry in &plan.decisions {
        writeln!(text, "decides: {}", serde_json::to_string(entry).unwrap()).unwrap();
    }
    for note in &report.notes {
        let node = note.node.as_ref().map_or("nowhere", |node| node.as_str());
        let what = reconciler::status::describe(&note.reason);
        let word = reconciler::status::reason_word(&note.reason);
        let later = note.later.map_or(String::new(), |kind| format!(", then {kind:?}"));
        writeln!(text, "note: {} on {node}: {word}: {what}{later}", note.object).unwrap();
    }
    if let Some(held) = &report.held {
        let objects: Vec<String> = held.objects.iter().map(ToString::to_string).collect();
        writeln!(text, "held: {} ({})", objects.join(", "), held.why).unwrap();
    }
    let counts = serde_json::to_value(report.counts).unwrap();
    let counts: Vec<String> = counts
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, count)| **count != 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    writeln!(text, "counts: {}", counts.join(", ")).unwrap();
    if let Some(wake) = report.wake_at {
        writeln!(text, "wakes: {} ms later", wake.0 - world::NOW.0).unwrap();
    }
    if report.settled {
        text.push_str("settled\n");
    }
    text
}

fn cause_word(cause: &Cause) -> &'static str {
    match cause {
        Cause::Declared => "Declared",
        Cause::Needed { .. } => "Needed",
        Cause::Changed { .. } => "Changed",
        Cause::Drifted { .. } => "Drifted",
        Cause::Missing => "Missing",
        Cause::Ended { .. } => "Ended",
        Cause::Unhealthy { .. } => "Unhealthy",
        Cause::Restarted { .. } => "Restarted",
        Cause::Power { .. } => "Power",
        Cause::Unfinished => "Unfinished",
        Cause::Superseded => "Superseded",
        Cause::Drained { .. } => "Drained",
        Cause::NotDeclared => "NotDeclared",
        Cause::ScaledDown => "ScaledDown",
        Cause::Down => "Down",
    }
}

fn reason_word(reason: &Reason) -> &'static str {
    match reason {
        Reason::InFlight { .. } => "InFlight",
        Reason::Unknown { .. } => "Unknown",
        Reason::NodeNotDeclared => "NodeNotDeclared",
        Reason::Stays { .. } => "Stays",
        Reason::Unplaced { .. } => "Unplaced",
        Reason::OverQuota { .. } => "OverQuota",
        Reason::WaitingOn { .. } => "WaitingOn",
        Reason::Stalled { .. } => "Stalled",
        Reason::BackingOff { .. } => "BackingOff",
        Reason::Restarting { crash_loop: true, .. } => "CrashLooping",
        Reason::Unhealthy { .. } => "Unhealthy",
        Reason::Restarting { .. } => "Restarting",
        Reason::Completed => "Completed",
        Reason::Failed { .. } => "Failed",
        Reason::Denied { .. } => "Denied",
        Reason::DriftReported { .. } => "DriftReported",
        Reason::SetAside { .. } => "SetAside",
        Reason::Undone { .. } => "Undone",
        Reason::RolloutPaused { .. } => "RolloutPaused",
        Reason::RolloutFailed { .. } => "RolloutFailed",
        Reason::Held => "Held",
        Reason::Retained => "Retained",
        Reason::Suspended { .. } => "Suspended",
    }
}

/// The pairs that a plan and its report show.
fn pairs(plan: &Plan, report: &Report) -> BTreeSet<String> {
    let steps = plan
        .steps
        .iter()
        .map(|step| format!("{} × {}", step.action.verb(), cause_word(&step.cause)));
    let mut pairs: BTreeSet<String> = steps.collect();
    pairs.extend(report.notes.iter().map(|note| format!("none × {}", reason_word(&note.reason))));
    if pairs.is_empty() {
        pairs.insert("none × Settled".to_owned());
    }
    pairs
}

/// Which causes an action can have.
const POSSIBLE: [(&str, &[&str]); 24] = [
    ("pull image", &["Needed"]),
    ("load image", &["Needed"]),
    ("import image", &["Needed"]),
    ("create volume", &["Needed"]),
    ("remove volume", &["NotDeclared", "Down"]),
    ("create network", &["Needed"]),
    ("remove network", &["NotDeclared", "Down"]),
    ("remove copy", &["Superseded"]),
    (
        "connect",
        &["Restarted", "Declared", "Changed", "Drifted", "Missing", "Unfinished", "Unhealthy"],
    ),
    ("disconnect", &["Changed", "Drifted"]),
    (
        "put files",
        &[
            "Restarted",
            "Declared",
            "Changed",
            "Drifted",
            "Missing",
            "Unfinished",
            "Unhealthy",
            "Power",
        ],
    ),
    (
        "create",
        &[
            "Drained",
            "Restarted",
            "Declared",
            "Changed",
            "Drifted",
            "Missing",
            "Unfinished",
            "Unhealthy",
        ],
    ),
    (
        "start",
        &[
            "Drained",
            "Restarted",
            "Declared",
            "Changed",
            "Drifted",
            "Missing",
            "Unfinished",
            "Unhealthy",
            "Power",
        ],
    ),
    ("restart", &["Changed", "Drifted", "Ended"]),
    ("start again", &["Ended"]),
    (
        "stop",
        &[
            "Restarted",
            "Changed",
            "Drifted",
            "Unfinished",
            "Unhealthy",
            "Ended",
            "Power",
            "Superseded",
            "Drained",
            "NotDeclared",
            "ScaledDown",
            "Down",
        ],
    ),
    ("pause", &["Restarted", "Declared", "Changed", "Drifted", "Missing", "Unfinished", "Power"]),
    ("unpause", &["Changed", "Drifted", "Power"]),
    // After a start there is what only the kernel can be told.
    ("update", &["Changed", "Drifted", "Ended", "Power"]),
    ("rename", &["Changed", "Drifted"]),
    ("set rules", &["Changed", "Drifted"]),
    ("set quota", &["Changed", "Drifted", "NotDeclared"]),
    ("set hosts", &["Declared", "Changed", "Unfinished", "Ended", "Power"]),
    (
        "remove",
        &[
            "Restarted",
            "Changed",
            "Drifted",
            "Missing",
            "Unfinished",
            "Unhealthy",
            "Ended",
            "Power",
            "Superseded",
            "Drained",
            "NotDeclared",
            "ScaledDown",
            "Down",
        ],
    ),
];

/// Why nothing may happen.
const REASONS: [&str; 24] = [
    "Settled",
    "InFlight",
    "Unknown",
    "NodeNotDeclared",
    "Stays",
    "Unplaced",
    "OverQuota",
    "WaitingOn",
    "Stalled",
    "BackingOff",
    "CrashLooping",
    "Restarting",
    "Unhealthy",
    "Completed",
    "Failed",
    "Denied",
    "DriftReported",
    "SetAside",
    "Undone",
    "RolloutPaused",
    "RolloutFailed",
    "Held",
    "Retained",
    "Suspended",
];

#[test]
fn cases() {
    let mut wrong = Vec::new();
    let mut covered: BTreeMap<String, String> = BTreeMap::new();
    let mut shown: BTreeSet<String> = BTreeSet::new();
    let mut names: Vec<PathBuf> = fs::read_dir(root())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    names.sort();
    for path in names {
        let case = path.file_name().unwrap().to_string_lossy().into_owned();
        let specs = fs::read_to_string(path.join("specs.yaml")).unwrap_or_default();
        let observed = fs::read_to_string(path.join("observed.yaml")).unwrap();
        let aim = observed.lines().next().and_then(|line| line.strip_prefix("# for: "));
        let Some(aim) = aim else {
            wrong.push(format!("{case}: observed.yaml begins with `# for: <action> × <cause>`"));
            continue;
        };
        let (snapshot, policies) =
            world::read(&specs, &observed).unwrap_or_else(|why| panic!("{case}: {why}"));
        let (plan, report) = plan(&snapshot, &policies);
        let broken = check(&snapshot, &plan);
        if !broken.is_empty() {
            wrong.push(format!("{case}: {broken:?}"));
        }
        let pairs = pairs(&plan, &report);
        // Where several cases show one pair, what tells them apart stands behind it.
        let pair = aim.split(" (").next().unwrap_or(aim);
        if !pairs.contains(pair) {
            wrong.push(format!("{case}: is for {pair}, and shows {pairs:?}"));
        }
        if let Some(other) = covered.insert(aim.to_owned(), case.clone()) {
            wrong.push(format!("{case} and {other} are both for {aim}"));
        }
        shown.extend(pairs);
        expect(&path.join("expected.txt"), &text(&plan, &report), &mut wrong);
    }
    let aims: BTreeSet<&str> =
        covered.keys().map(|aim| aim.split(" (").next().unwrap_or(aim)).collect();
    let actions = POSSIBLE
        .iter()
        .flat_map(|(verb, causes)| causes.iter().map(move |cause| format!("{verb} × {cause}")));
    let reasons = REASONS.iter().map(|reason| format!("none × {reason}"));
    let possible: BTreeSet<String> = actions.chain(reasons).collect();
    for pair in shown.difference(&possible) {
        wrong.push(format!("{pair} is shown, and not in the list of what is possible"));
    }
    let mut uncovered = String::new();
    for pair in possible.iter().filter(|pair| !aims.contains(pair.as_str())) {
        let by_the_way = if shown.contains(pair) { " (shown by the way)" } else { "" };
        writeln!(uncovered, "{pair}{by_the_way}").unwrap();
    }
    expect(&root().join("uncovered.txt"), &uncovered, &mut wrong);
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
