//! What goes wrong: each kind with a name, a weight, and what it does.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};

use super::dice::Dice;
use super::site::{Healing, Site};
use super::verdict::Found;
use super::wish::NODES;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Trouble {
    /// Specs change, which is none; but it happens meanwhile.
    Edit,
    WindlassIsKilled,
    WindlassIsEnded,
    EngineIsKilled,
    ShimIsKilled,
    ProcessIsKilled,
    ContainerIsRemoved,
    ContainerIsPaused,
    ContainerIsUpdated,
    ContainerIsRenamed,
    ContainerIsStopped,
    CableIsOut,
    EngineHangs,
    EngineIsSlow,
    DiskIsFull,
    PowerIsCut,
    FewFiles,
}

use Trouble::{
    CableIsOut, ContainerIsPaused, ContainerIsRemoved, ContainerIsRenamed, ContainerIsStopped,
    ContainerIsUpdated, DiskIsFull, Edit, EngineHangs, EngineIsKilled, EngineIsSlow, FewFiles,
    PowerIsCut, ProcessIsKilled, ShimIsKilled, WindlassIsEnded, WindlassIsKilled,
};

/// All of them, and how often each comes among the others.
pub(super) const ALL: [(Trouble, usize); 17] = [
    (Edit, 30),
    (WindlassIsKilled, 8),
    (WindlassIsEnded, 1),
    (EngineIsKilled, 4),
    (ShimIsKilled, 5),
    (ProcessIsKilled, 6),
    (ContainerIsRemoved, 5),
    (ContainerIsPaused, 3),
    (ContainerIsUpdated, 4),
    (ContainerIsRenamed, 2),
    (ContainerIsStopped, 3),
    (CableIsOut, 3),
    (EngineHangs, 3),
    (EngineIsSlow, 3),
    (DiskIsFull, 3),
    (PowerIsCut, 3),
    (FewFiles, 3),
];

/// Chooses one, by weight.
pub(super) fn choose(dice: &mut Dice) -> Trouble {
    let mut at = dice.below(ALL.iter().map(|(_, weight)| weight).sum());
    for (trouble, weight) in ALL {
        if at < weight {
            return trouble;
        }
        at -= weight;
    }
    Edit
}

impl Trouble {
    /// Does it, and says what was done; `None` where there is nothing to do it to just now.
    pub(super) fn strike(self, site: &mut Site<'_, '_>, dice: &mut Dice) -> Option<String> {
        match self {
            Edit => Some(site.wish.edit(dice, site.room)),
            WindlassIsKilled => windlass_is_killed(site, dice),
            WindlassIsEnded => windlass_is_ended(site, dice),
            EngineIsKilled => engine_is_killed(site, dice),
            ShimIsKilled => shim_is_killed(site, dice),
            ProcessIsKilled => {
                let one = any(site, dice)?;
                let pid = site.engines[one.node].container_pid(&one.id)?;
                kill(pid).then(|| format!("the process of {}", one.name))
            }
            ContainerIsRemoved => by_another_hand(site, dice, &["rm", "-f"]),
            ContainerIsPaused => by_another_hand(site, dice, &["pause"]),
            ContainerIsUpdated => by_another_hand(
                site,
                dice,
                &["update", "--memory", "20m", "--memory-swap", "40m", "--cpus", "0.3"],
            ),
            ContainerIsRenamed => renamed(site, dice),
            ContainerIsStopped => by_another_hand(site, dice, &["kill"]),
            CableIsOut => lasting(site, dice, Healing::PlugIn, |site| {
                site.cable.plug(false);
                "the far node is cut off".to_owned()
            }),
            EngineHangs => lasting(site, dice, Healing::Answer, |site| {
                site.valve.set(true);
                "the far engine answers nothing".to_owned()
            }),
            EngineIsSlow => {
                let late = dice.time(200, 2000);
                lasting(site, dice, Healing::Hurry, |site| {
                    site.valve.slow(late);
                    format!("the far engine is {late:?} late")
                })
            }
            DiskIsFull => lasting(site, dice, Healing::EmptyDisk, |site| {
                site.disk.fill();
                "the disk of the state is full".to_owned()
            }),
            PowerIsCut => super::power::cut(site, dice),
            FewFiles => {
                site.up.as_ref()?;
                lasting(site, dice, Healing::MoreFiles, |site| {
                    let files = open_files(site).unwrap_or(64);
                    allow_files(site, Some(files));
                    format!("windlass may have {files} files open, and has them")
                })
            }
        }
    }
}

/// What lasts for some seconds, and is not there twice at once.
fn lasting(
    site: &mut Site<'_, '_>,
    dice: &mut Dice,
    healing: Healing,
    strike: impl FnOnce(&mut Site<'_, '_>) -> String,
) -> Option<String> {
    if site.lasts(healing) {
        return None;
    }
    let lasts = dice.time(1500, 15_000);
    let what = strike(site);
    site.healings.push((Instant::now() + lasts, healing));
    Some(format!("{what} for {lasts:?}"))
}

/// Has windlass start again, in a moment or at once.
pub(super) fn start_again(site: &mut Site<'_, '_>, dice: &mut Dice) -> String {
    let after = if dice.chance(50) { Duration::ZERO } else { dice.time(100, 4000) };
    site.healings.push((Instant::now() + after, Healing::StartWindlass));
    format!("windlass starts again after {after:?}")
}

fn windlass_is_killed(site: &mut Site<'_, '_>, dice: &mut Dice) -> Option<String> {
    site.up.as_ref()?;
    site.kill_windlass();
    Some(start_again(site, dice))
}

fn windlass_is_ended(site: &mut Site<'_, '_>, dice: &mut Dice) -> Option<String> {
    let mut up = site.up.take()?;
    let code = up.end("TERM");
    Some(format!("windlass ended with {code}; {}", start_again(site, dice)))
}

fn engine_is_killed(site: &mut Site<'_, '_>, dice: &mut Dice) -> Option<String> {
    let at = dice.below(2);
    if !site.is_on(at) {
        return None;
    }
    site.kill_engine(at);
    let lasts = dice.time(100, 8000);
    site.healings.push((Instant::now() + lasts, Healing::StartEngine(at)));
    Some(format!("engine {} is killed for {lasts:?}", NODES[at]))
}

fn shim_is_killed(site: &mut Site<'_, '_>, dice: &mut Dice) -> Option<String> {
    let ours = site.found();
    let mut shims = Vec::new();
    for engine in site.engines {
        for pid in engine.helpers() {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line).into_owned();
            let of = ours.iter().find(|one| line.contains("shim") && line.contains(&one.id));
            shims.extend(of.map(|one| (pid, one.name.clone())));
        }
    }
    let (pid, name) = dice.one_of(&shims)?;
    kill(*pid).then(|| format!("the shim of {name}"))
}

fn kill(pid: u32) -> bool {
    signal(pid, Signal::KILL)
}

/// Sends a signal to a process; whether it was there.
pub(super) fn signal(pid: u32, signal: Signal) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
}

/// Any container of ours.
fn any(site: &Site<'_, '_>, dice: &mut Dice) -> Option<Found> {
    dice.one_of(&site.found()).cloned()
}

/// What somebody does to one of our containers with the engine's own command line.
fn by_another_hand(site: &mut Site<'_, '_>, dice: &mut Dice, args: &[&str]) -> Option<String> {
    let one = any(site, dice)?;
    let done = site.engines[one.node].try_docker(&[args, &[&one.id]].concat());
    done.is_ok().then(|| format!("docker {} {}", args[0], one.name))
}

fn renamed(site: &mut Site<'_, '_>, dice: &mut Dice) -> Option<String> {
    let one = any(site, dice)?;
    let name = format!("renamed-{}", &one.id[..12]);
    let done = site.engines[one.node].try_docker(&["rename", &one.id, &name]);
    done.is_ok().then(|| format!("docker rename {} {name}", one.name))
}

fn open_files(site: &Site<'_, '_>) -> Option<u64> {
    let pid = site.up.as_ref()?.pid();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count();
    u64::try_from(files).ok()
}

/// Lets windlass have so many files open, or as many as ever.
pub(super) fn allow_files(site: &Site<'_, '_>, most: Option<u64>) {
    let Some(up) = &site.up else { return };
    let pid = i32::try_from(up.pid()).ok().and_then(Pid::from_raw);
    let most = most.or(Some(1024));
    // One that was started meanwhile has its own limit, and that is as good.
    let _ = prlimit(pid, Resource::Nofile, Rlimit { current: most, maximum: Some(1024) });
}
