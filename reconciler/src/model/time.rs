//! Instants, as numbers: the core has no clock, it is told the time.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01 UTC.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The day that it is in, in UTC: how many there were since 1970.
    #[must_use]
    pub fn day(self) -> i64 {
        self.0.div_euclid(DAY_MS)
    }

    /// The first moment of a day.
    #[must_use]
    pub fn of_day(day: i64) -> Self {
        Self(day * DAY_MS)
    }

    /// The first moment of the day that it is in.
    #[must_use]
    pub fn day_begun(self) -> Self {
        Self::of_day(self.day())
    }

    /// The time from `earlier` until `self`; zero if `earlier` is later (clocks jump).
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }
}

/// Milliseconds of a day; UTC has no others here.
const DAY_MS: i64 = 86_400_000;

/// The years that can be written: those with four digits.
const YEARS: std::ops::RangeInclusive<i64> = 1970..=9999;

/// Why a text is not an [`Expiry`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExpiryError {
    /// It has another form.
    #[error("expected a date such as `2027-01-31`, or an instant such as `2027-01-31T12:00:00Z`")]
    Form,
    /// It is no day of any calendar, or no time of a day.
    #[error("there is no such {0}")]
    Nothing(&'static str),
}

/// The end of something that is over one day: the first instant at which it holds no more.
///
/// As text, a date is the last day on which it holds, in UTC; an instant is itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expiry(pub Timestamp);

impl Expiry {
    /// Whether it is over.
    #[must_use]
    pub fn is_over(self, now: Timestamp) -> bool {
        self.0 <= now
    }
}

impl FromStr for Expiry {
    type Err = ExpiryError;
    fn from_str(text: &str) -> Result<Self, ExpiryError> {
        let (date, time) = match text.split_once(['T', 't', ' ']) {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let parts: Vec<_> = date.split('-').collect();
        let [year, month, day] = parts.as_slice() else { return Err(ExpiryError::Form) };
        let (year, month, day) = (number(year, 4)?, number(month, 2)?, number(day, 2)?);
        let days = days(year, month, day).ok_or(ExpiryError::Nothing("day"))?;
        let at = match time {
            None => (days + 1) * DAY_MS,
            Some(time) => days * DAY_MS + time_ms(time)?,
        };
        Ok(Self(Timestamp(at)))
    }
}

/// The time of a day with its offset from UTC, in milliseconds from the day's begin in UTC.
fn time_ms(text: &str) -> Result<i64, ExpiryError> {
    let (clock, offset_min) = match text.strip_suffix(['Z', 'z']) {
        Some(clock) => (clock, 0),
        None => {
            let sign = text.rfind(['+', '-']).ok_or(ExpiryError::Form)?;
            let (clock, offset) = text.split_at(sign);
            let (hours, minutes) =
                offset.get(1..).and_then(|rest| rest.split_once(':')).ok_or(ExpiryError::Form)?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return Err(ExpiryError::Nothing("offset"));
            }
            let minutes = hours * 60 + minutes;
            (clock, if offset.starts_with('-') { -minutes } else { minutes })
        }
    };
    let parts: Vec<_> = clock.split(':').collect();
    let (hours, minutes, seconds) = match parts.as_slice() {
        [hours, minutes] => (number(hours, 2)?, number(minutes, 2)?, 0),
        [hours, minutes, seconds] => (number(hours, 2)?, number(minutes, 2)?, number(seconds, 2)?),
        _ => return Err(ExpiryError::Form),
    };
    if hours > 23 || minutes > 59 || seconds > 59 {
        return Err(ExpiryError::Nothing("time of a day"));
    }
    Ok(((hours * 60 + minutes - offset_min) * 60 + seconds) * 1000)
}

fn number(text: &str, digits: usize) -> Result<i64, ExpiryError> {
    let plain = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or(ExpiryError::Form)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Days of a month.
fn days_of(year: i64, month: i64) -> Option<i64> {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => Some(31),
        4 | 6 | 9 | 11 => Some(30),
        2 => Some(28 + i64::from(is_leap(year))),
        _ => None,
    }
}

/// Days before a year begins, since 1970.
fn days_before(year: i64) -> i64 {
    let last = year - 1;
    let leaps = |year: i64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leaps(last) - leaps(1969)
}

/// Days from 1970-01-01 to a date, if there is such a date.
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    let is_day = YEARS.contains(&year) && (1..=days_of(year, month)?).contains(&day);
    let months = (1..month).filter_map(|month| days_of(year, month)).sum::<i64>();
    is_day.then(|| days_before(year) + months + day - 1)
}

/// The date that so many days after 1970-01-01 is.
fn date(days: i64) -> (i64, i64, i64) {
    // A year has 365.2425 days, so this is the year or the one after it.
    let mut year = 1970 + days.div_euclid(365);
    while days_before(year) > days {
        year -= 1;
    }
    let mut rest = days - days_before(year);
    let mut month = 1;
    while let Some(length) = days_of(year, month).filter(|length| *length <= rest) {
        rest -= length;
        month += 1;
    }
    (year, month, rest + 1)
}

impl fmt::Display for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.0;
        if ms % DAY_MS == 0 {
            let (year, month, day) = date(ms / DAY_MS - 1);
            return f.pad(&format!("{year:04}-{month:02}-{day:02}"));
        }
        let (year, month, day) = date(ms.div_euclid(DAY_MS));
        let seconds = ms.rem_euclid(DAY_MS) / 1000;
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        f.pad(&format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}Z"))
    }
}

impl TryFrom<String> for Expiry {
    type Error = ExpiryError;
    fn try_from(text: String) -> Result<Self, ExpiryError> {
        text.parse()
    }
}

impl From<Expiry> for String {
    fn from(expiry: Expiry) -> Self {
        expiry.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(text: &str) -> i64 {
        text.parse::<Expiry>().expect(text).0.0
    }

    #[test]
    fn a_date_is_the_last_day() {
        // Both figures as `date -u -d … +%s` prints them.
        assert_eq!(ms("2027-01-31"), 1_801_440_000_000);
        assert_eq!(ms("2027-01-31T12:30:05Z"), 1_801_398_605_000);
        assert_eq!(ms("2027-02-01T00:00Z"), ms("2027-01-31"));
        assert_eq!(ms("2027-01-31T14:30:05+02:00"), ms("2027-01-31T12:30:05Z"));
        assert_eq!(ms("2027-01-31 07:00:05-05:30"), ms("2027-01-31T12:30:05Z"));
        assert_eq!(ms("1970-01-01"), DAY_MS);
        assert_eq!(ms("2028-02-29") - ms("2028-02-28"), DAY_MS);
        let expiry: Expiry = "2027-01-31".parse().expect("a date");
        assert!(!expiry.is_over(Timestamp(1_801_439_999_999)));
        assert!(expiry.is_over(Timestamp(1_801_440_000_000)));
    }

    #[test]
    fn what_is_shown_is_what_was_read() {
        for text in ["2027-01-31", "2028-02-29", "1999-12-31", "2000-01-01", "9999-12-31"] {
            assert_eq!(text.parse::<Expiry>().expect(text).to_string(), text);
        }
        for day in 0..60_000 {
            let expiry = Expiry(Timestamp((day + 1) * DAY_MS));
            assert_eq!(expiry.to_string().parse(), Ok(expiry), "day {day}");
        }
        assert_eq!(
            "2027-01-31T14:30:05+02:00".parse::<Expiry>().expect("an instant").to_string(),
            "2027-01-31T12:30:05Z"
        );
    }

    #[test]
    fn what_is_no_date_is_told_apart() {
        let error = |text: &str| text.parse::<Expiry>().expect_err(text);
        for text in ["", "soon", "2027-1-31", "31.01.2027", "2027-01-31T12:00:00", "+027-01-01"] {
            assert_eq!(error(text), ExpiryError::Form, "{text}");
        }
        for text in ["2027-02-29", "2027-13-01", "2027-00-10", "2027-04-31", "1969-12-31"] {
            assert_eq!(error(text), ExpiryError::Nothing("day"), "{text}");
        }
        assert_eq!(error("2027-01-31T24:00:00Z"), ExpiryError::Nothing("time of a day"));
        assert_eq!(error("2027-01-31T12:00:00+24:00"), ExpiryError::Nothing("offset"));
    }
}
