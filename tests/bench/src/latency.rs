//! From a spec that is renamed into the watched directory to the engine's word that its container
//! has started, against create and start of the same container by a bare client.

use std::time::Instant;

use crate::lab::{Engine, Lab, Up, container, instance, settle};
use crate::table::{Failure, Row, against, ms};

/// Pairs; more would only fill the engine with containers, which slow it down.
const PAIRS: usize = 21;

/// What the ratio should be at most.
const RATIO_MAX: f64 = 1.10;

/// The network of what the engine makes alone.
const NETWORK: &str = "bare";

/// What windlass should add at most.
const OVERHEAD_MAX_MS: f64 = 25.0;

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    let samples = engine.runtime.block_on(async {
        let up = Up::start(engine).await?;
        // Containers of windlass are on a network of their project, and so is the other one's: names
        // and an own address cost an engine some 40 ms more than its bridge does.
        engine.create_network(NETWORK).await?;
        let mut samples = [Vec::new(), Vec::new()];
        for pair in 0..PAIRS {
            // Who is first changes, since the second finds warmer caches.
            for turn in 0..2 {
                let took = if (pair + turn) % 2 == 0 {
                    (0, ours(engine, &up, pair).await?)
                } else {
                    (1, alone(engine, pair).await?)
                };
                samples[took.0].push(took.1);
                settle().await;
            }
        }
        drop(up);
        engine.remove_all().await?;
        Ok::<_, Failure>(samples)
    })?;
    let words = ["spec renamed → started", "engine alone: create + start"];
    Ok(against("latency", words, samples, RATIO_MAX, Some(OVERHEAD_MAX_MS)))
}

async fn ours(engine: &Engine, up: &Up, pair: usize) -> Result<f64, Failure> {
    let name = format!("one{pair}");
    let written = up.write(&name, &instance(&name))?;
    let started = engine.when("start", &container(&name)).await;
    Ok(ms(started.map_err(|failure| up.explain(failure))? - written))
}

async fn alone(engine: &Engine, pair: usize) -> Result<f64, Failure> {
    let name = format!("bare{pair}");
    let asked = Instant::now();
    let id = engine.create_on(NETWORK, &name).await?;
    engine.start(&id).await?;
    Ok(ms(engine.when("start", &name).await? - asked))
}
