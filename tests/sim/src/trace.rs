//! What happened, for whoever reads a failure: a digest of all of it, and the last lines.

use std::collections::VecDeque;

/// So many lines are kept: a failure shows within fewer.
const LINES_KEPT: usize = 120;

/// So many plans are kept.
const PLANS_KEPT: usize = 4;

/// What happened so far.
#[derive(Debug)]
pub struct Trace {
    digest: u64,
    lines: VecDeque<String>,
    plans: VecDeque<String>,
    /// Each line is printed as it comes.
    pub aloud: bool,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            digest: 0xcbf2_9ce4_8422_2325,
            lines: VecDeque::new(),
            plans: VecDeque::new(),
            aloud: false,
        }
    }
}

impl Trace {
    /// Something happened.
    pub fn say(&mut self, at_ms: u64, what: &str) {
        let line = format!("{at_ms:>9} {what}");
        for byte in line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.aloud {
            crate::print(&line);
        }
        if self.lines.len() == LINES_KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// A round made this plan.
    pub fn plan(&mut self, at_ms: u64, plan: &str) {
        if self.plans.len() == PLANS_KEPT {
            self.plans.pop_front();
        }
        self.plans.push_back(format!("at {at_ms} ms:\n{plan}"));
    }

    /// Two traces with one digest are the same.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The last lines and plans, as text.
    #[must_use]
    pub fn last(&self) -> String {
        let mut text = String::from("what happened last:\n");
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text.push_str("the last plans that were not empty:\n");
        for plan in &self.plans {
            text.push_str(plan);
            text.push('\n');
        }
        text
    }
}
