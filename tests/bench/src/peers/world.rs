//! The engine that all neighbours but one work on, and the judge of what runs there.

use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::query_parameters::{EventsOptions, ListContainersOptions};
use futures_util::StreamExt as _;
use tokio::sync::Notify;

use super::process::output;
use crate::lab::{EVENT_WITHIN, Engine, IMAGE};
use crate::table::{Failure, ms};

/// The image's names, before and after it is changed.
pub(super) const TAGS: [&str; 2] = ["bench:a", "bench:b"];

/// What containers run: one process that sleeps. As the first process of a container it does not
/// hear TERM, so the image says KILL, and nobody is measured waiting for a grace period.
const COMMAND: &str = r#"CMD ["sleep", "86400"]"#;

/// A container that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    pub(super) id: String,
    /// The id of its image.
    pub(super) image: String,
}

/// An engine with two images, and an ear for what starts there.
pub(super) struct World<'a> {
    pub(super) engine: &'a Engine,
    /// The ids of both images.
    pub(super) images: [String; 2],
    starts: Arc<Starts>,
}

#[derive(Default)]
struct Starts {
    at: Mutex<Vec<Instant>>,
    news: Notify,
}

impl<'a> World<'a> {
    pub(super) fn new(engine: &'a Engine) -> Result<Self, Failure> {
        let rooms = engine.rooms().join("image");
        std::fs::create_dir(&rooms).map_err(|error| error.to_string())?;
        for tag in TAGS {
            // Their content differs, so they are two images and not two names.
            let recipe =
                format!("FROM {IMAGE}\nCOPY content /content\nSTOPSIGNAL SIGKILL\n{COMMAND}\n");
            for (name, text) in [("content", tag), ("Dockerfile", &recipe)] {
                std::fs::write(rooms.join(name), text).map_err(|error| error.to_string())?;
            }
            let mut build = docker(engine);
            build.args(["build", "--quiet", "--tag", tag]).arg(&rooms).env("DOCKER_BUILDKIT", "0");
            output(&mut build)?;
        }
        let starts = Arc::<Starts>::default();
        let ears = Arc::clone(&starts);
        let client = engine.docker().clone();
        engine.runtime.spawn(async move {
            let words = |word: &str| vec![word.to_owned()];
            let filters = [("type", "container"), ("event", "start")];
            let filters = filters.map(|(name, word)| (name.to_owned(), words(word)));
            let options = EventsOptions { filters: Some(filters.into()), ..Default::default() };
            let mut events = client.events(Some(options));
            while let Some(Ok(_)) = events.next().await {
                let now = Instant::now();
                ears.at.lock().unwrap_or_else(PoisonError::into_inner).push(now);
                ears.news.notify_waiters();
            }
        });
        let images = engine.runtime.block_on(async {
            let mut ids = [String::new(), String::new()];
            for (id, tag) in ids.iter_mut().zip(TAGS) {
                let found = engine.docker().inspect_image(tag).await;
                let found = found.map_err(|error| format!("inspect {tag}: {error}"))?;
                *id = found.id.ok_or_else(|| format!("{tag} has no id"))?;
            }
            // The stream is open well before the first container is made.
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok::<_, Failure>(ids)
        })?;
        Ok(Self { engine, images, starts })
    }

    /// The engine's own client program.
    pub(super) fn docker(&self) -> Command {
        docker(self.engine)
    }

    /// Waits until so many containers have started since a time. Gives when the last one did.
    pub(super) fn started(&self, count: usize, since: Instant) -> Result<Instant, Failure> {
        let waited = async {
            loop {
                let news = self.starts.news.notified();
                let nth = {
                    let at = self.starts.at.lock().unwrap_or_else(PoisonError::into_inner);
                    at.iter().filter(|at| **at >= since).nth(count - 1).copied()
                };
                match nth {
                    Some(at) => return at,
                    None => news.await,
                }
            }
        };
        let within = async { tokio::time::timeout(EVENT_WITHIN, waited).await };
        let started = self.engine.runtime.block_on(within);
        started.map_err(|_| format!("{count} containers did not start in {EVENT_WITHIN:?}"))
    }

    /// The containers that run.
    pub(super) fn running(&self) -> Result<Vec<Container>, Failure> {
        let none = None::<ListContainersOptions>;
        let listed = self.engine.runtime.block_on(self.engine.docker().list_containers(none));
        let listed = listed.map_err(|error| format!("list containers: {error}"))?;
        let of =
            |id: Option<String>, image: Option<String>| Some(Container { id: id?, image: image? });
        Ok(listed.into_iter().filter_map(|one| of(one.id, one.image_id)).collect())
    }

    /// Kills the process of a container. Gives the milliseconds until a container starts.
    pub(super) fn kill(&self, container: &Container) -> Result<f64, Failure> {
        let at = self.engine.runtime.block_on(self.engine.kill_process(&container.id))?;
        Ok(ms(self.started(1, at)? - at))
    }

    /// Removes all containers and networks.
    pub(super) fn clear(&self) -> Result<(), Failure> {
        self.engine.runtime.block_on(self.engine.remove_all())?;
        self.starts.at.lock().unwrap_or_else(PoisonError::into_inner).clear();
        Ok(())
    }
}

fn docker(engine: &Engine) -> Command {
    let mut command = Command::new(engine.program());
    aim(&mut command, engine);
    command
}

/// Lets a program find the engine, and nothing of the user's settings.
pub(super) fn aim(command: &mut Command, engine: &Engine) {
    command.env("DOCKER_HOST", engine.endpoint());
    for setting in ["DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        command.env_remove(setting);
    }
    // A user's configuration may name plugins and credential helpers.
    command.env("DOCKER_CONFIG", engine.rooms().join("no-config"));
}
