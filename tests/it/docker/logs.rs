//! What containers print.

use std::sync::Mutex;

use reconciler::model::ids::ContainerId;
use reconciler::model::quantity::Span;
use reconciler::ports::{Driver, DriverErrorKind, LogLine, LogQuery};

use super::engine::{World, live};

async fn lines(world: &World, id: &ContainerId, query: LogQuery) -> Vec<(bool, String)> {
    let seen = Mutex::new(Vec::new());
    let sink = |line: LogLine| seen.lock().expect("no panic").push((line.stderr, line.text));
    world.driver.logs(&id.to_string(), query, &sink).await.expect("a log");
    seen.into_inner().expect("no panic")
}

#[test]
fn lines_come_whole_and_apart() {
    live(|world| async move {
        let script = "printf 'one\\ntwo\\n\\n'; sleep 0.2; echo oops >&2; printf 'no end'";
        let id = world.run(script).await;
        let of = |lines: &[(bool, String)], stderr| {
            let texts = lines.iter().filter(|line| line.0 == stderr);
            texts.map(|line| line.1.clone()).collect::<Vec<_>>()
        };
        let follow = LogQuery { follow: true, ..LogQuery::default() };
        let told = lines(&world, &id, follow).await;
        assert_eq!(of(&told, true), ["oops"]);
        // Engine 20.10 at times ends before the last line, if that has no end.
        let stdout = of(&told, false);
        assert_eq!(stdout[..3], ["one", "two", ""]);
        assert!(stdout[3..].iter().all(|line| line == "no end"), "{told:?}");
        let kept = lines(&world, &id, LogQuery::default()).await;
        assert_eq!(of(&kept, false), ["one", "two", "", "no end"]);
        assert_eq!(of(&kept, true), ["oops"]);

        let tail = LogQuery { tail: Some(1), ..LogQuery::default() };
        assert_eq!(lines(&world, &id, tail).await, kept[4..]);
        let stamped = LogQuery { timestamps: true, ..LogQuery::default() };
        let (_, first) = lines(&world, &id, stamped).await.remove(0);
        let (time, text) = first.split_once(' ').expect("a time and a text");
        assert_eq!(text, "one");
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        let since = LogQuery { since: Some(Span::seconds(3600)), ..LogQuery::default() };
        assert_eq!(lines(&world, &id, since).await.len(), 5);
    });
}

#[test]
fn long_lines_are_put_together() {
    live(|world| async move {
        let id = world.run("head -c 40000 /dev/zero | tr '\\0' x; echo").await;
        let follow = LogQuery { follow: true, ..LogQuery::default() };
        let all = lines(&world, &id, follow).await;
        assert_eq!(all, [(false, "x".repeat(40_000))]);
    });
}

#[test]
fn nobody_prints_nothing() {
    live(|world| async move {
        let logs = world.driver.logs("nobody", LogQuery::default(), &|_| {});
        let error = logs.await.expect_err("there is none");
        assert_eq!(error.kind, DriverErrorKind::NotFound, "{error}");
    });
}
