//! The two phases of a seed.

use reconciler::model::groups::Groups;

use crate::chaos;
use crate::checks::rest;
use crate::dice::Dice;
use crate::law::Mood;
use crate::odds::Odds;
use crate::specs::{IMAGES, Shape, Wishes};
use crate::world::World;

/// So much happens in the first phase.
const STRIKES: (u64, u64) = (10, 60);

/// Between two of them passes so much, in milliseconds: mostly little, at times minutes.
const CALM_MS_MAX: u64 = 120_000;
const BETWEEN_MS_MAX: u64 = 4_000;

/// In the second phase an operator looks so often, each so many milliseconds after the last time:
/// waits of failures go up to 5 minutes.
const LOOKS: u32 = 8;
const LOOK_MS: u64 = 400_000;

/// Within so many rounds a world settles.
const ROUNDS_MAX: u64 = 6_000;

/// For so long it has to stay as it is.
const STAYS_MS: u64 = 600_000;

/// How a seed went.
#[derive(Debug)]
pub struct Outcome {
    /// What was wrong, if anything was, with what happened last.
    pub failed: Option<String>,
    /// Two runs with one digest did the same.
    pub digest: u64,
    /// How many events there were.
    pub events: u64,
    /// How many steps.
    pub steps: u64,
    /// How many rounds the second phase took.
    pub rounds: u64,
    /// Known weaknesses that showed.
    pub known: Vec<String>,
}

/// Plays the world of a seed.
#[must_use]
pub fn play(seed: u64, aloud: bool) -> Outcome {
    let mut dice = Dice::new(seed);
    let shape = Shape::of(&mut dice);
    let odds = Odds::of(&mut dice);
    let mut wishes = Wishes::of(&shape, &mut dice);
    let policies = shape.policies.then(|| Mood::Well.reading());
    let mut world = World::new(shape, odds, dice, policies);
    world.trace.aloud = aloud;
    let settled_after = both(&mut world, &mut wishes);
    let (rounds, known, failed) = match settled_after {
        Ok((rounds, known)) => (rounds, known, None),
        Err(why) => {
            let shape = &world.shape;
            let odds = &world.odds;
            (0, Vec::new(), Some(format!("{why}\n{}\n{shape:?}\n{odds:?}", world.trace.last())))
        }
    };
    let (digest, events, steps) = (world.trace.digest(), world.events, world.steps);
    Outcome { failed, digest, events, steps, rounds, known }
}

fn both(world: &mut World, wishes: &mut Wishes) -> Result<(u64, Vec<String>), String> {
    begin(world, wishes);
    let strikes = world.dice.between(STRIKES.0, STRIKES.1);
    for _ in 0..strikes {
        let calm = world.dice.says(120);
        let ms = world.dice.between(0, if calm { CALM_MS_MAX } else { BETWEEN_MS_MAX });
        world.run_for(ms)?;
        chaos::strike(world, wishes);
    }
    settle(world, wishes)
}

fn begin(world: &mut World, wishes: &Wishes) {
    let read = world.shape.quotas && world.dice.says(700);
    for engine in world.nodes.values_mut() {
        engine.cpus = 4;
        for image in IMAGES {
            engine.registry.insert(image.to_owned(), image.to_owned());
        }
        if read {
            let (limits, missing) = Default::default();
            engine.groups = Groups::Read { limits, missing, within: false };
        }
    }
    chaos::declare(world, wishes.set());
    world.start(0);
}

fn settle(world: &mut World, wishes: &mut Wishes) -> Result<(u64, Vec<String>), String> {
    chaos::heal(world);
    wishes.mend();
    chaos::declare(world, wishes.set());
    // Windlass may be down for a while yet.
    world.run_for(30_000)?;
    let before = world.rounds;
    chaos::take_back_orders(world);
    for _ in 0..LOOKS {
        world.run_for(LOOK_MS)?;
        chaos::approve(world);
    }
    rest::rests(world)?;
    let rounds = world.rounds - before;
    if rounds > ROUNDS_MAX {
        return Err(format!("it took {rounds} rounds to settle"));
    }
    let steps = world.steps;
    stays(world, steps, "once settled")?;
    world.crash();
    stays(world, steps, "after a restart")?;
    let known = rest::rests(world).map_err(|why| format!("after a restart: {why}"))?;
    Ok((rounds, known))
}

fn stays(world: &mut World, steps: u64, when: &str) -> Result<(), String> {
    world.run_for(STAYS_MS)?;
    let more = world.steps - steps;
    if more > 0 { Err(format!("{when} there were {more} more steps")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_plays_the_same_world_each_time() {
        for seed in 0..5 {
            assert_eq!(play(seed, false).digest, play(seed, false).digest, "seed {seed}");
        }
        assert_ne!(play(1, false).digest, play(2, false).digest);
    }

    /// So few, since this build is not optimised; `make sim` plays more.
    #[test]
    fn nothing_bad_happens_and_worlds_settle() {
        for seed in 0..60 {
            let outcome = play(seed, false);
            assert!(
                outcome.failed.is_none(),
                "seed {seed}: {}",
                outcome.failed.unwrap_or_default()
            );
            assert!(outcome.events > 100, "seed {seed}");
        }
    }
}
