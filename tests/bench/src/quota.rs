//! What the kernel holds projects to, and how soon a limit that changed is in force. The figures are
//! read from control groups of version 1.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::lab::{EVENT_WITHIN, Engine, IMAGE, Lab, Up, settle};
use crate::table::{Failure, Row, median, ms};

/// Changes of one limit, half of them up.
const CHANGES: usize = 30;

/// What a change should take at most, from the rename of its file to the kernel's value.
const CHANGE_MAX_MS: f64 = 50.0;

/// How long use is measured: a hundred periods of the kernel.
const SPAN: Duration = Duration::from_secs(10);

/// How often a file is looked at that is about to change.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// A file of a control group.
fn file(engine: &Engine, controller: &str, group: &str, file: &str) -> PathBuf {
    let root = engine.cgroup_root();
    PathBuf::from("/sys/fs/cgroup").join(controller).join(&root[1..]).join(group).join(file)
}

fn read(path: &PathBuf) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| format!("read {}: {error}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

fn number(path: &PathBuf) -> Result<f64, Failure> {
    let text = read(path)?;
    text.parse().map_err(|_| format!("{}: {text} is no number", path.display()))
}

async fn until(path: &PathBuf, value: &str) -> Result<Instant, Failure> {
    let began = Instant::now();
    loop {
        if read(path).is_ok_and(|text| text == value) {
            return Ok(Instant::now());
        }
        if began.elapsed() > EVENT_WITHIN {
            return Err(format!("{} does not become {value}", path.display()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

fn spec(project: &str, name: &str, command: &str, more: &str) -> String {
    format!(
        "---\napiVersion: windlass/v1\nkind: Instance\nmetadata: {{ name: {name}, project: {project} \
         }}\nspec:\n  image: {IMAGE}\n  command: {command}\n  stop: {{ timeout: 1s }}\n{more}"
    )
}

/// A program that uses as much as it gets: of two cpus, if it may.
const SPIN: &str = r#"[sh, -c, "(while :; do :; done) & while :; do :; done"]"#;

pub(crate) fn limits(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    engine.runtime.block_on(async {
        let up = Up::start(engine).await?;
        let with =
            |cpus: &str| spec("live", "spin", SPIN, &format!("  resources: {{ cpus: {cpus} }}\n"));
        up.write("spin", &with("0.5"))?;
        engine.when("start", "live.spin.0.1").await.map_err(|failure| up.explain(failure))?;
        settle().await;
        let id = engine.id("live.spin.0.1").await?;
        let quota = file(engine, "cpu", &format!("live/{id}"), "cpu.cfs_quota_us");
        let used = file(engine, "cpuacct", &format!("live/{id}"), "cpuacct.usage");
        let mut changes = Vec::new();
        for change in 0..CHANGES {
            let (cpus, value) = if change % 2 == 0 { ("1.5", "150000") } else { ("0.5", "50000") };
            let written = up.write("spin", &with(cpus))?;
            let done = until(&quota, value).await.map_err(|failure| up.explain(failure))?;
            changes.push(ms(done - written));
            settle().await;
        }
        // How soon use follows: what is used of the two seconds after the change.
        let mut follows = Vec::new();
        for _ in 0..3 {
            up.write("spin", &with("0.5"))?;
            until(&quota, "50000").await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            let written = up.write("spin", &with("1.5"))?;
            let before = number(&used)?;
            tokio::time::sleep(Duration::from_secs(2)).await;
            follows.push((number(&used)? - before) / written.elapsed().as_nanos() as f64);
        }
        let is_same = engine.id("live.spin.0.1").await? == id;
        drop(up);
        engine.remove_all().await?;
        if !is_same {
            return Err("the container was replaced".to_owned());
        }
        let share = median(&follows);
        Ok(vec![
            Row::new("limit", "cpus in a spec renamed → in the kernel", "ms", changes)
                .at_most(CHANGE_MAX_MS),
            Row::new("limit", "cpus used in the 2 s after 0.5 → 1.5", "cpus", follows)
                .ratio(share / 1.5),
        ])
    })
}

pub(crate) fn quotas(lab: &Lab) -> Result<Vec<Row>, Failure> {
    let engine = lab.engine()?;
    engine.runtime.block_on(async {
        let up = Up::start(engine).await?;
        let project = |name: &str, quota: &str| {
            format!(
                "---\napiVersion: windlass/v1\nkind: Project\nmetadata: {{ name: {name} }}\nspec: {{ \
                 quota: {quota} }}\n"
            )
        };
        let calm = project("calm", "{ cpus: 1.5 }") + &*spec("calm", "spin", SPIN, "");
        up.write("calm", &calm)?;
        engine.when("start", "calm.spin.0.1").await.map_err(|failure| up.explain(failure))?;
        settle().await;
        let of = |project: &str| file(engine, "cpuacct", project, "cpuacct.usage");
        let alone = share(&of("calm")).await?;

        let greedy = project("greedy", "{ cpus: 0.5, memory: 64Mi, pids: 40 }");
        let hog = r#"[sh, -c, "while :; do tail /dev/zero; done"]"#;
        let bomb = r#"[sh, -c, "yes 1000 | xargs -P 500 -n 1 sleep; exec sleep 100000"]"#;
        let specs = spec("greedy", "spin", SPIN, "") + &*spec("greedy", "hog", hog, "");
        up.write("greedy", &(greedy + &*specs))?;
        for name in ["spin", "hog"] {
            let started = engine.when("start", &format!("greedy.{name}.0.1")).await;
            started.map_err(|failure| up.explain(failure))?;
        }
        up.write("bomb", &spec("greedy", "bomb", bomb, ""))?;
        let started = engine.when("start", "greedy.bomb.0.1").await;
        started.map_err(|failure| up.explain(failure))?;
        settle().await;
        let (theirs, ours) = (of("greedy"), of("calm"));
        let (greedy, beside) = tokio::join!(share(&theirs), share(&ours));
        let (greedy, beside) = (greedy?, beside?);
        let most = number(&file(engine, "memory", "greedy", "memory.max_usage_in_bytes"))?;
        let pids = number(&file(engine, "pids", "greedy", "pids.current"))?;
        drop(up);
        engine.remove_all().await?;
        let row = |what: &str, unit, value: f64| Row::new("quota", what, unit, vec![value]);
        Ok(vec![
            row("cpus used by three greedy instances, of 0.5", "cpus", greedy)
                .ratio_at_most(greedy / 0.5, 1.05),
            row("most memory that they ever had, of 64Mi", "MiB", most / f64::from(1 << 20))
                .at_most(64.0),
            row("processes that they have, of 40", "", pids).at_most(40.0),
            row("cpus used by another project, alone", "cpus", alone),
            row("the same beside them; ratio of alone to this", "cpus", beside)
                .ratio_at_most(alone / beside, 1.10),
        ])
    })
}

/// How many cpus a group uses on average.
async fn share(usage: &PathBuf) -> Result<f64, Failure> {
    let (began, before) = (Instant::now(), number(usage)?);
    tokio::time::sleep(SPAN).await;
    Ok((number(usage)? - before) / began.elapsed().as_nanos() as f64)
}
