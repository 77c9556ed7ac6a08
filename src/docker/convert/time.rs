//! The engine's instants.

use reconciler::model::time::Timestamp;

/// How the engine writes "never".
const NEVER: &str = "0001-01-01T";

/// An instant as RFC 3339 has it; 0 for "never", for nothing, and for what cannot be read.
pub(super) fn timestamp(text: Option<&str>) -> Timestamp {
    let text = text.unwrap_or_default();
    if text.starts_with(NEVER) {
        return Timestamp(0);
    }
    text.parse::<jiff::Timestamp>().map_or(Timestamp(0), |at| Timestamp(at.as_millisecond()))
}

/// The same instant as event queries want it, `seconds.nanoseconds`; `None` if it cannot be read.
pub(in super::super) fn event_time(text: &str) -> Option<String> {
    let at: jiff::Timestamp = text.parse().ok()?;
    Some(format!("{}.{:09}", at.as_second(), at.subsec_nanosecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_of_all_engines() {
        for (text, at) in [
            ("1970-01-01T00:00:01.5Z", 1500),
            ("2026-11-21T15:47:55.179792858Z", 1_795_276_075_179),
            ("2026-11-21T16:47:55+01:00", 1_795_276_075_000),
            ("0001-01-01T00:00:00Z", 0),
            ("", 0),
        ] {
            assert_eq!(timestamp(Some(text)), Timestamp(at), "{text}");
        }
        let text = "2026-11-21T15:47:55.000792858Z";
        assert_eq!(event_time(text).as_deref(), Some("1795276075.000792858"));
        assert_eq!(event_time("soon"), None);
    }
}
