//! `windlass audit`: the audit trail. One file a verb; all of them read, beside a running `up` and
//! without an engine.

mod export;
mod filter;
mod key;
mod log;
mod replay;
mod report;
mod verify;
mod why;

use std::path::PathBuf;

use clap::Subcommand;
use reconciler::model::quantity::Span;

use self::filter::Filter;
use super::{Context, Dir, Ended, Failure};
use crate::api::audit::{Row, Trail};
use crate::app::{self, Settings};
use crate::shell::now;

/// What `audit verify` ends with if nothing could be checked.
pub(super) const NOT_CHECKED: u8 = 2;

/// What can be done with the audit trail.
#[derive(Debug, Subcommand)]
pub(super) enum AuditVerb {
    /// Show the record, oldest first, each entry with who is behind it
    #[command(after_help = "Examples:  windlass audit log --since 7d --result failed\n           \
                            windlass audit log --object shop/web --actor dev@example.org -o json\n\n\
                            Kinds: seen declared decided intent done failed ended operator settled exec commit\n\
                            policy. -o json is one document a line. No value of a variable is shown.")]
    Log {
        #[command(flatten)]
        filter: Filter,
    },
    /// Tell the story of one object: what was done to it, why, and who was behind it
    Why {
        /// An instance, replica, image, volume or node
        #[arg(value_name = "OBJECT")]
        object: String,
    },
    /// Report what changed, who was behind it and why, in a form for an auditor
    #[command(after_help = "windlass audit report --since 30d -o html > report.html\n\n\
                            Formats: -o html (one page without scripts), csv, markdown, json.")]
    Report {
        /// Only since then: `30d` ago, or 2026-11-30
        #[arg(long, env = "WINDLASS_SINCE", hide_env_values = true, value_name = "TIME")]
        since: Option<When>,
        /// Only before then
        #[arg(long, env = "WINDLASS_UNTIL", hide_env_values = true, value_name = "TIME")]
        until: Option<When>,
    },
    /// Come to a recorded verdict again, from the specs and policies on record then
    #[command(
        after_help = "What a container was found to be is not on record in all its fields, nor are facts about\n\
                            images; verdicts on those cannot be come to again, and that is said.\n\n\
                            Exit codes: 0 the same, byte for byte; 1 something else; 2 nobody can be asked again."
    )]
    Replay {
        /// The number of the entry, as `audit log --kind policy` shows it
        #[arg(value_name = "SEQ")]
        seq: u64,
    },
    /// Check that the record is whole, and name the first bad entry
    #[command(
        after_help = "It needs nothing but the files: the journal, or one file that `audit export` wrote.\n\n\
                            A clock that was set back is told; by more than --clock-tolerance it counts as not\n\
                            whole. Entries behind the last signed checkpoint are vouched for by the chain alone:\n\
                            a checkpoint kept elsewhere (`windlass audit checkpoint`) closes that gap.\n\n\
                            Exit codes: 0 whole, 1 not whole, 2 could not be checked."
    )]
    Verify {
        /// A journal's directory, a state directory, or an export [default: that of --state]
        #[arg(long, env = "WINDLASS_JOURNAL", hide_env_values = true, value_name = "DIR|EXPORT")]
        journal: Option<PathBuf>,
        /// Signed checkpoints that were kept elsewhere
        #[arg(long, env = "WINDLASS_CHECKPOINT", hide_env_values = true, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The public keys that may have signed; else the one beside the journal
        #[arg(long, env = "WINDLASS_PUBKEY", hide_env_values = true, value_name = "FILE")]
        pubkey: Option<PathBuf>,
        /// A clock may have been set back by so much [default: 1m]
        #[arg(long, env = "WINDLASS_CLOCK_TOLERANCE", hide_env_values = true, value_name = "TIME")]
        clock_tolerance: Option<Span>,
    },
    /// Write the record to one file, which `audit verify --journal FILE` checks on its own
    #[command(
        after_help = "Whole segments are exported, from the one on that was in use at --since. Texts of\n\
                            specs are withheld, since they may hold secrets: what is left of such an entry is\n\
                            signed, its sum stays, and with it the chain."
    )]
    Export {
        /// The file; `-` is standard output
        #[arg(long, env = "WINDLASS_OUT", hide_env_values = true, value_name = "FILE")]
        out: PathBuf,
        /// Only what was written since, as `30d`, or at least since 2026-11-30
        #[arg(long, env = "WINDLASS_SINCE", hide_env_values = true, value_name = "TIME")]
        since: Option<When>,
        /// Withhold texts of specs (`false` exports them, secrets included)
        #[arg(
            long,
            env = "WINDLASS_MASK",
            hide_env_values = true,
            value_name = "BOOL",
            default_value_t = true,
            action = clap::ArgAction::Set
        )]
        mask: bool,
    },
    /// Print the public key that checkpoints are signed with, to be kept elsewhere
    Key,
    /// Print a signed checkpoint of the record as it is now, to be kept elsewhere
    #[command(after_help = "windlass audit checkpoint >> /another/machine/checkpoints.jsonl\n\
                            windlass audit verify --checkpoint /another/machine/checkpoints.jsonl")]
    Checkpoint,
}

impl AuditVerb {
    pub(super) fn is_verify(&self) -> bool {
        matches!(self, Self::Verify { .. })
    }

    /// Whether it can be written as a page, a table or text with marks.
    pub(super) fn is_report(&self) -> bool {
        matches!(self, Self::Report { .. })
    }
}

/// A moment: so long ago, or a date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct When(pub(super) i64);

impl std::str::FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(Span(ago)) = text.parse::<Span>() {
            return Ok(Self(now().0.saturating_sub(i64::try_from(ago).unwrap_or(i64::MAX))));
        }
        let moment = text.parse::<jiff::Timestamp>();
        // A date alone is its first moment.
        let moment = moment.or_else(|_| format!("{text}T00:00:00Z").parse());
        moment.map(|at| Self(at.as_millisecond())).map_err(|_| {
            "expected a time ago such as `30d`, a date such as `2026-11-30`, or a time such as \
             `2026-11-30T08:00:00Z`"
                .to_owned()
        })
    }
}

/// Runs a verb.
pub(super) fn run(context: &Context, verb: AuditVerb) -> Ended {
    match verb {
        AuditVerb::Log { filter } => log::run(context, &filter),
        AuditVerb::Why { object } => why::run(context, &object),
        AuditVerb::Replay { seq } => replay::run(context, seq),
        AuditVerb::Report { since, until } => report::run(context, since, until),
        AuditVerb::Verify { journal, checkpoint, pubkey, clock_tolerance } => {
            verify::run(context, journal, checkpoint, pubkey, clock_tolerance)
        }
        AuditVerb::Export { out, since, mask } => export::run(context, &out, since, mask),
        AuditVerb::Key => key::run(context),
        AuditVerb::Checkpoint => key::checkpoint(context),
    }
}

/// Shows `visit` the trail, oldest first.
fn rows(settings: &Settings, visit: &mut dyn FnMut(Row)) -> Result<(), Failure> {
    let mut trail = Trail::default();
    app::history(settings, &mut |stamped| {
        if let Some(row) = trail.row(&stamped) {
            visit(row);
        }
    })?;
    Ok(())
}

/// Where things are; no specs are read.
fn settings(context: &Context) -> Result<Settings, Failure> {
    context.settings(&Dir { dir: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_in_all_their_forms() {
        let read = |text: &str| text.parse::<When>();
        assert_eq!(read("1970-01-02"), Ok(When(86_400_000)));
        assert_eq!(read("1970-01-01T00:00:01Z"), Ok(When(1000)));
        assert!(read("1h").is_ok_and(|when| when.0 < now().0 - 3_500_000));
        assert!(read("yesterday").is_err());
    }
}
