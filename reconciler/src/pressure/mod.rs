//! What containers and nodes run short of: from counters of the kernel to news that somebody should
//! hear.
//!
//! Counters only say that something happened since the last look. A [`Gauge`] says when that begins to
//! matter and when it is over, so that what goes on for hours is told twice and not every ten seconds. [`Gauges`] are those of all containers
//! and nodes.

mod gauges;

use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use self::gauges::{AllNews, Gauges, Looked};
use crate::model::time::Timestamp;

/// Something that there is too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Pressure {
    /// The kernel ended a process for its use of memory.
    OutOfMemory,
    /// Its limit of cpu time holds it up.
    CpuThrottled,
    /// No further process or thread could be made.
    PidsRefused,
    /// It waits for memory.
    MemoryStalled,
    /// It waits for block devices.
    IoStalled,
}

impl Pressure {
    /// The condition that says so.
    #[must_use]
    pub fn condition(self) -> &'static str {
        match self {
            Self::OutOfMemory => "OutOfMemory",
            Self::CpuThrottled => "CpuThrottled",
            Self::PidsRefused => "PidsRefused",
            Self::MemoryStalled => "MemoryPressure",
            Self::IoStalled => "IOPressure",
        }
    }

    /// That it is over.
    #[must_use]
    pub fn over(self) -> &'static str {
        match self {
            Self::OutOfMemory => "has had enough memory for a while",
            Self::CpuThrottled => "is no longer held up by its limit of cpu time",
            Self::PidsRefused => "has had room for processes for a while",
            Self::MemoryStalled => "no longer waits for memory",
            Self::IoStalled => "no longer waits for block devices",
        }
    }
}

/// Counters since the start of a container, or of a node. What its kernel does not count stays 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Readings {
    /// Processes that the kernel ended for their use of memory.
    pub oom_kills: u64,
    /// Periods in which a limit of cpu time counted.
    pub periods: u64,
    /// Those of them in which it held something up.
    pub throttled_periods: u64,
    /// Processes and threads that could not be made; none if that was not looked at.
    pub pids_refused: Option<u64>,
    /// How long something waited for memory, in microseconds.
    pub memory_stalled_us: u64,
    /// How long something waited for block devices, in microseconds.
    pub io_stalled_us: u64,
}

/// Held up in so many of a hundred periods, a program is noticeably slower than it could be.
const THROTTLED_PERCENT: u64 = 25;

/// Fewer periods say little: one is 100 ms.
const PERIODS_MIN: u64 = 10;

/// Waiting for so many of a hundred microseconds is what administrators of pressure metrics ask for
/// first.
const STALLED_PERCENT: u64 = 10;

/// What has not come again for so long is over.
const CALM_AFTER: Duration = Duration::from_secs(60);

/// What is ended again and again is told so often, with how many they were: a journal is to last.
const TELL_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Something begins, comes again, or is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What.
    pub pressure: Pressure,
    /// What happened, for people; none once it is over.
    pub message: Option<String>,
}

/// What is known of one container, or node.
#[derive(Debug, Clone, Default)]
pub struct Gauge {
    last: Option<(Timestamp, Readings)>,
    /// When each was last found.
    going_on: BTreeMap<Pressure, Timestamp>,
    /// When it was last told that something was ended, and how much was ended since.
    ended: (Option<Timestamp>, u64),
}

impl Gauge {
    /// Everything counts from nothing since then: it was started.
    pub fn begin(&mut self, at: Timestamp) {
        self.last = Some((at, Readings { pids_refused: Some(0), ..Readings::default() }));
    }

    /// Whether something was found, and is not over.
    #[must_use]
    pub fn is_going_on(&self, pressure: Pressure) -> bool {
        self.going_on.contains_key(&pressure)
    }

    /// Takes another reading. The first one tells nothing, unless it is known when all [began](Self::begin):
    /// it is of a time when nobody looked.
    pub fn see(&mut self, at: Timestamp, mut now: Readings) -> Vec<News> {
        if let Some((_, before)) = &self.last {
            now.pids_refused = now.pids_refused.or(before.pids_refused);
        }
        let before = self.last.replace((at, now));
        let Some((since, before)) = before else { return Vec::new() };
        let mut news = self.kills(at, now.oom_kills.saturating_sub(before.oom_kills));
        for (pressure, message) in found(&before, &now, at.since(since)) {
            let is_new = self.going_on.insert(pressure, at).is_none();
            if is_new {
                news.push(News { pressure, message: Some(message) });
            }
        }
        let over = |last: &Timestamp| at.since(*last) >= CALM_AFTER;
        let calm: Vec<Pressure> =
            self.going_on.iter().filter(|(_, last)| over(last)).map(|(one, _)| *one).collect();
        for pressure in calm {
            self.going_on.remove(&pressure);
            news.push(News { pressure, message: None });
        }
        news
    }

    /// Each process that was ended is told of, some of them together.
    fn kills(&mut self, at: Timestamp, more: u64) -> Vec<News> {
        let pressure = Pressure::OutOfMemory;
        if more > 0 {
            let is_new = self.going_on.insert(pressure, at).is_none();
            let told = self.ended.0.filter(|_| !is_new);
            self.ended = (told, self.ended.1.saturating_add(more));
        }
        let (told, kills) = self.ended;
        let is_due = told.is_none_or(|told| at.since(told) >= TELL_AGAIN_AFTER);
        if kills == 0 || !is_due {
            return Vec::new();
        }
        self.ended = (Some(at), 0);
        let message = match kills {
            1 => "the kernel ended a process for its use of memory".to_owned(),
            kills => format!("the kernel ended {kills} processes for their use of memory"),
        };
        vec![News { pressure, message: Some(message) }]
    }

    /// How many processes and threads could not be made, as it was last looked at.
    #[must_use]
    pub fn pids_refused(&self) -> Option<u64> {
        self.last.and_then(|(_, readings)| readings.pids_refused)
    }

    /// That all is over, since what it was about has gone.
    #[must_use]
    pub fn end(self) -> Vec<News> {
        let over = |pressure| News { pressure, message: None };
        self.going_on.into_keys().map(over).collect()
    }
}

/// What happened between two readings, kills aside; nothing if a counter went back, since that is another life.
fn found(before: &Readings, now: &Readings, span: Duration) -> Vec<(Pressure, String)> {
    let more = |now: u64, before: u64| now.saturating_sub(before);
    let mut found = Vec::new();
    let periods = more(now.periods, before.periods);
    let throttled = more(now.throttled_periods, before.throttled_periods);
    if periods >= PERIODS_MIN && throttled * 100 >= periods * THROTTLED_PERCENT {
        let percent = throttled.min(periods) * 100 / periods;
        let message = format!("its limit of cpu time held it up in {percent} % of all periods");
        found.push((Pressure::CpuThrottled, message));
    }
    let refused = now.pids_refused.zip(before.pids_refused);
    let refused = refused.map_or(0, |(now, before)| more(now, before));
    if refused > 0 {
        let what = if refused == 1 { "a process or thread" } else { "processes and threads" };
        found.push((Pressure::PidsRefused, format!("{what} could not be made: {refused} refused")));
    }
    let span_us = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
    for (pressure, stalled, what) in [
        (Pressure::MemoryStalled, more(now.memory_stalled_us, before.memory_stalled_us), "memory"),
        (Pressure::IoStalled, more(now.io_stalled_us, before.io_stalled_us), "block devices"),
    ] {
        if span_us > 0 && stalled >= span_us / 100 * STALLED_PERCENT && stalled > 0 {
            let percent = stalled.min(span_us).saturating_mul(100) / span_us;
            found.push((pressure, format!("waited for {what} {percent} % of the time")));
        }
    }
    found
}

/// What is told of a pressure that goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PressureNote {
    /// Since when.
    pub since: Timestamp,
    /// What happened last.
    pub message: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn told(gauge: &mut Gauge, seconds: i64, readings: Readings) -> Vec<String> {
        let say =
            |news: News| format!("{:?} {}", news.pressure, news.message.unwrap_or("over".into()));
        gauge.see(at(seconds), readings).into_iter().map(say).collect()
    }

    #[test]
    fn what_was_before_the_first_look_is_no_news() {
        let mut gauge = Gauge::default();
        let old = Readings { oom_kills: 9, pids_refused: Some(3), ..Readings::default() };
        assert!(told(&mut gauge, 0, old).is_empty());
        assert!(told(&mut gauge, 10, old).is_empty());
    }

    #[test]
    fn who_is_known_to_begin_is_heard_from_the_beginning() {
        let mut gauge = Gauge::default();
        gauge.begin(at(0));
        let now = Readings { oom_kills: 1, pids_refused: Some(2), ..Readings::default() };
        assert_eq!(told(&mut gauge, 10, now).len(), 2);
        assert!(gauge.is_going_on(Pressure::PidsRefused));
    }

    #[test]
    fn each_kill_is_told_once_a_minute_and_refusals_once() {
        let mut gauge = Gauge::default();
        let mut now = Readings { pids_refused: Some(0), ..Readings::default() };
        told(&mut gauge, 0, now);
        now = Readings { oom_kills: 1, pids_refused: Some(40), ..now };
        assert_eq!(
            told(&mut gauge, 10, now),
            [
                "OutOfMemory the kernel ended a process for its use of memory",
                "PidsRefused processes and threads could not be made: 40 refused"
            ]
        );
        now = Readings { oom_kills: 3, pids_refused: None, ..now };
        assert!(told(&mut gauge, 20, now).is_empty());
        now = Readings { oom_kills: 4, ..now };
        assert!(told(&mut gauge, 30, now).is_empty());
        let together = "OutOfMemory the kernel ended 3 processes for their use of memory";
        assert_eq!(told(&mut gauge, 70, now), [together, "PidsRefused over"]);
        assert_eq!(told(&mut gauge, 90, now), ["OutOfMemory over"]);
        now = Readings { oom_kills: 5, ..now };
        assert_eq!(told(&mut gauge, 100, now).len(), 1, "it begins anew");
        assert_eq!(told(&mut gauge, 200, now), ["OutOfMemory over"]);
        assert!(told(&mut gauge, 300, now).is_empty());
    }

    #[test]
    fn a_limit_holds_up_from_a_quarter_of_the_periods_on() {
        let mut gauge = Gauge::default();
        let of = |periods, throttled_periods| Readings {
            periods,
            throttled_periods,
            ..Readings::default()
        };
        told(&mut gauge, 0, of(0, 0));
        assert!(told(&mut gauge, 10, of(100, 24)).is_empty());
        assert!(told(&mut gauge, 20, of(105, 29)).is_empty(), "five periods say little");
        let news = told(&mut gauge, 30, of(205, 79));
        assert_eq!(news, ["CpuThrottled its limit of cpu time held it up in 50 % of all periods"]);
        assert!(told(&mut gauge, 40, of(305, 129)).is_empty(), "it goes on");
        assert_eq!(gauge.end(), [News { pressure: Pressure::CpuThrottled, message: None }]);
    }

    #[test]
    fn stalls_count_by_their_share_of_the_time() {
        let mut gauge = Gauge::default();
        let of = |io_stalled_us| Readings { io_stalled_us, ..Readings::default() };
        told(&mut gauge, 0, of(0));
        assert!(told(&mut gauge, 10, of(900_000)).is_empty());
        let news = told(&mut gauge, 20, of(4_900_000));
        assert_eq!(news, ["IoStalled waited for block devices 40 % of the time"]);
    }

    #[test]
    fn another_life_is_no_news() {
        let mut gauge = Gauge::default();
        told(&mut gauge, 0, Readings { oom_kills: 5, periods: 500, ..Readings::default() });
        assert!(told(&mut gauge, 10, Readings { oom_kills: 1, ..Readings::default() }).is_empty());
    }
}
