//! Questions about the whole set.

use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet};
use reconciler::model::ids::Key;
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{Condition, LinkSpec, More, Placement};
use reconciler::policy::inventory::Inventory;
use reconciler::policy::script::Surroundings;

use crate::lab::{compile, line, source, spec};

fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

fn link(desired: &mut DesiredSet, from: &str, to: &str, condition: Option<Condition>) {
    let spec = LinkSpec {
        from: key(from),
        to: key(to),
        alias: "other".to_owned(),
        ports: Vec::new(),
        condition,
        env: false,
    };
    let name = key(&format!("{from}-{}", to.replace('/', "-")));
    desired.links.insert(name, Declared::new(spec, source()));
}

/// Two replicas of it, on that node if one is named.
fn pin(desired: &mut DesiredSet, instance: &str, node: Option<&str>) {
    let mut spec = spec();
    let placement = node.map(|node| Placement {
        node: Some(node.parse().expect("a name")),
        ..Placement::default()
    });
    spec.more = Sparse::new(More { placement, ..(*spec.more).clone() });
    desired.instances.insert(key(instance), Declared::new(spec, source()));
}

fn holds(inventory: &Inventory, condition: &str) {
    let program = compile(&format!("fn check_set(s) {{ require({condition}, \"x\"); }}"));
    let around = Surroundings::default();
    assert_eq!(line(&program.check_set(inventory, &around)), "pass", "{condition}");
}

#[test]
fn circles_are_found_and_told_apart() {
    let mut desired = DesiredSet::default();
    let started = Some(Condition::Started);
    // a and b in a circle, c before it, d behind it; e to itself; f, g and h in one that waits.
    link(&mut desired, "shop/a", "shop/b", started);
    link(&mut desired, "shop/b", "shop/a", None);
    link(&mut desired, "shop/c", "shop/a", started);
    link(&mut desired, "shop/b", "shop/d", started);
    link(&mut desired, "shop/e", "shop/e", None);
    link(&mut desired, "shop/f", "shop/g", started);
    link(&mut desired, "shop/g", "shop/h", started);
    link(&mut desired, "shop/h", "shop/f", started);
    // Between two circles, and on none.
    link(&mut desired, "shop/h", "shop/i", started);
    link(&mut desired, "shop/i", "shop/a", started);
    let mut inventory = Inventory::of(&desired, None);
    for (name, waits, any) in [
        ("a", false, true),
        ("b", false, true),
        ("c", false, false),
        ("d", false, false),
        ("e", false, true),
        ("f", true, true),
        ("g", true, true),
        ("h", true, true),
        ("i", false, false),
        ("nobody", false, false),
    ] {
        holds(&inventory, &format!("s.is_on_a_cycle(\"shop/{name}\") == {waits}"));
        holds(&inventory, &format!("s.is_linked_to_itself(\"shop/{name}\") == {any}"));
    }
    // A circle that is broken is none any more.
    let mut changed = DesiredSet::default();
    link(&mut changed, "shop/h", "shop/f", None);
    desired.renew(changed.clone());
    inventory.change(&desired, &changed);
    holds(&inventory, "!s.is_on_a_cycle(\"shop/f\") && s.is_linked_to_itself(\"shop/f\")");
}

#[test]
fn what_is_pinned_to_a_node_is_summed_up() {
    let mut desired = DesiredSet::default();
    pin(&mut desired, "shop/web", Some("n1"));
    pin(&mut desired, "bank/web", Some("n1"));
    pin(&mut desired, "shop/db", Some("n2"));
    pin(&mut desired, "shop/api", None);
    let mut inventory = Inventory::of(&desired, None);
    holds(&inventory, "s.sum_on(\"n1\", \"memory\") == memory(\"1Gi\")");
    holds(&inventory, "s.sum_on(\"n2\", \"replicas\") == 2");
    holds(&inventory, "s.sum_on(\"n3\", \"cpus\") == cpus(\"0\")");
    let mut changed = DesiredSet::default();
    pin(&mut changed, "shop/web", Some("n2"));
    desired.renew(changed.clone());
    inventory.change(&desired, &changed);
    holds(&inventory, "s.sum_on(\"n1\", \"replicas\") == 2 && s.sum_on(\"n2\", \"replicas\") == 4");
    let program = compile("fn check_set(s) { require(s.sum_on(\"n1\", \"memroy\") == 1, \"x\"); }");
    let said = line(&program.check_set(&inventory, &Surroundings::default()));
    assert!(said.contains("did you mean \"memory\"?"), "{said}");
}

#[test]
fn a_long_row_of_links_is_no_matter() {
    let mut desired = DesiredSet::default();
    for at in 0..5000 {
        let (from, to) = (format!("shop/a{at}"), format!("shop/a{}", at + 1));
        link(&mut desired, &from, &to, Some(Condition::Started));
    }
    let inventory = Inventory::of(&Arc::new(desired), None);
    holds(&inventory, "!s.is_on_a_cycle(\"shop/a0\") && !s.is_linked_to_itself(\"shop/a4999\")");
}
