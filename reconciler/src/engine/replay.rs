//! A verdict that is on record is come to again, from what was on record then.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Engine;
use crate::model::ids::{Key, Name};
use crate::model::journal::{Entry, Told, VerdictNote};
use crate::model::spec::policy::ObjectKind;
use crate::policy::view::{AskedAgain, AskedNote, ObjectRef};

impl Engine {
    /// Comes to a verdict again. The loop was started with the records of then, and has read specs
    /// and policies of then; its time is that of the verdict.
    ///
    /// # Errors
    /// Why nobody can be asked again.
    pub fn judged_again(&mut self, verdict: &VerdictNote) -> Result<VerdictNote, String> {
        self.told = Told::telling_all();
        let before = self.riding.len();
        match &verdict.asked {
            Some(asked) => {
                let note: AskedNote = serde_json::from_value((**asked).clone())
                    .map_err(|error| format!("what was asked cannot be read: {error}"))?;
                self.asked_again(note)?;
            }
            None => {
                let object = named(&verdict.object)
                    .ok_or_else(|| format!("`{}` names no object", verdict.object))?;
                self.note_verdicts(&BTreeSet::from([object]));
            }
        }
        let notes = self.riding.split_off(before);
        let mut notes = notes.into_iter().filter_map(|stamped| {
            let Entry::Verdict { verdict } = stamped.entry else { return None };
            Some(*verdict)
        });
        let is_it = |note: &VerdictNote| {
            note.object == verdict.object
                && note.policy == verdict.policy
                && note.binding == verdict.binding
                && note.point == verdict.point
        };
        notes.find(is_it).ok_or_else(|| {
            format!(
                "{} is not asked about {} by {}",
                verdict.policy, verdict.object, verdict.binding
            )
        })
    }

    fn asked_again(&mut self, note: AskedNote) -> Result<(), String> {
        let now = self.snapshot.now;
        let target = self.target_named(note.object());
        let decision = match note.clone().asked(target)? {
            AskedAgain::Action(action) => self.evaluator.action(&Arc::new(action), now),
            AskedAgain::Drift(drift) => self.evaluator.drift(&Arc::new(drift), now),
        };
        self.note_decision(&decision, note);
        Ok(())
    }
}

/// The object that a record names: `Instance shop/web`, `Node n1`.
fn named(text: &str) -> Option<ObjectRef> {
    let (kind, name) = text.split_once(' ')?;
    let kind = ObjectKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    let key = match kind {
        ObjectKind::Project => {
            let name = Name::new(name).ok()?;
            Key::new(name.clone(), name)
        }
        ObjectKind::Node => Key::new(Name::default_project(), Name::new(name).ok()?),
        ObjectKind::Instance
        | ObjectKind::Image
        | ObjectKind::Volume
        | ObjectKind::Network
        | ObjectKind::Link
        | ObjectKind::Flavor
        | ObjectKind::PolicyBinding
        | ObjectKind::Waiver => name.parse().ok()?,
    };
    Some(ObjectRef { kind, key })
}
