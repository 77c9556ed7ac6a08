//! Fifty instances from nothing, against a bare client that creates and starts as many, eight at
//! a time.

use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::lab::{Engine, Lab, Up, container, instance, settle};
use crate::table::{Failure, Row, against, ms};

/// Instances.
const COUNT: usize = 50;

/// Pairs.
const PAIRS: usize = 5;

/// How many the bare client has under way: the engine gets no faster with more.
const AT_ONCE: usize = 8;

/// What the ratio should be at most.
const RATIO_MAX: f64 = 1.10;

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    let samples = engine.runtime.block_on(async {
        let mut samples = [Vec::new(), Vec::new()];
        for pair in 0..PAIRS {
            for turn in 0..2 {
                let (index, took) = if (pair + turn) % 2 == 0 {
                    (0, ours(engine).await?)
                } else {
                    (1, alone(engine).await?)
                };
                samples[index].push(took);
                settle().await;
                engine.remove_all().await?;
            }
        }
        Ok::<_, Failure>(samples)
    })?;
    let words = ["50 instances in one file → all started", "engine alone: 50, 8 at once"];
    Ok(against("fleet", words, samples, RATIO_MAX, None))
}

async fn ours(engine: &Engine) -> Result<f64, Failure> {
    let up = Up::start(engine).await?;
    let names: Vec<String> = (0..COUNT).map(|number| format!("fleet{number}")).collect();
    let documents: Vec<String> = names.iter().map(|name| instance(name)).collect();
    let written = up.write("fleet", &documents.join("---\n"))?;
    let mut last = written;
    for name in &names {
        let started = engine.when("start", &container(name)).await;
        last = last.max(started.map_err(|failure| up.explain(failure))?);
    }
    settle().await;
    Ok(ms(last - written))
}

async fn alone(engine: &Engine) -> Result<f64, Failure> {
    // As many are there before as beside windlass.
    engine.create("first").await?;
    engine.start("first").await?;
    settle().await;
    let asked = Instant::now();
    let started: Vec<Instant> = futures_util::stream::iter(0..COUNT)
        .map(|number| async move {
            let name = format!("bare{number}");
            let id = engine.create(&name).await?;
            engine.start(&id).await?;
            engine.when("start", &name).await
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let last = started.into_iter().max().unwrap_or(asked);
    Ok(ms(last - asked))
}
