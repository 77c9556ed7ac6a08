//! What goes wrong how often, in a world: the seed chooses, so some worlds are calm and some wild.

use reconciler::testing::Fault;

use crate::dice::Dice;

/// So many times of a thousand.
#[derive(Debug, Clone, Default)]
pub struct Odds {
    /// An action goes wrong.
    pub fault: u64,
    /// Something comes late.
    pub late: u64,
    /// A hint does not come.
    pub hint_lost: u64,
    /// A hint comes twice.
    pub hint_twice: u64,
}

impl Odds {
    /// What the dice say.
    #[must_use]
    pub fn of(dice: &mut Dice) -> Self {
        let mut some = |highest: u64| if dice.says(300) { 0 } else { dice.between(1, highest) };
        Self { fault: some(200), late: some(60), hint_lost: some(500), hint_twice: some(300) }
    }

    /// What goes wrong with the next action.
    pub fn fault(&self, dice: &mut Dice) -> Fault {
        const FAULTS: [Fault; 6] = [
            Fault::Refused,
            Fault::TimedOutUndone,
            Fault::TimedOutDone,
            Fault::TimedOutLate,
            Fault::LostDone,
            Fault::Conflict,
        ];
        if !dice.says(self.fault) {
            return Fault::None;
        }
        dice.one(&FAULTS).copied().unwrap_or(Fault::None)
    }
}
