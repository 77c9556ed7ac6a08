//! The policy of worlds with policies. It denies one variable; at times it cannot be read, breaks
//! off, or never comes to an end, and then nothing that it would deny may come all the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::engine::PolicyReading;
use reconciler::model::desired::BrokenFile;
use reconciler::model::policies::{Origin, PolicySource, PolicySources, PolicyStanding};
use reconciler::policy::Policies;
use reconciler::policy::library::Library;

use crate::dice::Dice;
use crate::specs::{DENIED, POLICY};

/// How the policy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// It says what it is there for.
    Well,
    /// It cannot be compiled: those in force go on.
    Unreadable,
    /// It fails where it should deny.
    Throws,
    /// It goes on for ever where it should deny.
    Endless,
}

impl Mood {
    /// The mood that the dice say.
    #[must_use]
    pub fn of(dice: &mut Dice) -> Self {
        match dice.index(20) {
            0..=3 => Self::Unreadable,
            4..=7 => Self::Throws,
            8 => Self::Endless,
            _ => Self::Well,
        }
    }

    /// What it does with the variable that is denied.
    fn body(self) -> &'static str {
        match self {
            Self::Well => "require(false, \"denied\")",
            Self::Unreadable => "require(",
            Self::Throws => "require(name.to_int() > 0, \"no number\")",
            Self::Endless => "let n = 0; while n >= 0 { n = 1 - n; } require(n < 0, \"denied\")",
        }
    }

    /// What the loop is told of it.
    #[must_use]
    pub fn reading(self) -> PolicyReading {
        let body = self.body();
        let text = format!(
            "// @id {POLICY} @version 1.0.0 @title nothing that is denied @level hard\n\
             // @match kinds=Instance\n\
             fn check(o) {{ for name in o.env.keys() {{ if name == \"{DENIED}\" {{ {body}; }} }} }}\n"
        );
        let policies = vec![PolicySource::new(Origin::Own, "denied/policy.rhai", &text)];
        let sources = PolicySources { policies, profiles: BTreeMap::new() };
        let (policies, broken) = match Library::new(&sources) {
            Ok(library) => (Some(Arc::new(Policies::of(Arc::new(library)))), None),
            Err(why) => {
                let first = format!("{why:?}");
                (None, Some(BrokenFile { errors: 1, first, last_good: true }))
            }
        };
        let standing = PolicyStanding { count: 1, digest: Some(sources.digest()), broken };
        PolicyReading { policies, standing, texts: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_of_them_cannot_be_compiled() {
        assert!(Mood::Unreadable.reading().policies.is_none());
        for mood in [Mood::Well, Mood::Throws, Mood::Endless] {
            let reading = mood.reading();
            assert!(reading.policies.is_some(), "{mood:?}: {:?}", reading.standing.broken);
        }
    }
}
