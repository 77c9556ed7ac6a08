//! Fifty instances from nothing, against a bare client that creates and starts as many, eight at
//! a time; and sixty on three engines, against one such client for each engine.

use std::time::Instant;

use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::lab::{Engine, Lab, Up, container, instance, node_named, settle};
use crate::table::{Failure, Row, against, ms};

/// Instances.
const COUNT: usize = 50;

/// Instances on three engines.
const COUNT_ON_THREE: usize = 60;

/// Pairs.
const PAIRS: usize = 5;

/// How many the bare client has under way: the engine gets no faster with more.
const AT_ONCE: usize = 8;

/// The bare client's network.
const NETWORK: &str = "bare";

/// What the ratio should be at most.
const RATIO_MAX: f64 = 1.10;

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    let samples = pairs(&[engine], COUNT)?;
    let words = ["50 instances in one file → all started", "engine alone: 50, 8 at once"];
    Ok(against("fleet", words, samples, RATIO_MAX, None))
}

/// Two more engines are started for it, and end with it: others measure on one.
pub(crate) fn run_on_three(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    let more = [Engine::beside(engine)?, Engine::beside(engine)?];
    let samples = pairs(&[engine, &more[0], &more[1]], COUNT_ON_THREE)?;
    let words =
        ["60 instances on three engines → all started", "a bare client for each: 20, 8 at once"];
    Ok(against("fleet3", words, samples, RATIO_MAX, None))
}

/// Measures in turns. All engines tell the first one what happens.
fn pairs(engines: &[&Engine], count: usize) -> Result<[Vec<f64>; 2], Failure> {
    let [first, ..] = engines else { return Err("there is no engine".to_owned()) };
    first.runtime.block_on(async {
        let mut samples = [Vec::new(), Vec::new()];
        for pair in 0..PAIRS {
            for turn in 0..2 {
                let (index, took) = if (pair + turn) % 2 == 0 {
                    (0, ours(engines, count).await?)
                } else {
                    (1, alone(engines, count).await?)
                };
                samples[index].push(took);
                settle().await;
                for engine in engines {
                    engine.remove_all().await?;
                }
            }
        }
        Ok::<_, Failure>(samples)
    })
}

async fn ours(engines: &[&Engine], count: usize) -> Result<f64, Failure> {
    let engine = engines[0];
    let nodes = engines.iter().enumerate().map(|(at, one)| node_named(&format!("n{at}"), one));
    let up = Up::start_on(engine, &nodes.collect::<Vec<_>>().join("---\n")).await?;
    let names: Vec<String> = (0..count).map(|number| format!("fleet{number}")).collect();
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

async fn alone(engines: &[&Engine], count: usize) -> Result<f64, Failure> {
    // As many are there before as beside windlass, and on such a network as its instances.
    let engine = engines[0];
    for engine in engines {
        engine.create_network(NETWORK).await?;
    }
    engine.create_on(NETWORK, "first").await?;
    engine.start("first").await?;
    settle().await;
    let asked = Instant::now();
    let loops = engines.iter().enumerate().map(|(at, of)| async move {
        futures_util::stream::iter(0..count / engines.len())
            .map(|number| async move {
                let name = format!("bare{at}-{number}");
                let id = of.create_on(NETWORK, &name).await?;
                of.start(&id).await?;
                engine.when("start", &name).await
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<Vec<Instant>>()
            .await
    });
    let started = futures_util::future::try_join_all(loops).await?;
    let last = started.into_iter().flatten().max().unwrap_or(asked);
    Ok(ms(last - asked))
}
