//! Entries and records for tests: at least one entry of each kind.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use reconciler::model::cordon::NodeOrder;
use reconciler::model::desired::RootIdentity;
use reconciler::model::ids::{
    ContainerId, Digest, ImageId, ImageName, Key, Name, ObjectId, OwnerId, ReplicaKey, Revision,
};
use reconciler::model::journal::{
    Checkout, Deed, Entry, ExecNote, PolicySetNote, Stamped, VerdictNote, VerdictOutcome,
};
use reconciler::model::observed::{
    ContainerConfig, ContainerState, HealthState, Identity, Limits, ObservedContainer,
};
use reconciler::model::record::{Approval, Failure, Life, Records};
use reconciler::model::rollout::Kept;
use reconciler::model::spec::policy::{Level, Point};
use reconciler::model::suspend::Target;
use reconciler::model::time::Timestamp;
use reconciler::pressure::Pressure;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(crate) fn key(text: &str) -> Key {
    text.parse().unwrap()
}

pub(crate) fn replica(text: &str, ordinal: u32) -> ReplicaKey {
    ReplicaKey::new(key(text), ordinal)
}

pub(crate) fn limits() -> Limits {
    Limits {
        nano_cpus: 500_000_000,
        memory: 256 << 20,
        memory_swap: 512 << 20,
        pids: 100,
        ..Limits::default()
    }
}

fn revision() -> Revision {
    Revision(Arc::from("00112233aabbccdd"))
}

fn failure() -> Failure {
    Failure {
        goal: Digest::of(b"goal"),
        count: 2,
        at: Timestamp(5_000),
        retry_at: Timestamp(9_000),
        step: "create".to_owned(),
        message: "no such \"image\"\nat all: é".to_owned(),
        name_taken: false,
        unstartable: false,
    }
}

fn exec_note() -> ExecNote {
    ExecNote {
        by: "ops@host".to_owned(),
        program: "sh".to_owned(),
        arguments: 2,
        user: None,
        terminal: true,
    }
}

fn verdict_note() -> VerdictNote {
    VerdictNote {
        object: Arc::from("shop/web"),
        policy: Arc::from("CIS-5.5"),
        version: Arc::from("1"),
        sha256: Digest::of(b"source"),
        set: Digest::of(b"set"),
        binding: Arc::from("shop/all"),
        level: Level::Hard,
        point: Point::Plan,
        outcome: VerdictOutcome::Waived,
        waived_by: Some(Arc::from("shop/debug-week")),
        findings: vec!["it is privileged".to_owned()],
        inputs: Digest::of(b"inputs"),
        asked: None,
        cost: 120,
    }
}

/// Entries of every kind, in an order that makes sense.
pub(crate) fn entries() -> Vec<Entry> {
    let node = name("n1");
    let web = replica("shop/web", 0);
    let declared = ImageName::Declared(key("shop/base"));
    let reference = ImageName::Reference(Arc::from("registry.example/db:1"));
    let own = Key::own_network(&name("shop"));
    let network = ObjectId::Network { node: node.clone(), network: own.clone() };
    let fence = ObjectId::Fence { node: node.clone() };
    let volume = ObjectId::Volume { node: node.clone(), volume: key("shop/data") };
    let image = ObjectId::Image { node: node.clone(), image: reference.clone() };
    let object = ObjectId::Replica(web.clone());
    let create = Deed::Create {
        incarnation: 1,
        revision: revision(),
        image: declared.clone(),
        limits: limits(),
        slot: None,
    };
    let intent = |object: &ObjectId, deed: Deed| Entry::Intent {
        object: object.clone(),
        node: name("n1"),
        deed,
        cause: "it is declared".to_owned(),
        from: Some(Arc::from("web.yaml:1")),
    };
    let done = |object: &ObjectId, deed: Deed| Entry::Done {
        object: object.clone(),
        node: name("n1"),
        deed,
    };
    let resolved = |image: &ImageName, pinned: Option<&str>| Entry::Resolved {
        image: image.clone(),
        source: Digest::of(b"source"),
        node: name("n1"),
        id: ImageId(Arc::from("sha256:abc")),
        pinned: pinned.map(Arc::from),
    };
    vec![
        Entry::Owner { owner: OwnerId("0123456789abcdef".to_owned()) },
        Entry::Root { identity: RootIdentity { path: "/srv/specs".to_owned(), device: 42 } },
        Entry::Text { file: Arc::from("a/web.yaml"), text: Some(Arc::from("kind: Instance\n")) },
        Entry::Text { file: Arc::from("b.yaml"), text: Some(Arc::from("kind: Volume\n")) },
        Entry::Text { file: Arc::from("b.yaml"), text: None },
        Entry::Node {
            node: node.clone(),
            engine: "ENGINE:ID".to_owned(),
            endpoint: "unix:///var/run/docker.sock".to_owned(),
            cgroup_root: "/windlass".to_owned(),
        },
        Entry::Declared {
            instance: key("shop/web"),
            uid: "u1".to_owned(),
            digest: Digest::of(b"spec"),
            from: Some(Arc::from("web.yaml:1")),
        },
        Entry::Linked {
            instance: key("shop/web"),
            waits_for: [key("shop/db")].into(),
            addresses: [("db".to_owned(), Some(IpAddr::from([10, 144, 8, 1])))].into(),
        },
        Entry::Placed { replica: web.clone(), node: node.clone() },
        Entry::Subnet { network: own, subnet: "10.144.0.0/20".parse().unwrap() },
        intent(&network, Deed::CreateNetwork),
        done(&network, Deed::CreateNetwork),
        Entry::Addressed { replica: web.clone(), address: "10.144.8.1".parse().unwrap() },
        Entry::LinksBy { node: node.clone(), networks: true },
        Entry::Cores { replica: web.clone(), node: node.clone(), cores: Some(Arc::from("2-3")) },
        Entry::Protected {
            object: Arc::from("Instance shop/web"),
            labels: Some([("tier".to_owned(), "front".to_owned())].into()),
        },
        Entry::Protected { object: Arc::from("Volume shop/data"), labels: Some([].into()) },
        Entry::Protected { object: Arc::from("Volume shop/data"), labels: None },
        Entry::Admitted {
            object: Arc::from("Link shop/web-db"),
            digest: Some(Digest::of(b"web-db")),
        },
        Entry::Admitted { object: Arc::from("Link shop/db-web"), digest: None },
        Entry::Subnet {
            network: Key::link_network(&key("shop/web-db"), 28),
            subnet: "10.144.16.0/28".parse().unwrap(),
        },
        done(&object, Deed::Connect { network: "shop._web-db".to_owned() }),
        intent(&fence, Deed::SetRules { rules: Digest::of(b"rules"), ways: 1 }),
        done(&fence, Deed::SetRules { rules: Digest::of(b"rules"), ways: 1 }),
        Entry::Failed { object: fence, node: node.clone(), failure: failure() },
        intent(&image, Deed::FetchImage { how: "pull registry.example/db:1".to_owned() }),
        resolved(&reference, Some("registry.example/db@sha256:def")),
        resolved(&declared, None),
        done(&image, Deed::FetchImage { how: "pull registry.example/db:1".to_owned() }),
        intent(&volume, Deed::CreateVolume { retain: true }),
        done(&volume, Deed::CreateVolume { retain: true }),
        intent(&object, create.clone()),
        Entry::Kept {
            instance: key("shop/web"),
            revision: revision(),
            kept: Kept {
                text: Arc::from("{\"image\":\"web:1\"}"),
                content: Arc::from("sha256:abc"),
                pinned: None,
            },
        },
        done(&object, create),
        intent(&object, Deed::Start { restart: false, in_a_row: false, earlier: false }),
        intent(&object, Deed::Start { restart: true, in_a_row: true, earlier: false }),
        intent(&object, Deed::Start { restart: true, in_a_row: true, earlier: true }),
        intent(&object, Deed::SetHosts),
        intent(&object, Deed::Update { limits: limits() }),
        intent(&object, Deed::Pause),
        intent(&object, Deed::Unpause),
        intent(&object, Deed::Rename),
        intent(&object, Deed::Stop { power: true, retired: false }),
        Entry::Failed { object: object.clone(), node: node.clone(), failure: failure() },
        Entry::Failed { object: image.clone(), node: node.clone(), failure: failure() },
        Entry::Failed { object: volume.clone(), node: node.clone(), failure: failure() },
        Entry::Ended {
            replica: replica("shop/job", 3),
            life: Life::Failed { at: Timestamp(7), code: Some(137) },
        },
        Entry::Unhealthy { replica: web.clone() },
        Entry::Healthy { replica: web.clone() },
        Entry::Approved {
            approval: Approval {
                digest: Digest::of(b"set"),
                objects: BTreeSet::from([object.clone(), volume.clone(), image]),
                at: Timestamp(8),
            },
        },
        intent(&object, Deed::Remove { incarnation: 1, for_good: true }),
        intent(&volume, Deed::RemoveVolume),
        done(&volume, Deed::RemoveVolume),
        Entry::RolledOut { instance: key("shop/web"), revision: revision() },
        Entry::SetAside {
            instance: key("shop/web"),
            revision: revision(),
            asked: Digest::of(b"asked"),
            to: 1,
            why: "not healthy within 60s".to_owned(),
        },
        Entry::Ahead { instance: key("shop/web"), by: None },
        Entry::RolloutFailed {
            instance: key("shop/web"),
            revision: revision(),
            why: "not healthy within 60s".to_owned(),
        },
        Entry::RolloutPaused { instance: key("shop/web"), by: "ops@host".to_owned() },
        Entry::RolloutResumed { instance: key("shop/web"), by: "ops@host".to_owned() },
        Entry::RestartAsked { instance: key("shop/web"), by: "ops@host".to_owned() },
        Entry::Restarted { instance: key("shop/web") },
        Entry::Undone {
            instance: key("shop/web"),
            revision: Some(revision()),
            asked: Digest::of(b"asked"),
            to: 1,
            by: "ops@host".to_owned(),
        },
        Entry::Asked {
            by: "ops@host".to_owned(),
            verb: "approve".to_owned(),
            what: Some("0011aabb".to_owned()),
        },
        Entry::Checkout {
            checkout: Some(Checkout {
                commit: Arc::from("4be21c7a4be21c7a4be21c7a4be21c7a4be21c7a"),
                branch: Some(Arc::from("main")),
                author: Some(Arc::from("Dev <dev@example.org>")),
                at: Some(Timestamp(9)),
                dirty: Some(true),
            }),
        },
        Entry::Pressed {
            replica: Some(web.clone()),
            node: node.clone(),
            pressure: Pressure::PidsRefused,
            message: Some("a process or thread could not be made".to_owned()),
        },
        Entry::Exec { replica: web.clone(), exec: exec_note() },
        Entry::ExecEnded { replica: web.clone(), exec: exec_note(), code: Some(0), why: None },
        Entry::PolicySet {
            set: PolicySetNote {
                digest: Digest::of(b"set"),
                policies: [(Arc::from("CIS-5.5"), Digest::of(b"source"))].into(),
            },
        },
        Entry::Verdict { verdict: Box::new(verdict_note()) },
        Entry::Suspended {
            target: Target::Instance(key("shop/web")),
            by: "ops@host".to_owned(),
            why: Some("a look at it".to_owned()),
        },
        Entry::Suspended { target: Target::Project(name("lab")), by: String::new(), why: None },
        Entry::Resumed { target: Target::Project(name("lab")) },
        Entry::NodeOrder {
            node: name("n1"),
            order: NodeOrder::Cordon { drain: true, why: Some("its disk is old".to_owned()) },
            by: "ops@host".to_owned(),
        },
        Entry::NodeOrder { node: name("n1"), order: NodeOrder::Uncordon, by: String::new() },
        Entry::NodeOrder {
            node: name("n1"),
            order: NodeOrder::Accept { engine: "BBBB".to_owned() },
            by: "ops@host".to_owned(),
        },
        Entry::Gone { replica: web },
        Entry::Settled { managed: 2 },
    ]
}

/// Numbers entries from `first`, a second apart.
pub(crate) fn stamp(first: u64, entries: Vec<Entry>) -> Vec<Stamped> {
    (first..)
        .zip(entries)
        .map(|(seq, entry)| Stamped {
            seq,
            at: Timestamp(1_763_700_000_000 + i64::try_from(seq).unwrap() * 1000),
            entry,
        })
        .collect()
}

/// A small entry, for long rows.
pub(crate) fn small(seq: u64) -> Stamped {
    let entry = Entry::Settled { managed: u32::try_from(seq).unwrap() };
    stamp(seq, vec![entry]).remove(0)
}

/// What entries make of empty records.
pub(crate) fn fold(entries: &[Stamped]) -> Records {
    let mut records = Records::default();
    for stamped in entries {
        records.apply(stamped.at, &stamped.entry);
    }
    records
}

/// A checkpoint of what `entries` make.
pub(crate) fn checkpoint(seq: u64, records: &Records) -> Stamped {
    stamp(seq, vec![Entry::Checkpoint { records: Box::new(records.clone()) }]).remove(0)
}

/// Records that have one of everything: the row of entries up to where things are removed.
pub(crate) fn full_records() -> Records {
    let entries = entries();
    fold(&stamp(1, entries[..entries.len() - 5].to_vec()))
}

pub(crate) fn containers() -> BTreeMap<ContainerId, ObservedContainer> {
    let container = ObservedContainer {
        name: "shop.web.0.1".to_owned(),
        identity: Identity {
            replica: replica("shop/web", 0),
            revision: Revision(Arc::from("00112233aabbccdd")),
            incarnation: 1,
            uid: "u1".to_owned(),
        },
        state: ContainerState::Running { since: Timestamp(3) },
        health: HealthState::Healthy,
        image: ImageId(Arc::from("sha256:abc")),
        config: ContainerConfig { limits: limits(), ..ContainerConfig::default() },
        address: Some("10.0.0.2".to_owned()),
        addresses: Default::default(),
        created_at: Timestamp(2),
        masked_paths: None,
        shared_mounts: None,
        hosts_path: Some(Arc::from("/data/hosts")),
        hosts: Some([("db".to_owned(), BTreeSet::from(["10.144.8.2".parse().unwrap()]))].into()),
    };
    BTreeMap::from([(ContainerId(Arc::from("c0ffee")), container)])
}
