//! Fields of Compose that have no counterpart here: why, and what to do instead.

/// What to say of a field that was not taken. `path` stands before its name.
pub(super) fn on(in_service: bool, path: &str, key: &str) -> &'static str {
    let place = if in_service { "service" } else { "top" };
    let fits = |(whose, field, _): &&(&str, &str, &str)| {
        *whose == place && format!("{path}{key}") == *field
    };
    ADVICE.iter().find(fits).map_or(UNKNOWN, |(_, _, advice)| advice)
}

const UNKNOWN: &str = "windlass has nothing of the kind";

const RESERVED: &str = "windlass places by labels and limits, and reserves nothing";
const ROLLOUT: &str = "replicas are replaced one after the other, each when the last is ready";

const ADVICE: [(&str, &str, &str); 45] = [
    ("top", "include", "other files are not read; import what `docker compose config` prints"),
    ("top", "models", "windlass runs containers only"),
    ("service", "annotations", "annotations are for runtimes that windlass does not drive"),
    ("service", "attach", "windlass prints no output by itself; `windlass logs -f` follows it"),
    ("service", "blkio_config.weight_device", "there is one weight for all devices"),
    ("service", "cgroup_parent", "windlass makes the groups: `cgroupRoot` of a Node is their root"),
    ("service", "cpu_count", "it is for another system"),
    ("service", "cpu_percent", "it is for another system"),
    ("service", "cpu_rt_period", "real-time scheduling is not offered"),
    ("service", "cpu_rt_runtime", "real-time scheduling is not offered"),
    ("service", "credential_spec", "it is for another system"),
    ("service", "deploy.endpoint_mode", "there is no load balancer; each replica has an address"),
    (
        "service",
        "deploy.labels",
        "they are labels of a swarm's service; `labels` are containers' own",
    ),
    (
        "service",
        "deploy.placement",
        "say it as `placement: { selector: { LABEL: VALUE } }`, with labels on Nodes",
    ),
    ("service", "deploy.resources.reservations", RESERVED),
    ("service", "deploy.resources.limits.devices", "name devices in `security.devices`"),
    (
        "service",
        "deploy.restart_policy.delay",
        "the pause grows by itself from one restart to the next",
    ),
    ("service", "deploy.restart_policy.max_attempts", "windlass does not give up; it waits longer"),
    (
        "service",
        "deploy.restart_policy.window",
        "the pause grows by itself from one restart to the next",
    ),
    (
        "service",
        "deploy.rollback_config",
        "nothing is rolled back by itself; write the earlier image again",
    ),
    ("service", "deploy.update_config.delay", ROLLOUT),
    (
        "service",
        "deploy.update_config.failure_action",
        "a rollout stops at the first replica that is not ready",
    ),
    (
        "service",
        "deploy.update_config.max_failure_ratio",
        "a rollout stops at the first replica that is not ready",
    ),
    ("service", "deploy.update_config.monitor", ROLLOUT),
    ("service", "develop", "windlass watches specs, not sources"),
    ("service", "domainname", "write the whole name as `hostname`"),
    (
        "service",
        "external_links",
        "put both on one Network, where each goes by its instance's name",
    ),
    ("service", "gpus", "name devices in `security.devices`"),
    ("service", "healthcheck.start_interval", "a check has one interval"),
    ("service", "isolation", "it is for another system"),
    ("service", "label_file", "write the labels into the spec"),
    ("service", "mac_address", "the engine gives one"),
    ("service", "mem_reservation", RESERVED),
    ("service", "mem_swappiness", "kernels with the present control groups have none"),
    ("service", "models", "windlass runs containers only"),
    ("service", "oom_kill_disable", "kernels with the present control groups have none"),
    ("service", "oom_score_adj", "the engine's own holds"),
    ("service", "platform", "an image is taken for its node's platform"),
    ("service", "post_start", "windlass runs no hooks; let the image's entry point do it"),
    (
        "service",
        "pre_stop",
        "windlass runs no hooks; let the program do it when it is asked to stop",
    ),
    ("service", "provider", "windlass runs containers only"),
    ("service", "runtime", "the engine's own runtime runs it"),
    ("service", "stdin_open", "nobody can type into a container that windlass holds"),
    ("service", "use_api_socket", "mount the engine's socket as a bind, if that is really wanted"),
    ("service", "volumes_from", "name the same volumes in both"),
];
