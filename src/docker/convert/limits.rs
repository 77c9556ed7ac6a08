//! Limits. The engine has several ways to say "none", and not all of them work at all times.

use bollard::models::{ContainerUpdateBody, HostConfig};
use reconciler::model::observed::Limits;
use reconciler::model::quantity;
use reconciler::want::CPU_SHARES_USUAL;

use super::restart;

/// The kernel's usual period, in microseconds: what a quota counts against if no period is set.
const CPU_PERIOD_US: i64 = 100_000;
/// Billionths of a cpu in a quota that is as long as its period.
const NANO_PER_CPU: i128 = 1_000_000_000;

/// From here on, in bytes, a limit limits nothing: no machine has an exbibyte.
const UNLIMITED_FROM: i64 = 1 << 60;
/// What lifts a memory limit of a container that lives. The engine takes 0 for "as it was" and
/// refuses -1, but takes a number that no machine can reach.
const MEMORY_LIFTED: i64 = 1 << 61;
/// As [`MEMORY_LIFTED`] for memory and swap together, with as much left for swap: on cgroup v2 the
/// runtime takes the difference. Engine 20.10 takes -1 here, and does not tell the kernel.
const MEMORY_SWAP_LIFTED: i64 = 1 << 62;
/// The engine's own "no limit".
const ENGINE_UNLIMITED: i64 = -1;

/// Puts limits into a body for a create.
pub(super) fn to_host_config(limits: &Limits, host: &mut HostConfig) {
    let Limits { nano_cpus, memory, memory_swap, pids, cpu_shares, ref cpuset } = *limits;
    host.cpu_shares = Some(number(cpu_shares));
    host.cpuset_cpus = Some(cpuset.to_string());
    host.nano_cpus = Some(number(nano_cpus));
    host.memory = Some(number(memory));
    // Left at 0 beside a memory limit, the engine would make it twice the memory.
    host.memory_swap = Some(match (memory, memory_swap) {
        (0, 0) => 0,
        (_, 0) => ENGINE_UNLIMITED,
        (_, swap) => number(swap),
    });
    host.pids_limit = Some(number(pids));
}

/// The body that changes limits of a container that lives, and sets the restart policy to `no`.
///
/// A cpu limit cannot be lifted: the engine takes 0 for "as it was", and a quota of -1 beside
/// `NanoCpus` leaves the two contradicting each other for good.
pub(in super::super) fn update_body(limits: &Limits) -> ContainerUpdateBody {
    let Limits { nano_cpus, memory, memory_swap, pids, cpu_shares, ref cpuset } = *limits;
    ContainerUpdateBody {
        // The engine takes 0 for "as it was": the usual weight is said where another one was.
        cpu_shares: Some(number(cpu_shares)),
        cpuset_cpus: Some(cpuset.to_string()),
        nano_cpus: Some(number(nano_cpus)),
        // Both in one call: the engine refuses a memory limit above the swap limit that it knows.
        memory: Some(if memory == 0 { MEMORY_LIFTED } else { number(memory) }),
        memory_swap: Some(if memory_swap == 0 { MEMORY_SWAP_LIFTED } else { number(memory_swap) }),
        pids_limit: Some(if pids == 0 { ENGINE_UNLIMITED } else { number(pids) }),
        restart_policy: Some(restart::policy("no")),
        ..ContainerUpdateBody::default()
    }
}

/// Limits as they are read back. Where the kernel cannot limit swap, the engine drops that limit,
/// which is said as such.
pub(super) fn from_host_config(host: &HostConfig, limits_swap: bool) -> Limits {
    let memory = limit(host.memory);
    let memory_swap = match host.memory_swap.unwrap_or(0) {
        _ if !limits_swap && memory > 0 => Limits::NOT_ENFORCED,
        ENGINE_UNLIMITED => 0,
        0 => memory.saturating_mul(2),
        swap => limit(Some(swap)),
    };
    let cpuset = host.cpuset_cpus.as_deref().unwrap_or_default();
    Limits {
        nano_cpus: nano_cpus(host),
        memory,
        memory_swap,
        pids: limit(host.pids_limit),
        cpu_shares: Some(limit(host.cpu_shares))
            .filter(|one| *one != CPU_SHARES_USUAL)
            .unwrap_or(0),
        cpuset: quantity::cpuset(cpuset).unwrap_or_else(|_| cpuset.to_owned()).into(),
    }
}

fn nano_cpus(host: &HostConfig) -> u64 {
    let nano = limit(host.nano_cpus);
    let quota = host.cpu_quota.unwrap_or(0);
    if nano > 0 || quota <= 0 {
        return nano;
    }
    let period = host.cpu_period.filter(|period| *period > 0).unwrap_or(CPU_PERIOD_US);
    u64::try_from(i128::from(quota) * NANO_PER_CPU / i128::from(period)).unwrap_or(u64::MAX)
}

fn number(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn limit(number: Option<i64>) -> u64 {
    let number = number.filter(|number| *number < UNLIMITED_FROM).unwrap_or(0);
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(limits: &Limits) -> HostConfig {
        let mut host = HostConfig::default();
        to_host_config(limits, &mut host);
        host
    }

    #[test]
    fn limits_survive() {
        let all = Limits {
            nano_cpus: 123_456_789,
            memory: 64 << 20,
            memory_swap: 1 << 27,
            pids: 9,
            cpu_shares: 512,
            cpuset: "0-1".into(),
        };
        let memory_only = Limits { memory: 64 << 20, memory_swap: 64 << 20, ..Limits::default() };
        let free_swap = Limits { memory: 64 << 20, ..Limits::default() };
        for limits in [all, memory_only, free_swap, Limits::default()] {
            assert_eq!(from_host_config(&host(&limits), true), limits);
        }
    }

    #[test]
    fn lifted_limits_read_as_none() {
        let body = update_body(&Limits::default());
        let host = HostConfig {
            memory: body.memory,
            memory_swap: body.memory_swap,
            pids_limit: body.pids_limit,
            ..HostConfig::default()
        };
        assert_eq!(from_host_config(&host, true), Limits::default());
    }

    #[test]
    fn what_the_engine_fills_in_is_no_difference() {
        let memory = Some(64 << 20);
        let host = HostConfig { memory, memory_swap: Some(0), ..HostConfig::default() };
        assert_eq!(from_host_config(&host, true).memory_swap, 128 << 20);
        let host = HostConfig { memory, memory_swap: Some(-1), ..HostConfig::default() };
        assert_eq!(from_host_config(&host, true).memory_swap, 0);
        assert_eq!(from_host_config(&host, false).memory_swap, Limits::NOT_ENFORCED);
        let host = HostConfig {
            cpu_shares: Some(1024),
            cpuset_cpus: Some("1,0".to_owned()),
            ..HostConfig::default()
        };
        let limits = from_host_config(&host, true);
        assert_eq!((limits.cpu_shares, &*limits.cpuset), (0, "0-1"));
    }

    #[test]
    fn a_quota_is_a_cpu_limit_too() {
        let host = HostConfig { cpu_quota: Some(25_000), ..HostConfig::default() };
        assert_eq!(from_host_config(&host, true).nano_cpus, 250_000_000);
        let host = HostConfig { cpu_period: Some(50_000), ..host };
        assert_eq!(from_host_config(&host, true).nano_cpus, 500_000_000);
        let host = HostConfig { cpu_quota: Some(-1), ..HostConfig::default() };
        assert_eq!(from_host_config(&host, true).nano_cpus, 0);
    }
}
