//! What the driver costs beside a bare bollard loop. Run by hand:
//! `cargo test --release --test it docker::measure -- --ignored --nocapture`

use std::time::{Duration, Instant};

use bollard::models::{ContainerCreateBody, HostConfig};
use bollard::query_parameters::{
    CreateContainerOptions, RemoveContainerOptions, StartContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::{StreamExt, stream};
use reconciler::ports::{Driver, NodeEvent};
use tokio::sync::Notify;

use super::engine::{live, shell, start};

const COUNT: usize = 50;
const AT_ONCE: usize = 8;
const ROUNDS: usize = 3;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[test]
#[ignore = "measures, for some minutes, and decides nothing"]
#[expect(clippy::print_stderr, reason = "its output is the point")]
fn beside_a_bare_loop() {
    live(|world| async move {
        let client = Docker::connect_with_unix(world.engine.endpoint(), 120, API_DEFAULT_VERSION)
            .expect("a client")
            .negotiate_version()
            .await
            .expect("a version");
        let (mut bare, mut ours) = (Vec::new(), Vec::new());
        let (mut cold, mut warm) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let started = Instant::now();
            let names: Vec<String> = (0..COUNT).map(|_| world.unique("bare")).collect();
            stream::iter(&names)
                .for_each_concurrent(AT_ONCE, |name| {
                    let (client, image) = (client.clone(), world.image.to_string());
                    async move {
                        let options = CreateContainerOptions {
                            name: Some(name.clone()),
                            ..Default::default()
                        };
                        let body = ContainerCreateBody {
                            image: Some(image),
                            cmd: shell("sleep 1000").cmd,
                            host_config: Some(HostConfig {
                                network_mode: Some("none".to_owned()),
                                ..HostConfig::default()
                            }),
                            ..ContainerCreateBody::default()
                        };
                        client.create_container(Some(options), body).await.expect("created");
                        client
                            .start_container(name, None::<StartContainerOptions>)
                            .await
                            .expect("started");
                    }
                })
                .await;
            bare.push(started.elapsed());
            stream::iter(&names)
                .for_each_concurrent(AT_ONCE, |name| {
                    let options = RemoveContainerOptions { force: true, ..Default::default() };
                    let client = client.clone();
                    async move {
                        client.remove_container(name, Some(options)).await.expect("removed");
                    }
                })
                .await;

            let started = Instant::now();
            stream::iter(0..COUNT)
                .for_each_concurrent(AT_ONCE, |_| async {
                    let id = world.create(&world.unique("ours"), shell("sleep 1000")).await;
                    world.act(start(&id)).await.expect("started");
                })
                .await;
            ours.push(started.elapsed());

            // Without a watch nothing is kept; with one, the second list is warm.
            let opened = Notify::new();
            let sink = |event| {
                if event == NodeEvent::Opened {
                    opened.notify_one();
                }
            };
            let look = async {
                opened.notified().await;
                for kept in [false, true] {
                    let started = Instant::now();
                    let listing = world.driver.list(&world.owner).await.expect("a list");
                    assert_eq!(listing.containers.len(), COUNT);
                    if kept { &mut warm } else { &mut cold }.push(started.elapsed());
                }
            };
            tokio::select! {
                error = world.driver.watch(&world.owner, &sink) => panic!("{error}"),
                () = look => {}
            }
            world.clean().await;
        }
        let (bare, ours) = (median(bare), median(ours));
        eprintln!(
            "engine {}: create + start of {COUNT} at {AT_ONCE}: bare {bare:.2?}, ours {ours:.2?}, \
             ratio {:.3}; list of {COUNT}: cold {:.2?}, warm {:.2?}",
            world.engine.version(),
            ours.as_secs_f64() / bare.as_secs_f64(),
            median(cold),
            median(warm),
        );
    });
}
