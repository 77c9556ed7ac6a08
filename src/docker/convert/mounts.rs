//! Mounts: volumes, paths of the host, and memory.

use std::collections::BTreeMap;

use bollard::models::{HostConfig, Mount, MountPoint as EngineMount, MountTmpfsOptions, MountType};
use reconciler::model::observed::{MountFrom, MountPoint};

/// Mounts as the engine has them. A path that the host lacks is refused: only the older form of
/// binds makes it silently, as an empty directory of root's.
pub(super) fn to_engine(mounts: &[MountPoint]) -> Vec<Mount> {
    mounts.iter().map(mount).collect()
}

fn mount(point: &MountPoint) -> Mount {
    let MountPoint { target, source, read_only } = point;
    let mut mount =
        Mount { target: Some(target.clone()), read_only: Some(*read_only), ..Mount::default() };
    match source {
        MountFrom::Volume(name) => {
            mount.typ = Some(MountType::VOLUME);
            mount.source = Some(name.clone());
        }
        MountFrom::Bind(path) => {
            mount.typ = Some(MountType::BIND);
            mount.source = Some(path.clone());
        }
        MountFrom::Tmpfs(size) => {
            mount.typ = Some(MountType::TMPFS);
            mount.tmpfs_options = Some(MountTmpfsOptions {
                size_bytes: i64::try_from(*size).ok().filter(|size| *size > 0),
                ..MountTmpfsOptions::default()
            });
        }
    }
    mount
}

/// What is mounted, by target. `live` is what the engine made of `host`, and wins.
pub(super) fn from_engine(live: &[EngineMount], host: &HostConfig) -> Vec<MountPoint> {
    let mut found = BTreeMap::new();
    for (target, options) in host.tmpfs.iter().flatten() {
        found.insert(target.clone(), tmpfs_of_options(options));
    }
    for mount in host.mounts.iter().flatten() {
        let Some(target) = &mount.target else { continue };
        let source = mount.source.clone().unwrap_or_default();
        let from = match mount.typ {
            Some(MountType::VOLUME) => MountFrom::Volume(source),
            Some(MountType::BIND) => MountFrom::Bind(source),
            Some(MountType::TMPFS) => {
                let size = mount.tmpfs_options.as_ref().and_then(|options| options.size_bytes);
                MountFrom::Tmpfs(size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0))
            }
            Some(MountType::CLUSTER | MountType::IMAGE | MountType::NPIPE) | None => continue,
        };
        found.insert(target.clone(), (from, mount.read_only.unwrap_or(false)));
    }
    for mount in live {
        let Some(target) = &mount.destination else { continue };
        let from = match mount.typ.as_deref() {
            Some("volume") => MountFrom::Volume(mount.name.clone().unwrap_or_default()),
            Some("bind") => MountFrom::Bind(mount.source.clone().unwrap_or_default()),
            // That of memory says less: its size stands only in what was asked for.
            _ => continue,
        };
        found.insert(target.clone(), (from, !mount.rw.unwrap_or(true)));
    }
    found
        .into_iter()
        .map(|(target, (source, read_only))| MountPoint { target, source, read_only })
        .collect()
}

/// `rw,size=64m`, as the older form of memory mounts has it.
fn tmpfs_of_options(options: &str) -> (MountFrom, bool) {
    let mut size = 0;
    let mut read_only = false;
    for option in options.split(',') {
        match option.split_once('=') {
            Some(("size", text)) => size = kernel_size(text).unwrap_or(0),
            None if option == "ro" => read_only = true,
            _ => {}
        }
    }
    (MountFrom::Tmpfs(size), read_only)
}

/// A size as the kernel reads it: `65536`, `64k`, `64m`, `1g`.
fn kernel_size(text: &str) -> Option<u64> {
    let (digits, shift) = match text.char_indices().last()? {
        (end, 'k' | 'K') => (&text[..end], 10),
        (end, 'm' | 'M') => (&text[..end], 20),
        (end, 'g' | 'G') => (&text[..end], 30),
        _ => (text, 0),
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_survive_what_the_engine_makes_of_them() {
        let point = |target: &str, source, read_only| MountPoint {
            target: target.to_owned(),
            source,
            read_only,
        };
        let mounts = vec![
            point("/cache", MountFrom::Tmpfs(1 << 20), false),
            point("/data", MountFrom::Volume("shop.data".to_owned()), false),
            point("/etc/x", MountFrom::Bind("/srv/x".to_owned()), true),
        ];
        let host = HostConfig { mounts: Some(to_engine(&mounts)), ..HostConfig::default() };
        assert_eq!(from_engine(&[], &host), mounts);
        let live = EngineMount {
            typ: Some("volume".to_owned()),
            name: Some("shop.data".to_owned()),
            source: Some("/var/lib/docker/volumes/shop.data/_data".to_owned()),
            destination: Some("/data".to_owned()),
            rw: Some(true),
            ..EngineMount::default()
        };
        assert_eq!(from_engine(&[live], &host), mounts);
    }

    #[test]
    fn the_older_form_of_memory_mounts_is_read() {
        assert_eq!(tmpfs_of_options("rw,size=64m"), (MountFrom::Tmpfs(64 << 20), false));
        assert_eq!(tmpfs_of_options("ro"), (MountFrom::Tmpfs(0), true));
        assert_eq!(tmpfs_of_options("size=4096"), (MountFrom::Tmpfs(4096), false));
    }
}
