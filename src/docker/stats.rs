//! What a container uses: one sample, as the engine reads it from the control groups.

use bollard::models::ContainerStatsResponse;
use bollard::query_parameters::StatsOptions;
use futures_util::StreamExt as _;
use reconciler::ports::{DriverError, DriverErrorKind, Usage};

use super::connect::DockerDriver;
use super::error;

/// See [`Driver::usage`](reconciler::ports::Driver::usage).
pub(super) async fn usage(driver: &DockerDriver, container: &str) -> Result<Usage, DriverError> {
    let operation = format!("read the use of container {container}");
    let stats = driver
        .call(&operation, driver.deadlines().look, |session| async move {
            // Without `one_shot` the engine takes two samples, a second apart.
            let options = StatsOptions { stream: false, one_shot: true };
            session.docker.stats(container, Some(options)).next().await.transpose()
        })
        .await?;
    stats.as_ref().and_then(read).ok_or_else(|| {
        error::new(DriverErrorKind::Conflict, &operation, "the engine has no figures: it ended")
    })
}

/// `None` if it does not run: then its control group is gone, and the engine tells nothing of it.
pub(super) fn read(stats: &ContainerStatsResponse) -> Option<Usage> {
    let at: jiff::Timestamp = stats.read.as_deref()?.parse().ok()?;
    let memory = stats.memory_stats.as_ref();
    let in_use = memory.and_then(|memory| memory.usage);
    let of = |name: &str| memory.and_then(|memory| memory.stats.as_ref()?.get(name)).copied();
    // File contents that nobody used for a while; its name differs with the version of the groups.
    let inactive = of("total_inactive_file").or_else(|| of("inactive_file")).unwrap_or(0);
    let pids = stats.pids_stats.as_ref().and_then(|pids| pids.current);
    let cpu = stats.cpu_stats.as_ref().and_then(|cpu| cpu.cpu_usage.as_ref()?.total_usage);
    if in_use.is_none() && pids.is_none() {
        return None;
    }
    Some(Usage {
        at_ns: u64::try_from(at.as_nanosecond()).unwrap_or(0),
        cpu_ns: cpu.unwrap_or(0),
        memory: in_use.unwrap_or(0).saturating_sub(inactive),
        pids: pids.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(text: &str) -> Option<Usage> {
        read(&serde_json::from_str(text).expect("an answer"))
    }

    #[test]
    fn an_answer_is_read_whichever_groups_the_kernel_has() {
        let usage = stats(
            r#"{"read":"1970-01-01T00:00:01.5Z","cpu_stats":{"cpu_usage":{"total_usage":7}},
            "memory_stats":{"usage":100,"stats":{"total_inactive_file":30,"inactive_file":1}},
            "pids_stats":{"current":3}}"#,
        );
        assert_eq!(usage, Some(Usage { at_ns: 1_500_000_000, cpu_ns: 7, memory: 70, pids: 3 }));
        let second = stats(
            r#"{"read":"1970-01-01T00:00:01Z","memory_stats":{"usage":9,"stats":{"inactive_file":10}}}"#,
        );
        assert_eq!(second.map(|usage| usage.memory), Some(0));
    }

    #[test]
    fn one_that_ended_uses_nothing_that_could_be_told() {
        assert_eq!(stats(r#"{"read":"1970-01-01T00:00:01Z","memory_stats":{}}"#), None);
        assert_eq!(stats(r#"{"read":"0001-01-01T00:00:00Z"}"#), None);
    }
}
