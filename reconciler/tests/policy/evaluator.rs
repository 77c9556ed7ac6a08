//! Policies in force: bindings, levels, waivers, and what is remembered.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::desired::{Declared, DesiredSet};
use reconciler::model::ids::{ImageName, Key, Name};
use reconciler::model::policies::{Origin, PolicySource, PolicySources, Profile, ProfileMember};
use reconciler::model::spec::policy::{
    ActionKind, Bound, Level, Levels, Match, ObjectKind, Param, Point, PolicyId, Projects, Select,
};
use reconciler::model::spec::{
    ImageSource, ImageSpec, InstanceSpec, PolicyBindingSpec, Pull, WaiverSpec,
};
use reconciler::model::time::Timestamp;
use reconciler::policy::evaluate::{Evaluation, Evaluator, WaiverFault, patched};
use reconciler::policy::facts::{Facts, ImageFacts};
use reconciler::policy::library::Library;
use reconciler::policy::outcome::Response;
use reconciler::policy::view::{AskedAction, AskedDrift, AskedRound, MaskKey, Object, ObjectRef};
use reconciler::step::FieldChange;

use crate::lab::{source, spec};

const PRIVILEGED: &str = "// @id CIS-5.5 @version 1.0.0 @title Not privileged @level hard
// @match kinds=Instance
fn check(o) { if o.security.privileged { deny(\"privileged\").at(\"spec.security.privileged\"); } }";

const REPLICAS: &str = "// @id REPLICAS @version 1.0.0 @title Few @level soft
// @match kinds=Instance
// @param most: int = 1
fn check(o) { require(o.replicas <= params.most, `more than ${params.most}`); }";

const BROKEN: &str = "// @id BROKEN @version 1.0.0 @title errs @level hard
// @match kinds=Instance
fn check(o) { if o.resources.pids > 5 { deny(\"many\"); } }";

const QUOTA: &str = "// @id QUO @version 1.0.0 @title within quota @level hard
fn check_set(s) {
  for t in s.projects() {
    let most = quota(t).memory ?? memory(\"600Mi\");
    require(s.sum(t, \"memory\") <= most, `over quota: ${t}`).on(t);
  }
}";

const DATED: &str = "// @id DATED @version 1.0.0 @title until @level warn
// @match kinds=Instance
fn check(o) { require(now().date == \"1970-01-01\", `it is ${now().date}`); }";

const ACTIONS: &str = "// @id ACT @version 1.0.0 @title protected @level hard
// @match kinds=Instance actions=delete,replace
fn check_action(a) {
  if a.target.protected { deny(`${a.target.metadata.name} is protected`); }
  if a.round.deletes * 100 > a.round.managed * 30 { deny(\"too many\"); }
}";

const DRIFT: &str = "// @id DRIFT @version 1.0.0 @title security @level hard
fn check_drift(d) { if d.touches(\"security\") { revert(\"security drift\"); } else { report(\"drift\"); } }";

const TICKETS: &str = "// @id TICKETS @version 1.0.0 @title waivers have a ticket @level hard
// @match kinds=Waiver
fn check(o) { require(has(o.ticket), \"no ticket\"); }";

fn key(text: &str) -> Key {
    text.parse().expect("a key")
}

fn id(text: &str) -> PolicyId {
    PolicyId::new(text).expect("an id")
}

fn sources(texts: &[&str]) -> PolicySources {
    let sources = texts.iter().enumerate().map(|(number, text)| {
        PolicySource::new(Origin::Own, &format!("{number}/policy.rhai"), text)
    });
    PolicySources { policies: sources.collect(), profiles: BTreeMap::new() }
}

fn library() -> Arc<Library> {
    let mut sources =
        sources(&[PRIVILEGED, REPLICAS, BROKEN, QUOTA, DATED, ACTIONS, DRIFT, TICKETS]);
    let member =
        |policy, level| ProfileMember { policy: id(policy), level, params: BTreeMap::new() };
    let members = vec![member("CIS-5.5", None), member("REPLICAS", Some(Level::Audit))];
    sources.profiles.insert(id("both"), Profile { origin: Origin::Own, members });
    Arc::new(Library::new(&sources).expect("good policies"))
}

fn bind(policy: &str) -> PolicyBindingSpec {
    PolicyBindingSpec {
        bound: Bound::Policy(id(policy)),
        level: None,
        levels: Levels::default(),
        params: BTreeMap::new(),
        matches: Default::default(),
    }
}

fn waive(policy: &str, expires: &str, approver: Option<&str>) -> WaiverSpec {
    WaiverSpec {
        policy: id(policy),
        select: Select { name: Some("web*".parse().expect("a glob")), ..Select::default() },
        reason: "tracing".to_owned(),
        ticket: None,
        approver: approver.map(str::to_owned),
        expires: expires.parse().expect("a date"),
    }
}

/// A set with these instances, bindings and waivers.
fn set(
    instances: &[(&str, InstanceSpec)],
    bindings: &[(&str, PolicyBindingSpec)],
    waivers: &[(&str, WaiverSpec)],
) -> DesiredSet {
    let mut desired = DesiredSet::default();
    for (name, spec) in instances {
        desired.instances.insert(key(name), Declared::new(spec.clone(), source()));
    }
    for (name, spec) in bindings {
        desired.bindings.insert(key(name), Declared::new(spec.clone(), source()));
    }
    for (name, spec) in waivers {
        desired.waivers.insert(key(name), Declared::new(spec.clone(), source()));
    }
    desired
}

fn privileged() -> InstanceSpec {
    let mut spec = spec();
    let mut more = (*spec.more).clone();
    let mut security = (*more.security).clone();
    security.privileged = true;
    more.security = reconciler::model::sparse::Sparse::new(security);
    spec.more = reconciler::model::sparse::Sparse::new(more);
    spec
}

fn web() -> ObjectRef {
    ObjectRef { kind: ObjectKind::Instance, key: key("shop/web") }
}

struct Bench(Evaluator);

impl Bench {
    fn new() -> Self {
        Self(Evaluator::new(library(), MaskKey::new(b"key")))
    }

    fn ask(&mut self, desired: &DesiredSet, now: i64) -> &Evaluation {
        self.0.renew(desired);
        self.0.evaluate(Point::Plan, Timestamp(now), |_| None)
    }

    fn lines(&mut self, desired: &DesiredSet, now: i64) -> String {
        let lines: Vec<_> = self.ask(desired, now).verdicts().map(ToString::to_string).collect();
        lines.join("\n")
    }
}

#[test]
fn what_is_bound_is_asked_and_the_rest_is_counted_as_nothing() {
    let desired = set(
        &[("shop/web", privileged()), ("other/web", privileged())],
        &[
            ("shop/one", bind("CIS-5.5")),
            (
                "shop/two",
                PolicyBindingSpec {
                    matches: reconciler::model::sparse::Sparse::new(Match {
                        kinds: vec![ObjectKind::Volume],
                        ..Match::default()
                    }),
                    ..bind("REPLICAS")
                },
            ),
        ],
        &[],
    );
    let mut bench = Bench::new();
    assert_eq!(
        bench.lines(&desired, 0),
        "Instance shop/web CIS-5.5 hard: deny: privileged (spec.security.privileged)"
    );
    let evaluation = bench.ask(&desired, 0);
    assert!(!evaluation.is_allowed(&web()));
    let other = ObjectRef { kind: ObjectKind::Instance, key: key("other/web") };
    assert!(evaluation.is_allowed(&other), "a binding is about its own project");
    let counts: Vec<_> = evaluation
        .counts
        .iter()
        .map(|((policy, _), count)| (policy.to_string(), count.asked, count.found))
        .collect();
    assert_eq!(counts, [("CIS-5.5".to_owned(), 1, 1), ("REPLICAS".to_owned(), 0, 0)]);
}

#[test]
fn a_binding_of_the_default_project_is_about_all_if_it_says_so() {
    let all = Match { projects: Projects::All, ..Match::default() };
    let matches = reconciler::model::sparse::Sparse::new(all);
    let binding = PolicyBindingSpec { matches, ..bind("CIS-5.5") };
    let desired = set(&[("shop/web", privileged())], &[("default/all", binding)], &[]);
    assert!(!Bench::new().ask(&desired, 0).is_allowed(&web()));
}

#[test]
fn levels_are_of_the_binding_and_of_the_point() {
    let desired = |level, levels| {
        let binding = PolicyBindingSpec { level, levels, ..bind("CIS-5.5") };
        set(&[("shop/web", privileged())], &[("shop/one", binding)], &[])
    };
    let none = Levels::default();
    for (level, levels, allowed, asked) in [
        (Some(Level::Off), none, true, 0),
        (Some(Level::Audit), none, true, 1),
        (Some(Level::Warn), none, true, 1),
        (Some(Level::Soft), none, false, 1),
        (None, none, false, 1),
        (Some(Level::Hard), Levels { plan: Some(Level::Warn), ..none }, true, 1),
        (Some(Level::Warn), Levels { scan: Some(Level::Hard), ..none }, true, 1),
        (Some(Level::Warn), Levels { plan: Some(Level::Hard), ..none }, false, 1),
    ] {
        let mut bench = Bench::new();
        let evaluation = bench.ask(&desired(level, levels), 0);
        assert_eq!(evaluation.is_allowed(&web()), allowed, "{level:?} {levels:?}");
        assert_eq!(evaluation.verdicts().count(), asked, "{level:?} {levels:?}");
    }
}

#[test]
fn parameters_are_checked_and_profiles_give_them_to_those_who_have_them() {
    let params = |name: &str, value| BTreeMap::from([(name.to_owned(), value)]);
    let profile = |params| PolicyBindingSpec {
        bound: Bound::Profile(id("both")),
        params,
        ..bind("REPLICAS")
    };
    let mut bench = Bench::new();
    let instances = [("shop/web", spec())];
    let desired = set(&instances, &[("shop/one", profile(params("most", Param::Integer(2))))], &[]);
    assert_eq!(
        bench.lines(&desired, 0),
        "Instance shop/web CIS-5.5 hard: pass, nothing asserted\n\
         Instance shop/web REPLICAS audit: pass"
    );
    for (binding, says) in [
        (profile(params("mist", Param::Integer(2))), "no policy of profile `both` has"),
        (
            PolicyBindingSpec { params: params("mist", Param::Integer(2)), ..bind("REPLICAS") },
            "unknown parameter `mist`; did you mean `most`?",
        ),
        (
            PolicyBindingSpec {
                params: params("most", Param::Text("2".to_owned())),
                ..bind("REPLICAS")
            },
            "parameter `most`: expected int, found \"2\"",
        ),
        (bind("NOT-THERE"), "there is no policy `NOT-THERE`"),
        (
            PolicyBindingSpec { bound: Bound::Profile(id("none")), ..bind("REPLICAS") },
            "there is no profile `none`",
        ),
    ] {
        let desired = set(&instances, &[("shop/one", binding)], &[]);
        let lines = bench.lines(&desired, 0);
        assert!(lines.contains(says), "{lines}");
        assert!(!bench.ask(&desired, 0).is_allowed(&web()), "a binding that is wrong denies");
    }
}

#[test]
fn an_error_denies_and_no_waiver_helps() {
    let desired = set(
        &[("shop/web", spec())],
        &[("shop/one", bind("BROKEN"))],
        &[("shop/w", waive("BROKEN", "2027-01-31", Some("sec@example.org")))],
    );
    let mut bench = Bench::new();
    let lines = bench.lines(&desired, 0);
    assert!(lines.contains("type error: `spec.resources.pids` is absent"), "{lines}");
    let evaluation = bench.ask(&desired, 0);
    assert!(!evaluation.is_allowed(&web()));
    assert_eq!(evaluation.waivers[0].what, WaiverFault::Unused);
}

#[test]
fn waivers_let_pass_what_they_may_until_they_are_over() {
    let day = 86_400_000;
    let hard = [("shop/one", bind("CIS-5.5"))];
    let instances = [("shop/web", privileged())];
    let with = |waiver| set(&instances, &hard, &[("shop/w", waiver)]);
    let mut bench = Bench::new();
    let good = with(waive("CIS-5.5", "1970-01-10", Some("sec@example.org")));
    assert_eq!(
        bench.lines(&good, 0),
        "Instance shop/web CIS-5.5 hard: deny: privileged (spec.security.privileged) \
         (waived by shop/w)"
    );
    let evaluation = bench.ask(&good, 0);
    assert!(evaluation.is_allowed(&web()));
    assert_eq!(evaluation.wake_at, Some(Timestamp(10 * day)));
    assert_eq!(evaluation.waivers, []);
    assert_eq!(evaluation.counts.values().map(|count| count.waived).sum::<u64>(), 1);

    let evaluation = bench.ask(&good, 10 * day);
    assert!(!evaluation.is_allowed(&web()), "it is over");
    assert_eq!(evaluation.waivers[0].what, WaiverFault::Expired);
    assert_eq!(evaluation.runs, 0, "what the script said still holds");
    assert_eq!(evaluation.wake_at, None);

    let evaluation = bench.ask(&with(waive("CIS-5.5", "1970-01-10", None)), 0);
    assert!(!evaluation.is_allowed(&web()), "a hard finding needs an approver");
    assert_eq!(evaluation.waivers[0].what, WaiverFault::NotApproved);

    let soft = PolicyBindingSpec { level: Some(Level::Soft), ..bind("CIS-5.5") };
    let waiver = [("shop/w", waive("CIS-5.5", "1970-01-10", None))];
    let evaluation_of = set(&instances, &[("shop/one", soft)], &waiver);
    assert!(bench.ask(&evaluation_of, 0).is_allowed(&web()), "a soft one does not");

    // One that policy denies itself lets nothing pass, also not itself.
    let tickets = [("shop/one", bind("CIS-5.5")), ("shop/tickets", bind("TICKETS"))];
    let without = waive("CIS-5.5", "1970-01-10", Some("sec@example.org"));
    let of_itself = waive("TICKETS", "1970-01-10", Some("sec@example.org"));
    let both = set(&instances, &tickets, &[("shop/of", of_itself), ("shop/w", without.clone())]);
    let evaluation = bench.ask(&both, 0);
    assert!(!evaluation.is_allowed(&web()));
    assert!(evaluation.waivers.iter().all(|found| found.what == WaiverFault::Denied));
    let with_ticket = WaiverSpec { ticket: Some("OPS-7".to_owned()), ..without };
    let evaluation = bench.ask(&set(&instances, &tickets, &[("shop/w", with_ticket)]), 0);
    assert!(evaluation.is_allowed(&web()));

    // What another object is denied makes it no waiver that lacks an approver.
    let two = [("shop/api", privileged()), ("shop/web", spec())];
    let evaluation = bench.ask(&set(&two, &hard, &waiver), 0);
    assert_eq!(evaluation.waivers[0].what, WaiverFault::Unused);

    let elsewhere = set(
        &instances,
        &hard,
        &[("other/w", waive("CIS-5.5", "1970-01-10", Some("sec@example.org")))],
    );
    let evaluation = bench.ask(&elsewhere, 0);
    assert!(!evaluation.is_allowed(&web()), "a waiver is about its own project");
    assert_eq!(evaluation.waivers[0].what, WaiverFault::Unused);
}

#[test]
fn only_what_changed_is_asked_about_again() {
    let bindings =
        [("shop/one", bind("CIS-5.5")), ("shop/two", bind("QUO")), ("shop/three", bind("DATED"))];
    let mut instances: Vec<(String, InstanceSpec)> =
        (0..20).map(|n| (format!("shop/i{n}"), spec())).collect();
    let desired = |instances: &[(String, InstanceSpec)]| {
        let instances: Vec<_> =
            instances.iter().map(|(name, spec)| (name.as_str(), spec.clone())).collect();
        set(&instances, &bindings, &[])
    };
    let day = 86_400_000;
    let mut bench = Bench::new();
    assert_eq!(bench.ask(&desired(&instances), 0).runs, 41);
    assert_eq!(bench.ask(&desired(&instances), 1).runs, 0, "nothing changed");
    instances[3].1.replicas = 3;
    assert_eq!(bench.ask(&desired(&instances), 2).runs, 3, "one object, and the set");
    let evaluation = bench.ask(&desired(&instances), 3);
    assert_eq!(evaluation.wake_at, Some(Timestamp(day)), "one rule asks for the day");
    assert_eq!(bench.ask(&desired(&instances), day).runs, 20, "and gets another one");
    instances.pop();
    let fresh = bare(Bench::new().ask(&desired(&instances), day));
    assert_eq!(bare(bench.ask(&desired(&instances), day)), fresh, "nothing else would be said");
}

/// An evaluation without what it cost.
fn bare(evaluation: &Evaluation) -> Evaluation {
    let mut bare = evaluation.clone();
    bare.runs = 0;
    bare.looked_at.clear();
    let own = bare.decisions.values_mut().map(Arc::make_mut);
    for decision in own.chain(bare.as_parts.values_mut()).chain([&mut bare.set]) {
        decision.verdicts.iter_mut().for_each(|verdict| verdict.operations = 0);
    }
    bare
}

#[test]
fn a_change_of_some_objects_costs_what_changed_and_says_the_same() {
    let bindings = [
        ("shop/one", bind("CIS-5.5")),
        ("shop/two", bind("QUO")),
        ("shop/three", bind("DATED")),
        ("shop/four", bind("REPLICAS")),
    ];
    let names: Vec<_> = (0..20).map(|number| format!("shop/i{number}")).collect();
    let mut of_image = spec();
    of_image.image = ImageName::Declared(key("shop/image"));
    let instances: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), if at == 7 { of_image.clone() } else { spec() }))
        .collect();
    let mut desired = set(&instances, &bindings, &[]);
    let image = |tag: &str| {
        let from = ImageSource::Registry(Arc::from(format!("a.example/b:{tag}")));
        Declared::new(ImageSpec { source: from, pull: Pull::Missing, verify: None }, source())
    };
    desired.images.insert(key("shop/image"), image("1"));
    let mut bench = Bench::new();
    bench.ask(&desired, 0);
    let mut step = |change: DesiredSet, runs: u64| {
        desired.renew(change.clone());
        bench.0.change(&desired, &change);
        let evaluation = bench.0.evaluate(Point::Plan, Timestamp(1), |_| None);
        assert_eq!(evaluation.runs, runs);
        let said = bare(evaluation);
        assert_eq!(said, bare(Bench::new().ask(&desired, 1)), "as if all were asked about");
    };
    step(set(&[("shop/i3", privileged())], &[], &[]), 4);
    let mut larger = spec();
    larger.resources.memory = None;
    step(set(&[("shop/i4", larger), ("shop/i5", privileged())], &[], &[]), 7);
    let mut change = DesiredSet::default();
    change.images.insert(key("shop/image"), image("2"));
    step(change, 4);
    let waiver = waive("CIS-5.5", "1970-01-10", Some("sec@example.org"));
    step(set(&[], &[], &[("shop/w", waiver)]), 1);
}

#[test]
fn what_is_said_of_a_project_is_for_all_that_is_in_it() {
    let desired = set(
        &[("shop/web", spec()), ("shop/api", spec()), ("other/web", spec())],
        &[("shop/one", bind("QUO"))],
        &[],
    );
    let mut bench = Bench::new();
    assert_eq!(bench.lines(&desired, 0), "Project shop QUO hard: deny: over quota: shop");
    let evaluation = bench.ask(&desired, 0);
    assert!(!evaluation.is_allowed(&web()));
    assert!(
        evaluation.is_allowed(&ObjectRef { kind: ObjectKind::Instance, key: key("other/web") })
    );
}

fn object(spec: InstanceSpec) -> Arc<Object> {
    crate::lab::object_of(spec)
}

#[test]
fn actions_are_asked_about_by_their_kind() {
    let mut evaluator = Evaluator::new(library(), MaskKey::default());
    evaluator.renew(&set(&[], &[("shop/one", bind("ACT"))], &[]));
    let mut protected = spec();
    let mut more = (*protected.more).clone();
    more.protected = true;
    protected.more = reconciler::model::sparse::Sparse::new(more);
    let action = |kind, spec: &InstanceSpec| {
        Arc::new(AskedAction {
            kind,
            target: object(spec.clone()),
            replica: Some(0),
            node: Some(Name::local_node()),
            cause: "no longer declared".to_owned(),
            fields: Vec::new(),
            linked_by: Vec::new(),
            round: AskedRound { deletes: 1, replaces: 0, managed: 10 },
            exec: None,
        })
    };
    let now = Timestamp(0);
    let decision = evaluator.action(&action(ActionKind::Delete, &protected), now);
    assert!(!decision.is_allowed());
    assert_eq!(decision.verdicts[0].message(), "web is protected");
    assert!(evaluator.action(&action(ActionKind::Delete, &spec()), now).is_allowed());
    let other = evaluator.action(&action(ActionKind::Start, &protected), now);
    assert!(other.verdicts.is_empty(), "it is not asked about starts");
}

#[test]
fn drift_gets_an_answer() {
    let mut evaluator = Evaluator::new(library(), MaskKey::default());
    evaluator.renew(&set(&[], &[("shop/one", bind("DRIFT"))], &[]));
    let drift = |field: &str| {
        let change = FieldChange {
            field: field.to_owned(),
            from: "true".to_owned(),
            to: "false".to_owned(),
        };
        let fields = vec![change];
        Arc::new(AskedDrift { object: object(spec()), replica: Some(0), node: None, fields })
    };
    let answer = |field| evaluator.drift(&drift(field), Timestamp(0)).response;
    assert_eq!(answer("security.privileged"), Some(Response::Revert));
    assert_eq!(answer("securityless"), Some(Response::Report));
}

#[test]
fn defaults_are_set_where_nothing_is_said() {
    let text = "// @id DEF @version 1.0.0 @title defaults @level hard
// @match kinds=Instance
// @param most: memory = \"1Gi\"
fn check(o) {
  set_default(\"spec.security.readOnlyRoot\", true);
  set_default(\"spec.resources.memory\", params.most);
  set_default(\"spec.resources.pids\", 100);
}";
    let other = text.replace("DEF", "OTHER").replace("100", "200");
    let library = Arc::new(Library::new(&sources(&[text, &other])).expect("good policies"));
    let mut evaluator = Evaluator::new(library, MaskKey::default());
    let desired = set(&[("shop/web", spec())], &[("shop/one", bind("DEF"))], &[]);
    evaluator.renew(&desired);
    let evaluation = evaluator.evaluate(Point::Plan, Timestamp(0), |_| None);
    let declared = &desired.instances[&key("shop/web")];
    let patches = &evaluation.decisions[&web()].patches;
    let made = patched(declared, patches).expect("it fits").expect("it changes something");
    assert!(made.spec.more.security.read_only_root);
    assert_eq!(made.spec.resources.pids, Some(100));
    assert_eq!(made.spec.resources.memory, declared.spec.resources.memory, "that was said");
    assert_ne!(made.basis, declared.basis, "it is a revision of its own");
    assert_eq!(patched(&made, patches).expect("it fits"), None, "once is enough");

    let both = [("shop/one", bind("DEF")), ("shop/two", bind("OTHER"))];
    evaluator.renew(&set(&[("shop/web", spec())], &both, &[]));
    let evaluation = evaluator.evaluate(Point::Plan, Timestamp(0), |_| None);
    assert!(!evaluation.is_allowed(&web()), "two policies disagree");
    let message = evaluation.denials(&web()).next().expect("a denial").message();
    assert!(message.contains("DEF and OTHER set different values"), "{message}");
}

#[test]
fn what_nobody_found_out_is_neither_yes_nor_no() {
    let text = "// @id AGE @version 1.0.0 @title young @level hard
// @match kinds=Instance
fn check(o) {
  require(facts(o.image).created > now() - days(30), \"old\");
  require(\"release\" in facts(o.image).signers, \"not signed\");
}";
    let library = Arc::new(Library::new(&sources(&[text])).expect("good policies"));
    let mut evaluator = Evaluator::new(library, MaskKey::default());
    let mut pinned = spec();
    pinned.image = ImageName::Reference(Arc::from("a.example/b@sha256:00"));
    evaluator.renew(&set(&[("shop/web", pinned)], &[("shop/one", bind("AGE"))], &[]));
    let day = 86_400_000;
    let mut line = |facts: Option<ImageFacts>, now: i64| {
        let images = facts.map(|facts| ("sha256:00".to_owned(), facts)).into_iter().collect();
        evaluator.learn(Arc::new(Facts { images, ..Facts::default() }));
        let evaluation = evaluator.evaluate(Point::Plan, Timestamp(now), |_| None);
        let lines: Vec<_> = evaluation.verdicts().map(ToString::to_string).collect();
        lines.join("\n")
    };
    let unknown = line(None, 50 * day);
    assert!(unknown.contains("`facts of a.example/b@sha256:00.created` is not known"), "{unknown}");
    let known = |days: i64, signers: &[&str]| {
        let signers = signers.iter().map(|name| (*name).to_owned()).collect();
        Some(ImageFacts {
            created: Some(Timestamp(days * day)),
            signers: Some(signers),
            ..ImageFacts::default()
        })
    };
    assert_eq!(line(known(40, &["release"]), 50 * day), "Instance shop/web AGE hard: pass");
    let unsigned = line(known(40, &[]), 50 * day);
    assert_eq!(unsigned, "Instance shop/web AGE hard: deny: not signed");
    let old = line(known(40, &["release"]), 90 * day);
    assert_eq!(old, "Instance shop/web AGE hard: deny: old");
}
