//! How answers look, on a pipe and on a terminal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reconciler::model::ids::{Digest, ImageName, Key, Name, ObjectId, ReplicaKey, Revision};
use reconciler::model::quantity::{Bytes, Ratio, Span};
use reconciler::model::record::PastRevision;
use reconciler::model::rollout;
use reconciler::model::spec::{InstanceSpec, Overcommit, Power, Resources, Restart, Room, Stop};
use reconciler::model::time::Timestamp;
use reconciler::plan::ChangeKind;
use reconciler::report::{Counts, HeldSet, Reason};
use reconciler::status::{Condition, InstanceStatus, ReplicaStatus, Truth, describe};
use reconciler::step::{Cause, FieldChange};
use windlass::api::protocol::{
    Happened, NodeStatus, Outcome, Overview, PlainStatus, PlanRow, PlanView, QuotaUse, Trouble,
};
use windlass::cli::show::event::Narrator;
use windlass::cli::show::instance::About;
use windlass::cli::show::{
    Style, capacity, event, fields, instance, objects, outcome, plain, plan,
};

const NOW: Timestamp = Timestamp(1_795_171_267_000);

fn pipe() -> Style {
    Style::plain(NOW)
}

fn terminal() -> Style {
    Style { color: true, width: Some(80), now: NOW }
}

fn replica(name: &str) -> ObjectId {
    let (key, ordinal) = name.rsplit_once('/').expect("an ordinal");
    let key: Key = key.parse().expect("a key");
    ObjectId::Replica(ReplicaKey::new(key, ordinal.parse().expect("a number")))
}

fn field(field: &str, from: &str, to: &str) -> FieldChange {
    FieldChange { field: field.into(), from: from.into(), to: to.into() }
}

fn node(name: &str) -> Option<Name> {
    Some(Name::new(name).expect("a name"))
}

fn change(name: &str, kind: ChangeKind, cause: Cause, steps: &[&str]) -> PlanRow {
    PlanRow {
        object: replica(name),
        name: name.into(),
        node: node("n1"),
        source: Some("shop/web.yaml:4".into()),
        change: Some(kind),
        why: cause.to_string(),
        cause: Some(cause),
        reason: None,
        later: None,
        steps: steps.iter().map(|step| (*step).to_owned()).collect(),
    }
}

fn note(name: &str, at: &str, reason: Reason) -> PlanRow {
    PlanRow {
        object: replica(name),
        name: name.into(),
        node: node(at),
        source: None,
        change: None,
        why: describe(&reason),
        cause: None,
        reason: Some(reason),
        later: None,
        steps: Vec::new(),
    }
}

fn held() -> HeldSet {
    HeldSet {
        digest: Digest(Arc::from("0123456789abcdef0123456789abcdef")),
        objects: BTreeSet::from([replica("shop/gone/0")]),
        why: "the specs directory /specs holds no spec".into(),
    }
}

/// One row of each sort.
fn everything() -> PlanView {
    let image = ImageName::Reference(Arc::from("shop/web:1.5"));
    let mut prepare = change(
        "shop/x/0",
        ChangeKind::Prepare,
        Cause::Needed { by: "shop/web".into() },
        &["pull image"],
    );
    prepare.object = ObjectId::Image { node: node("n1").expect("a node"), image };
    prepare.name = "image shop/web:1.5".into();
    let drifted = || Cause::Drifted { fields: vec![field("memory", "64Mi", "32Mi")] };
    let image = field("image", "shop/web:1.4", "shop/web:1.5");
    let changed = Cause::Changed { fields: vec![image, field("env.MODE", "", "")] };
    let rows = vec![
        prepare,
        change(
            "shop/db/0",
            ChangeKind::InPlace,
            Cause::Changed { fields: vec![field("memory", "256Mi", "512Mi")] },
            &["update"],
        ),
        change("shop/web/0", ChangeKind::Replace, changed, &["create", "stop", "start", "remove"]),
        change("shop/new/0", ChangeKind::Create, Cause::Declared, &["create", "start"]),
        change("shop/lost/0", ChangeKind::Create, Cause::Missing, &["create", "start"]),
        change("shop/cache/0", ChangeKind::InPlace, drifted(), &["update"]),
        change("shop/odd/0", ChangeKind::Replace, drifted(), &["stop"]),
        change("shop/two/0", ChangeKind::Replace, drifted(), &["create", "start"]),
        change(
            "shop/off/0",
            ChangeKind::Power,
            Cause::Power { from: "running".into(), to: "stopped".into() },
            &["stop"],
        ),
        change("shop/old/0", ChangeKind::Destroy, Cause::NotDeclared, &["stop", "remove"]),
        note("shop/gone/0", "n1", Reason::Held),
        note(
            "shop/api/0",
            "n3",
            Reason::Unknown {
                since: Some(Timestamp(NOW.0 - 130_000)),
                message: "no route to host".into(),
            },
        ),
        note(
            "shop/debug/0",
            "n1",
            Reason::Denied { policy: "CIS-5.5".into(), message: "privileged".into() },
        ),
        note(
            "shop/sick/0",
            "n1",
            Reason::BackingOff {
                step: "start".into(),
                failures: 3,
                retry_at: Timestamp(NOW.0 + 9_000),
                message: "port 80 is taken".into(),
            },
        ),
        note("shop/job/0", "n1", Reason::Completed),
        note("shop/bad/0", "n1", Reason::Failed { code: Some(3) }),
    ];
    PlanView {
        rows,
        steps: vec!["#1 shop/db/0: update on n1 (memory 256Mi -> 512Mi)".into()],
        counts: Counts {
            add: 2,
            change: 3,
            replace: 2,
            destroy: 1,
            denied: 1,
            unknown: 1,
            held: 1,
            suspended: 0,
            waiting: 1,
            later: 0,
            behind: 0,
            settled: 40,
        },
        held: Some(held()),
        ..PlanView::default()
    }
}

#[test]
fn a_plan_has_signs_columns_and_a_sum() {
    insta::assert_snapshot!("plan_pipe", plan::render(&everything(), "specs", true, &pipe()));
    insta::assert_snapshot!(
        "plan_terminal",
        plan::render(&everything(), "specs", false, &terminal())
    );
}

#[test]
fn what_waits_for_others_is_to_be_added_all_the_same() {
    let waits = Reason::WaitingOn { what: "shop/db to be healthy".into() };
    let later = |name, kind| PlanRow { later: Some(kind), ..note(name, "n1", waits.clone()) };
    let rows = vec![
        change("shop/db/0", ChangeKind::Create, Cause::Declared, &["create", "start"]),
        later("shop/web/0", ChangeKind::Create),
        later("shop/old/0", ChangeKind::Replace),
    ];
    let counts = Counts { add: 2, replace: 1, later: 2, ..Counts::default() };
    let plan = PlanView { rows, counts, ..PlanView::default() };
    let text = plan::render(&plan, "specs", false, &pipe());
    assert!(text.contains("  +  shop/web/0  n1  waits for shop/db to be healthy"), "{text}");
    assert!(text.contains("-/+  shop/old/0  n1  waits for shop/db to be healthy"), "{text}");
    let sum = "Plan: 2 to add, 0 to change in place, 1 to replace, 0 to destroy (2 of them wait for others first); 0 settled.\n";
    assert!(text.ends_with(sum), "{text}");
}

#[test]
fn what_is_held_at_an_earlier_revision_is_not_as_declared() {
    let (by, at) = ("ops@n1".to_owned(), Timestamp(0));
    let rows = vec![
        note("shop/web/0", "n1", Reason::Undone { revision: Some(3), to: 2, at, by: by.clone() }),
        note("shop/api/0", "n1", Reason::RolloutPaused { at, by }),
    ];
    let counts = Counts { behind: 2, settled: 1, ..Counts::default() };
    let plan = PlanView { rows, counts, settled: true, ..PlanView::default() };
    let text = plan::render(&plan, "specs", false, &pipe());
    let sum = "\nNothing to do: 1 as declared, 2 held at an earlier revision.\n";
    assert!(text.ends_with(sum), "{text}");
}

#[test]
fn an_empty_plan_says_so() {
    let counts = Counts { settled: 40, ..Counts::default() };
    let empty = PlanView { counts, settled: true, ..PlanView::default() };
    let text = plan::render(&empty, "specs", false, &pipe());
    assert_eq!(text, "No changes. 40 objects are as declared.\n");
}

#[test]
fn a_diff_shows_fields_and_no_value_of_a_variable() {
    let overview =
        Overview { specs: "specs".into(), instances: vec![status()], ..Overview::default() };
    let mut view = everything();
    view.rows.push(change("shop/web/1", ChangeKind::Create, Cause::Declared, &["create"]));
    view.rows.push(change("shop/web/2", ChangeKind::Create, Cause::Declared, &["create"]));
    insta::assert_snapshot!("diff_pipe", fields::render(&view, &overview, &pipe()));
}

fn status() -> InstanceStatus {
    let key: Key = "shop/web".parse().expect("a key");
    let hour = Timestamp(NOW.0 - 3 * 3_600_000);
    let replica = |ordinal, state: &str, ready| ReplicaStatus {
        replica: ReplicaKey::new(key.clone(), ordinal),
        node: node("n1"),
        nodes: node("n1").into_iter().collect(),
        state: state.into(),
        since: Some(hour),
        running: ready,
        ready,
        container: Some(format!("shop.web.{ordinal}.1")),
        container_id: Some("57737c2106cf0000000000".into()),
        address: Some(format!("10.0.0.{}", ordinal + 2)),
        revision: Some("e5075b22b44742dc".into()),
        ports: vec![format!("127.0.0.1:808{ordinal}->8080/tcp")],
        restarts: ordinal * 2,
        message: (!ready).then(|| "crash loop: ended with exit code 1".into()),
    };
    InstanceStatus {
        key: key.clone(),
        source: Some("shop/web.yaml:4".into()),
        stale: None,
        labels: BTreeMap::from([("tier".into(), "front".into())]),
        generation: 2,
        observed_generation: 2,
        image: "shop/web:1.5".into(),
        replicas_wanted: 2,
        replicas_ready: 1,
        phase: "CrashLooping".into(),
        conditions: vec![Condition {
            kind: "Ready".into(),
            status: Truth::False,
            reason: "CrashLooping".into(),
            message: "crash loop: ended with exit code 1".into(),
            last_transition_time: Some(hour),
        }],
        replicas: vec![replica(0, "Running", true), replica(1, "CrashLooping", false)],
        history: vec![PastRevision {
            number: 7,
            revision: Revision(Arc::from("e5075b22b44742dc")),
            image: ImageName::Reference(Arc::from("shop/web:1.5")),
            at: hour,
            outcome: rollout::Outcome::Good,
        }],
        rollout: None,
        spec: Some(InstanceSpec {
            image: ImageName::Reference(Arc::from("shop/web:1.5")),
            resources: Resources { memory: "512Mi".parse().ok(), ..Resources::default() },
            flavor: None,
            replicas: 2,
            power: Power::Running,
            command: Some(vec!["sh".into(), "-c".into(), "it's; run".into()]),
            args: None,
            env: BTreeMap::from([("TOKEN".into(), "(not shown)".into())]),
            ports: Vec::new(),
            volumes: Vec::new(),
            restart: Restart::Always,
            health: None,
            stop: Stop { signal: None, timeout: Span::seconds(10) },
            labels: BTreeMap::new(),
            more: Default::default(),
        }),
    }
}

#[test]
fn instances_are_listed_and_described() {
    let status = status();
    let list = [&status];
    insta::assert_snapshot!("get_instances", objects::instances(&list, false, &pipe()));
    insta::assert_snapshot!("get_instances_wide", objects::instances(&list, true, &pipe()));
    let restarting = Reason::Restarting { code: 1, streak: 4, retry_at: NOW, crash_loop: true };
    let rows = [note("shop/web/1", "n1", restarting)];
    let commit = Some("commit 4be21c7 by dev@example.org, 3 minutes ago".to_owned());
    let about = About { status: &status, rows: &rows, specs: "specs", commit };
    insta::assert_snapshot!("describe_instance", instance::render(&about, &pipe()));
    insta::assert_snapshot!("describe_instance_terminal", instance::render(&about, &terminal()));
}

#[test]
fn nodes_are_listed() {
    let node = |name: &str, ready: bool| NodeStatus {
        name: node(name).expect("a name"),
        labels: BTreeMap::new(),
        source: Some("nodes.yaml:1".into()),
        endpoint: "unix:///var/run/docker.sock".into(),
        ready,
        message: (!ready).then(|| "connection refused".into()),
        version: ready.then(|| "26.1.5".into()),
        engine: ready.then(|| "ABCD:EFGH".into()),
        cpus: ready.then_some(8),
        memory: ready.then_some(16_571_000_000),
        status: if ready { "Cordoned" } else { "Unknown" }.into(),
        cordon: None,
        cordoned_by_spec: false,
        replicas: 12,
        cpus_used: 1_500_000_000,
        memory_used: 256 << 20,
        cpus_room: ready.then_some(8_000_000_000),
        memory_room: ready.then_some(12_000_000_000),
        borders: (false, true),
        capacity: Room::default(),
        reserved: Room { memory: Some(Bytes(6_571_000_000)), ..Room::default() },
        overcommit: Overcommit { memory: Some(Ratio(1200)), ..Overcommit::default() },
        latency_ms: ready.then_some(14),
        seen_at: ready.then_some(Timestamp(NOW.0 - 12_000)),
        another: None,
        containers: 12,
        foreign: 1,
        conditions: Vec::new(),
    };
    let (near, far) = (node("n1", true), node("n2", false));
    insta::assert_snapshot!("get_nodes", objects::nodes(&[&near, &far], false, "specs", &pipe()));
    let rows = capacity::rows(&near);
    let rows: Vec<String> = rows.iter().map(|(head, text)| format!("{head}: {text}")).collect();
    insta::assert_snapshot!("node_capacity", rows.join("\n"));
}

#[test]
fn projects_show_what_is_used_of_their_quotas() {
    let row = |kind: &str, used: &str, limit: &str| QuotaUse {
        kind: kind.into(),
        used: used.into(),
        made: used.into(),
        limit: limit.into(),
    };
    let shop = PlainStatus {
        name: "shop".into(),
        labels: BTreeMap::new(),
        source: Some("projects.yaml:1".into()),
        spec: serde_json::json!({ "quota": { "cpus": "4", "memory": "4Gi" }, "parent": "firm" }),
        nodes: Vec::new(),
        used_by: 3,
        conditions: Vec::new(),
        message: None,
        quota: vec![row("cpus", "1500m", "4"), row("memory", "2Gi", "4Gi")],
    };
    let listed = plain::projects(&[&shop], &pipe());
    assert!(listed.contains("cpus 1500m/4, memory 2Gi/4Gi"), "{listed}");
    let described = plain::describe("project", &shop, "specs");
    let used = described.iter().find(|(head, _)| head == "admitted");
    assert_eq!(used.map(|(_, text)| text.as_str()), Some("cpus 1500m/4, memory 2Gi/4Gi"));
}

#[test]
fn an_outcome_tells_each_trouble_once_with_what_to_do() {
    let trouble = |object: &str, reason: &str, message: &str| Trouble {
        object: object.into(),
        reason: reason.into(),
        message: message.into(),
    };
    let refused = "its node does not answer: connect: connection refused";
    let outcome = Outcome {
        troubles: vec![
            trouble("shop/web/0", "NodeUnreachable", refused),
            trouble("shop/web/1", "NodeUnreachable", refused),
            trouble("shop/job/0", "Failed", "failed with exit code 3"),
        ],
        counts: Counts { settled: 40, ..Counts::default() },
        began_at: Timestamp(NOW.0 - 900),
        ended_at: NOW,
        ..Outcome::default()
    };
    let text = outcome::troubles(&outcome, &pipe())
        + &*outcome::closing("Applied", &outcome, "2 created", &pipe());
    insta::assert_snapshot!("outcome_troubles", text);
    let good = Outcome { troubles: Vec::new(), ..outcome };
    let text = outcome::closing("Applied", &good, "2 created, 1 changed", &pipe());
    assert_eq!(text, "Applied: 2 created, 1 changed, 40 settled (900 ms).\n");
}

#[test]
fn events_are_one_line_when_work_begins_and_one_when_it_ends() {
    let change_of = |object: &str| match object {
        "shop/web/0" => ChangeKind::Create,
        "shop/db/0" => ChangeKind::InPlace,
        "shop/old/0" | "shop/late/0" => ChangeKind::Destroy,
        _ => ChangeKind::Prepare,
    };
    let began = |object: &str, verb: &str, cause: &str| Happened::Began {
        change: change_of(object),
        object: object.into(),
        node: "n1".into(),
        verb: verb.into(),
        cause: cause.into(),
    };
    let ended = |object: &str, verb: &str, error: Option<&str>, last| Happened::Ended {
        change: change_of(object),
        object: object.into(),
        node: "n1".into(),
        verb: verb.into(),
        error: error.map(str::to_owned),
        took_ms: 10,
        last,
    };
    let image = "image busybox:latest";
    let happened = [
        Happened::Node { node: "n1".into(), error: None },
        Happened::Specs { objects: 3, errors: vec!["web.yaml:9:3: unknown field".into()] },
        began(image, "pull image", "needed by shop/web"),
        Happened::Progress { object: image.into(), node: "n1".into(), done: 1, total: 2 },
        ended(image, "pull image", None, true),
        began("shop/web/0", "create", "declared"),
        ended("shop/web/0", "create", None, false),
        began("shop/web/0", "start", "declared"),
        ended("shop/web/0", "start", None, true),
        began("shop/db/0", "update", "drift: memory 64Mi -> 32Mi"),
        ended("shop/db/0", "update", None, true),
        began("shop/old/0", "stop", "no longer declared"),
        ended("shop/old/0", "stop", Some("no answer within 20 s"), true),
        began("shop/old/0", "stop", "no longer declared"),
        ended("shop/old/0", "stop", Some("no answer within 20 s"), true),
        // A client that came late knows only the end.
        ended("shop/late/0", "remove", None, true),
        Happened::Settled { objects: 41 },
        Happened::Node { node: "n1".into(), error: Some("connection refused".into()) },
    ];
    let mut narrator = Narrator::default();
    let mut now = Instant::now();
    let mut text = String::new();
    for happened in &happened {
        now += Duration::from_millis(20);
        if let Some(event::Line { text: line, .. }) = narrator.hear(happened, now) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push_str(&narrator.sum());
    assert!(narrator.under_way.is_empty());
    insta::assert_snapshot!("events", text);
}
