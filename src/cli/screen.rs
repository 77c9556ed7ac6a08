//! The live status of `up`: below the lines, what is not ready, and one line in sum.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::show::event::Narrator;
use super::show::objects::ink;
use super::show::table::{Table, cell};
use super::show::words::{age, count32};
use super::show::{Ink, Style};
use crate::api::protocol::Overview;
use crate::shell::now;

/// Objects that are shown; the rest is counted.
const ROWS_MAX: usize = 10;

/// The status.
pub(super) struct Screen {
    all: MultiProgress,
    rows: Vec<ProgressBar>,
    style: Style,
}

impl Screen {
    /// An empty one.
    pub(super) fn new(style: Style) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stdout());
        Self { all, rows: Vec::new(), style }
    }

    /// Writes lines above the status.
    pub(super) fn print(&self, lines: &str) {
        // A terminal that is gone is noticed by the signal that comes with it.
        let _ = self.all.println(lines);
    }

    /// Makes the status anew.
    pub(super) fn draw(&mut self, overview: &Overview, narrator: &Narrator) {
        self.style.now = now();
        let mut lines = rows(overview, narrator, &self.style);
        lines.push(sum(overview, &self.style));
        while self.rows.len() > lines.len() {
            if let Some(row) = self.rows.pop() {
                row.finish_and_clear();
                self.all.remove(&row);
            }
        }
        while self.rows.len() < lines.len() {
            let row = self.all.add(ProgressBar::no_length());
            if let Ok(style) = ProgressStyle::with_template("{wide_msg}") {
                row.set_style(style);
            }
            self.rows.push(row);
        }
        for (row, line) in self.rows.iter().zip(lines) {
            row.set_message(line);
            row.tick();
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        for row in &self.rows {
            row.finish_and_clear();
        }
        let _ = self.all.clear();
    }
}

/// What is under way or not ready, one line each.
fn rows(overview: &Overview, narrator: &Narrator, style: &Style) -> Vec<String> {
    let mut table = Table::default();
    let mut count = 0_usize;
    for (object, work) in &narrator.under_way {
        count += 1;
        if count <= ROWS_MAX {
            let bytes = work.bytes.map(|(done, total)| {
                format!("{} of {}", super::show::words::size(done), super::show::words::size(total))
            });
            table.row(vec![
                object.clone().into(),
                cell(Ink::Odd, work.verb.clone()),
                cell(Ink::Dim, work.node.clone()),
                bytes.unwrap_or_else(|| work.cause.clone()).into(),
            ]);
        }
    }
    let replicas = overview.instances.iter().flat_map(|one| &one.replicas);
    let rests = |state: &str| matches!(state, "Completed" | "Stopped" | "Paused");
    for replica in replicas.filter(|one| !one.ready && !rests(&one.state)) {
        let name = replica.replica.to_string();
        if narrator.under_way.contains_key(&name) {
            continue;
        }
        count += 1;
        if count <= ROWS_MAX {
            let since = replica.since.map(|at| format!("for {}", age(style.now.since(at))));
            let node = replica.node.as_ref().map(ToString::to_string).unwrap_or_default();
            table.row(vec![
                name.into(),
                cell(ink(&replica.state), replica.state.clone()),
                cell(Ink::Dim, node),
                replica.message.clone().or(since).unwrap_or_default().into(),
            ]);
        }
    }
    for node in overview.nodes.iter().filter(|node| !node.ready) {
        let message = node.message.clone().unwrap_or_default();
        table.row(vec![
            format!("node {}", node.name).into(),
            cell(Ink::Bad, "Unreachable"),
            "".into(),
            message.into(),
        ]);
    }
    let mut lines: Vec<String> = table.render(style).lines().map(str::to_owned).collect();
    if count > ROWS_MAX {
        lines.push(format!("and {} more", count - ROWS_MAX));
    }
    lines
}

/// Everything in one line.
fn sum(overview: &Overview, style: &Style) -> String {
    let wanted: u32 = overview.instances.iter().map(|one| one.replicas_wanted).sum();
    let ready: u32 = overview.instances.iter().map(|one| one.replicas_ready).sum();
    let rests = |state: &str| matches!(state, "Completed" | "Stopped" | "Paused");
    let resting = overview.instances.iter().flat_map(|one| &one.replicas);
    let resting = resting.filter(|one| rests(&one.state)).count();
    let nodes = overview.nodes.len();
    let answering = overview.nodes.iter().filter(|node| node.ready).count();
    let (ink, word) = match (overview.settled, &overview.degraded) {
        (_, Some(_)) => (Ink::Bad, "stuck"),
        (true, None) if !overview.broken.is_empty() || overview.held.is_some() => {
            (Ink::Odd, "settled")
        }
        (true, None) if ready < wanted && resting == 0 => (Ink::Odd, "waiting"),
        (true, None) => (Ink::Good, "settled"),
        (false, None) => (Ink::Odd, "working"),
    };
    let mut parts = vec![format!("{ready} of {} ready", count32(wanted, "replica"))];
    if resting > 0 {
        parts.push(format!("{resting} at rest"));
    }
    parts.push(format!("{answering} of {nodes} nodes"));
    if !overview.broken.is_empty() {
        let files = super::show::words::count(overview.broken.len(), "file");
        parts.push(style.paint(Ink::Bad, &format!("{files} with errors")));
    }
    if let Some(held) = &overview.held {
        let removals = super::show::words::count(held.objects.len(), "removal");
        parts.push(style.paint(Ink::Bad, &format!("{removals} held: windlass approve")));
    }
    let sign = style.paint(ink, &format!("● {word}"));
    let hint = style.paint(Ink::Dim, "Ctrl-C ends; containers run on");
    format!("{sign}  {}   {hint}", parts.join(" · "))
}
