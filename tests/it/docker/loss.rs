//! Engines that are not there, do not answer, or go away.

use std::time::{Duration, Instant};

use reconciler::model::observed::ContainerState;
use reconciler::model::spec::Endpoint;
use reconciler::ports::{Driver, DriverErrorKind, NodeEvent};
use reconciler::step::Action;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use windlass::docker::{Deadlines, DockerDriver};

use super::engine::{SOON, World, live, new_owner, runtime};
use crate::lab::wait::Place;
use crate::lab::{Engine, Version, skipped};

#[test]
fn nobody_listens() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("docker.sock");
        let endpoint = Endpoint::Unix(path.display().to_string());
        let driver = DockerDriver::connect(&endpoint);
        let error = driver.ping().await.expect_err("there is no socket");
        assert_eq!(error.kind, DriverErrorKind::Unreachable);
        assert_eq!(error.message, "ping the engine: No such file or directory");

        drop(UnixListener::bind(&path).expect("a socket"));
        let error = driver.list(&new_owner()).await.expect_err("nobody listens");
        assert_eq!(error.kind, DriverErrorKind::Unreachable);
        assert!(error.message.ends_with("Connection refused"), "{error}");
        let error = driver.watch(&new_owner(), &|_| panic!("it cannot open")).await;
        assert_eq!(error.kind, DriverErrorKind::Unreachable);
    });
}

#[test]
fn an_engine_that_does_not_answer_is_timed_out() {
    runtime().block_on(async {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("docker.sock");
        // The kernel accepts for a listener that never looks.
        let _listener = UnixListener::bind(&path).expect("a socket");
        let deadlines = Deadlines {
            look: Duration::from_millis(200),
            change: Duration::from_millis(400),
            ..Deadlines::default()
        };
        let endpoint = Endpoint::Unix(path.display().to_string());
        let driver = DockerDriver::with_deadlines(&endpoint, deadlines);
        let started = Instant::now();
        let error = driver.ping().await.expect_err("no answer");
        assert_eq!(error.kind, DriverErrorKind::TimedOut);
        assert_eq!(error.message, "ping the engine: no answer within 0.2 s");
        let pause = Action::PauseContainer { container: "web".to_owned() };
        let error = driver.execute(&pause, &|_| {}).await.expect_err("no answer");
        assert_eq!(error.kind, DriverErrorKind::TimedOut);
        let error = driver.watch(&new_owner(), &|_| panic!("it cannot open")).await;
        assert_eq!(error.kind, DriverErrorKind::TimedOut);
        assert!(started.elapsed() < Duration::from_secs(5));
    });
}

async fn pass_on_until_a_post(mut client: UnixStream, engine: Endpoint) {
    let Endpoint::Unix(path) = engine;
    let mut engine = UnixStream::connect(path).await.expect("the engine");
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            length = client.read(&mut asked) => match &asked[..length.unwrap_or(0)] {
                [] => return,
                [b'P', b'O', b'S', b'T', ..] => std::future::pending().await,
                sent => engine.write_all(sent).await.expect("sent"),
            },
            length = engine.read(&mut answered) => {
                let got = &answered[..length.unwrap_or(0)];
                if got.is_empty() || client.write_all(got).await.is_err() {
                    return;
                }
            }
        }
    }
}

#[test]
fn an_image_that_stops_coming_is_timed_out() {
    live(|world| async move {
        let silent = tempfile::tempdir().expect("a directory");
        let path = silent.path().join("docker.sock");
        let listener = UnixListener::bind(&path).expect("a socket");
        let real = super::engine::endpoint(world.engine);
        // The session opens on the real engine; everything after it hangs.
        let proxy = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("a connection");
                tokio::spawn(pass_on_until_a_post(client, real.clone()));
            }
        });
        let deadlines = Deadlines { stall: Duration::from_millis(200), ..Deadlines::default() };
        let endpoint = Endpoint::Unix(path.display().to_string());
        let driver = DockerDriver::with_deadlines(&endpoint, deadlines);
        let pull = Action::PullImage { reference: "127.0.0.1:1/none:1".into() };
        let error = driver.execute(&pull, &|_| {}).await.expect_err("it hangs");
        assert_eq!(error.kind, DriverErrorKind::TimedOut, "{error}");
        assert!(error.message.ends_with("no progress for 0.2 s"), "{error}");
        proxy.abort();
    });
}

async fn opened(events: &mut mpsc::UnboundedReceiver<NodeEvent>) {
    // What was told of the end of an earlier watch may come first.
    let wait = async { while events.recv().await != Some(NodeEvent::Opened) {} };
    tokio::time::timeout(SOON, wait).await.expect("it opens in time");
}

#[test]
fn a_killed_engine_ends_the_watch_and_a_new_one_opens() {
    let _place = Place::take();
    let engine = match Engine::private(Version::V20_10) {
        Ok(engine) => engine,
        Err(reason) => return skipped(&reason),
    };
    // It lives as long as this process needs it; the lab ends it by its pipe.
    let engine: &'static Engine = Box::leak(Box::new(engine));
    runtime().block_on(async {
        let world = World::new(engine).await;
        let id = world.run("sleep 1000").await;
        let (sender, mut events) = mpsc::unbounded_channel();
        let sink = |event| sender.send(event).expect("the test listens");
        let watch = world.driver.watch(&world.owner, &sink);
        let mischief = async {
            opened(&mut events).await;
            world.driver.list(&world.owner).await.expect("a list");
            tokio::task::spawn_blocking(|| engine.kill()).await.expect("killed");
        };
        let (error, ()) = tokio::join!(watch, mischief);
        assert_eq!(error.kind, DriverErrorKind::Unreachable, "{error}");
        let error = world.driver.ping().await.expect_err("it is dead");
        assert_eq!(error.kind, DriverErrorKind::Unreachable, "{error}");

        tokio::task::spawn_blocking(|| engine.start()).await.expect("started");
        let watch = world.driver.watch(&world.owner, &sink);
        let look = async {
            opened(&mut events).await;
            let listing = world.driver.list(&world.owner).await.expect("a list");
            // Without live restore the engine kills what outlived it.
            assert!(matches!(listing.containers[&id].state, ContainerState::Exited(_)));
        };
        tokio::select! {
            error = watch => panic!("the watch ended: {error}"),
            () = look => {}
        }
    });
}
