//! What is not ours, and has to be as it was.

use super::super::room::inspect;
use crate::lab::{Engine, docker};

/// Containers, a network and a volume of nobody on one engine.
pub(super) struct Strangers {
    containers: Vec<(String, String, String, String)>,
    network: String,
    volume: String,
}

impl Strangers {
    /// Makes them. `ours` is a name that one of our containers might have had.
    pub(super) fn come(engine: &Engine, group: &str, ours: &str) -> Self {
        let group = format!("{group}/strange");
        let run = |options: &[&str]| {
            let args = ["run", "-d", "--net", "none", "--cgroup-parent", &group];
            let command = ["busybox:latest", "sleep", "100000"];
            docker(engine, &[&args[..], options, &command[..]].concat())
        };
        let ids = [
            run(&["--name", "web"]),
            run(&["--name", ours]),
            run(&["--label", "io.windlass.owner=somebody-else", "--memory", "20m"]),
        ];
        let network = docker(engine, &["network", "create", "theirs"]);
        let volume = docker(engine, &["volume", "create", "theirs"]);
        let containers = ids.iter().map(|id| life(engine, id).expect("it was made")).collect();
        Self { containers, network, volume }
    }

    /// What somebody did to them. `may_have_ended`: their engine ended, and took them with it.
    pub(super) fn faults(&self, engine: &Engine, may_have_ended: bool) -> Vec<String> {
        let mut faults = Vec::new();
        for before in &self.containers {
            let mut before = before.clone();
            let now = life(engine, &before.0);
            let has_ended = now.as_ref().is_some_and(|now| now.2 == "exited");
            if may_have_ended && has_ended {
                before.2 = "exited".to_owned();
            }
            if now.as_ref() != Some(&before) {
                faults.push(format!("not ours, and touched: {before:?} is {now:?}"));
            }
        }
        let network = ["network", "inspect", "--format", "{{.Id}}", "theirs"];
        if engine.try_docker(&network).as_ref() != Ok(&self.network) {
            faults.push("the network of others is gone, or another one".to_owned());
        }
        if engine.try_docker(&["volume", "inspect", &self.volume]).is_err() {
            faults.push("the volume of others is gone".to_owned());
        }
        faults
    }

    /// Has one of them touched, as a windlass that confuses what is its own would do it.
    pub(super) fn be_touched(&self, engine: &Engine) {
        docker(engine, &["restart", "--time", "0", &self.containers[0].0]);
    }

    /// Starts those again that ended with their engine, and knows them as they are then.
    pub(super) fn come_back(&mut self, engine: &Engine) {
        for known in &mut self.containers {
            // Engine 20.10 may not start one that it was killed with; it stays as it ended.
            let _ = engine.try_docker(&["start", &known.0]);
            *known = life(engine, &known.0).expect("it is there");
        }
    }
}

/// Id, name, state, and when it was started.
fn life(engine: &Engine, id: &str) -> Option<(String, String, String, String)> {
    inspect(engine, id).map(|seen| seen.life())
}
