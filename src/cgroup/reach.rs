//! Whether the control groups of an engine are those that windlass sees.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use reconciler::model::observed::CgroupDriver;

use super::hierarchy::Hierarchy;
use crate::peer::{Lack, listener};

/// The group around a project's, as containers would be told it; `None` of the outermost.
pub(super) fn outer(name: &Arc<str>, driver: CgroupDriver) -> Option<Arc<str>> {
    match driver {
        CgroupDriver::Cgroupfs => {
            let (outer, _) = name.rsplit_once('/')?;
            (!outer.is_empty()).then(|| Arc::from(outer))
        }
        CgroupDriver::Systemd => {
            let (outer, _) = name.strip_suffix(".slice")?.rsplit_once('-')?;
            Some(Arc::from(format!("{outer}.slice")))
        }
    }
}

/// The trees of control groups that an engine makes its groups in, if they are ours.
pub(super) fn reach(socket: &Path, driver: CgroupDriver) -> Result<Hierarchy, Lack> {
    let (pid, _process) = listener(socket)?;
    let space = |process: &str| fs::read_link(format!("/proc/{process}/ns/cgroup"));
    let theirs = space(&pid.to_string()).map_err(|error| {
        Lack::that_stays(format!(
            "look at the control groups of the engine, process {pid}: {error}; windlass has to be \
             root on the engine's host"
        ))
    })?;
    let ours = space("self").map_err(|error| format!("look at our own control groups: {error}"))?;
    if theirs != ours {
        return Err(Lack::that_stays(format!(
            "the engine, process {pid}, sees other control groups than windlass does; in a \
             container, windlass has to share those of the engine's host (`--cgroupns=host`)"
        )));
    }
    if driver == CgroupDriver::Systemd {
        return Err(Lack::that_stays(
            "systemd makes this engine's control groups, and would take back what others write to \
             them; set `native.cgroupdriver=cgroupfs` in the engine's `exec-opts` to have quotas \
             enforced"
                .to_owned(),
        ));
    }
    let trees = Hierarchy::of_host().map_err(Lack::that_stays)?;
    if !trees.is_writable() {
        return Err(Lack::that_stays(
            "the control groups are read-only here; windlass has to be root on the node's host, \
             with /sys/fs/cgroup writable"
                .to_owned(),
        ));
    }
    Ok(trees)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_around_groups() {
        let names = |name: &str, driver| -> Vec<String> {
            std::iter::successors(Some(Arc::from(name)), |name| outer(name, driver))
                .map(|name: Arc<str>| name.to_string())
                .collect()
        };
        assert_eq!(names("/w/n1/shop", CgroupDriver::Cgroupfs), ["/w/n1/shop", "/w/n1", "/w"]);
        assert_eq!(
            names("w-n1-shop.slice", CgroupDriver::Systemd),
            ["w-n1-shop.slice", "w-n1.slice", "w.slice"]
        );
    }

    #[test]
    fn an_engine_that_is_not_there_is_unknown() {
        let room = tempfile::tempdir().expect("a directory");
        let lack = reach(&room.path().join("no.sock"), CgroupDriver::Cgroupfs).expect_err("none");
        assert!(!lack.stays, "{lack:?}");
    }
}
