//! A container's process is killed from the host: how long until it runs again, against the
//! engine's start alone of a container that was killed the same way.
//!
//! Between the two stands what the engine itself needs to notice and to tidy up: it tells of the
//! end first, and then holds the container until its network is taken down. So a bare client is
//! measured too that asks for the start the moment it hears of the end: nobody can be faster.

use std::time::Instant;

use crate::lab::{Engine, Lab, Up, container, instance, settle};
use crate::table::{Failure, Row, against, median, ms};

/// Pairs. Each takes a container of its own: a second restart would wait, by design.
const PAIRS: usize = 15;

/// What the ratio should be at most.
const RATIO_MAX: f64 = 1.10;

/// What windlass should add at most.
const OVERHEAD_MAX_MS: f64 = 50.0;

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    let (samples, noticed, quick) = engine.runtime.block_on(async {
        let up = Up::start(engine).await?;
        for pair in 0..PAIRS {
            let name = format!("victim{pair}");
            up.write(&name, &instance(&name))?;
            engine.when("start", &container(&name)).await.map_err(|failure| up.explain(failure))?;
            for bare in [format!("bare{pair}"), format!("quick{pair}")] {
                engine.create(&bare).await?;
                engine.start(&bare).await?;
                engine.when("start", &bare).await?;
            }
        }
        settle().await;
        let (mut samples, mut noticed) = ([Vec::new(), Vec::new()], Vec::new());
        let mut quick = Vec::new();
        for pair in 0..PAIRS {
            for turn in 0..3 {
                match (pair + turn) % 3 {
                    0 => {
                        let (died, started) = ours(engine, &up, pair).await?;
                        samples[0].push(started);
                        noticed.push(died);
                    }
                    1 => samples[1].push(alone(engine, pair).await?),
                    _ => quick.push(quickest(engine, pair).await?),
                }
                settle().await;
            }
        }
        drop(up);
        engine.remove_all().await?;
        Ok::<_, Failure>((samples, noticed, quick))
    })?;
    let ratio = median(&samples[0]) / median(&quick);
    let words = ["killed → started again", "engine alone: start"];
    let mut rows = against("restart", words, samples, RATIO_MAX, Some(OVERHEAD_MAX_MS));
    let what = "a bare client: killed → its start at the engine's word";
    rows.push(Row::new("restart", what, "ms", quick).ratio(ratio));
    rows.push(Row::new("restart", "of it: killed → the engine's word", "ms", noticed));
    Ok(rows)
}

/// Milliseconds from the kill to the engine's word, and to the start.
async fn ours(engine: &Engine, up: &Up, pair: usize) -> Result<(f64, f64), Failure> {
    let name = container(&format!("victim{pair}"));
    let killed = engine.kill_process(&name).await?;
    let died = engine.when("die", &name).await?;
    let started = engine.when("start", &name).await.map_err(|failure| up.explain(failure))?;
    Ok((ms(died - killed), ms(started - killed)))
}

async fn quickest(engine: &Engine, pair: usize) -> Result<f64, Failure> {
    let name = format!("quick{pair}");
    let killed = engine.kill_process(&name).await?;
    engine.when("die", &name).await?;
    engine.start(&name).await?;
    Ok(ms(engine.when("start", &name).await? - killed))
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
