//! Policies change while the loop runs: all of them at once, between two rounds.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Engine;
use crate::model::policies::PolicyStanding;
use crate::policy::Policies;

/// What came of reading the policies' directory.
#[derive(Debug, Clone)]
pub struct PolicyReading {
    /// The policies from now on; `None` if those in force go on.
    pub policies: Option<Arc<Policies>>,
    /// How they stand.
    pub standing: PolicyStanding,
    /// Texts whose last good version changed, by the names that records keep them under; `None`
    /// where one is gone.
    pub texts: BTreeMap<Arc<str>, Option<Arc<str>>>,
}

impl Engine {
    pub(super) fn policies_read(&mut self, reading: PolicyReading) {
        let PolicyReading { policies, standing, texts } = reading;
        self.texts(texts);
        self.snapshot.policies = standing;
        if let Some(policies) = policies {
            self.policies = policies;
            // What was settled by others may not be by these.
            self.memo.forget();
            self.want_round();
        }
    }
}
