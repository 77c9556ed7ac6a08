//! What no spec asks for, and policies look at where it runs.

use std::sync::Arc;

use bollard::models::{HostConfig, MountPoint};

/// How many paths of the kernel are hidden. Of privileged containers engines list none.
pub(super) fn masked_paths(host: &HostConfig) -> Option<u8> {
    match &host.masked_paths {
        Some(paths) => Some(u8::try_from(paths.len()).unwrap_or(u8::MAX)),
        None => host.privileged.unwrap_or(false).then_some(0),
    }
}

/// Mounts that pass on what is mounted below them, to the node or from it.
pub(super) fn shared_mounts(points: &[MountPoint]) -> Option<Arc<[String]>> {
    let shared = points.iter().filter_map(|point| {
        let how = point.propagation.as_deref()?;
        let path = point.destination.as_deref()?;
        matches!(how, "shared" | "rshared" | "slave" | "rslave").then(|| format!("{path}={how}"))
    });
    let shared: Vec<String> = shared.collect();
    (!shared.is_empty()).then(|| shared.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_paths_are_counted_and_a_privileged_container_has_none() {
        let host = |masked_paths, privileged| HostConfig {
            masked_paths,
            privileged: Some(privileged),
            ..HostConfig::default()
        };
        let two = vec!["/proc/kcore".to_owned(), "/sys/firmware".to_owned()];
        assert_eq!(masked_paths(&host(Some(two), false)), Some(2));
        assert_eq!(masked_paths(&host(Some(Vec::new()), false)), Some(0));
        assert_eq!(masked_paths(&host(None, true)), Some(0));
        assert_eq!(masked_paths(&host(None, false)), None, "an engine that does not tell");
    }

    #[test]
    fn mounts_that_are_passed_on_are_named() {
        let point = |path: &str, how: &str| MountPoint {
            destination: Some(path.to_owned()),
            propagation: Some(how.to_owned()),
            ..MountPoint::default()
        };
        assert_eq!(shared_mounts(&[point("/a", "rprivate"), point("/b", "")]), None);
        let shared = shared_mounts(&[point("/a", "rprivate"), point("/b", "rshared")]);
        assert_eq!(shared.as_deref(), Some(&["/b=rshared".to_owned()][..]));
    }
}
