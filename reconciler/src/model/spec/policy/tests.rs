//! What bindings and waivers are about.

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).expect("a name")
}

const NO_LABELS: &BTreeMap<String, String> = &BTreeMap::new();

fn instance<'a>(project: &'a Name, called: &'a str) -> Candidate<'a> {
    Candidate {
        kind: ObjectKind::Instance,
        project: Some(project),
        name: called,
        labels: Some(NO_LABELS),
        node: None,
        action: None,
    }
}

#[test]
fn a_binding_is_about_its_own_project_unless_it_says_otherwise() {
    let (shop, blog, default) = (name("shop"), name("blog"), name("default"));
    let all = Match::default();
    assert!(all.covers(&shop, &instance(&shop, "web")));
    assert!(!all.covers(&shop, &instance(&blog, "web")));
    let every = Match { projects: Projects::All, ..Match::default() };
    assert!(every.covers(&default, &instance(&blog, "web")));
    let named = Match { projects: Projects::Named(vec![blog.clone()]), ..Match::default() };
    assert!(named.covers(&default, &instance(&blog, "web")));
    assert!(!named.covers(&default, &instance(&default, "web")));
    // A Node is in no project.
    let node = Candidate { kind: ObjectKind::Node, project: None, ..instance(&shop, "n1") };
    assert!(!all.covers(&shop, &node));
    assert!(all.covers(&default, &node));
    assert!(every.covers(&default, &node));
    assert!(!named.covers(&default, &node));
}

#[test]
fn what_is_not_known_does_not_leave_an_object_out_of_a_binding() {
    let shop = name("shop");
    let matches =
        Match { nodes: vec![name("n1")], actions: vec![ActionKind::Delete], ..Match::default() };
    let of = |node, action| Candidate { node, action, ..instance(&shop, "web") };
    let (n1, n2) = (name("n1"), name("n2"));
    assert!(matches.covers(&shop, &of(None, None)));
    assert!(matches.covers(&shop, &of(Some(&n1), Some(ActionKind::Delete))));
    assert!(!matches.covers(&shop, &of(Some(&n2), Some(ActionKind::Delete))));
    assert!(!matches.covers(&shop, &of(Some(&n1), Some(ActionKind::Create))));
}

#[test]
fn all_that_a_match_says_must_hold() {
    let shop = name("shop");
    let labels = BTreeMap::from([("tier".to_owned(), "front".to_owned())]);
    let candidate = Candidate { labels: Some(&labels), ..instance(&shop, "web-1") };
    let mut matches = Match {
        kinds: vec![ObjectKind::Image, ObjectKind::Instance],
        labels: labels.clone(),
        names: vec![Glob::new("db").expect("a glob"), Glob::new("web-*").expect("a glob")],
        ..Match::default()
    };
    assert!(matches.covers(&shop, &candidate));
    assert!(!matches.covers(&shop, &instance(&shop, "web-1")), "without the label");
    assert!(!matches.covers(&shop, &Candidate { name: "api", ..candidate }));
    matches.kinds.pop();
    assert!(!matches.covers(&shop, &candidate), "of another kind");
}

#[test]
fn a_waiver_is_for_its_own_project() {
    let (shop, blog, default) = (name("shop"), name("blog"), name("default"));
    let select = Select { name: Some(Glob::new("debug").expect("a glob")), ..Select::default() };
    assert!(select.covers(&shop, &instance(&shop, "debug")));
    assert!(!select.covers(&shop, &instance(&blog, "debug")));
    assert!(!select.covers(&shop, &instance(&shop, "web")));
    let other = Select { project: Some(blog.clone()), ..select };
    assert!(other.covers(&default, &instance(&blog, "debug")));
    assert!(!other.covers(&default, &instance(&default, "debug")));
}

#[test]
fn only_a_waiver_with_an_approver_waives_what_is_hard() {
    let mut waiver = WaiverSpec {
        policy: PolicyId::new("CIS-5.5").expect("an id"),
        select: Select { kind: Some(ObjectKind::Instance), ..Select::default() },
        reason: "kernel tracing".to_owned(),
        ticket: None,
        approver: None,
        expires: "2027-01-31".parse().expect("a date"),
    };
    assert!(waiver.waives(Level::Soft));
    assert!(!waiver.waives(Level::Hard));
    waiver.approver = Some("sec@example.org".to_owned());
    assert!(waiver.waives(Level::Hard));
}

#[test]
fn a_level_at_a_point_goes_before_the_level() {
    let spec = PolicyBindingSpec {
        bound: Bound::Policy(PolicyId::new("CIS-5.5").expect("an id")),
        level: Some(Level::Warn),
        levels: Levels { act: Some(Level::Hard), ..Levels::default() },
        params: BTreeMap::new(),
        matches: Sparse::default(),
    };
    assert_eq!(spec.level_at(Point::Act), Some(Level::Hard));
    assert_eq!(spec.level_at(Point::Scan), Some(Level::Warn));
    assert_eq!(PolicyBindingSpec { level: None, ..spec }.level_at(Point::Plan), None);
}

#[test]
fn specs_come_back_from_their_serial_form() {
    let params = [
        ("days", Param::Integer(30)),
        ("strict", Param::Boolean(true)),
        ("most", Param::Text("500m".to_owned())),
        ("five", Param::Text("5".to_owned())),
        ("allow", Param::List(vec!["registry.example/*".to_owned()])),
    ];
    let spec = PolicyBindingSpec {
        bound: Bound::Profile(PolicyId::new("cis-5").expect("an id")),
        level: Some(Level::Soft),
        levels: Levels { scan: Some(Level::Off), ..Levels::default() },
        params: params.map(|(name, value)| (name.to_owned(), value)).into(),
        matches: Sparse::new(Match {
            kinds: vec![ObjectKind::PolicyBinding],
            projects: Projects::Named(vec![name("shop")]),
            ..Match::default()
        }),
    };
    let text = serde_json::to_string(&spec).expect("a text");
    assert_eq!(serde_json::from_str::<PolicyBindingSpec>(&text).expect("a spec"), spec, "{text}");
}

#[test]
fn ids_of_policies_fit_into_one_word() {
    for good in ["CIS-5.5", "baseline", "a", "PSS_R", "5.5", &"x".repeat(63)] {
        assert!(PolicyId::new(good).is_ok(), "{good}");
    }
    for bad in ["", "a b", "-a", "a-", "a/b", "..", "é", &"x".repeat(64)] {
        assert!(PolicyId::new(bad).is_err(), "{bad}");
    }
}
