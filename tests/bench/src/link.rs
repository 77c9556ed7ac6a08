//! From a link that is renamed into the watched directory to its rule in the engine's tables.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::lab::{Engine, Lab, Up, container, instance, settle};
use crate::table::{Failure, Row, ms};

/// Changes of one link.
const CHANGES: u16 = 41;

/// What the median should be at most.
const MEDIAN_MAX_MS: f64 = 50.0;

/// A rule that is not there by then does not come.
const WITHIN: Duration = Duration::from_secs(10);

pub(crate) fn run(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    let samples = engine.runtime.block_on(async {
        let up = Up::start(engine).await?;
        up.write("second", &instance("second"))?;
        engine.when("start", &container("second")).await.map_err(|failure| up.explain(failure))?;
        settle().await;
        let mut samples = Vec::new();
        for change in 0..CHANGES {
            let port = 2000 + change;
            let written = up.write("link", &link(port))?;
            let seen = seen(engine, port).map_err(|failure| up.explain(failure))?;
            samples.push(ms(seen - written));
            settle().await;
        }
        drop(up);
        engine.remove_all().await?;
        Ok::<_, Failure>(samples)
    })?;
    Ok(vec![Row::new("link", "link written → rule in force", "ms", samples).at_most(MEDIAN_MAX_MS)])
}

fn link(port: u16) -> String {
    format!(
        "apiVersion: windlass/v1\nkind: Link\nmetadata: {{ name: one }}\nspec:\n  from: first\n  \
         to: second\n  ports: [{port}]\n  condition: none\n"
    )
}

/// When the rule of a port is there. A look takes some milliseconds, which count as ours.
fn seen(engine: &Engine, port: u16) -> Result<Instant, Failure> {
    let (asked, inside) = (Instant::now(), format!("--net={}", engine.netns()));
    let rule = format!("--dport {port} ");
    while asked.elapsed() < WITHIN {
        let out = Command::new("nsenter").args([&inside, "iptables", "-w", "-S"]).output();
        let out = out.map_err(|error| format!("nsenter: {error}"))?;
        if String::from_utf8_lossy(&out.stdout).contains(&rule) {
            return Ok(Instant::now());
        }
    }
    Err(format!("no rule of port {port} within {} s", WITHIN.as_secs()))
}
