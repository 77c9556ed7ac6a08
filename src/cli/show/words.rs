//! Times, sizes and numbers in words.

use std::time::Duration;

use reconciler::model::quantity::Bytes;
use reconciler::model::time::Timestamp;

/// `1 object`, `2 objects`.
#[must_use]
pub fn count(number: usize, noun: &str) -> String {
    match (number, noun.strip_suffix('y')) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) if !noun.ends_with("ay") => format!("{number} {stem}ies"),
        _ => format!("{number} {noun}s"),
    }
}

/// The same, of a count as reports have it.
#[must_use]
pub fn count32(number: u32, noun: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), noun)
}

/// An age as lists show it: the largest unit that still tells something, `12s`, `3m`, `2h`, `9d`.
#[must_use]
pub fn age(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long something took: `187 ms`, `2.4 s`, `3m12s`.
#[must_use]
pub fn took(span: Duration) -> String {
    let ms = span.as_millis();
    match ms {
        0..1000 => format!("{ms} ms"),
        1000..60_000 => format!("{:.1} s", span.as_secs_f64()),
        _ => format!("{}m{:02}s", ms / 60_000, ms / 1000 % 60),
    }
}

/// A time as RFC 3339 has it, to the second: `2026-11-20T10:41:07Z`.
#[must_use]
pub fn time(at: Timestamp) -> String {
    let second = at.0.div_euclid(1000);
    jiff::Timestamp::from_second(second).map(|at| at.to_string()).unwrap_or_default()
}

/// A time for people, in UTC: `2026-11-20 10:41`.
#[must_use]
pub fn minute(at: Timestamp) -> String {
    let text = time(at);
    text.get(..16).unwrap_or(&text).replace('T', " ")
}

/// An amount of memory, rounded: `15.5Gi`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "it is rounded to a tenth anyway")]
pub fn size(bytes: u64) -> String {
    let units = [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
    let Some((shift, unit)) = units.into_iter().find(|(shift, _)| bytes >= 1 << shift) else {
        return format!("{bytes}B");
    };
    if bytes.is_multiple_of(1 << shift) {
        return Bytes(bytes).to_string();
    }
    format!("{:.1}{unit}", bytes as f64 / f64::from(1_u32 << (shift - 10)) / 1024.0)
}

/// A digest, cut to what a person compares: `sha256:9c1f3a5b7d9e`.
#[must_use]
pub fn digest(text: &str) -> String {
    const DIGITS: usize = 12;
    match text.split_once(':') {
        Some((kind, digits)) => format!("{kind}:{}", digits.get(..DIGITS).unwrap_or(digits)),
        None => text.get(..DIGITS).unwrap_or(text).to_owned(),
    }
}

/// The one of `known` that was probably meant.
#[must_use]
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // One slip in a short word, one for each three letters in a long one.
    let slips_max = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(word, other), other))
        .filter(|(slips, _)| *slips <= slips_max)
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, other)| other)
}

/// A place below the specs directory, as it can be opened from here.
#[must_use]
pub fn place(specs: &str, source: &str) -> String {
    if source.starts_with('(') || specs.is_empty() {
        return source.to_owned();
    }
    // A directory is read as `sub/file.yaml:3`, a single file by its own name.
    let name = specs.rsplit('/').next().unwrap_or(specs);
    match source.strip_prefix(name).and_then(|rest| rest.strip_prefix(':')) {
        Some(line) if !name.is_empty() => format!("{specs}:{line}"),
        Some(_) | None => format!("{}/{source}", specs.trim_end_matches('/')),
    }
}

/// Names, cut after `max`: `a, b and 3 more`.
#[must_use]
pub fn some(names: &[&str], max: usize) -> String {
    if names.len() <= max {
        return names.join(", ");
    }
    let shown = max.saturating_sub(1).max(1);
    format!("{} and {} more", names[..shown].join(", "), names.len() - shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_short() {
        let ages = [5, 119, 120, 7199, 7200, 172_799, 172_800].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["5s", "119s", "2m", "119m", "2h", "47h", "2d"]);
        let spans = [187, 2440, 192_000].map(|ms| took(Duration::from_millis(ms)));
        assert_eq!(spans, ["187 ms", "2.4 s", "3m12s"]);
        assert_eq!([size(0), size(1 << 30), size(16_571_000_000)], ["0B", "1Gi", "15.4Gi"]);
        assert_eq!(time(Timestamp(1_795_171_267_999)), "2026-11-20T10:41:07Z");
        assert_eq!(minute(Timestamp(1_795_171_267_999)), "2026-11-20 10:41");
    }

    #[test]
    fn places_can_be_opened() {
        assert_eq!(place("specs", "shop/web.yaml:3"), "specs/shop/web.yaml:3");
        assert_eq!(place("specs/", "web.yaml:3"), "specs/web.yaml:3");
        assert_eq!(place("specs/web.yaml", "web.yaml:3"), "specs/web.yaml:3");
        assert_eq!(place("web.yaml", "web.yaml:3"), "web.yaml:3");
    }

    #[test]
    fn words_are_counted_and_guessed() {
        assert_eq!([count(1, "entry"), count(2, "entry")], ["1 entry", "2 entries"]);
        assert_eq!(meant("instnces", ["images", "instances"]), Some("instances"));
        assert_eq!(meant("xyz", ["images", "instances"]), None);
        assert_eq!(some(&["a", "b", "c", "d"], 3), "a, b and 2 more");
    }
}
