//! Actions of the trail: an intent with what came of it, as one.

use std::collections::BTreeMap;

use reconciler::model::time::Timestamp;

use super::audit::{Row, RowResult};
use super::protocol::NotedKind;

/// Something that was done, asked for, found or decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The entry that began it.
    pub row: Row,
    /// The entry that ended it, if another one did, and when.
    pub ended: Option<(u64, Timestamp)>,
    /// What came of it.
    pub result: Option<RowResult>,
    /// What went wrong.
    pub trouble: Option<String>,
}

impl Action {
    /// Whether it repairs what another hand changed.
    #[must_use]
    pub fn is_drift(&self) -> bool {
        let cause = self.row.cause.as_deref().unwrap_or_default();
        cause.starts_with("drift: ") || cause == "removed by another hand"
    }
}

/// Puts rows together, in the order in which actions began.
#[derive(Debug, Default)]
pub struct Actions {
    all: Vec<Action>,
    /// Actions without an end, by object, node and deed.
    open: BTreeMap<(String, String, String), usize>,
}

impl Actions {
    /// Takes the next row in.
    pub fn take(&mut self, row: Row) {
        let key = |row: &Row| {
            let object = row.noted.object.clone().unwrap_or_default();
            let node = row.noted.node.as_ref().map(ToString::to_string).unwrap_or_default();
            // A restart that fails is called a start, and the other way round.
            let deed = row.deed.clone().unwrap_or_default().replace("restart", "start");
            // An image is only ever fetched; how, is said in other words when it fails.
            let deed = if object.starts_with("image ") { String::new() } else { deed };
            (object, node, deed)
        };
        let is_end = matches!(row.noted.kind, NotedKind::Done | NotedKind::Failed);
        if is_end
            && row.deed.is_some()
            && let Some(at) = self.open.remove(&key(&row))
            && let Some(action) = self.all.get_mut(at)
        {
            action.ended = Some((row.noted.seq, row.noted.at));
            action.result = row.result;
            if row.result == Some(RowResult::Failed) {
                action.trouble = Some(row.noted.message);
            }
            return;
        }
        if row.noted.kind == NotedKind::Intent {
            self.open.insert(key(&row), self.all.len());
        }
        let result = row.result;
        self.all.push(Action { row, ended: None, result, trouble: None });
    }

    /// All of them.
    #[must_use]
    pub fn into_vec(self) -> Vec<Action> {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::protocol::Noted;

    fn row(seq: u64, kind: NotedKind, object: &str, deed: &str, result: Option<RowResult>) -> Row {
        let at = Timestamp(i64::try_from(seq).unwrap());
        let (object, message) = (Some(object.to_owned()), format!("{deed} said"));
        let noted = Noted { seq, at, kind, object, node: None, message };
        let deed = Some(deed.to_owned());
        Row { noted, actor: None, commit: None, from: None, cause: None, deed, result }
    }

    #[test]
    fn an_action_ends_with_its_own_result() {
        let mut actions = Actions::default();
        let (done, failed) = (Some(RowResult::Done), Some(RowResult::Failed));
        for row in [
            row(1, NotedKind::Intent, "shop/web/0", "create", None),
            row(2, NotedKind::Intent, "shop/web/0", "restart", None),
            row(3, NotedKind::Intent, "shop/db/0", "create", None),
            row(4, NotedKind::Intent, "image busybox", "fetch image", None),
            row(5, NotedKind::Done, "shop/web/0", "create", done),
            row(6, NotedKind::Failed, "shop/web/0", "start", failed),
            row(7, NotedKind::Failed, "image busybox", "pull image", failed),
            row(8, NotedKind::Done, "shop/old/0", "stop", done),
        ] {
            actions.take(row);
        }
        let all = actions.into_vec();
        let told: Vec<_> =
            all.iter().map(|one| (one.row.noted.seq, one.ended, one.result)).collect();
        let end = |seq: u64| Some((seq, Timestamp(i64::try_from(seq).unwrap())));
        let expected = [
            (1, end(5), done),
            (2, end(6), failed),
            (3, None, None),
            (4, end(7), failed),
            // Its intent is from before.
            (8, None, done),
        ];
        assert_eq!(told, expected);
        assert_eq!(all[1].trouble.as_deref(), Some("start said"));
    }
}
