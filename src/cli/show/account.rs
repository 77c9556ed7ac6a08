//! What was used: the tables of `usage`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reconciler::usage::{Account, Amounts, By, Line, Query};
use serde::Serialize;
use serde_json::{Value, json};

use super::report::csv::quoted;
use super::table::{Table, cell};
use super::words::{minute, size, time};
use super::{Ink, Style};
use crate::api::protocol::ProjectUse;

/// All that is shown.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// What was asked.
    pub query: &'a Query,
    /// The sums.
    pub account: &'a Account,
    /// What projects use just now.
    pub projects: &'a [ProjectUse],
}

/// The account for people. Amounts of a bill are in hours.
#[must_use]
pub fn text(shown: &Shown<'_>, wide: bool, style: &Style) -> String {
    let Account { from, lines, total } = shown.account;
    let mut text = String::new();
    if let Some(from) = from {
        let until = shown.query.until.filter(|until| *until < style.now);
        let until = until.map_or_else(|| "now".to_owned(), minute);
        // A string takes all that is written to it.
        let _ = writeln!(text, "From {} until {until}, UTC", minute(*from));
        text.push('\n');
        let first = match shown.query.by {
            By::Project => "PROJECT",
            By::Instance => "INSTANCE",
            By::Flavor => "FLAVOR",
            By::Node => "NODE",
        };
        let usual = [first, "CPU-HOURS", "GIB-HOURS", "PEAK", "HOURS", "READ", "WRITTEN"];
        let more = ["READS", "WRITES", "THROTTLED", "OOM-KILLS"];
        let last = if shown.query.by == By::Flavor { "" } else { "BY FLAVOR" };
        let more = more.iter().filter(|_| wide);
        let heads: Vec<&str> = usual.iter().chain(more).chain([&last]).copied().collect();
        let mut table = Table::with_heads(&heads);
        for line in lines {
            table.row(cells(line, wide, shown.query.by, Ink::Plain));
        }
        if lines.len() > 1 {
            let total = Line { name: "all".to_owned(), ..total.clone() };
            table.row(cells(&total, wide, shown.query.by, Ink::Bold));
        }
        text.push_str(&table.render(style));
    }
    let quotas = quotas(shown.projects, style);
    if !text.is_empty() && !quotas.is_empty() {
        text.push('\n');
    }
    text.push_str(&quotas);
    text
}

fn cells(line: &Line, wide: bool, by: By, ink: Ink) -> Vec<super::table::Cell> {
    let Line { name, amounts, flavors } = line;
    let mut row = vec![
        name.clone(),
        format!("{:.4}", cpu_seconds(amounts) / 3600.0),
        format!("{:.4}", byte_seconds(amounts) / 3600.0 / f64::from(1 << 30)),
        size(amounts.memory_peak),
        format!("{:.2}", seconds(amounts.ran_ms) / 3600.0),
        size(amounts.read_bytes),
        size(amounts.written_bytes),
    ];
    if wide {
        let throttled = format!("{:.1}s", nanos(amounts.throttled_ns));
        let counts = [amounts.reads.to_string(), amounts.writes.to_string(), throttled];
        row.extend(counts);
        row.push(amounts.oom_kills.to_string());
    }
    if by != By::Flavor {
        let each = flavors.iter().map(|(name, ms)| format!("{name} {:.2}", seconds(*ms) / 3600.0));
        row.push(each.collect::<Vec<_>>().join(", "));
    }
    row.into_iter().map(|text| cell(ink, text)).collect()
}

/// What projects with a quota use of it just now; nothing if there are none.
fn quotas(projects: &[ProjectUse], style: &Style) -> String {
    let heads = ["QUOTA OF", "CPUS", "MEMORY", "PIDS", "INSTANCES", "MESSAGE"];
    let last = projects.iter().any(|project| project.unseen > 0);
    let mut table = Table::with_heads(if last { &heads } else { &heads[..5] });
    let mut any = false;
    for project in projects {
        let [cpus, memory, pids, instances] = shares(project);
        if [&cpus, &memory, &pids, &instances].iter().all(|share| share.quota.is_none()) {
            continue;
        }
        any = true;
        let show = |share: &Share, form: &dyn Fn(f64) -> String| {
            let used = share.used.map_or_else(|| "?".to_owned(), form);
            let Some(quota) = share.quota else { return used.into() };
            let percent = share.percent();
            let near = percent.is_some_and(|percent| percent >= 90.0);
            let percent = percent.map(|percent| format!(" ({percent:.0} %)")).unwrap_or_default();
            let ink = if near { Ink::Bad } else { Ink::Plain };
            cell(ink, format!("{used} of {}{percent}", form(quota)))
        };
        let plain = |number: f64| format!("{number}");
        let cores = |cores: f64| {
            let text = format!("{cores:.2}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        let bytes = |bytes: f64| size(super::usage::whole(bytes));
        let message = match project.unseen {
            0 => String::new(),
            unseen => format!("without {unseen} that could not be read from here"),
        };
        table.row(vec![
            project.name.to_string().into(),
            show(&cpus, &cores),
            show(&memory, &bytes),
            show(&pids, &plain),
            show(&instances, &plain),
            message.into(),
        ]);
    }
    if any { table.render(style) } else { String::new() }
}

/// Something that is used, and how much of it may be.
struct Share {
    used: Option<f64>,
    quota: Option<f64>,
}

impl Share {
    fn percent(&self) -> Option<f64> {
        let (used, quota) = self.used.zip(self.quota)?;
        (quota > 0.0).then(|| used / quota * 100.0)
    }
}

/// Cores, bytes, processes and threads, replicas.
fn shares(project: &ProjectUse) -> [Share; 4] {
    let ProjectUse { name: _, parent: _, quota, nano_cpus, memory, pids, containers, unseen: _ } =
        project;
    let used = if *containers == 0 { Some(0) } else { *nano_cpus };
    [
        Share { used: used.map(nanos), quota: quota.cpus.map(|cpus| nanos(cpus.0)) },
        Share { used: Some(float(*memory)), quota: quota.memory.map(|memory| float(memory.0)) },
        Share { used: Some(float(*pids)), quota: quota.pids.map(float) },
        Share { used: Some(f64::from(*containers)), quota: quota.instances.map(float) },
    ]
}

/// A line for programs, in seconds and bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    name: &'a str,
    cpu_seconds: f64,
    memory_byte_seconds: f64,
    memory_peak_bytes: u64,
    instance_seconds: f64,
    flavor_seconds: BTreeMap<&'a str, f64>,
    read_bytes: u64,
    written_bytes: u64,
    reads: u64,
    writes: u64,
    throttled_periods: u64,
    throttled_seconds: f64,
    oom_kills: u64,
}

impl<'a> Item<'a> {
    fn new(line: &'a Line) -> Self {
        let Line { name, amounts, flavors } = line;
        Self {
            name,
            cpu_seconds: cpu_seconds(amounts),
            memory_byte_seconds: byte_seconds(amounts),
            memory_peak_bytes: amounts.memory_peak,
            instance_seconds: seconds(amounts.ran_ms),
            flavor_seconds: flavors.iter().map(|(name, ms)| (&**name, seconds(*ms))).collect(),
            read_bytes: amounts.read_bytes,
            written_bytes: amounts.written_bytes,
            reads: amounts.reads,
            writes: amounts.writes,
            throttled_periods: amounts.throttled_periods,
            throttled_seconds: nanos(amounts.throttled_ns),
            oom_kills: amounts.oom_kills,
        }
    }
}

/// The account for programs.
#[must_use]
pub fn value(shown: &Shown<'_>) -> Value {
    let Account { from, lines, total } = shown.account;
    let project = |project: &ProjectUse| {
        let of = |Share { used, quota }: Share| {
            let percent = Share { used, quota }.percent();
            json!({ "used": used, "quota": quota, "percent": percent })
        };
        let [cpus, memory, pids, instances] = shares(project).map(of);
        json!({
            "name": project.name, "unseen": project.unseen,
            "cpus": cpus, "memory": memory, "pids": pids, "instances": instances,
        })
    };
    json!({
        "by": shown.query.by,
        "from": from.map(time),
        "until": shown.query.until.map(time),
        "items": lines.iter().map(Item::new).collect::<Vec<_>>(),
        "total": Item::new(&Line { name: "all".to_owned(), ..total.clone() }),
        "projects": shown.projects.iter().map(project).collect::<Vec<_>>(),
    })
}

/// The account for a spreadsheet (RFC 4180), a line each.
#[must_use]
pub fn csv(shown: &Shown<'_>) -> String {
    let mut text = String::from(
        "name,cpu_seconds,memory_byte_seconds,memory_peak_bytes,instance_seconds,read_bytes,\
         written_bytes,reads,writes,throttled_periods,throttled_seconds,oom_kills,flavor_seconds\r\n",
    );
    for line in &shown.account.lines {
        let Item {
            name,
            cpu_seconds,
            memory_byte_seconds,
            memory_peak_bytes,
            instance_seconds,
            flavor_seconds,
            read_bytes,
            written_bytes,
            reads,
            writes,
            throttled_periods,
            throttled_seconds,
            oom_kills,
        } = Item::new(line);
        let each = flavor_seconds.iter().map(|(name, seconds)| format!("{name}={seconds}"));
        let flavors = each.collect::<Vec<_>>().join(" ");
        let _ = write!(
            text,
            "{},{cpu_seconds},{memory_byte_seconds},{memory_peak_bytes},{instance_seconds},\
             {read_bytes},{written_bytes},{reads},{writes},{throttled_periods},\
             {throttled_seconds},{oom_kills},{}\r\n",
            quoted(name),
            quoted(&flavors),
        );
    }
    text
}

fn cpu_seconds(amounts: &Amounts) -> f64 {
    nanos(amounts.cpu_ns)
}

#[expect(clippy::cast_precision_loss, reason = "sixteen digits are enough for a sum")]
fn byte_seconds(amounts: &Amounts) -> f64 {
    amounts.memory_byte_ms as f64 / 1000.0
}

fn seconds(ms: u64) -> f64 {
    float(ms) / 1000.0
}

fn nanos(number: u64) -> f64 {
    float(number) / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "sixteen digits are enough for a sum")]
fn float(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use reconciler::model::ids::Name;
    use reconciler::model::quantity::{Bytes, Cpus};
    use reconciler::model::spec::Quota;
    use reconciler::model::time::Timestamp;

    fn line(name: &str) -> Line {
        let amounts = Amounts {
            ran_ms: 7_200_000,
            cpu_ns: 1_800_000_000_000,
            memory_byte_ms: (1_u128 << 30) * 3_600_000,
            memory_peak: 2 << 30,
            read_bytes: 4096,
            ..Amounts::default()
        };
        let flavors = [("m1.tiny".to_owned(), 3_600_000), ("(none)".to_owned(), 3_600_000)];
        Line { name: name.to_owned(), amounts, flavors: flavors.into() }
    }

    fn shown(then: impl FnOnce(Shown<'_>)) {
        let total = Line { name: String::new(), ..line("") };
        let account = Account {
            from: Some(Timestamp(1_795_171_267_999)),
            lines: vec![line("blog"), line("shop")],
            total,
        };
        let quota = Quota {
            cpus: Some(Cpus(500_000_000)),
            memory: Some(Bytes(64 << 20)),
            instances: Some(3),
            ..Quota::default()
        };
        let name = Name::new("shop").expect("a name");
        let projects = [ProjectUse {
            name,
            parent: None,
            quota,
            nano_cpus: Some(490_000_000),
            memory: 16 << 20,
            pids: 4,
            containers: 2,
            unseen: 0,
        }];
        let query = Query::default();
        then(Shown { query: &query, account: &account, projects: &projects });
    }

    #[test]
    fn people_get_hours_and_shares() {
        shown(|shown| {
            let style = Style::plain(Timestamp(1_795_171_267_999));
            assert_eq!(
                text(&shown, false, &style),
                "From 2026-11-20 10:41 until now, UTC\n\n\
                 PROJECT  CPU-HOURS  GIB-HOURS  PEAK  HOURS  READ  WRITTEN  BY FLAVOR\n\
                 blog     0.5000     1.0000     2Gi   2.00   4Ki   0B       (none) 1.00, m1.tiny 1.00\n\
                 shop     0.5000     1.0000     2Gi   2.00   4Ki   0B       (none) 1.00, m1.tiny 1.00\n\
                 all      0.5000     1.0000     2Gi   2.00   4Ki   0B       (none) 1.00, m1.tiny 1.00\n\n\
                 QUOTA OF  CPUS                MEMORY               PIDS  INSTANCES\n\
                 shop      0.49 of 0.5 (98 %)  16Mi of 64Mi (25 %)  4     2 of 3 (67 %)\n"
            );
        });
    }

    #[test]
    fn programs_get_seconds_and_bytes() {
        shown(|shown| {
            let value = value(&shown);
            assert_eq!(value["items"][1]["cpuSeconds"], 1800.0, "{value:#}");
            assert_eq!(value["items"][1]["memoryByteSeconds"], f64::from(1 << 30) * 3600.0);
            assert_eq!(value["items"][1]["flavorSeconds"]["m1.tiny"], 3600.0);
            assert_eq!(value["projects"][0]["cpus"]["percent"], 98.0, "{value:#}");
            let table = csv(&shown);
            let rows: Vec<&str> = table.split("\r\n").collect();
            let fields = rows[0].split(',').count();
            assert_eq!(rows[1].split(',').count(), fields, "{table}");
            assert!(
                rows[2].starts_with("shop,1800,3865470566400,2147483648,7200,4096,"),
                "{table}"
            );
            assert!(rows[2].ends_with(",(none)=3600 m1.tiny=3600"), "{table}");
        });
    }
}
