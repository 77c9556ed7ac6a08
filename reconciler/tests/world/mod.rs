//! Reads a golden case: `specs.yaml` in the user's grammar, `observed.yaml` in a terse form in
//! which whatever is left out is as declared.

mod kernel;
mod observed;
mod own;
mod rollouts;
mod specs;

use core::net::Ipv4Addr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use reconciler::links::{self, Addresses, Linked};
use reconciler::model::cordon::NodeOrder;
use reconciler::model::desired::{RootIdentity, RootState};
use reconciler::model::fence::Fence;
use reconciler::model::health::HealthNote;
use reconciler::model::ids::{
    ContainerId, Digest, ImageId, ImageName, Key, Name, ObjectId, OwnerId, ReplicaKey, Revision,
};
use reconciler::model::journal::Entry;
use reconciler::model::observed::{
    CgroupDriver, ContainerState, EngineInfo, Exit, HealthState, Identity, ObservedContainer,
    ObservedNetwork, ObservedNode, ObservedVolume, Reach,
};
use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::record::{
    Approval, Failure, ImageRecord, InstanceRecord, Life, NodeRecord, ReplicaRecord, Restarts,
    VolumeRecord,
};
use reconciler::model::snapshot::{InFlight, Located, Snapshot};
use reconciler::model::spec::InstanceSpec;
use reconciler::model::subnet::Net;
use reconciler::model::suspend::Target;
use reconciler::model::time::Timestamp;
use reconciler::plan::{goal, link_network_spec, plan};
use reconciler::policy::{Policies, Policy, Subject, Verdict};
use reconciler::revision::linked_revision;
use reconciler::rollout::overlay;
use reconciler::step::Action;
use reconciler::want;
use serde::Deserialize;

use observed::{Container, FailureYaml, Network, Observed, Record, Volume, n1};

/// The instant of all cases.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);

/// The snapshot and the policies of a case.
pub(crate) fn read(specs: &str, observed: &str) -> Result<(Snapshot, Policies), String> {
    let mut desired = specs::read(specs)?;
    let observed: Observed = serde_yaml::from_str(observed).map_err(|why| why.to_string())?;
    specs::add_nodes(&mut desired, observed.nodes.keys());
    let mut snapshot = Snapshot { now: NOW, desired, down: observed.down, ..Snapshot::default() };
    snapshot.records.owner = Some(OwnerId("0011223344556677".to_owned()));
    root(&mut snapshot, &observed);
    nodes(&mut snapshot, &observed);
    kernel::kernels(&mut snapshot, &observed);
    images(&mut snapshot, &observed);
    instances(&mut snapshot, &observed);
    for container in &observed.containers {
        add_container(&mut snapshot, container)?;
    }
    for (key, rollout) in &observed.rollouts {
        rollouts::add(&mut snapshot, key, rollout)?;
    }
    for (replica, record) in &observed.records {
        change_record(&mut snapshot, &replica_key(replica)?, record)?;
    }
    for (key, waits) in &observed.waited_for {
        let record = snapshot.records.instances.entry(key.clone()).or_default();
        record.waits_for.clone_from(waits);
    }
    for instance in &observed.lost_records {
        snapshot.records.instances.remove(instance);
    }
    volumes(&mut snapshot, &observed);
    if let Some(range) = observed.addresses {
        snapshot.config.addresses = range;
    }
    if !observed.no_own_networks {
        own::networks(&mut snapshot);
    }
    own::subnets(&mut snapshot, &observed);
    networks(&mut snapshot, &observed);
    for (image, failure) in &observed.image_failures {
        let name = ImageName::Reference(Arc::from(image.as_str()));
        let goal = goal::image_source(&snapshot, &name).ok_or("no such image")?;
        let record = snapshot.records.images.entry(name).or_default();
        record.failures.insert(n1(), failure.read(goal));
    }
    let guard = &mut snapshot.records.guard;
    guard.managed = observed.managed;
    let objects = |list: &[String]| list.iter().map(|text| object(text)).collect::<Result<_, _>>();
    guard.removed = objects(&observed.removed)?;
    if !observed.approved.is_empty() {
        let objects = objects(&observed.approved)?;
        guard.approval = Some(Approval { digest: Digest::of(b"it"), objects, at: NOW });
    }
    for text in &observed.suspended {
        let target = match text.split_once(' ') {
            Some(("volume", key)) => Target::Volume(key.parse().map_err(|_| text.clone())?),
            Some((_, project)) => Target::Project(project.parse().map_err(|_| text.clone())?),
            None => Target::Instance(text.parse().map_err(|_| text.clone())?),
        };
        let why = Some("a look at it".to_owned());
        let entry = Entry::Suspended { target, by: "ops@n1".to_owned(), why };
        snapshot.records.apply(NOW, &entry);
    }
    for (node, word) in &observed.ordered {
        let order = NodeOrder::Cordon { drain: word == "drain", why: None };
        let entry = Entry::NodeOrder { node: node.clone(), order, by: "ops@n1".to_owned() };
        snapshot.records.apply(NOW, &entry);
    }
    overlay::lay(&mut snapshot);
    for (text, what) in &observed.in_flight {
        let what = match what.as_str() {
            "create" => "create",
            "set quota" => "set quota",
            _ => "pull image",
        };
        snapshot.in_flight.insert(object(text)?, InFlight { what, since: NOW });
    }
    rules(&mut snapshot, &observed);
    Ok((snapshot, policies(&observed.policy)))
}

/// Links that are in force are no news.
fn rules(snapshot: &mut Snapshot, observed: &Observed) {
    if observed.elsewhere {
        for seen in snapshot.nodes.values_mut() {
            seen.fence = Fence::Elsewhere { reason: "it is not on this host".to_owned() };
        }
        return;
    }
    if snapshot.desired.links.is_empty() {
        return;
    }
    let (plan, _) = plan(snapshot, &policies(""));
    let mut in_force: BTreeMap<Name, Fence> = BTreeMap::new();
    for step in plan.steps {
        if let Action::SetRules { rules, .. } = step.action {
            in_force.insert(step.node, Fence::InForce { rules, intact: true });
        }
    }
    for (node, seen) in &mut snapshot.nodes {
        if observed.no_rules {
            seen.fence = Fence::Unknown { reason: "it is not on this host".to_owned() };
        } else if let Some(fence) = in_force.remove(node) {
            seen.fence = fence;
        }
    }
}

fn replica_key(text: &str) -> Result<ReplicaKey, String> {
    let (instance, ordinal) = text.rsplit_once('/').ok_or(format!("{text} is no replica"))?;
    let instance = instance.parse().map_err(|why| format!("{text}: {why}"))?;
    Ok(ReplicaKey::new(instance, ordinal.parse().map_err(|why| format!("{text}: {why}"))?))
}

/// `shop/web/0`, `image web:1` or `volume shop/data`, the last two on n1.
fn object(text: &str) -> Result<ObjectId, String> {
    if let Some(image) = text.strip_prefix("image ") {
        return Ok(ObjectId::Image { node: n1(), image: ImageName::Reference(Arc::from(image)) });
    }
    if let Some(project) = text.strip_prefix("quota of ") {
        let project = Name::new(project).map_err(|why| format!("{text}: {why}"))?;
        return Ok(ObjectId::Group { node: n1(), project });
    }
    match text.strip_prefix("volume ") {
        Some(volume) => {
            let volume = volume.parse().map_err(|why| format!("{text}: {why}"))?;
            Ok(ObjectId::Volume { node: n1(), volume })
        }
        None => replica_key(text).map(ObjectId::Replica),
    }
}

fn root(snapshot: &mut Snapshot, observed: &Observed) {
    let identity = RootIdentity { path: "/specs".to_owned(), device: 1 };
    snapshot.records.guard.root = Some(identity.clone());
    snapshot.root = match observed.root.as_str() {
        "missing" => RootState::Missing { reason: "no such directory".to_owned() },
        "empty" => RootState::Present { identity, empty: true },
        "other" => RootState::Present {
            identity: RootIdentity { path: "/other".to_owned(), ..identity },
            empty: false,
        },
        "device" => {
            RootState::Present { identity: RootIdentity { device: 2, ..identity }, empty: false }
        }
        _ => RootState::Present { identity, empty: false },
    };
}

fn nodes(snapshot: &mut Snapshot, observed: &Observed) {
    let nodes: Vec<Name> = snapshot.desired.nodes.keys().cloned().collect();
    for node in nodes {
        let reach = match observed.nodes.get(&node).map(String::as_str) {
            None | Some("reachable" | "undeclared") => Reach::Reachable,
            Some("unseen") => Reach::Unseen,
            Some(reason) => Reach::Unreachable { since: NOW, reason: reason.to_owned() },
        };
        if observed.nodes.get(&node).is_some_and(|state| state == "undeclared") {
            snapshot.desired.nodes.remove(&node);
        }
        let id = format!("engine-{node}");
        let engine = EngineInfo {
            id: id.clone(),
            version: "26.1".to_owned(),
            api_version: "1.45".to_owned(),
            cgroup_driver: CgroupDriver::Cgroupfs,
            cpus: 4,
            memory: 1 << 34,
            missing: Default::default(),
        };
        let link_networks = observed.by_networks;
        let mut cores: BTreeMap<Key, BTreeMap<u32, Arc<str>>> = BTreeMap::new();
        for (replica, own) in observed.cores.get(&node).into_iter().flatten() {
            let replica = replica_key(replica).unwrap();
            let of_it = cores.entry(replica.instance).or_default();
            of_it.insert(replica.ordinal, Arc::from(own.as_str()));
        }
        let record = NodeRecord { engine: Some(id), link_networks, cores, ..NodeRecord::default() };
        snapshot.records.nodes.insert(node.clone(), record);
        let engine = Some(engine);
        snapshot.nodes.insert(node, ObservedNode { reach, engine, ..ObservedNode::default() });
    }
}

fn image_id(image: &ImageName) -> ImageId {
    ImageId(Arc::from(format!("sha256:{}", Digest::of(image.to_string().as_bytes()))))
}

fn images(snapshot: &mut Snapshot, observed: &Observed) {
    let all: Vec<ImageName> = snapshot
        .desired
        .instances
        .values()
        .map(|declared| declared.spec.image.clone())
        .filter(|image| !observed.missing_images.contains(&image.to_string()))
        .collect();
    for image in all {
        let Some(source) = goal::image_source(snapshot, &image) else { continue };
        let id = image_id(&image);
        let is_there = !observed.unpulled_images.contains(&image.to_string());
        let mut ids = BTreeMap::new();
        for (node, seen) in &mut snapshot.nodes {
            ids.insert(node.clone(), id.clone());
            if is_there {
                let held = seen.images.entry(id.clone()).or_default();
                let tag: Arc<str> = Arc::from(image.to_string());
                if !held.tags.contains(&tag) {
                    held.tags.push(tag);
                }
            }
        }
        let content = Some(Arc::clone(&id.0));
        let record =
            ImageRecord { source: Some(source), content, ids, at: NOW, ..ImageRecord::default() };
        snapshot.records.images.insert(image, record);
    }
}

fn instances(snapshot: &mut Snapshot, observed: &Observed) {
    let has_replica = |key: &Key| {
        let of = |text: &str| replica_key(text).is_ok_and(|replica| replica.instance == *key);
        observed.containers.iter().any(|container| of(&container.replica))
            || observed.records.keys().any(|text| of(text))
    };
    for (key, declared) in &snapshot.desired.instances {
        if has_replica(key) {
            let digest = Some(declared.digest.clone());
            let uid = "u1".to_owned();
            let links = links::of_instance(&snapshot.desired, key);
            let links = links.filter(|link| link.condition.is_some()).map(|link| link.to.clone());
            let waits = declared.spec.more.depends_on.iter().map(|one| one.instance.clone());
            let record = InstanceRecord {
                uid,
                generation: 1,
                digest,
                waits_for: waits.chain(links).collect(),
                addresses: observed.link_addresses.get(key).cloned().unwrap_or_default(),
                ..InstanceRecord::default()
            };
            snapshot.records.instances.insert(key.clone(), record);
        }
    }
}

/// What links bring to an instance, by the addresses that records hold.
fn linked_of(snapshot: &Snapshot, key: &Key, spec: &InstanceSpec) -> Linked {
    let record = snapshot.records.instances.get(key);
    let known = record.map(|record| record.addresses.clone()).unwrap_or_default();
    let links = links::of_instance(&snapshot.desired, key);
    Linked::of(&snapshot.desired, (key, spec), links, &known)
}

/// `current` and nothing mean what is declared; another word stands for itself.
fn revision_of(snapshot: &Snapshot, key: &Key, word: &str) -> Revision {
    if word == "before" {
        return rollouts::before(snapshot, key);
    }
    let declared = snapshot.desired.instances.get(key).filter(|_| matches!(word, "" | "current"));
    match declared {
        Some(declared) => {
            let image = &declared.spec.image;
            let record = snapshot.records.images.get(image);
            let content = record.and_then(|record| record.content.clone());
            let content = content.unwrap_or_else(|| Arc::clone(&image_id(image).0));
            let linked = linked_of(snapshot, key, &declared.spec);
            linked_revision(&declared.basis, &content, &linked.variables)
        }
        None => Revision(Arc::from(if word.is_empty() { "old" } else { word })),
    }
}

fn add_container(snapshot: &mut Snapshot, of: &Container) -> Result<(), String> {
    let replica = replica_key(&of.replica)?;
    let declared = snapshot.desired.instances.get(&replica.instance).cloned();
    let spec = match &declared {
        Some(declared) => (*declared.spec).clone(),
        None => reconciler::testing::instance("gone:1"),
    };
    let revision = revision_of(snapshot, &replica.instance, &of.revision);
    let limits = want::limits(&spec.resources);
    // Any will do, as long as no two have the same.
    let count: usize = snapshot.containers.values().map(Vec::len).sum();
    let address = Ipv4Addr::from_bits(0x0a90_0f00 + u32::try_from(count).unwrap_or(0));
    let linked = linked_of(snapshot, &replica.instance, &spec);
    let slot = of.slot.unwrap_or(replica.ordinal);
    let parent = kernel::group(snapshot, of, &replica.instance.project);
    let mut config = want::config(&spec, &replica, slot, &parent, Some(address), &linked);
    if let Some(memory) = &of.memory {
        let bytes = memory.parse::<Bytes>().map_err(|why| why.to_string())?.0;
        (config.limits.memory, config.limits.memory_swap) = (bytes, bytes * 2);
    }
    if let Some(cpus) = &of.cpus {
        config.limits.nano_cpus = cpus.parse::<Cpus>().map_err(|why| why.to_string())?.0;
    }
    if let Some(cpuset) = &of.cpuset {
        config.limits.cpuset = Arc::from(cpuset.as_str());
    }
    config.env.extend(of.env.clone());
    if let Some(networks) = &of.networks {
        let wanted = want::attachments(&spec, &replica, &linked);
        config.attachments = networks
            .iter()
            .map(|name| {
                let wanted = wanted.get(name).cloned();
                let wanted = wanted.or_else(|| own::of_link(snapshot, &replica.instance, name));
                let mut attachment = wanted.unwrap_or_default();
                if *name == Key::own_network(&replica.instance.project).engine_name() {
                    attachment.address = Some(address.into());
                    attachment.links.clear();
                }
                (name.clone(), attachment)
            })
            .collect();
    }
    if let Some(policy) = &of.restart_policy {
        config.restart_policy.clone_from(policy);
    }
    let image = match &of.image {
        Some(image) => image_id(&ImageName::Reference(Arc::from(image.as_str()))),
        None => image_id(&spec.image),
    };
    let since = NOW - Duration::from_secs(of.ran_s);
    let exited = |code, oom_killed| {
        let error = String::new();
        let exit = Exit { code, oom_killed, error, started_at: since, finished_at: NOW };
        ContainerState::Exited(exit)
    };
    let state = match of.state.as_str() {
        "" | "running" => ContainerState::Running { since },
        "created" => ContainerState::Created,
        "paused" => ContainerState::Paused { since },
        "removing" => ContainerState::Removing,
        "oom" => exited(137, true),
        other => {
            let code = other.strip_prefix("exited ").and_then(|code| code.parse().ok());
            exited(code.ok_or(format!("{other} is no state"))?, false)
        }
    };
    let incarnation = of.incarnation;
    let name = of.name.clone().unwrap_or_else(|| replica.container_name(incarnation));
    let container = ObservedContainer {
        identity: Identity {
            replica: replica.clone(),
            revision: revision.clone(),
            incarnation,
            uid: "u1".to_owned(),
        },
        state,
        health: of.health,
        image,
        config,
        address: None,
        addresses: Default::default(),
        created_at: since,
        masked_paths: None,
        shared_mounts: None,
        hosts_path: None,
        hosts: None,
        name: name.clone(),
    };
    let id = ContainerId(Arc::from(format!("id-{}-{name}", of.node)));
    let note = HealthNote {
        since: NOW - Duration::from_secs(of.health_s),
        reason: of.health_reason.clone(),
        is_awaited: of.awaited,
    };
    snapshot.health.insert((of.node.clone(), id.clone()), note);
    let located = Located { node: of.node.clone(), id, container };
    let all = snapshot.containers.entry(replica.clone()).or_default();
    all.push(located);
    let newest = all.iter().all(|at| at.container.identity.incarnation <= incarnation);
    let record = snapshot.records.instances.entry(replica.instance.clone()).or_default();
    let record = record.replicas.or_default(replica.ordinal);
    if newest {
        let life = if spec.power == reconciler::model::spec::Power::Stopped {
            Life::Stopped
        } else {
            Life::Started
        };
        *record = ReplicaRecord {
            node: Some(of.node.clone()),
            incarnation,
            revision: Some(revision),
            confirmed: true,
            applied: limits,
            life,
            joined: own::joined(of.networks.iter().flatten()),
            ..ReplicaRecord::default()
        };
    }
    Ok(())
}

fn change_record(snapshot: &mut Snapshot, replica: &ReplicaKey, by: &Record) -> Result<(), String> {
    let revision = by.revision.as_ref().map(|word| revision_of(snapshot, &replica.instance, word));
    let declared = snapshot.desired.instances.get(&replica.instance).cloned();
    let limits = declared.as_ref().map(|declared| want::limits(&declared.spec.resources));
    let current = revision_of(snapshot, &replica.instance, "");
    let record = snapshot.records.instances.entry(replica.instance.clone()).or_default();
    let record = record.replicas.or_default(replica.ordinal);
    record.node = by.node.clone().or_else(|| record.node.clone()).or_else(|| Some(n1()));
    if let Some(incarnation) = by.incarnation {
        record.incarnation = incarnation;
    }
    if revision.is_some() {
        record.revision = revision;
        record.confirmed = true;
    }
    record.confirmed &= !by.unconfirmed;
    if let Some(joined) = &by.joined {
        record.joined.clone_from(joined);
    }
    if let Some(limits) = limits {
        record.applied = limits;
    }
    if let Some(memory) = &by.memory_asked {
        let bytes = memory.parse::<Bytes>().map_err(|why| why.to_string())?.0;
        (record.applied.memory, record.applied.memory_swap) = (bytes, bytes * 2);
    }
    if let Some(cpuset) = &by.cpuset_asked {
        record.applied.cpuset = Arc::from(cpuset.as_str());
    }
    if let Some(cpus) = &by.cpus_asked {
        record.applied.nano_cpus = cpus.parse::<Cpus>().map_err(|why| why.to_string())?.0;
    }
    record.life = match by.life.as_deref() {
        None => record.life.clone(),
        Some("new") => Life::New,
        Some("started") => Life::Started,
        Some("stopped") => Life::Stopped,
        Some("completed") => Life::Completed { at: NOW },
        Some("failed") => Life::Failed { at: NOW, code: Some(1) },
        Some(other) => return Err(format!("{other} is no life")),
    };
    let last_at = Timestamp(NOW.0 - by.restarted_s_ago * 1000);
    record.restarts = Restarts { total: by.streak, streak: by.streak, last_at };
    record.started_at = by.started_s_ago.map(|ago| Timestamp(NOW.0 - ago * 1000));
    let last_at = Timestamp(NOW.0 - by.replaced_s_ago * 1000);
    record.replaced = Restarts { total: by.replaced, streak: by.replaced, last_at };
    let last_at = Timestamp(NOW.0 - by.restarted_s_ago * 1000);
    record.earlier = Restarts { total: by.earlier, streak: by.earlier, last_at };
    if let Some(failure) = &by.failure {
        let goal = match (failure.goal.as_str(), declared) {
            ("removal", _) | (_, None) => goal::removal_goal(),
            ("other", _) => Digest::of(b"other"),
            (_, Some(declared)) => {
                let limits = want::limits(&declared.spec.resources);
                goal::replica(Some(&current), declared.spec.power, &limits)
            }
        };
        record.failure = Some(failure.read(goal));
    }
    Ok(())
}

impl FailureYaml {
    fn read(&self, goal: Digest) -> Failure {
        Failure {
            goal,
            count: self.count,
            at: Timestamp(NOW.0 - self.ago_s * 1000),
            retry_at: Timestamp(NOW.0 + self.retry_in_s * 1000),
            step: self.step.clone(),
            message: "out of luck".to_owned(),
            name_taken: self.name_taken,
            unstartable: self.unstartable,
        }
    }
}

fn volumes(snapshot: &mut Snapshot, observed: &Observed) {
    for Volume { volume, node, driver } in &observed.volumes {
        let held = ObservedVolume {
            volume: volume.clone(),
            driver: driver.clone(),
            options: BTreeMap::new(),
        };
        if let Some(seen) = snapshot.nodes.get_mut(node) {
            seen.volumes.insert(volume.engine_name(), held);
        }
        let declared = snapshot.desired.volumes.get(volume);
        let retain = declared.is_none_or(|declared| declared.spec.retain);
        let record = snapshot.records.volumes.entry(volume.clone()).or_default();
        record.retain = retain;
        record.nodes.insert(node.clone());
    }
    for (volume, retain) in &observed.volume_records {
        let record = snapshot
            .records
            .volumes
            .entry(volume.clone())
            .or_insert_with(|| VolumeRecord { nodes: [n1()].into(), ..VolumeRecord::default() });
        record.retain = *retain;
    }
}

fn networks(snapshot: &mut Snapshot, observed: &Observed) {
    for Network { network, node, driver, copies, subnet } in &observed.networks {
        let spec = match subnet {
            Some(subnet) => link_network_spec(*subnet),
            None => specs::network(driver.clone()),
        };
        let copies = copies.clone();
        let held = ObservedNetwork { network: network.clone(), spec, copies };
        if let Some(seen) = snapshot.nodes.get_mut(node) {
            seen.networks.insert(network.engine_name(), held);
        }
        let record = snapshot.records.networks.entry(network.clone()).or_default();
        record.nodes.insert(node.clone());
        record.subnet = record.subnet.or(*subnet);
    }
}

/// A policy of tests: `deny action`, `deny revision` or `leave drift`.
struct Stub(&'static str);

impl Policy for Stub {
    fn judge(&self, subject: &Subject<'_>) -> Verdict {
        let word = match subject {
            Subject::Revision { .. } => "deny revision",
            Subject::Action { .. } => "deny action",
            Subject::Drift { .. } => "leave drift",
            _ => "",
        };
        if word != self.0 {
            return Verdict::Allow;
        }
        Verdict::Deny { policy: "stub".to_owned(), message: "not on a Friday".to_owned() }
    }
}

fn policies(word: &str) -> Policies {
    let word = ["deny action", "deny revision", "leave drift"].into_iter().find(|it| *it == word);
    match word {
        Some(word) => Policies::new(vec![Box::new(Stub(word))]),
        None => Policies::allow_all(),
    }
}
