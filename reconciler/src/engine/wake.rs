//! When the loop goes on: rounds that are wanted, the next instant that something waits for, and a
//! clock that is put back.

use super::{Effect, Engine};
use crate::model::time::Timestamp;

impl Engine {
    /// Instants that were noted before cannot be waited for any more.
    pub(super) fn clock_was_put_back(&mut self, now: Timestamp) {
        for ended in self.ended_at.values_mut().chain(self.looked_at.values_mut()) {
            *ended = now.min(*ended);
        }
        for state in self.nodes.values_mut() {
            state.clock_was_put_back(now);
        }
        for chain in self.chains.values_mut() {
            chain.clock_was_put_back(now);
        }
        for repeat in self.repeats.values_mut() {
            repeat.clock_was_put_back(now);
        }
        self.health.clock_was_put_back(now);
        self.known.clock_was_put_back(now);
        self.looks.clock_was_put_back(now);
        self.settled_since = self.settled_since.map(|since| since.min(now));
        // The wake that was asked for may be far away now.
        self.want_round();
    }

    /// The time that was asked for has come: it was for a round, or only for someone to be asked.
    pub(super) fn woken(&mut self) {
        self.wake_told = None;
        let any = self.ask_due() | self.ask_again_who_signed() | self.look_inside();
        // A wake that nothing here asked for is somebody's wish for a round.
        if self.round_at.map_or(!any, |at| at <= self.snapshot.now) {
            self.want_round();
        } else {
            self.tell_wake();
        }
    }

    /// Asks to be woken for whatever comes first, unless that was asked for already, or a round
    /// comes first and will ask anew.
    pub(super) fn tell_wake(&mut self) {
        if self.round_wanted {
            return;
        }
        let wake = [
            self.round_at,
            self.health.next_at(),
            self.known.next_at(),
            self.looks.next_at(self.snapshot.now),
        ]
        .into_iter()
        .flatten()
        .min();
        if let Some(at) = wake
            && self.wake_told.is_none_or(|told| at < told)
        {
            self.wake_told = Some(at);
            self.effects.push(Effect::WakeAt(at));
        }
    }

    pub(super) fn want_round(&mut self) {
        if !self.round_wanted {
            self.round_wanted = true;
            self.effects.push(Effect::Round);
        }
    }
}
