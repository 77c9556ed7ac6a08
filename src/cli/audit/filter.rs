//! Which rows of the trail are meant.

use clap::{Args, ValueEnum};

use super::When;
use crate::api::audit::{Row, RowResult};
use crate::api::protocol::NotedKind;
use crate::cli::events::is_about;

/// Filters; a row has to pass all of them.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct Filter {
    /// Only what is about this instance, replica, image, volume or node
    #[arg(long, env = "WINDLASS_OBJECT", hide_env_values = true, value_name = "OBJECT")]
    pub(in crate::cli) object: Option<String>,
    /// Only what this one is behind: a part of the name is enough
    #[arg(long, env = "WINDLASS_ACTOR", hide_env_values = true, value_name = "NAME")]
    pub(in crate::cli) actor: Option<String>,
    /// Only since then: `30d` ago, or 2026-11-30
    #[arg(long, env = "WINDLASS_SINCE", hide_env_values = true, value_name = "TIME")]
    pub(in crate::cli) since: Option<When>,
    /// Only before then
    #[arg(long, env = "WINDLASS_UNTIL", hide_env_values = true, value_name = "TIME")]
    pub(in crate::cli) until: Option<When>,
    /// Only what came to this
    #[arg(long, env = "WINDLASS_RESULT", hide_env_values = true, value_name = "RESULT")]
    pub(in crate::cli) result: Option<ResultIs>,
    /// Only records of this kind
    #[arg(long, env = "WINDLASS_KIND", hide_env_values = true, value_name = "KIND")]
    pub(in crate::cli) kind: Option<KindIs>,
}

/// What something came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ResultIs {
    Done,
    Failed,
    Denied,
    Waived,
    Found,
}

/// Kinds of records, as they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum KindIs {
    Seen,
    Declared,
    Decided,
    Intent,
    Done,
    Failed,
    Ended,
    Operator,
    Settled,
    Exec,
    Commit,
    Policy,
}

impl Filter {
    /// Whether a row is meant.
    pub(super) fn takes(&self, row: &Row) -> bool {
        let Self { object, actor, since, until, result, kind } = self;
        let at = row.noted.at.0;
        let named = row.actor.as_deref().unwrap_or_default();
        object.as_ref().is_none_or(|object| is_about(&row.noted, object))
            && actor.as_ref().is_none_or(|actor| named.contains(actor.as_str()))
            && since.is_none_or(|When(since)| at >= since)
            && until.is_none_or(|When(until)| at < until)
            && result.is_none_or(|result| row.result == Some(result.meant()))
            && kind.is_none_or(|kind| row.noted.kind == kind.meant())
    }
}

impl ResultIs {
    fn meant(self) -> RowResult {
        match self {
            Self::Done => RowResult::Done,
            Self::Failed => RowResult::Failed,
            Self::Denied => RowResult::Denied,
            Self::Waived => RowResult::Waived,
            Self::Found => RowResult::Found,
        }
    }
}

impl KindIs {
    fn meant(self) -> NotedKind {
        match self {
            Self::Seen => NotedKind::Seen,
            Self::Declared => NotedKind::Declared,
            Self::Decided => NotedKind::Decided,
            Self::Intent => NotedKind::Intent,
            Self::Done => NotedKind::Done,
            Self::Failed => NotedKind::Failed,
            Self::Ended => NotedKind::Ended,
            Self::Operator => NotedKind::Operator,
            Self::Settled => NotedKind::Settled,
            Self::Exec => NotedKind::Exec,
            Self::Commit => NotedKind::Commit,
            Self::Policy => NotedKind::Policy,
        }
    }
}

#[cfg(test)]
mod tests {
    use reconciler::model::time::Timestamp;

    use super::*;
    use crate::api::protocol::Noted;

    #[test]
    fn a_row_passes_all_filters_or_none() {
        let noted = Noted {
            seq: 3,
            at: Timestamp(50),
            kind: NotedKind::Done,
            object: Some("shop/web/0".to_owned()),
            node: None,
            message: String::new(),
        };
        let row = Row {
            noted,
            actor: Some("Dev <dev@example.org>".to_owned()),
            commit: None,
            from: None,
            cause: None,
            deed: None,
            result: Some(RowResult::Done),
        };
        let good = Filter {
            object: Some("web".to_owned()),
            actor: Some("dev@".to_owned()),
            since: Some(When(50)),
            until: Some(When(51)),
            result: Some(ResultIs::Done),
            kind: Some(KindIs::Done),
        };
        assert!(good.takes(&row) && Filter::default().takes(&row));
        for wrong in [
            Filter { object: Some("db".to_owned()), ..good.clone() },
            Filter { actor: Some("ops".to_owned()), ..good.clone() },
            Filter { since: Some(When(51)), ..good.clone() },
            Filter { until: Some(When(50)), ..good.clone() },
            Filter { result: Some(ResultIs::Failed), ..good.clone() },
            Filter { kind: Some(KindIs::Exec), ..good.clone() },
        ] {
            assert!(!wrong.takes(&row), "{wrong:?}");
        }
    }
}
