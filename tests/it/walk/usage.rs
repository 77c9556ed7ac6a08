//! What containers use: as the engine counts it, over restarts of windlass, in sums and as metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use reconciler::model::spec::Endpoint;
use reconciler::ports::Driver as _;
use reconciler::usage::{Account, By, Query};
use serde_json::Value;
use windlass::api::protocol::{Frame, Request};
use windlass::app::{Mode, Settings};
use windlass::docker::DockerDriver;

use super::room::{LONG, Loop, apply_well, instance, one, settings};
use crate::lab::{Engine, Sandbox, eventually};

/// A container that never rests, in a project with a quota.
const SPINS: &str = r#"command: [sh, -c, "while :; do :; done"]
stop: { timeout: 0s }
resources: { cpus: 500m, memory: 32Mi, pids: 20 }"#;

const PROJECT: &str = "apiVersion: windlass/v1\nkind: Project\nmetadata: { name: $project }\nspec: { quota: { cpus: 1, memory: 64Mi, pids: 40 } }\n";

/// Time on processors as the engine counts it, in nanoseconds.
fn engines_count(engine: &Engine, container: &str) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let path = engine.endpoint().strip_prefix("unix://").expect("a socket");
        let driver = DockerDriver::connect(&Endpoint::Unix(path.to_owned()));
        driver.usage(container).await.expect("the engine tells").cpu_ns
    })
}

fn account(held: &Loop, query: Query) -> Account {
    match held.ask(Request::Account { query }).pop() {
        Some(Frame::Accounted { account, .. }) => account,
        other => panic!("an account, and not {other:?}"),
    }
}

/// What is on the account lies between what the engine counts before and after: nothing is missing,
/// and nothing is counted twice.
fn assert_agrees(room: &Sandbox<'_>, held: &Loop, container: &str) -> u64 {
    let before = engines_count(room.engine(), container);
    let query = Query { by: By::Instance, ..Query::default() };
    let account = account(held, query);
    let after = engines_count(room.engine(), container);
    let name = format!("{}/spin", room.project());
    let line = account.lines.iter().find(|line| line.name == name);
    let booked = line.unwrap_or_else(|| panic!("no {name} in {account:#?}")).amounts.cpu_ns;
    assert!((before..=after).contains(&booked), "{before} <= {booked} <= {after}");
    booked
}

#[test]
fn sums_agree_with_the_engine_and_outlive_restarts() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("project.yaml", PROJECT);
    room.spec("spin.yaml", &instance("spin", SPINS));
    apply_well(&room);
    let container = one(&room, "spin", 0).id().to_owned();
    // Nobody looks by itself meanwhile, so each account is of its own moment.
    let looks = Settings { usage_every: Duration::from_secs(3600), ..settings(&room) };
    let held = Loop::start(&looks, Mode::Act { hold: true });
    held.wait_until_settled();
    let first = assert_agrees(&room, &held, &container);
    let used = |at_least: u64| {
        eventually("it spins on", LONG, || engines_count(room.engine(), &container) > at_least);
    };
    // Half a processor's worth of more than a second, so that it is looked at anew.
    used(first + 600_000_000);
    let second = assert_agrees(&room, &held, &container);
    held.stop();

    used(second + 600_000_000);
    let held = Loop::start(&looks, Mode::Act { hold: true });
    held.wait_until_settled();
    let third = assert_agrees(&room, &held, &container);
    assert!(third > second, "what was used while windlass was away counts");

    // Other commands see the same, beside the daemon and without it.
    let shown = |what: &str| {
        let out = room.windlass(&["usage", "-o", "json"]);
        assert_eq!(out.code, 0, "{what}: {out:?}");
        let json: Value = serde_json::from_str(&out.stdout).expect("JSON");
        let item = &json["items"][0];
        assert_eq!(item["name"], room.project(), "{what}: {json:#}");
        let cpu = item["cpuSeconds"].as_f64().expect("a number");
        let seconds = |ns: u64| Duration::from_nanos(ns).as_secs_f64();
        assert!(cpu >= seconds(third), "{what}: {json:#}");
        assert!(cpu <= seconds(engines_count(room.engine(), &container)), "{what}: {json:#}");
        let memory = item["memoryByteSeconds"].as_f64();
        assert!(memory.is_some_and(|memory| memory > 0.0), "{what}: {json:#}");
        let share = &json["projects"][0]["memory"];
        assert_eq!(share["quota"], f64::from(64 << 20), "{what}: {json:#}");
        assert!(share["percent"].as_f64().is_some_and(|share| share > 0.0), "{what}: {json:#}");
    };
    shown("beside the daemon");
    held.stop();
    shown("without it");
    let table = room.windlass(&["usage", "--by", "flavor", "-o", "csv"]).stdout;
    assert!(table.lines().nth(1).is_some_and(|line| line.starts_with("(none),")), "{table}");
    let projects = room.windlass(&["top", "projects", "-o", "json"]).stdout;
    let projects: Value = serde_json::from_str(&projects).expect("JSON");
    let row = &projects["items"][0];
    assert_eq!(row["name"], room.project(), "{projects:#}");
    assert!(row["cpuPercent"].as_f64().is_some_and(|share| share > 0.0), "{projects:#}");
}

/// A sample: its name with its labels, and its value.
type Samples = BTreeMap<(String, BTreeMap<String, String>), f64>;

/// Reads the text format, and refuses what is not of it.
fn parse(text: &str) -> Result<Samples, String> {
    let (mut samples, mut kinds) = (Samples::new(), BTreeMap::<String, String>::new());
    assert!(text.ends_with('\n'), "the last line has an end");
    for line in text.lines() {
        let wrong = || format!("`{line}`");
        if let Some(about) = line.strip_prefix("# ") {
            let mut words = about.splitn(3, ' ');
            let (Some(word), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
            else {
                return Err(wrong());
            };
            match word {
                "TYPE" if ["counter", "gauge"].contains(&rest) => {
                    if kinds.insert(name.to_owned(), rest.to_owned()).is_some() {
                        return Err(format!("{name} has two types"));
                    }
                }
                "HELP" => {}
                _ => return Err(wrong()),
            }
            continue;
        }
        let (name, labels, value) = sample(line).ok_or_else(wrong)?;
        let kind = kinds.get(&name).ok_or_else(|| format!("{name} has no type before it"))?;
        if (kind == "counter") != name.ends_with("_total") {
            return Err(format!("{name} is a {kind}"));
        }
        if samples.insert((name, labels), value).is_some() {
            return Err(format!("{line} is there twice"));
        }
    }
    Ok(samples)
}

fn sample(line: &str) -> Option<(String, BTreeMap<String, String>, f64)> {
    let name_end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(name_end);
    let is_name = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let mut labels = BTreeMap::new();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"")?;
            let mut text = String::new();
            let mut letters = after.char_indices();
            let end = loop {
                match letters.next()? {
                    (_, '\\') => text.push(match letters.next()?.1 {
                        'n' => '\n',
                        letter @ ('\\' | '"') => letter,
                        _ => return None,
                    }),
                    (at, '"') => break at,
                    (_, letter) => text.push(letter),
                }
            };
            if !is_name(label) || labels.insert(label.to_owned(), text).is_some() {
                return None;
            }
            rest = &after[end + 1..];
            match rest.chars().next()? {
                ',' => rest = &rest[1..],
                '}' => break,
                _ => return None,
            }
        }
        rest = &rest[1..];
    }
    let value = rest.strip_prefix(' ')?.parse().ok()?;
    is_name(name).then(|| (name.to_owned(), labels, value))
}

/// The status, the type of the content, and the content.
fn get(url: &str) -> (u16, String, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let response = client.get(url.parse().expect("a URL")).await.expect("an answer");
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").expect("a type");
        let kind = kind.to_str().expect("text").to_owned();
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        (status, kind, String::from_utf8(body.to_vec()).expect("text"))
    })
}

#[test]
fn metrics_are_served_to_scrapers() {
    let room = Sandbox::new(engine!(V20_10));
    room.spec("project.yaml", PROJECT);
    room.spec("spin.yaml", &instance("spin", SPINS));
    let mut up = room.spawn_up(&["--metrics", "127.0.0.1:0", "--usage-every", "1s"]);
    let line = up.wait_for_line("metrics at http://", LONG);
    up.wait_for_line("settled: ", LONG);
    let (_, url) = line.split_once("metrics at ").expect("an address");
    let url = url.trim();
    let (status, kind, text) = get(url);
    assert_eq!((status, kind.as_str()), (200, "text/plain; version=0.0.4; charset=utf-8"));
    let samples = parse(&text).unwrap_or_else(|wrong| panic!("{wrong}\n{text}"));
    let labels = |labels: &[(&str, &str)]| -> BTreeMap<String, String> {
        labels.iter().map(|(label, text)| ((*label).to_owned(), (*text).to_owned())).collect()
    };
    let of = |name: &str| {
        let labels = labels(&[
            ("project", room.project()),
            ("instance", "spin"),
            ("ordinal", "0"),
            ("node", "lab"),
        ]);
        samples.get(&(name.to_owned(), labels)).copied()
    };
    let cpu = of("windlass_instance_cpu_seconds_total").expect("it is counted");
    let container = one(&room, "spin", 0).id().to_owned();
    let engines = Duration::from_nanos(engines_count(room.engine(), &container)).as_secs_f64();
    assert!(0.0 < cpu && cpu <= engines, "{cpu} of {engines}");
    assert_eq!(of("windlass_instance_memory_limit_bytes"), Some(f64::from(32 << 20)));
    assert!(of("windlass_instance_pids").is_some_and(|pids| pids >= 1.0), "{text}");
    for name in [
        "memory_bytes",
        "io_read_bytes_total",
        "io_written_bytes_total",
        "throttled_seconds_total",
        "oom_kills_total",
    ] {
        assert!(of(&format!("windlass_instance_{name}")).is_some(), "{name} in {text}");
    }
    let quota = labels(&[("project", room.project()), ("resource", "cpus")]);
    assert_eq!(samples.get(&("windlass_project_quota".to_owned(), quota)), Some(&1.0));
    let used = labels(&[("project", room.project()), ("resource", "instances")]);
    assert_eq!(samples.get(&("windlass_project_used".to_owned(), used)), Some(&1.0));
    assert_eq!(samples.get(&("windlass_settled".to_owned(), BTreeMap::new())), Some(&1.0));
    let up_now = labels(&[("node", "lab")]);
    assert_eq!(samples.get(&("windlass_node_up".to_owned(), up_now)), Some(&1.0));

    let printed = parse(&room.windlass(&["metrics"]).stdout).expect("of the format");
    assert_eq!(
        printed.keys().filter(|(_, labels)| labels.contains_key("instance")).count(),
        samples.keys().filter(|(_, labels)| labels.contains_key("instance")).count()
    );
    let (status, _, _) = get(&url.replace("/metrics", "/"));
    assert_eq!(status, 404);
    assert!(parse("windlass_x 1\n").is_err(), "the parser tells");
}
