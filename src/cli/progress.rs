//! Progress of a change: bars on a terminal, lines on a pipe.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::failure::Failure;
use super::out::Out;
use super::show::Ink;
use super::show::event::{Line, Narrator, Work};

/// Bars at once: more would push everything else off a small terminal.
const BARS_MAX: usize = 12;

/// Time between two pictures of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// Shows progress, and leaves nothing but its lines when it is dropped.
pub(super) enum Progress {
    /// Only errors.
    Quiet,
    /// One line an event.
    Lines,
    /// One bar for each object under way, with the lines above.
    Bars {
        /// All of them.
        all: MultiProgress,
        /// By object.
        bars: BTreeMap<String, ProgressBar>,
    },
}

impl Progress {
    /// As the terminal allows.
    pub(super) fn new(out: &Out) -> Self {
        if out.quiet {
            Self::Quiet
        } else if out.is_terminal {
            Self::Bars { all: MultiProgress::new(), bars: BTreeMap::new() }
        } else {
            Self::Lines
        }
    }

    /// Shows what is under way now, and a line about what just happened.
    pub(super) fn show(
        &mut self,
        out: &Out,
        narrator: &Narrator,
        line: Option<&Line>,
    ) -> Result<(), Failure> {
        match self {
            Self::Quiet => {
                if let Some(line) = line.filter(|line| line.ink == Ink::Bad) {
                    out.complain(&line.text);
                }
            }
            Self::Lines => {
                if let Some(line) = line {
                    out.print(&format!("{}\n", line.text))?;
                }
            }
            Self::Bars { all, bars } => {
                bars.retain(|object, bar| {
                    let stays = narrator.under_way.contains_key(object);
                    if !stays {
                        bar.finish_and_clear();
                        all.remove(bar);
                    }
                    stays
                });
                // On a terminal the bar says that something began; the line says how it ended.
                let ended = line.filter(|line| line.ink == Ink::Good || line.ink == Ink::Bad);
                if let Some(line) = ended {
                    let sign = if line.ink == Ink::Good { "✓" } else { "✗" };
                    let sign = out.err_style().paint(line.ink, sign);
                    // A line that cannot be shown does not stop the work.
                    let _ = all.println(format!("{sign} {}", line.text));
                }
                for (object, work) in &narrator.under_way {
                    if !bars.contains_key(object) && bars.len() >= BARS_MAX {
                        continue;
                    }
                    let bar = bars.entry(object.clone()).or_insert_with(|| {
                        let bar = all.add(ProgressBar::no_length());
                        bar.enable_steady_tick(TICK);
                        bar
                    });
                    picture(bar, object, work);
                }
            }
        }
        Ok(())
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Self::Bars { all, bars } = self {
            for bar in bars.values() {
                bar.finish_and_clear();
            }
            // The terminal is as it was, or there is none any more.
            let _ = all.clear();
        }
    }
}

fn picture(bar: &ProgressBar, object: &str, work: &Work) {
    let spinner = ProgressStyle::with_template("{spinner} {wide_msg}");
    let bytes = ProgressStyle::with_template(
        "{spinner} {msg}  [{bar:24}] {binary_bytes} of {binary_total_bytes}",
    );
    let (style, length) = match work.bytes {
        Some((done, total)) if total > 0 => {
            bar.set_position(done.min(total));
            (bytes, Some(total))
        }
        Some(_) | None => (spinner, None),
    };
    if let Some(length) = length {
        bar.set_length(length);
    }
    if let Ok(style) = style {
        bar.set_style(style.progress_chars("=> "));
    }
    let cause = if work.done.is_empty() { format!("  ({})", work.cause) } else { String::new() };
    bar.set_message(format!("{object}  {} on {}{cause}", work.verb, work.node));
}
