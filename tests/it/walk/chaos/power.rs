//! A power cut of the disk that holds store and journal: only what had reached it is there afterwards.
//!
//! windlass stands still at some instant, the file behind the disk is copied, windlass is killed, and
//! the copy takes the disk's place. What programs wrote and nobody synced is in the kernel's memory
//! and not in the copy; the file system's own journal is replayed as after any crash.

use rustix::process::Signal;
use windlass::journal;
use windlass::state::StatePaths;

use super::dice::Dice;
use super::site::Site;
use super::troubles::{signal, start_again};

/// Has somebody be told that something is on record, cuts the power, and looks whether it is.
pub(super) fn cut(site: &mut Site<'_, '_>, dice: &mut Dice) -> Option<String> {
    let pid = site.up.as_ref()?.pid();
    let project = site.room.project().to_owned();
    let names: Vec<String> = site.wish.asked.keys().cloned().collect();
    let name = format!("{project}/{}", dice.one_of(&names)?);
    let told = site.windlass(&["suspend", &name, "--timeout", "5s"]);
    if !signal(pid, Signal::STOP) {
        return None;
    }
    let image = site.disk.image();
    site.kill_windlass();
    site.disk.power_cut(&image);
    let faults = lost(site, &name, told.code == 0);
    assert!(faults.is_empty(), "{}", site.told(&format!("lost by a power cut: {faults:#?}")));
    site.suspended.insert(name.clone());
    site.resume();
    let (told, again) = (told.code, start_again(site, dice));
    Some(format!("the power of the state's disk (suspend {name}: {told}); {again}"))
}

/// What had to be there after a power cut, and is not.
fn lost(site: &Site<'_, '_>, suspended: &str, is_told: bool) -> Vec<String> {
    let dir = StatePaths::new(&site.room.state()).journal();
    let records = match journal::records_from(&dir) {
        Ok((records, _)) => records,
        Err(error) => return vec![format!("the journal cannot be read: {error}")],
    };
    let mut lost = Vec::new();
    // Nothing is done before its intent is durable.
    for found in site.found() {
        let instance =
            records.instances.iter().find(|(key, _)| key.name.as_str() == found.instance);
        let replica = instance.and_then(|(_, record)| record.replicas.get(&found.ordinal));
        if replica.is_none_or(|record| record.incarnation < found.incarnation) {
            lost.push(format!("no intent of {} is on record: {replica:#?}", found.name));
        }
    }
    let is_suspended = format!("{:?}", records.suspended);
    let name = suspended.rsplit('/').next().unwrap_or_default();
    if is_told && !is_suspended.contains(name) {
        lost.push(format!("{suspended} was suspended: {is_suspended}"));
    }
    let out = site.windlass(&["audit", "verify"]);
    if out.code != 0 {
        lost.push(format!("{out:#?}"));
    }
    lost
}
