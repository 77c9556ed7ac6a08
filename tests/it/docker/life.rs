//! What is done to containers, and how engines answer.

use reconciler::model::ids::ContainerId;
use reconciler::model::observed::{ContainerState, Exit, Limits};
use reconciler::model::quantity::Span;
use reconciler::ports::{Done, Driver, DriverErrorKind, LogLine, LogQuery};
use reconciler::step::Action;

use super::engine::{World, live, remove, shell, start, stop};

/// Waits for a container's end, and says how it ended.
async fn ended(world: &World, id: &ContainerId) -> Exit {
    // The log that is followed ends with the container.
    let query = LogQuery { follow: true, ..LogQuery::default() };
    world.driver.logs(&id.to_string(), query, &|_: LogLine| {}).await.expect("a log");
    for _ in 0..50 {
        if let ContainerState::Exited(exit) = world.inspect(id).await.state {
            return exit;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("it has not ended");
}

#[test]
fn power_goes_up_and_down() {
    live(|world| async move {
        let id = world.run("trap 'exit 7' TERM; while :; do sleep 0.05; done").await;
        let container = id.to_string();
        assert!(matches!(world.inspect(&id).await.state, ContainerState::Running { .. }));
        assert_eq!(world.act(start(&id)).await, Ok(Done::AsAsked), "started twice");

        let pause = Action::PauseContainer { container: container.clone() };
        assert_eq!(world.act(pause.clone()).await, Ok(Done::AsAsked));
        assert!(matches!(world.inspect(&id).await.state, ContainerState::Paused { .. }));
        let error = world.act(pause).await.expect_err("paused twice");
        assert_eq!(error.kind, DriverErrorKind::Conflict, "{error}");
        let unpause = Action::UnpauseContainer { container };
        assert_eq!(world.act(unpause.clone()).await, Ok(Done::AsAsked));
        // Engine 20.10 says 500 here, later ones 409.
        world.act(unpause).await.expect_err("unpaused twice");

        assert_eq!(world.act(stop(&id, Span::seconds(10))).await, Ok(Done::AsAsked));
        let ContainerState::Exited(exit) = world.inspect(&id).await.state else {
            panic!("it runs");
        };
        assert_eq!((exit.code, exit.oom_killed, exit.error.as_str()), (7, false, ""));
        assert!(exit.finished_at >= exit.started_at && exit.started_at.0 > 0);
        assert_eq!(world.act(stop(&id, Span::seconds(10))).await, Ok(Done::AsAsked), "twice");
        assert_eq!(world.act(start(&id)).await, Ok(Done::AsAsked), "again");
        assert_eq!(world.act(remove(&id)).await, Ok(Done::AsAsked), "while it runs");
    });
}

#[test]
fn limits_change_while_it_lives() {
    live(|world| async move {
        let mut config = shell("sleep 1000");
        config.restart_policy = "always".to_owned();
        let id = world.create(&world.unique("limits"), config).await;
        world.act(start(&id)).await.expect("started");
        let all = |cpu, memory: u64, swap: u64, pids| Limits {
            nano_cpus: cpu,
            memory: memory << 20,
            memory_swap: swap << 20,
            pids,
            ..Limits::default()
        };
        for limits in [
            all(500_000_000, 64, 128, 50),
            all(250_000_000, 512, 1024, 5),
            all(250_000_000, 32, 64, 0),
            all(250_000_000, 32, 0, 7),
            all(250_000_000, 0, 0, 7),
            all(1_500_000_000, 16, 16, 7),
        ] {
            let container = id.to_string();
            let done = world
                .act(Action::UpdateContainer { container, limits: limits.clone(), io: None })
                .await;
            assert_eq!(done, Ok(Done::AsAsked), "{limits:?}");
            let found = world.inspect(&id).await.config;
            assert_eq!(found.limits, limits);
            assert_eq!(found.restart_policy, "no");
        }
        let lift = Action::UpdateContainer {
            container: id.to_string(),
            limits: Limits::default(),
            io: None,
        };
        let error = world.act(lift).await.expect_err("cpus cannot be lifted");
        assert_eq!(error.kind, DriverErrorKind::Refused);
    });
}

#[test]
fn ends_are_told_apart() {
    live(|world| async move {
        let id = world.run("exit 3").await;
        let exit = ended(&world, &id).await;
        assert_eq!((exit.code, exit.oom_killed), (3, false));

        let mut config = shell("x=x; while :; do x=$x$x; done");
        config.limits = Limits { memory: 16 << 20, memory_swap: 16 << 20, ..Limits::default() };
        let id = world.create(&world.unique("oom"), config).await;
        world.act(start(&id)).await.expect("started");
        let exit = ended(&world, &id).await;
        assert_eq!((exit.code, exit.oom_killed), (137, true));

        let mut config = shell("");
        config.cmd = Some(vec!["/no/such/program".to_owned()]);
        let id = world.create(&world.unique("nothing"), config).await;
        let error = world.act(start(&id)).await.expect_err("there is no such program");
        assert!(error.message.contains("no such file"), "{error}");
        let ContainerState::Exited(exit) = world.inspect(&id).await.state else {
            panic!("a failed start is an end");
        };
        assert!(exit.error.contains("no such file"), "{exit:?}");
        assert_eq!(exit.code, 127);
    });
}

#[test]
fn names_clash_and_things_are_missing() {
    live(|world| async move {
        let name = world.unique("taken");
        let id = world.create(&name, shell("true")).await;
        let error = world.act(world.create_action(&name, shell("true"))).await.expect_err("taken");
        assert_eq!(error.kind, DriverErrorKind::Conflict, "{error}");
        assert!(error.message.starts_with(&format!("create container {name}: ")), "{error}");

        let other = world.create(&world.unique("other"), shell("true")).await;
        let rename = |name: &str| Action::RenameContainer {
            container: other.to_string(),
            name: name.to_owned(),
        };
        let error = world.act(rename(&name)).await.expect_err("taken");
        assert_eq!(error.kind, DriverErrorKind::Conflict, "{error}");
        let free = world.unique("free");
        assert_eq!(world.act(rename(&free)).await, Ok(Done::AsAsked));
        assert_eq!(world.inspect(&other).await.name, free);
        let error = world.act(rename(&free)).await.expect_err("it has that name");
        assert_eq!(error.kind, DriverErrorKind::Refused, "{error}");

        world.act(remove(&id)).await.expect("removed");
        for action in [remove(&id), start(&id), stop(&id, Span::seconds(1))] {
            let error = world.act(action.clone()).await.expect_err("it is gone");
            assert_eq!(error.kind, DriverErrorKind::NotFound, "{action:?}: {error}");
        }
        let gone = Action::RemoveVolume { name: world.unique("none") };
        let error = world.act(gone).await.expect_err("there is none");
        assert_eq!(error.kind, DriverErrorKind::NotFound);
    });
}
