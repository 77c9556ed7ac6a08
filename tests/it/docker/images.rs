//! Images come from registries, archives and root file systems.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use reconciler::model::ids::{Digest, ImageId};
use reconciler::model::observed::ContainerState;
use reconciler::model::spec::LocalFile;
use reconciler::ports::{Done, Driver, DriverError, DriverErrorKind, LogLine, LogQuery, Progress};
use reconciler::step::Action;

use super::engine::{World, live, shell};
use crate::lab::{Engine, Registry, busybox_tar, docker};

/// A file with its true digest.
pub(super) fn image_file(path: &Path) -> LocalFile {
    let bytes = fs::read(path).expect("it can be read");
    let digest = format!("sha256:{}", Digest::of(&bytes));
    LocalFile { path: path.display().to_string(), digest }
}

pub(super) async fn fetch(
    world: &World,
    action: Action,
) -> (Result<Done, DriverError>, Vec<Progress>) {
    let seen = Mutex::new(Vec::new());
    let sink = |progress| seen.lock().expect("no panic").push(progress);
    let done = world.driver.execute(&action, &sink).await;
    (done, seen.into_inner().expect("no panic"))
}

pub(super) fn import(world: &World, tag: &str) -> Action {
    let value = r#"a "b" $HOME \n 'c'"#.to_owned();
    Action::ImportImage {
        file: image_file(&busybox_tar()),
        command: Some(["sh", "-c", "echo \"$WORDS\""].map(str::to_owned).to_vec()),
        env: BTreeMap::from([
            ("OWNER".to_owned(), world.owner.to_string()),
            ("WORDS".to_owned(), value),
        ]),
        tag: tag.to_owned(),
    }
}

pub(super) fn assert_complete(seen: &[Progress]) {
    let last = seen.last().expect("progress was told");
    assert!(last.total > 0 && last.done == last.total, "{seen:?}");
    assert!(seen.is_sorted_by_key(|progress| progress.done), "{seen:?}");
}

pub(super) async fn remove_image(engine: &'static Engine, reference: String) {
    let remove = move || docker(engine, &["rmi", "-f", &reference]);
    tokio::task::spawn_blocking(remove).await.expect("removed");
}

#[test]
fn a_root_file_system_becomes_an_image() {
    live(|world| async move {
        let tag = format!("import-{}:1.0", world.owner);
        let (done, seen) = fetch(&world, import(&world, &tag)).await;
        let Ok(Done::Image { id, pinned: None }) = done else { panic!("{done:?}") };
        assert_complete(&seen);
        let listing = world.driver.list(&world.owner).await.expect("a list");
        assert!(listing.images[&id].tags.iter().any(|found| **found == *tag));

        // What it says is what was asked for: run it with nothing of our own.
        let config = reconciler::model::observed::ContainerConfig { cmd: None, ..shell("") };
        let mut action = world.create_action(&world.unique("said"), config);
        if let Action::CreateContainer { image, .. } = &mut action {
            *image = id.clone();
        }
        let Ok(Done::Container(container)) = world.act(action).await else { panic!("none") };
        world.act(super::engine::start(&container)).await.expect("started");
        let lines = Mutex::new(Vec::new());
        let sink = |line: LogLine| lines.lock().expect("no panic").push(line.text);
        let query = LogQuery { follow: true, ..LogQuery::default() };
        world.driver.logs(&container.to_string(), query, &sink).await.expect("a log");
        assert_eq!(*lines.lock().expect("no panic"), [r#"a "b" $HOME \n 'c'"#]);
        assert!(!matches!(world.inspect(&container).await.state, ContainerState::Created));
        world.act(super::engine::remove(&container)).await.expect("removed");
        remove_image(world.engine, id.to_string()).await;
    });
}

#[test]
fn an_archive_is_loaded() {
    live(|world| async move {
        let tag = format!("load-{}:1.0", world.owner);
        let (done, _) = fetch(&world, import(&world, &tag)).await;
        let Ok(Done::Image { id, .. }) = done else { panic!("{done:?}") };
        let dir = tempfile::tempdir().expect("a directory");
        // With a name, and without one.
        for reference in [tag, id.to_string()] {
            let path = dir.path().join("image.tar");
            let engine = world.engine;
            let save = {
                let path = path.display().to_string();
                move || docker(engine, &["save", "-o", &path, &reference])
            };
            tokio::task::spawn_blocking(save).await.expect("saved");
            remove_image(world.engine, id.to_string()).await;
            let file = image_file(&path);
            let (done, seen) = fetch(&world, Action::LoadImage { file }).await;
            assert_eq!(done, Ok(Done::Image { id: id.clone(), pinned: None }));
            assert_complete(&seen);
        }

        // Another file behind the same path, and none at all.
        let path = dir.path().join("image.tar");
        let file = image_file(&path);
        remove_image(world.engine, id.to_string()).await;
        let mut archive = fs::OpenOptions::new().append(true).open(&path).expect("a file");
        archive.write_all(b"more").expect("written");
        let (done, _) = fetch(&world, Action::LoadImage { file: file.clone() }).await;
        let error = done.expect_err("it has changed");
        assert_eq!(error.kind, DriverErrorKind::Refused);
        assert!(error.message.contains("the file has changed"), "{error}");
        let listing = world.driver.list(&world.owner).await.expect("a list");
        assert!(!listing.images.contains_key(&id), "the engine has it all the same");

        fs::remove_file(&path).expect("removed");
        let (done, _) = fetch(&world, Action::LoadImage { file }).await;
        let error = done.expect_err("there is no file");
        assert_eq!(error.kind, DriverErrorKind::Refused);
        assert!(error.message.ends_with("No such file or directory"), "{error}");
    });
}

#[test]
fn an_image_is_pulled() {
    live(|world| async move {
        let engine = world.engine;
        let registry = Registry::start(engine);
        let repository = format!("{}/shop/web", registry.address());
        let tag = format!("{repository}:1.4");
        let (done, _) = fetch(&world, import(&world, &tag)).await;
        let Ok(Done::Image { id, .. }) = done else { panic!("{done:?}") };
        docker(engine, &["push", &tag]);
        remove_image(engine, id.to_string()).await;

        let (done, seen) =
            fetch(&world, Action::PullImage { reference: tag.as_str().into() }).await;
        let Ok(Done::Image { id: pulled, pinned: Some(pinned) }) = done else { panic!("{done:?}") };
        assert_eq!(pulled, id);
        assert!(pinned.starts_with(&format!("{repository}@sha256:")), "{pinned}");
        // A small layer may come too fast to be told of.
        assert!(seen.is_sorted_by_key(|progress| progress.done), "{seen:?}");
        remove_image(engine, id.to_string()).await;

        let by_digest = Action::PullImage { reference: pinned.clone() };
        let (done, _) = fetch(&world, by_digest).await;
        assert_eq!(done, Ok(Done::Image { id: id.clone(), pinned: Some(pinned) }));
        let listing = world.driver.list(&world.owner).await.expect("a list");
        let digests = &listing.images[&ImageId(id.0.clone())].digests;
        assert!(digests.iter().any(|digest| digest.starts_with(&repository)), "{digests:?}");
        remove_image(engine, id.to_string()).await;

        let missing = format!("{repository}:none");
        let (done, _) = fetch(&world, Action::PullImage { reference: missing.into() }).await;
        let error = done.expect_err("there is no such tag");
        assert_eq!(error.kind, DriverErrorKind::NotFound, "{error}");
    });
}

/// Layers of an image that is pulled: more than an engine fetches at once.
const LAYERS: usize = 5;

/// Bytes of each: enough to be told of.
const LAYER_BYTES: u64 = 8 << 20;

#[test]
fn the_total_of_a_pull_is_told_once_it_is_known() {
    live(|world| async move {
        let engine = world.engine;
        let registry = Registry::start(engine);
        let reference = registry.reference("layers");
        let script = format!("head -c {LAYER_BYTES} /dev/urandom > /layer-$0");
        let mut base = "busybox:latest".to_owned();
        for number in 0..LAYERS {
            let name = world.unique("layer");
            let (number, run) = (number.to_string(), ["run", "--net", "none", "--name"]);
            let rest = [name.as_str(), base.as_str(), "sh", "-c", &script, number.as_str()];
            docker(engine, &[run.as_slice(), rest.as_slice()].concat());
            docker(engine, &["commit", &name, &reference]);
            docker(engine, &["rm", &name]);
            base = reference.clone();
        }
        let id = docker(engine, &["inspect", "--format", "{{.Id}}", &reference]);
        registry.push_made(&reference);

        let pull = Action::PullImage { reference: reference.as_str().into() };
        let (done, seen) = fetch(&world, pull).await;
        assert!(matches!(done, Ok(Done::Image { id: found, .. }) if *found.0 == *id));
        assert_complete(&seen);
        let total = seen.last().expect("progress was told").total;
        assert!(total >= LAYERS as u64 * LAYER_BYTES, "{seen:?}");
        let told = |progress: &&Progress| progress.total != 0 && progress.total != total;
        assert_eq!(seen.iter().find(told), None, "another total before: {seen:?}");
        remove_image(engine, id).await;
    });
}
