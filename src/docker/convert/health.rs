//! The check that the engine runs, and what it says.

use bollard::models::{Health, HealthConfig, HealthStatusEnum};
use reconciler::model::observed::{HealthCheck, HealthState};

/// The engine counts in nanoseconds.
const NANOS_PER_MS: u64 = 1_000_000;

/// The shell that runs a check given as one line.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

/// A check as the engine has it.
pub(super) fn to_engine(check: &HealthCheck) -> HealthConfig {
    let HealthCheck { exec, interval_ms, timeout_ms, retries, start_period_ms } = check;
    if exec.is_empty() {
        return HealthConfig { test: Some(vec!["NONE".to_owned()]), ..HealthConfig::default() };
    }
    let mut test = vec!["CMD".to_owned()];
    test.extend(exec.iter().cloned());
    HealthConfig {
        test: Some(test),
        interval: Some(nanos(*interval_ms)),
        timeout: Some(nanos(*timeout_ms)),
        retries: Some(i64::from(*retries)),
        start_period: Some(nanos(*start_period_ms)),
        start_interval: None,
    }
}

/// A check as the engine has it, in our terms; `None` if nothing was said of one.
pub(super) fn from_engine(config: &HealthConfig) -> Option<HealthCheck> {
    let test = config.test.as_deref().unwrap_or_default();
    let (how, rest) = test.split_first()?;
    let exec = match how.as_str() {
        "NONE" => return Some(HealthCheck::default()),
        "CMD-SHELL" => SHELL.map(str::to_owned).into_iter().chain(rest.iter().cloned()).collect(),
        _ => rest.to_vec(),
    };
    Some(HealthCheck {
        exec,
        interval_ms: millis(config.interval),
        timeout_ms: millis(config.timeout),
        retries: config.retries.and_then(|retries| u32::try_from(retries).ok()).unwrap_or(0),
        start_period_ms: millis(config.start_period),
    })
}

/// What the engine says of a container's health.
pub(super) fn state(health: Option<&Health>) -> HealthState {
    match health.and_then(|health| health.status) {
        None | Some(HealthStatusEnum::EMPTY | HealthStatusEnum::NONE) => HealthState::None,
        Some(HealthStatusEnum::STARTING) => HealthState::Starting,
        Some(HealthStatusEnum::HEALTHY) => HealthState::Healthy,
        Some(HealthStatusEnum::UNHEALTHY) => HealthState::Unhealthy,
    }
}

fn nanos(ms: u64) -> i64 {
    i64::try_from(ms.saturating_mul(NANOS_PER_MS)).unwrap_or(i64::MAX)
}

fn millis(nanos: Option<i64>) -> u64 {
    u64::try_from(nanos.unwrap_or(0)).unwrap_or(0) / NANOS_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_survive_and_shells_are_spelled_out() {
        let check = HealthCheck {
            exec: vec!["true".to_owned()],
            interval_ms: 1500,
            timeout_ms: 700,
            retries: 3,
            start_period_ms: 5000,
        };
        assert_eq!(from_engine(&to_engine(&check)), Some(check));

        let of = |words: &[&str]| {
            let test = words.iter().map(|word| (*word).to_owned()).collect();
            from_engine(&HealthConfig { test: Some(test), ..HealthConfig::default() })
        };
        assert_eq!(of(&["NONE"]), Some(HealthCheck::default()));
        let none = HealthCheck::default();
        assert_eq!(from_engine(&to_engine(&none)), Some(none));
        assert_eq!(of(&[]), None);
        let shell = of(&["CMD-SHELL", "test -e /ready"]).expect("a check");
        assert_eq!(shell.exec, ["/bin/sh", "-c", "test -e /ready"]);
    }
}
