//! The time: it is told to scripts, who have no clock.

use rhai::{ImmutableString, NativeCallContext};

use crate::model::quantity::Span;
use crate::model::time::Timestamp;
use crate::policy::script::fault::{Answer, FailureKind, raise};
use crate::policy::script::language::words::Words;
use crate::policy::script::run::Run;

const DAY_MILLIS: i64 = 86_400_000;

pub(super) fn register(module: &mut Words) {
    module.set_native_fn("now", |context: NativeCallContext<'_>| {
        let run = Run::of(&context)?;
        run.say(|said| said.asked_for_time = true);
        Ok(run.around().now)
    });
    for (name, unit) in [("days", 86_400), ("hours", 3_600), ("minutes", 60)] {
        module.set_native_fn(name, move |count: i64| -> Answer<Span> {
            let seconds = u64::try_from(count).ok().and_then(|count| count.checked_mul(unit));
            match seconds.and_then(|seconds| seconds.checked_mul(1000)) {
                Some(millis) => Ok(Span(millis)),
                None => raise(FailureKind::Runtime, "a span of time is not below zero"),
            }
        });
    }
    module.set_getter_fn("hour", |time: &mut Timestamp| {
        Ok(time.0.rem_euclid(DAY_MILLIS) / 3_600_000)
    });
    // 1970-01-01 was a Thursday, which is day 4 of a week that begins on Monday.
    module.set_getter_fn("weekday", |time: &mut Timestamp| {
        Ok((time.0.div_euclid(DAY_MILLIS) + 3).rem_euclid(7) + 1)
    });
    module.set_getter_fn("date", |time: &mut Timestamp| Ok(ImmutableString::from(date(*time))));
}

/// The day, as `2026-11-30`.
pub(crate) fn date(time: Timestamp) -> String {
    // Days are counted from the first of March of year 0, so that leap days end a year.
    let days = time.0.div_euclid(DAY_MILLIS) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_of_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_of_march + 2) / 5 + 1;
    let month = if month_of_march < 10 { month_of_march + 3 } else { month_of_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates() {
        for (days, text) in
            [(0, "1970-01-01"), (59, "1970-03-01"), (19_782, "2024-02-29"), (-1, "1969-12-31")]
        {
            assert_eq!(date(Timestamp(days * DAY_MILLIS)), text);
        }
    }
}
