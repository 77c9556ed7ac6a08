//! A container's process is killed from the host: how long until it runs again, against the
//! engine's start alone of a container that was killed the same way.

use std::time::Instant;

use crate::lab::{Engine, Lab, Up, container, instance, settle};
use crate::table::{Failure, Row, against, ms};

/// Pairs. Each takes a container of its own: a second restart would wait, by design.
const PAIRS: usize = 15;

/// What the ratio should be at most.
const RATIO_MAX: f64 = 1.10;

/// What windlass should add at most.
const OVERHEAD_MAX_MS: f64 = 50.0;

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    let (samples, noticed, reacted) = engine.runtime.block_on(async {
        let up = Up::start(engine).await?;
        for pair in 0..PAIRS {
            let name = format!("victim{pair}");
            up.write(&name, &instance(&name))?;
            engine.when("start", &container(&name)).await.map_err(|failure| up.explain(failure))?;
            let bare = format!("bare{pair}");
            engine.create(&bare).await?;
            engine.start(&bare).await?;
            engine.when("start", &bare).await?;
        }
        settle().await;
        let (mut samples, mut noticed, mut reacted) = ([Vec::new(), Vec::new()], vec![], vec![]);
        for pair in 0..PAIRS {
            for turn in 0..2 {
                if (pair + turn) % 2 == 0 {
                    let Times { died, started } = ours(engine, &up, pair).await?;
                    samples[0].push(started);
                    noticed.push(died);
                    reacted.push(started - died);
                } else {
                    samples[1].push(alone(engine, pair).await?);
                }
                settle().await;
            }
        }
        drop(up);
        engine.remove_all().await?;
        Ok::<_, Failure>((samples, noticed, reacted))
    })?;
    let words = ["killed → started again", "engine alone: start"];
    let mut rows = against("restart", words, samples, RATIO_MAX, Some(OVERHEAD_MAX_MS));
    rows.push(Row::new("restart", "of it: killed → the engine says so", "ms", noticed));
    rows.push(Row::new("restart", "of it: the engine says so → started", "ms", reacted));
    Ok(rows)
}

/// Milliseconds since the kill.
struct Times {
    died: f64,
    started: f64,
}

async fn ours(engine: &Engine, up: &Up, pair: usize) -> Result<Times, Failure> {
    let name = container(&format!("victim{pair}"));
    let killed = engine.kill_process(&name).await?;
    let died = engine.when("die", &name).await?;
    let started = engine.when("start", &name).await.map_err(|failure| up.explain(failure))?;
    Ok(Times { died: ms(died - killed), started: ms(started - killed) })
}

async fn alone(engine: &Engine, pair: usize) -> Result<f64, Failure> {
    let name = format!("bare{pair}");
    engine.kill_process(&name).await?;
    engine.when("die", &name).await?;
    // The engine is done with its end.
    settle().await;
    let asked = Instant::now();
    engine.start(&name).await?;
    Ok(ms(engine.when("start", &name).await? - asked))
}
