//! Policies as outsiders may write them: scripts, and cases that they are asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use reconciler::model::ids::Name;
use reconciler::model::policies::{Origin, PolicySource, PolicySources};
use reconciler::model::spec::policy::ActionKind;
use reconciler::policy::inventory::Inventory;
use reconciler::policy::library::Library;
use reconciler::policy::outcome::{Judgement, Outcome};
use reconciler::policy::script::{Entry, Program, Script, Surroundings, limits};
use reconciler::policy::view::{AskedAction, AskedDrift, AskedRound, Object};
use reconciler::step::FieldChange;

use super::parts;
use crate::manifest::fuzzing::declared;
use crate::policies::cases;

/// What scripts are asked about: one object of each kind, with all that can be said of some.
const SET: &str = include_str!("../manifest/tests/design.yaml");

/// Compiles the first part of an input, and asks it about a set that has a bit of everything. A second
/// part is the cases beside it.
pub(super) fn policies(input: &[u8]) {
    let parts = parts(input, 2);
    let [text, rest @ ..] = parts.as_slice() else { return };
    let text = String::from_utf8_lossy(text);
    match (Script::compile(&text), Script::compile_traced(&text)) {
        (Ok(plain), Ok(traced)) => judged(plain, traced),
        (Err(wrong), _) => {
            assert!(!wrong.is_empty(), "what is wrong is said");
            wrong.iter().for_each(|failure| assert!(!failure.to_string().is_empty()));
        }
        (Ok(_), Err(wrong)) => {
            let grown = text.len() * 2 > limits::SCRIPT_BYTES_MAX;
            // Marks nest what stands in a script deeper.
            let nested = wrong.iter().any(|failure| failure.to_string().contains("exceed"));
            assert!(grown || nested, "with a trace it is wrong: {wrong:?}");
        }
    }
    let mut source = PolicySource::new(Origin::Own, "fuzz/policy.rhai", &text);
    source.cases = rest.first().map(|cases| Arc::from(String::from_utf8_lossy(cases)));
    let sources = PolicySources { policies: vec![source.clone()], profiles: BTreeMap::new() };
    if let Ok(library) = Library::new(&sources) {
        let _ = cases::run(&source, &Arc::new(library));
    }
}

fn judged(plain: Script, traced: Script) {
    let (plain, traced) = (Arc::new(plain), Arc::new(traced));
    let made = |script| Program::new(script, &BTreeMap::new());
    let (program, marked) = match (made(&plain), made(&traced)) {
        (Ok(program), Ok(marked)) => (program, marked),
        (Err(_), Err(_)) => return,
        (one, two) => panic!("a trace changes what parameters are: {one:?}, {two:?}"),
    };
    let inventory = inventory();
    let around = Surroundings::default();
    // Of most kinds one is enough: what differs is what they have fields for.
    for (_, object) in inventory.objects().step_by(3) {
        if plain.entries().contains(&Entry::Check) {
            same(|program| program.check(object, &around), &program, &marked);
        }
        if plain.entries().contains(&Entry::Action) {
            let action = Arc::new(action(object));
            same(|program| program.check_action(&action, &around), &program, &marked);
        }
        if plain.entries().contains(&Entry::Drift) {
            let drift = Arc::new(drift(object));
            same(|program| program.check_drift(&drift, &around), &program, &marked);
        }
    }
    if plain.entries().contains(&Entry::Set) {
        same(|program| program.check_set(inventory, &around), &program, &marked);
    }
    let reached: BTreeSet<_> = traced.statements().into_iter().map(|one| one.line).collect();
    assert!(reached.len() <= plain.text().lines().count(), "statements stand in lines");
}

/// Judges twice, and with a trace: all three say the same.
fn same(judge: impl Fn(&Program) -> Judgement, program: &Program, marked: &Program) {
    let first = judge(program);
    assert_eq!(judge(program), first, "a verdict is the same each time");
    assert!(first.operations <= limits::SET_OPERATIONS_MAX + 1, "{} operations", first.operations);
    let traced = judge(marked);
    // Marks cost operations and levels of nesting, so a limit may come earlier or later.
    let is_error = |judged: &Judgement| matches!(judged.outcome, Outcome::Error(_));
    if !is_error(&first) && !is_error(&traced) {
        assert_eq!(traced.outcome, first.outcome, "a trace changes a verdict");
    }
}

fn inventory() -> &'static Inventory {
    static INVENTORY: OnceLock<Inventory> = OnceLock::new();
    INVENTORY.get_or_init(|| Inventory::of(&declared(SET).expect("a set without faults"), None))
}

fn action(object: &Arc<Object>) -> AskedAction {
    AskedAction {
        kind: ActionKind::Replace,
        target: Arc::clone(object),
        replica: Some(1),
        node: Some(Name::local_node()),
        cause: "image changed".to_owned(),
        fields: vec![change()],
        linked_by: vec!["shop/web".to_owned()],
        round: AskedRound { deletes: 1, replaces: 2, managed: 7 },
        exec: None,
    }
}

fn drift(object: &Arc<Object>) -> AskedDrift {
    let (replica, node) = (Some(0), Some(Name::local_node()));
    AskedDrift { object: Arc::clone(object), replica, node, fields: vec![change()] }
}

fn change() -> FieldChange {
    let [field, from, to] = ["memory", "64Mi", "32Mi"].map(str::to_owned);
    FieldChange { field, from, to }
}
