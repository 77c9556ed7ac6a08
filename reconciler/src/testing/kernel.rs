//! The twin of an engine's host: packet rules and control groups.

use std::sync::Arc;

use super::engine::{FakeEngine, error};
use crate::model::fence::{Fence, Rules};
use crate::model::groups::{GroupLimits, Groups};
use crate::ports::{Done, DriverError, DriverErrorKind};

impl FakeEngine {
    pub(super) fn set_rules(&mut self, rules: &Rules) -> Result<Done, DriverError> {
        match &self.fence {
            Fence::InForce { .. } => {
                self.fence = Fence::InForce { rules: rules.clone(), intact: true };
                Ok(Done::AsAsked)
            }
            Fence::Unknown { reason } | Fence::Elsewhere { reason } => {
                Err(error(DriverErrorKind::Refused, reason.clone()))
            }
        }
    }

    pub(super) fn set_group(
        &mut self,
        group: &str,
        limits: &GroupLimits,
    ) -> Result<Done, DriverError> {
        match &mut self.groups {
            Groups::Read { limits: all, missing: _, within: _ } => {
                if limits.is_empty() {
                    all.remove(group);
                } else {
                    all.insert(Arc::from(group), limits.clone());
                }
                Ok(Done::AsAsked)
            }
            Groups::Unknown { reason } | Groups::Elsewhere { reason } => {
                Err(error(DriverErrorKind::Refused, reason.clone()))
            }
        }
    }
}
