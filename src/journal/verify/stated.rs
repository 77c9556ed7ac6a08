//! What signed checkpoints say of the chain that was found.

use std::path::PathBuf;

use super::walk::Walked;
use super::{Finding, Verdict, Verified, What};
use crate::journal::attest::ATTEST_AFTER_ENTRIES;
use crate::journal::key::PublicKey;
use crate::journal::line::SIGNED_SINCE;
use crate::journal::statement::{BadStatement, Found, Placed, Statement, Why};

/// The statements of one file.
#[derive(Debug)]
pub(super) struct Statements {
    pub(super) path: PathBuf,
    pub(super) found: Found,
}

impl Statements {
    pub(super) fn good(&self) -> impl Iterator<Item = &Placed> {
        self.found.iter().filter_map(|one| one.as_ref().ok())
    }

    fn finding(&self, what: What, seq: u64, line: u64, message: String) -> Finding {
        Finding { what, seq, file: self.path.clone(), line, message }
    }
}

/// All that is judged.
pub(super) struct Case<'a> {
    pub(super) is_export: bool,
    pub(super) keys: Vec<PublicKey>,
    pub(super) own: &'a Statements,
    pub(super) other: Option<&'a Statements>,
    pub(super) walked: Walked,
    /// Where the chain broke.
    pub(super) broken: Option<Finding>,
    pub(super) clock_tolerated_ms: u64,
    pub(super) notes: Vec<String>,
}

pub(super) fn judge(mut case: Case<'_>) -> Verified {
    let mut keys: Vec<String> = case.keys.iter().map(ToString::to_string).collect();
    let is_given = !keys.is_empty();
    if keys.is_empty() {
        keys.extend(case.own.good().next().map(|placed| placed.statement.key.clone()));
    }
    let mut compared = Compared::default();
    // Also where the chain broke: up to there it may be under signatures.
    let contradicted = [Some(case.own), case.other]
        .into_iter()
        .flatten()
        .find_map(|statements| compare(statements, &keys, &case.walked, &mut compared));
    let mut finding = case.broken.take().or(contradicted);
    let demanded = is_given || case.walked.version >= SIGNED_SINCE || case.other.is_some();
    if finding.is_none() {
        finding = ends(&case, &compared, demanded);
    }
    let (far, near): (Vec<_>, Vec<_>) =
        case.walked.clock.drain(..).partition(|(by, _)| *by > case.clock_tolerated_ms);
    let mut notes = std::mem::take(&mut case.notes);
    notes.extend(near.into_iter().map(|(_, Finding { seq, message, .. })| {
        format!("the clock was set back before entry {seq}, which is tolerated: {message}")
    }));
    notes.extend(case.walked.torn.clone());
    notes.extend(compared.notes);
    let Walked { first, last, withheld, .. } = case.walked;
    if finding.is_none() && compared.signed_to > 0 && compared.signed_to < last {
        notes.push(format!(
            "entries {} to {last} are not under a signature yet: the chain alone vouches for them",
            compared.signed_to + 1
        ));
    }
    let findings: Vec<Finding> =
        finding.into_iter().chain(far.into_iter().map(|(_, finding)| finding)).collect();
    let verdict = if !findings.is_empty() {
        Verdict::NotWhole
    } else if compared.signed_to == 0 || compared.is_open {
        Verdict::Unchecked
    } else {
        Verdict::Whole
    };
    if verdict == Verdict::Unchecked && compared.signed_to == 0 {
        let why = "the chain is in order, but nothing is signed: anybody could have written it; \
                   the next start of windlass signs what is there";
        notes.push(why.to_owned());
    }
    let stated = case.own.good().last().map(|placed| placed.statement.owner.0.clone());
    Verified {
        verdict,
        findings,
        owner: case.walked.owner.or(stated),
        keys,
        first,
        last,
        withheld,
        checkpoints: compared.number,
        signed_to: compared.signed_to,
        notes,
    }
}

#[derive(Debug, Default)]
struct Compared {
    number: usize,
    /// The last entry up to which all agree.
    signed_to: u64,
    notes: Vec<String>,
    /// A checkpoint that was given could not be compared.
    is_open: bool,
}

/// Compares the statements of a file with the chain. Gives the first thing that is wrong.
fn compare(
    statements: &Statements,
    keys: &[String],
    walked: &Walked,
    compared: &mut Compared,
) -> Option<Finding> {
    let mut good: Vec<&Placed> = Vec::new();
    for one in &statements.found {
        match one {
            Ok(placed) => good.push(placed),
            Err((line, BadStatement::Signature)) => {
                let message = "the checkpoint is not signed by the key that it names".to_owned();
                return Some(statements.finding(What::Forged, 0, *line, message));
            }
            Err((line, BadStatement::Layout | BadStatement::Newer(_))) => {
                let message = "the checkpoint cannot be read".to_owned();
                return Some(statements.finding(What::Edited, 0, *line, message));
            }
        }
    }
    // By entries, so that the first bad record is named.
    good.sort_by_key(|placed| placed.statement.seq);
    let mut agreed = walked.first.saturating_sub(1);
    let mut comparable = false;
    for Placed { statement, line, .. } in &good {
        let Statement { seq, key, owner, .. } = statement;
        let bad = |what, seq, message| Some(statements.finding(what, seq, *line, message));
        if !keys.contains(key) {
            let message = format!("the checkpoint of entry {seq} is signed by another key, {key}");
            return bad(What::OtherKey, *seq, message);
        }
        match walked.at.get(seq) {
            Some(Some((sum, named))) => {
                if named.as_ref().is_some_and(|named| *named != owner.0) {
                    let message =
                        format!("the checkpoint of entry {seq} is that of owner {owner}, not ours");
                    return bad(What::OtherOwner, *seq, message);
                }
                if Some(*sum) != statement.sum() {
                    let from = agreed + 1;
                    let message = format!(
                        "entries {from} to {seq} are not those that were signed: at least one of \
                         them, or one before, was written anew"
                    );
                    return bad(What::Rewritten, from, message);
                }
                (agreed, comparable) = (*seq, true);
                compared.number += 1;
                compared.signed_to = compared.signed_to.max(*seq);
            }
            Some(None) | None if *seq > walked.last => {
                if walked.owner.as_ref().is_some_and(|named| *named != owner.0) {
                    let message =
                        format!("the checkpoint of entry {seq} is that of owner {owner}, not ours");
                    return bad(What::OtherOwner, *seq, message);
                }
                let (file, line) = walked.end.clone();
                let message = format!(
                    "entries {} to {seq} are missing at the end: a signed checkpoint says that \
                     they were written",
                    walked.last + 1
                );
                return Some(Finding {
                    what: What::Truncated,
                    seq: walked.last + 1,
                    file,
                    line: line + 1,
                    message,
                });
            }
            // About what is no longer kept.
            Some(None) | None => {}
        }
    }
    if !comparable && !good.is_empty() {
        compared.is_open = true;
        compared.notes.push(format!(
            "{}: its checkpoints are about entries before {}, which are not kept here",
            statements.path.display(),
            walked.first
        ));
    }
    None
}

/// Whether the beginning and the end are where signatures say.
fn ends(case: &Case<'_>, compared: &Compared, demanded: bool) -> Option<Finding> {
    let Case { own, walked, .. } = case;
    let (file, line) = walked.end.clone();
    let at_end = |what, seq, message| Some(Finding { what, seq, file, line, message });
    let newest = own.good().max_by_key(|placed| placed.line);
    let Some(Placed { statement: newest, line: newest_line, .. }) = newest else {
        let message = "there is no signed checkpoint at all".to_owned();
        return if demanded { at_end(What::Unsigned, walked.first, message) } else { None };
    };
    if case.is_export {
        let (last_statement, last_line) = walked.last_lines;
        let is_end = newest.why == Why::Export && newest.seq == walked.last;
        if !is_end || last_statement != last_line || *newest_line != last_line {
            let message = "the export does not end with its own signed checkpoint".to_owned();
            return at_end(What::Truncated, walked.last + 1, message);
        }
    }
    if newest.first < walked.first {
        let message = format!(
            "entries {} to {} are missing at the beginning: a signed checkpoint says that they \
             are kept",
            newest.first,
            walked.first - 1
        );
        return Some(own.finding(What::Beheaded, newest.first, *newest_line, message));
    }
    // A checkpoint is signed before the next entries are: what was durable when the last ones were
    // written is covered, but for the few after which none is due yet.
    if walked.durable.saturating_sub(compared.signed_to) >= ATTEST_AFTER_ENTRIES {
        let message = format!(
            "no signed checkpoint covers entries {} to {}, though one is due every \
             {ATTEST_AFTER_ENTRIES}",
            compared.signed_to + 1,
            walked.last
        );
        return at_end(What::Unsigned, compared.signed_to + 1, message);
    }
    None
}
