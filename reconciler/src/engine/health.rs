//! The health of containers: which of them is asked when, and what is known of each since.
//!
//! The engine of a node runs checks that are commands, and tells of their outcome with the
//! container. HTTP and TCP checks are asked for here, each at its time, and what they find is put in
//! the same place. All of this is in memory only: a loop that starts asks everyone at once.
//!
//! A container that has just started is asked soon, and then after ever longer waits up to its
//! interval, so that it is known quickly when it is ready. Until it answered well once, failures
//! count neither in its start period nor in its first interval, which is when an engine would begin
//! to ask.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Effect, Engine};
use crate::backoff;
use crate::model::health::{HealthNote, Probe, ProbeAt, Probed};
use crate::model::ids::{ContainerId, Name, Revision};
use crate::model::observed::{ContainerState, HealthCheck, HealthState, Reach};
use crate::model::snapshot::{Located, Snapshot};
use crate::model::spec::{Health, HealthProbe};
use crate::model::time::Timestamp;
use crate::plan::goal;
use crate::want;

/// The first wait between two probes of a container that is starting: shorter than most programs
/// need to come up, and long enough to cost nothing.
const STARTING_WAIT_MIN: Duration = Duration::from_millis(250);

/// Probes are due at multiples of this many milliseconds, so that a thousand containers wake the
/// loop ten times a second and not a thousand times. No container is asked more often.
const PROBE_GRID_MS: i64 = 100;

/// Why a loop that only looks knows nothing of checks that windlass runs.
const ONLY_LOOKS: &str = "only a running windlass runs this check";

/// Why nothing is known of the check of a container that waits to be replaced.
const EARLIER: &str = "it is of an earlier revision, whose check is not known any more";

type Place = (Name, ContainerId);

/// What is known of the health of all containers.
#[derive(Debug, Default)]
pub(super) struct Watched {
    tracks: BTreeMap<Place, Track>,
    /// When who is asked next. Whoever is being asked stands not here.
    due: BTreeSet<(Timestamp, Place)>,
    next_ticket: u64,
}

/// What is known of one run of one container.
#[derive(Debug)]
struct Track {
    /// When its engine says that it was started: another time is another run.
    run: Timestamp,
    state: HealthState,
    /// Since when it is in that state.
    since: Timestamp,
    reason: String,
    /// How it is asked, if windlass asks.
    asked: Option<Asked>,
    /// Whether a check of this run came to an end, however it did.
    answered: bool,
}

/// A check that windlass runs.
#[derive(Debug)]
struct Asked {
    check: Health,
    at: ProbeAt,
    /// When this run was first seen. The engine's own clock may be wrong.
    seen_at: Timestamp,
    /// Whether it ever answered well.
    came_up: bool,
    /// Failures in a row that count.
    failures: u32,
    next: Next,
}

/// When a container is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    At(Timestamp),
    UnderWay { ticket: u64 },
}

impl Track {
    fn new(run: Timestamp, state: HealthState, now: Timestamp) -> Self {
        let (reason, asked, answered) = (String::new(), None, false);
        Self { run, state, since: now, reason, asked, answered }
    }

    fn note(&self) -> HealthNote {
        let (since, reason) = (self.since, self.reason.clone());
        HealthNote { since, reason, is_awaited: self.asked.is_some() && !self.answered }
    }

    /// Notes another state, and whether it is news.
    fn turn(&mut self, now: Timestamp, state: HealthState, reason: String) -> bool {
        if self.state == state && (self.reason == reason || state == HealthState::Unhealthy) {
            return false;
        }
        if self.state != state {
            self.since = now;
        }
        (self.state, self.reason) = (state, reason);
        true
    }

    /// Takes a result in. Returns whether it is news.
    fn take(&mut self, now: Timestamp, result: Probed) -> bool {
        let Some(asked) = &mut self.asked else { return false };
        match result {
            Probed::Healthy => {
                (asked.came_up, asked.failures) = (true, 0);
                self.turn(now, HealthState::Healthy, String::new())
            }
            Probed::Unknown { reason } => self.turn(now, HealthState::Unknown, reason),
            Probed::Unhealthy { reason } => {
                if !asked.is_starting(now) {
                    asked.failures = asked.failures.saturating_add(1);
                }
                let (failures, retries) = (asked.failures, asked.check.retries.max(1));
                if failures >= retries {
                    let reason = format!("{reason} ({failures} of {retries})");
                    self.turn(now, HealthState::Unhealthy, reason)
                } else if self.state == HealthState::Unknown {
                    // It can be reached now, and has its retries.
                    self.turn(now, HealthState::Starting, String::new())
                } else {
                    false
                }
            }
        }
    }
}

impl Asked {
    fn new(check: Health, at: ProbeAt, now: Timestamp) -> Self {
        let next = Next::At(now);
        Self { check, at, seen_at: now, came_up: false, failures: 0, next }
    }

    /// Whether failures do not count yet.
    fn is_starting(&self, now: Timestamp) -> bool {
        let grace = self.check.start_period.max(self.check.interval).duration();
        !self.came_up && now.since(self.seen_at) < grace
    }

    /// When it is asked again after a result.
    fn next_at(&self, now: Timestamp, came_up_now: bool, place: &Place) -> Timestamp {
        let interval = self.check.interval.duration();
        let wait = if self.is_starting(now) {
            (now.since(self.seen_at) / 2).max(STARTING_WAIT_MIN).min(interval)
        } else if came_up_now {
            // Those that came up together are asked apart from then on.
            interval / 2 + backoff::wait(interval / 2, interval / 2, 1, &place.1.0)
        } else {
            interval
        };
        on_grid(now + wait)
    }
}

/// The next instant of the grid, later than what came before it.
fn on_grid(at: Timestamp) -> Timestamp {
    let over = at.0.rem_euclid(PROBE_GRID_MS);
    if over == 0 { at } else { Timestamp(at.0 + PROBE_GRID_MS - over) }
}

impl Watched {
    /// When somebody has to be asked next.
    pub(super) fn next_at(&self) -> Option<Timestamp> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(super) fn clock_was_put_back(&mut self, now: Timestamp) {
        self.due.clear();
        for (place, track) in &mut self.tracks {
            track.since = track.since.min(now);
            let Some(asked) = &mut track.asked else { continue };
            asked.seen_at = asked.seen_at.min(now);
            if let Next::At(at) = &mut asked.next {
                *at = on_grid(now + asked.check.interval.duration()).min(*at);
                self.due.insert((*at, place.clone()));
            }
        }
    }

    /// The track of a run, whose engine says this of its health; a new one if it is a new run.
    fn track(&mut self, old: Option<Track>, run: Timestamp, now: Timestamp) -> Track {
        match old {
            Some(track) if track.run == run => track,
            Some(_) | None => Track::new(run, HealthState::Starting, now),
        }
    }

    fn schedule(&mut self, place: &Place, asked: &mut Asked, next: Next) {
        if let Next::At(at) = asked.next {
            self.due.remove(&(at, place.clone()));
        }
        if let Next::At(at) = next {
            self.due.insert((at, place.clone()));
        }
        asked.next = next;
    }

    fn forget(&mut self, place: &Place, track: &Track) {
        if let Some(Next::At(at)) = track.asked.as_ref().map(|asked| asked.next) {
            self.due.remove(&(at, place.clone()));
        }
    }
}

impl Engine {
    /// Brings what is known of health in line with the containers that are there, and has the
    /// snapshot say it.
    pub(super) fn watch_health(&mut self) {
        let Snapshot { now, desired, records, containers, health: notes, .. } = &mut self.snapshot;
        let now = *now;
        let watched = &mut self.health;
        let mut old = std::mem::take(&mut watched.tracks);
        let notes_before = std::mem::take(notes);
        let mut declared = desired.instances.iter().peekable();
        let mut instance = None;
        let mut check: Option<(&Health, Option<Revision>)> = None;
        for (replica, located) in containers.iter_mut() {
            while declared.next_if(|(key, _)| **key < replica.instance).is_some() {}
            if instance != Some(&replica.instance) {
                instance = Some(&replica.instance);
                let declared = declared.peek().filter(|(key, _)| **key == replica.instance);
                check = declared.and_then(|(_, declared)| {
                    let health = declared.spec.health.as_ref().filter(|check| is_ours(check))?;
                    Some((
                        health,
                        goal::revision_now(desired, records, &replica.instance, declared),
                    ))
                });
            }
            for at in located {
                let ContainerState::Running { since: run } = at.container.state else { continue };
                let asks = check.as_ref().filter(|_| is_left_to_us(at));
                if asks.is_none() && at.container.health == HealthState::None {
                    continue;
                }
                let place = (at.node.clone(), at.id.clone());
                let earlier = old.remove(&place);
                if let Some(earlier) = earlier.as_ref().filter(|earlier| earlier.run != run) {
                    watched.forget(&place, earlier);
                }
                let mut track = watched.track(earlier, run, now);
                match asks {
                    Some(_) if !self.acts => {
                        track.turn(now, HealthState::Unknown, ONLY_LOOKS.to_owned());
                    }
                    Some((check, wanted)) => {
                        let is_current = wanted.as_ref() == Some(&at.container.identity.revision);
                        watched.ask_for(&place, &mut track, check, at, now, is_current);
                    }
                    None => {
                        watched.forget(&place, &track);
                        track.asked = None;
                        track.turn(now, at.container.health, String::new());
                    }
                }
                let note = track.note();
                let told = |note: &HealthNote| (note.since, note.is_awaited);
                if std::mem::replace(&mut at.container.health, track.state) != track.state
                    || notes_before.get(&place).map(told) != Some(told(&note))
                {
                    self.memo.touch(&replica.instance);
                }
                notes.insert(place.clone(), note);
                watched.tracks.insert(place, track);
            }
        }
        for (place, track) in old {
            watched.forget(&place, &track);
        }
    }

    /// Asks those whose time has come. Returns whether there were any.
    pub(super) fn ask_due(&mut self) -> bool {
        let now = self.snapshot.now;
        let mut any = false;
        while let Some((at, place)) = self.health.due.first().cloned() {
            if at > now {
                break;
            }
            any = true;
            self.health.due.pop_first();
            let Some(asked) =
                self.health.tracks.get_mut(&place).and_then(|track| track.asked.as_mut())
            else {
                continue;
            };
            let seen = self.snapshot.nodes.get(&place.0);
            if seen.is_none_or(|seen| seen.reach != Reach::Reachable) {
                // All that is there is unknown until its node answers.
                let at = on_grid(now + asked.check.interval.duration());
                asked.next = Next::At(at);
                self.health.due.insert((at, place));
                continue;
            }
            let ticket = self.health.next_ticket;
            self.health.next_ticket += 1;
            asked.next = Next::UnderWay { ticket };
            let probe = Probe {
                check: asked.check.check.clone(),
                at: asked.at.clone(),
                timeout: asked.check.timeout,
            };
            let (node, container) = place;
            self.effects.push(Effect::Probe { ticket, node, container, probe });
        }
        any
    }

    /// A probe came to its end. What changes nothing wakes nobody.
    pub(super) fn probed(
        &mut self,
        ticket: u64,
        node: Name,
        container: ContainerId,
        result: Probed,
    ) {
        let now = self.snapshot.now;
        let place = (node, container);
        let Some(track) = self.health.tracks.get_mut(&place) else { return };
        let is_awaited = |asked: &Asked| asked.next == Next::UnderWay { ticket };
        if !track.asked.as_ref().is_some_and(is_awaited) {
            return;
        }
        let came_up = |track: &Track| track.asked.as_ref().is_some_and(|asked| asked.came_up);
        let before = came_up(track);
        let is_first = !std::mem::replace(&mut track.answered, true);
        let news = track.take(now, result) || is_first;
        let came_up_now = !before && came_up(track);
        if let Some(asked) = &mut track.asked {
            let at = asked.next_at(now, came_up_now, &place);
            asked.next = Next::At(at);
            self.health.due.insert((at, place));
        }
        if news {
            self.want_round();
        } else {
            self.tell_wake();
        }
    }
}

impl Watched {
    fn ask_for(
        &mut self,
        place: &Place,
        track: &mut Track,
        check: &Health,
        at: &Located,
        now: Timestamp,
        is_current: bool,
    ) {
        let at = probe_at(at);
        match &mut track.asked {
            // A check that changed with the rest of the spec is meant for what comes, and says
            // nothing of what goes: that is asked as before.
            Some(asked) if !is_current || asked.check == *check => asked.at = at,
            None if !is_current => {
                track.turn(now, HealthState::Unknown, EARLIER.to_owned());
            }
            Some(_) | None => {
                // Another check says nothing of what the one before found.
                self.forget(place, track);
                let mut asked = Asked::new(check.clone(), at, now);
                self.schedule(place, &mut asked, Next::At(now));
                track.asked = Some(asked);
                track.turn(now, HealthState::Starting, String::new());
            }
        }
    }
}

/// Whether windlass runs this check.
fn is_ours(check: &Health) -> bool {
    match &check.check {
        HealthProbe::Exec(_) => false,
        HealthProbe::Http { .. } | HealthProbe::Tcp { .. } => true,
    }
}

/// Whether a container was made so that its engine runs no check.
fn is_left_to_us(at: &Located) -> bool {
    at.container.config.health.as_ref().is_some_and(|has| *has == HealthCheck::default())
}

fn probe_at(at: &Located) -> ProbeAt {
    let found = &at.container;
    if found.config.network == want::HOST_NETWORK {
        return ProbeAt::Node;
    }
    found.address.clone().map_or(ProbeAt::Inside, ProbeAt::Own)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::quantity::Span;

    const T0: Timestamp = Timestamp(1_700_000_000_000);

    fn track(interval_s: u64, start_period_s: u64, retries: u32) -> Track {
        let check = Health {
            check: HealthProbe::Tcp { port: 1 },
            interval: Span::seconds(interval_s),
            timeout: Span::seconds(1),
            retries,
            start_period: Span::seconds(start_period_s),
        };
        let mut track = Track::new(T0, HealthState::Starting, T0);
        track.asked = Some(Asked::new(check, ProbeAt::Inside, T0));
        track
    }

    fn bad() -> Probed {
        Probed::Unhealthy { reason: "no".to_owned() }
    }

    fn at(seconds: u64) -> Timestamp {
        T0 + Duration::from_secs(seconds)
    }

    #[test]
    fn failures_count_once_it_is_over_its_start() {
        let mut track = track(2, 10, 2);
        for second in 0..10 {
            assert!(!track.take(at(second), bad()));
        }
        assert!(!track.take(at(10), bad()));
        assert!(track.take(at(12), bad()));
        assert_eq!((track.state, track.since), (HealthState::Unhealthy, at(12)));
        assert_eq!(track.reason, "no (2 of 2)");
        // More of the same is no news, and its reason stays.
        assert!(!track.take(at(14), bad()));
        assert_eq!(track.reason, "no (2 of 2)");
        assert!(track.take(at(16), Probed::Healthy));
        assert!(!track.take(at(18), Probed::Healthy));
        assert_eq!((track.state, track.since), (HealthState::Healthy, at(16)));
    }

    #[test]
    fn a_success_ends_the_start() {
        let mut track = track(1, 100, 2);
        assert!(track.take(at(1), Probed::Healthy));
        assert!(!track.take(at(2), bad()));
        // Failures count in a row only.
        assert!(!track.take(at(3), Probed::Healthy));
        assert!(!track.take(at(4), bad()));
        assert!(track.take(at(5), bad()));
        assert_eq!(track.state, HealthState::Unhealthy);
    }

    #[test]
    fn what_cannot_be_reached_is_neither() {
        let unknown = || Probed::Unknown { reason: "no route".to_owned() };
        let mut track = track(1, 0, 2);
        assert!(track.take(at(5), unknown()));
        assert!(!track.take(at(6), unknown()));
        assert_eq!((track.state, &*track.reason), (HealthState::Unknown, "no route"));
        // Reached at last, it has its retries.
        assert!(track.take(at(7), bad()));
        assert_eq!((track.state, &*track.reason), (HealthState::Starting, ""));
        assert!(track.take(at(8), bad()));
        assert_eq!(track.state, HealthState::Unhealthy);
    }

    #[test]
    fn one_that_starts_is_asked_soon_and_then_ever_later() {
        let track = track(30, 0, 3);
        let asked = track.asked.unwrap();
        let place = (Name::new("n1").unwrap(), ContainerId("a".into()));
        let mut now = T0;
        let mut waits = Vec::new();
        while now.since(T0) < Duration::from_secs(30) {
            let next = asked.next_at(now, false, &place);
            assert_eq!(next.0 % PROBE_GRID_MS, 0);
            waits.push(next.since(now));
            now = next;
        }
        assert!(waits.len() < 15, "{waits:?}");
        assert!(waits[0] <= Duration::from_millis(300), "{waits:?}");
        assert!(waits.windows(2).all(|pair| pair[1] + Duration::from_millis(100) >= pair[0]));
        assert_eq!(asked.next_at(now, false, &place), on_grid(now + Duration::from_secs(30)));
    }
}
