//! Whether there is room in the quotas of a project: the planner's side of [`crate::quota`]. It is
//! counted when somebody asks who is not there yet, or shall have more than there is.

use super::Round;
use crate::model::desired::DesiredSet;
use crate::model::ids::{ImageName, Key, ReplicaKey, Revision};
use crate::model::observed::Limits;
use crate::model::record::ReplicaRecord;
use crate::model::snapshot::Located;
use crate::quota::{Admission, Refusal, is_any};
use crate::report::Reason;

/// Who is admitted, once somebody asked.
pub(super) enum Asked<'a> {
    /// No project has a quota.
    NoQuotas,
    /// Nobody asked yet.
    NotYet,
    /// It was counted.
    Counted(Box<Admission<'a>>),
}

impl Asked<'_> {
    pub(super) fn of(desired: &DesiredSet) -> Self {
        if is_any(desired) { Self::NotYet } else { Self::NoQuotas }
    }
}

impl<'a> Round<'a> {
    /// Who finds room; `None` where no project has a quota.
    fn admission(&mut self) -> Option<&Admission<'a>> {
        if matches!(self.admission, Asked::NotYet) {
            self.admission = Asked::Counted(Box::new(Admission::of(self.snapshot)));
        }
        match &self.admission {
            Asked::NoQuotas | Asked::NotYet => None,
            Asked::Counted(admission) => Some(admission),
        }
    }

    fn refused(
        &mut self,
        of: impl FnOnce(&Admission<'a>) -> Option<Refusal>,
        then: &str,
    ) -> Option<Reason> {
        let admission = self.admission()?;
        let refusal = of(admission)?;
        let message = format!("{}{then}", admission.explain(refusal));
        Some(if refusal.comes() {
            Reason::WaitingOn { what: format!("room: {message}") }
        } else {
            Reason::OverQuota { message }
        })
    }

    /// Why a replica that was never made is not made, if quotas are why.
    pub(super) fn not_admitted_replica(
        &mut self,
        key: &ReplicaKey,
        record: Option<&ReplicaRecord>,
        containers: &[Located],
    ) -> Option<Reason> {
        if !containers.is_empty() || record.is_some_and(ReplicaRecord::was_made) {
            return None;
        }
        self.refused(|admission| admission.replica(key), "")
    }

    /// Why a replica that was made keeps what it has, if quotas are why.
    pub(super) fn no_quota(
        &mut self,
        key: &ReplicaKey,
        record: &ReplicaRecord,
        revision: Option<&Revision>,
        wanted: &Limits,
    ) -> Option<Reason> {
        // Another revision may publish more ports.
        let is_changed = record.applied != *wanted || record.revision.as_ref() != revision;
        if record.incarnation == 0 || !is_changed {
            return None;
        }
        self.refused(|admission| admission.replica(key), "; it keeps what it has")
    }

    /// Why no container of an instance starts beside another one, if quotas are why.
    pub(super) fn no_surge(&mut self, instance: &Key) -> Option<Reason> {
        let then = "; `update.order: stop-first` needs no room beside";
        self.refused(|admission| admission.surge(instance), then)
    }

    /// Why a declared image is not fetched, if quotas are why.
    pub(super) fn not_admitted_image(&mut self, image: &ImageName) -> Option<Reason> {
        let ImageName::Declared(key) = image else { return None };
        self.refused(|admission| admission.image(key), "")
    }

    /// Why a volume is not made, if quotas are why.
    pub(super) fn not_admitted_volume(&mut self, volume: &Key) -> Option<Reason> {
        self.refused(|admission| admission.volume(volume), "")
    }
}
