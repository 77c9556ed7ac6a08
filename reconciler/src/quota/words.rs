//! Admission in words: why something is refused, and what projects have.

use super::count::Share;
use super::{Account, Admission, Kind, Refusal};
use crate::model::ids::Name;

/// So many of those who have most are named in a reason: more is no reading.
const NAMED_MAX: usize = 4;

/// What a project has of a kind, and may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Of what.
    pub kind: Kind,
    /// What is there, and what was admitted and comes.
    pub used: u64,
    /// What is there.
    pub made: u64,
    /// What may be.
    pub limit: u64,
}

impl Admission<'_> {
    /// A refusal as a reason says it: who asks for what, and who has the rest.
    #[must_use]
    pub fn explain(&self, refusal: Refusal) -> String {
        let Refusal { account: at, kind, asks, comes: _ } = refusal;
        let Some(account) = self.accounts.get(at) else { return String::new() };
        let Account { project, quota, used, .. } = account;
        let limit = kind.limit(quota).unwrap_or(u64::MAX);
        let (name, asks) = (kind.as_str(), kind.show(asks));
        let left = match limit.checked_sub(used.of(kind)) {
            Some(left) => format!("{} of {} is left", kind.show(left), kind.show(limit)),
            None => format!("{} of {} is in use", kind.show(used.of(kind)), kind.show(limit)),
        };
        let mut known = self.who_has.borrow_mut();
        let who = known.entry((at, kind)).or_insert_with(|| self.who_has(at, kind));
        format!("over the quota of project {project}: asks for {name} {asks}, {left}{who}")
    }

    /// Those who have most of a kind: ` (shop/db has 2Gi, shop/web 1Gi)`.
    fn who_has(&self, account: usize, kind: Kind) -> String {
        let counted = self.inside.values().filter(|inside| inside.accounts.contains(&account));
        let mut all: Vec<(&Share<'_>, u64)> = counted
            .flat_map(|inside| &inside.shares)
            .filter_map(|share| Some((share, share.has.of(kind))).filter(|(_, has)| *has > 0))
            .collect();
        all.sort_by_key(|(share, has)| (share.key, std::cmp::Reverse(*has)));
        // One stands there once for what it had, and once for what it got.
        let mut by_key: Vec<(&Share<'_>, u64)> = Vec::new();
        for (share, has) in all {
            match by_key.last_mut() {
                Some((last, sum)) if last.key == share.key => *sum = sum.saturating_add(has),
                Some(_) | None => by_key.push((share, has)),
            }
        }
        by_key.sort_by_key(|(share, has)| (std::cmp::Reverse(*has), share.key));
        let named = by_key.iter().take(NAMED_MAX).enumerate().map(|(index, (share, has))| {
            let verb = if index == 0 { " has" } else { "" };
            format!("{}{verb} {}", share.key, kind.show(*has))
        });
        let mut named: Vec<String> = named.collect();
        match by_key.len().saturating_sub(NAMED_MAX) {
            0 => {}
            more => named.push(format!("{more} more have the rest")),
        }
        if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
    }

    /// What a project has of all that its quota bounds; nothing without a quota.
    #[must_use]
    pub fn standing(&self, project: &Name) -> Vec<Standing> {
        let Ok(at) = self.accounts.binary_search_by(|one| one.project.cmp(project)) else {
            return Vec::new();
        };
        let Some(Account { quota, used, made, .. }) = self.accounts.get(at) else {
            return Vec::new();
        };
        let standing = |kind: Kind| {
            let limit = kind.limit(quota)?;
            Some(Standing { kind, used: used.of(kind), made: made.of(kind), limit })
        };
        Kind::ALL.into_iter().filter_map(standing).collect()
    }

    /// Why a project is over its quota, in a word and a sentence: more is there than it may have, or
    /// more is declared.
    #[must_use]
    pub fn over(&self, project: &Name) -> Option<(&'static str, String)> {
        let at = self.accounts.binary_search_by(|one| one.project.cmp(project)).ok()?;
        let standing = self.standing(project);
        let above = standing.iter().filter(|one| one.made > one.limit).map(|one| {
            format!(
                "{} {} of {}",
                one.kind.as_str(),
                one.kind.show(one.made),
                one.kind.show(one.limit)
            )
        });
        let above: Vec<String> = above.collect();
        let mut said = Vec::new();
        if !above.is_empty() {
            said.push(format!(
                "more is there than the quota has: {}; it stays, and nothing new or larger is \
                 admitted",
                above.join(", ")
            ));
        }
        if let Some((first, more)) = self.refused(at) {
            let others = match more {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            said.push(format!("no room for {first}{others}"));
        }
        let reason = if above.is_empty() { "NotAdmitted" } else { "MoreIsThere" };
        (!said.is_empty()).then(|| (reason, said.join("; ")))
    }
}
