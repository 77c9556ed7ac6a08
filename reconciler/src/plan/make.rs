//! Another container for a replica, and how it takes the place of those that are there.
//!
//! What can fail comes first: images and volumes, then the new container, and only then is the old
//! one stopped. While the new one cannot be made, the old one is kept alive.

use super::containers::{StopFor, connect, is_running, put_files, remove, start, stop};
use super::exchange::stop_first;
use super::needs::{Need, networks_of};
use super::power::PowerWork;
use super::replica::{Instance, Replica, Work};
use super::{ChangeKind, Round};
use crate::diff::{Want, differences};
use crate::model::ids::{Name, Revision};
use crate::model::observed::{ContainerConfig, ContainerState, Missing, MoreConfig};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::sparse::Sparse;
use crate::model::spec::policy::ObjectKind;
use crate::model::spec::{MountSource, Power, Restart};
use crate::model::verdicts::Said;
use crate::policy::{Subject, Verdict};
use crate::report::Reason;
use crate::step::{Action, Cause, FieldChange};
use crate::want;

impl<'a> Round<'a> {
    /// Makes a container, and lets it take the place of those that are there.
    pub(super) fn make(&mut self, replica: &Replica<'a, '_>, kind: ChangeKind, cause: Cause) {
        let done =
            self.successor(replica, kind, cause).and_then(|work| self.try_commit(replica, work));
        if let Err(reason) = done
            && !self.keep_alive(replica)
            && !self.thin_out(replica)
        {
            self.wait_to(kind, replica.object, Some(replica.node), reason);
        }
    }

    /// Whether policies let the wanted revision come. One that came already is admitted: what gets
    /// stricter afterwards is told, and ends nothing.
    ///
    /// # Errors
    /// What stands in the way.
    fn admitted(&self, replica: &Replica<'a, '_>) -> Result<(), Reason> {
        let key = replica.instance.key;
        let Snapshot { verdicts, withheld, .. } = self.snapshot;
        // Without a link that it counts on it would come as something else than what is declared.
        let mut links = withheld.iter().filter(|(_, link)| link.spec.from == *key);
        let denied_link = links.find_map(|(link, _)| {
            let said = verdicts.denial(ObjectKind::Link, link)?;
            Some(Said { message: format!("link {link}: {}", said.message), ..said.clone() })
        });
        let own = verdicts.denial(ObjectKind::Instance, key).cloned();
        let Some(said) = own.or(denied_link) else { return Ok(()) };
        let record = self.snapshot.records.instances.get(replica.instance.key);
        let came = record
            .zip(replica.revision)
            .is_some_and(|(record, wanted)| record.past(wanted).is_some());
        if came {
            return Ok(());
        }
        Err(super::denied(said))
    }

    /// What makes the new container and puts it in force.
    ///
    /// # Errors
    /// The reason why it cannot be made now.
    fn successor(
        &mut self,
        replica: &Replica<'a, '_>,
        kind: ChangeKind,
        cause: Cause,
    ) -> Result<Work, Reason> {
        let Instance { key, declared, .. } = replica.instance;
        let spec = &*declared.spec;
        let recorded = replica.record.and_then(|record| record.revision.as_ref());
        if let Some(reason) = replica.tight.as_ref().filter(|_| recorded != replica.revision) {
            // What is declared belongs together: it comes as a whole, or not yet.
            return Err(reason.clone());
        }
        let subject = Subject::Revision { instance: key, declared };
        if let Verdict::Deny { policy, message } = self.policies.judge(&subject) {
            return Err(Reason::Denied { policy, message });
        }
        self.admitted(replica)?;
        let mut after = Vec::new();
        // What is needed is prepared also for those whose turn has not come.
        let mut needs = vec![self.need_image(&spec.image, replica.node, key)];
        for mount in &spec.volumes {
            if let MountSource::Volume(volume) = &mount.source {
                needs.push(self.need_volume(volume, replica.node, key));
            }
        }
        for network in networks_of(&replica.instance) {
            needs.push(self.need_network(&network, replica.node, key));
        }
        needs.push(self.need_group(replica.node, &key.project));
        for need in needs {
            match need {
                Need::Ready => {}
                Need::After(step) => after.push(step),
                Need::Blocked(reason) => return Err(reason),
            }
        }
        let (Some(revision), Some(image)) = (replica.revision, replica.image) else {
            // Its image is on the way; what it is made from is known when that has come.
            return Err(Reason::WaitingOn { what: format!("image {}", spec.image) });
        };
        let Some(owner) = self.snapshot.records.owner.clone() else {
            let message = "the state directory has no owner id yet".to_owned();
            return Err(Reason::Stalled { message });
        };
        self.dependencies(key, spec)?;
        self.variables_known(key, spec, replica.instance.linked)?;
        if let Cause::Changed { .. } = cause {
            self.targets_current(key)?;
        }
        if let (Cause::Changed { .. }, None, Some(reason)) =
            (&cause, replica.target, &replica.instance.gate.shut)
        {
            // What has the wanted revision changes none.
            return Err(reason.clone());
        }
        let present: Vec<&Located> = replica.others.iter().copied().chain(replica.target).collect();
        let goes_on = self.goes_on(replica, &present, false)?;
        let ended = replica.target.and_then(|target| self.ended_early(replica, target));
        let stay: Vec<&Located> = goes_on.into_iter().chain(ended).collect();
        let going: Vec<&Located> =
            present.into_iter().filter(|at| stay.iter().all(|stays| stays.id != at.id)).collect();
        let slot = self.slot(replica, &stay)?;
        let incarnation = next_incarnation(replica, revision);
        let name = replica.key.container_name(incarnation);
        let uid = self.uid(replica.instance);
        let (address, is_new) = self.address(replica)?;
        self.rules_first(replica, address, is_new)?;
        let mut config = want::config(
            spec,
            replica.key,
            slot,
            &self.group_name(replica.node, &key.project),
            address,
            replica.instance.linked,
        );
        config.limits.clone_from(replica.limits);
        self.leave_out(replica.node, &mut config);
        // The network mode is joined with the create; older engines take no other one there.
        let joined = config.attachments.iter().filter(|(network, _)| **network != config.network);
        let joins: Vec<Action> = joined
            .map(|(network, attachment)| connect(name.clone(), network, attachment))
            .collect();
        let labels = want::identity_labels(&owner, replica.key, revision, incarnation, &uid);
        let mut actions = vec![Action::CreateContainer {
            name: name.clone(),
            image: image.clone(),
            image_name: spec.image.clone(),
            config: Box::new(config),
            labels,
            revision: revision.clone(),
            incarnation,
            slot: Some(slot).filter(|slot| *slot != replica.key.ordinal),
        }];
        actions.extend(joins);
        if spec.power != Power::Stopped && !stop_first(replica, goes_on).is_empty() {
            // What is left on another node stops before this one starts.
            return Ok(Work { kind, cause, actions, after });
        }
        actions.extend(put_files(spec, &name));
        actions.extend(going.iter().filter_map(|at| stop(at, spec, StopFor::Successor)));
        let names = self.names_after_start(replica, &name);
        match spec.power {
            Power::Stopped => {}
            Power::Running => {
                actions.push(start(name));
                actions.extend(names);
            }
            Power::Paused => {
                actions.push(start(name.clone()));
                actions.extend(names);
                actions.push(Action::PauseContainer { container: name });
            }
        }
        actions.extend(going.iter().map(|at| remove(at)));
        Ok(Work { kind, cause, actions, after })
    }

    /// Keeps the container that is there in its power state while its successor cannot be made.
    /// Returns whether that takes a step.
    fn keep_alive(&mut self, replica: &Replica<'a, '_>) -> bool {
        let present = replica.others.iter().copied().chain(replica.target);
        let current = present
            .filter(|at| match at.container.state {
                ContainerState::Running { .. }
                | ContainerState::Paused { .. }
                | ContainerState::Exited(_) => true,
                // It never was in force.
                ContainerState::Created | ContainerState::Removing => false,
            })
            .max_by_key(|at| (is_running(at), at.container.identity.incarnation, &at.id));
        let Some(current) = current else { return false };
        let replaced = replica.record.is_none_or(|record| {
            record.revision.as_ref() != Some(&current.container.identity.revision)
        });
        if replaced && replica.instance.declared.spec.restart != Restart::Always {
            // How it ended is not known any more, and a job is not run twice.
            return false;
        }
        match self.power(replica, current) {
            Ok(Some(PowerWork { kind, cause, actions, .. })) => {
                self.try_commit(replica, Work { kind, cause, actions, after: vec![] }).is_ok()
            }
            Ok(None) | Err(_) => false,
        }
    }

    pub(super) fn why_replaced(&self, replica: &Replica<'_, '_>, present: &Located) -> Cause {
        let Instance { declared, record, .. } = replica.instance;
        let want = Want {
            replica: replica.key,
            spec: &declared.spec,
            limits: replica.limits,
            linked: replica.instance.linked,
            image: replica.image,
            kernel: false,
        };
        let past = record.and_then(|record| {
            let of = &present.container.identity.revision;
            record.history.iter().rev().find(|past| past.revision == *of)
        });
        let mut fields: Vec<FieldChange> =
            differences(&want, &present.container).into_iter().map(|(_, change)| change).collect();
        for field in fields.iter_mut().filter(|change| change.field == "image") {
            if let Some(past) = past {
                field.from = past.image.to_string();
            }
            // Gone back to, it is asked for by its content; people know it by its name.
            let back = record.filter(|_| replica.instance.gate.back.is_some());
            let back = back.zip(replica.revision).and_then(|(record, of)| record.past(of));
            if let Some(back) = back {
                let name = declared.spec.image.to_string();
                field.to = field.to.replacen(&name, &back.image.to_string(), 1);
            }
        }
        if fields.is_empty() {
            // What went away (a variable, a label) cannot be told from what the image brings.
            let field = "spec".to_owned();
            let (from, to) = (present.container.identity.revision.to_string(), String::new());
            let to = replica.revision.map_or(to, ToString::to_string);
            fields.push(FieldChange { field, from, to });
        }
        Cause::Changed { fields }
    }

    /// Leaves out what the node's engine refuses, since it cannot do it; a condition says so.
    fn leave_out(&self, node: &Name, config: &mut ContainerConfig) {
        let engine = self.snapshot.nodes.get(node).and_then(|seen| seen.engine.as_ref());
        let has_sizes = engine.is_none_or(|engine| !engine.missing.contains(&Missing::Disk));
        if config.more.disk.is_some() && !has_sizes {
            config.more = Sparse::new(MoreConfig { disk: None, ..(*config.more).clone() });
        }
    }
}

/// The number of the container that is made next. A number whose container the engine never
/// confirmed is tried again, so that a create that did happen is adopted.
fn next_incarnation(replica: &Replica<'_, '_>, revision: &Revision) -> u64 {
    let observed = replica.others.iter().copied().chain(replica.target);
    let observed = observed.map(|at| at.container.identity.incarnation).max().unwrap_or(0);
    match replica.record {
        Some(record)
            if !record.confirmed
                && !record.failure.as_ref().is_some_and(|failure| failure.name_taken)
                && record.revision.as_ref() == Some(revision)
                && record.incarnation > observed =>
        {
            record.incarnation
        }
        Some(record) => record.incarnation.max(observed) + 1,
        None => observed + 1,
    }
}
