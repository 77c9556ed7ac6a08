//! Archives of images in all their forms, whole and broken.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use flate2::Compression;
use flate2::write::GzEncoder;
use reconciler::model::ids::{Digest, ImageId};
use reconciler::ports::{Done, Driver, DriverErrorKind};
use reconciler::step::Action;
use serde_json::{Value, json};

use super::engine::{World, live};
use super::images::{assert_complete, fetch, image_file, import, remove_image};
use crate::lab::wait::Place;
use crate::lab::{Engine, docker};

/// Bytes of a layer that no engine has read to its end before anybody hears of the beginning: many
/// times what is held between a file and an engine.
const LARGE_BYTES: usize = 48 << 20;

/// The parts of an image, as any archive holds them.
#[derive(Clone)]
struct Parts {
    config: Vec<u8>,
    layers: Vec<Vec<u8>>,
}

impl Parts {
    /// Reads what `docker save` wrote.
    fn of(path: &Path) -> Self {
        let mut archive = tar::Archive::new(fs::File::open(path).expect("an archive"));
        let mut files = BTreeMap::new();
        for entry in archive.entries().expect("entries") {
            let mut entry = entry.expect("an entry");
            let name = entry.path().expect("a name").display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("a content");
            files.insert(name, content);
        }
        let manifest: Value = serde_json::from_slice(&files["manifest.json"]).expect("JSON");
        let part = |name: &Value| files[name.as_str().expect("a name")].clone();
        let layers = manifest[0]["Layers"].as_array().expect("layers");
        Self { config: part(&manifest[0]["Config"]), layers: layers.iter().map(part).collect() }
    }

    /// The same with another layer above, which holds one file.
    fn with_layer(mut self, content: Vec<u8>) -> Self {
        self.layers.push(Layout(vec![("extra".to_owned(), content)]).tar());
        let mut config: Value = serde_json::from_slice(&self.config).expect("JSON");
        let ids = self.layers.iter().map(|layer| format!("sha256:{}", Digest::of(layer)));
        config["rootfs"]["diff_ids"] = ids.collect::<Vec<_>>().into();
        config.as_object_mut().expect("a mapping").remove("history");
        self.config = config.to_string().into_bytes();
        self
    }

    /// Adds it to a layout; the descriptor of its manifest.
    fn add(&self, layout: &mut Layout, packed: bool) -> Value {
        let config = layout.blob(&self.config);
        let layers: Vec<Value> = self
            .layers
            .iter()
            .map(|layer| {
                let kind = "application/vnd.oci.image.layer.v1.tar";
                if packed {
                    layout.describe(&format!("{kind}+gzip"), &gzip(layer))
                } else {
                    layout.describe(kind, layer)
                }
            })
            .collect();
        let config = json!({
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": config, "size": self.config.len(),
        });
        let manifest = json!({ "schemaVersion": 2, "config": config, "layers": layers });
        let kind = "application/vnd.oci.image.manifest.v1+json";
        layout.describe(kind, manifest.to_string().as_bytes())
    }
}

/// An OCI layout that is being made.
#[derive(Clone, Default)]
struct Layout(Vec<(String, Vec<u8>)>);

impl Layout {
    fn blob(&mut self, content: &[u8]) -> String {
        let digest = Digest::of(content).to_string();
        self.0.push((format!("blobs/sha256/{digest}"), content.to_vec()));
        format!("sha256:{digest}")
    }

    fn describe(&mut self, kind: &str, content: &[u8]) -> Value {
        json!({ "mediaType": kind, "digest": self.blob(content), "size": content.len() })
    }

    fn index(&mut self, manifests: &[Value]) {
        let index = json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        self.0.push(("index.json".to_owned(), index.into_bytes()));
        let mark = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
        self.0.push(("oci-layout".to_owned(), mark.into_bytes()));
    }

    fn tar(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in &self.0 {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            builder.append_data(&mut header, name, content.as_slice()).expect("a tar");
        }
        builder.into_inner().expect("a tar")
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("compressed");
    encoder.finish().expect("compressed")
}

/// Makes an image, saves it to a file, and removes it from the engine.
async fn saved(world: &World, dir: &Path) -> (ImageId, PathBuf) {
    let tag = format!("archive-{}:1.0", world.owner);
    let (done, _) = fetch(world, import(world, &tag)).await;
    let Ok(Done::Image { id, .. }) = done else { panic!("{done:?}") };
    let path = dir.join("saved.tar");
    docker(world.engine, &["save", "-o", &path.display().to_string(), &tag]);
    remove_image(world.engine, id.to_string()).await;
    (id, path)
}

async fn holds(world: &World, id: &ImageId) -> bool {
    let listing = world.driver.list(&world.owner).await.expect("a list");
    listing.images.contains_key(id)
}

/// Loads it, and removes it again.
async fn load_well(world: &World, path: &Path, id: &ImageId) {
    let (done, seen) = fetch(world, Action::LoadImage { file: image_file(path) }).await;
    assert_eq!(done, Ok(Done::Image { id: id.clone(), pinned: None }));
    assert_complete(&seen);
    assert!(holds(world, id).await, "it is not there");
    remove_image(world.engine, id.to_string()).await;
}

/// Loads it in vain, and gives what was said.
async fn load_badly(world: &World, path: &Path, id: &ImageId) -> String {
    let (done, _) = fetch(world, Action::LoadImage { file: image_file(path) }).await;
    let error = done.expect_err("it is broken");
    assert_eq!(error.kind, DriverErrorKind::Refused, "{error}");
    assert!(error.message.contains(&path.display().to_string()), "{error}");
    assert!(!holds(world, id).await, "the engine has it all the same");
    error.message
}

#[test]
fn layouts_and_compressed_archives_are_loaded() {
    live(|world| async move {
        let dir = tempfile::tempdir().expect("a directory");
        let (id, path) = saved(&world, dir.path()).await;
        let parts = Parts::of(&path);
        let classic = fs::read(&path).expect("an archive");
        let mut forms = vec![gzip(&classic)];
        for packed in [false, true] {
            let mut layout = Layout::default();
            let manifest = parts.add(&mut layout, packed);
            layout.index(&[manifest]);
            forms.extend([layout.tar(), gzip(&layout.tar())]);
        }
        // The same image for several platforms, this one's in the middle.
        let mut layout = Layout::default();
        let others = ["s390x", "amd64", "arm64"].map(|architecture| {
            let mut config: Value = serde_json::from_slice(&parts.config).expect("JSON");
            config["architecture"] = json!(architecture);
            let other = Parts { config: config.to_string().into_bytes(), ..parts.clone() };
            let this = architecture == "amd64";
            let mut manifest = if this { &parts } else { &other }.add(&mut layout, true);
            manifest["platform"] = json!({ "os": "linux", "architecture": architecture });
            manifest
        });
        layout.index(&others);
        if cfg!(target_arch = "x86_64") {
            forms.push(layout.tar());
        }
        let form = dir.path().join("form.tar");
        for bytes in forms {
            fs::write(&form, bytes).expect("written");
            load_well(&world, &form, &id).await;
        }
        // A name in the layout becomes the image's.
        let mut layout = Layout::default();
        let mut manifest = parts.add(&mut layout, true);
        let name = format!("oci-{}:2.0", world.owner);
        manifest["annotations"] = json!({ "io.containerd.image.name": name });
        layout.index(&[manifest]);
        fs::write(&form, layout.tar()).expect("written");
        let (done, _) = fetch(&world, Action::LoadImage { file: image_file(&form) }).await;
        assert_eq!(done, Ok(Done::Image { id: id.clone(), pinned: None }));
        let listing = world.driver.list(&world.owner).await.expect("a list");
        assert!(listing.images[&id].tags.iter().any(|tag| **tag == *name), "{listing:?}");
        remove_image(world.engine, id.to_string()).await;
    });
}

#[test]
fn broken_archives_are_refused_and_named() {
    live(|world| async move {
        let dir = tempfile::tempdir().expect("a directory");
        let (id, path) = saved(&world, dir.path()).await;
        let parts = Parts::of(&path);
        let mut layout = Layout::default();
        let manifest = parts.add(&mut layout, true);
        layout.index(&[manifest]);
        let whole = layout.tar();
        let broken = dir.path().join("broken.tar");

        for bytes in [whole.clone(), gzip(&whole), fs::read(&path).expect("an archive")] {
            fs::write(&broken, &bytes[..bytes.len() / 2]).expect("written");
            let said = load_badly(&world, &broken, &id).await;
            assert!(said.contains("the file is cut off") && said.contains("anew"), "{said}");
        }

        let mut tampered = layout.clone();
        let (name, layer) = &mut tampered.0[1];
        let middle = layer.len() / 2;
        layer[middle] ^= 1;
        let name = name.clone();
        fs::write(&broken, tampered.tar()).expect("written");
        let said = load_badly(&world, &broken, &id).await;
        assert!(said.contains("damaged or was changed") && said.contains(&name), "{said}");

        // In an archive whose names are no digests, it is the engine that finds it, unless it holds
        // the true layer already.
        let parts = parts.with_layer(world.owner.to_string().into_bytes());
        let own = ImageId(format!("sha256:{}", Digest::of(&parts.config)).into());
        for tampered in [true, false] {
            let mut classic = Layout::default();
            let mut layers = parts.layers.clone();
            let middle = layers[1].len() / 4;
            layers[1][middle] ^= u8::from(tampered);
            for (number, layer) in layers.into_iter().enumerate() {
                classic.0.push((format!("{number}/layer.tar"), layer));
            }
            classic.0.push(("config.json".to_owned(), parts.config.clone()));
            let names = ["0/layer.tar", "1/layer.tar"];
            let manifest = json!([{ "Config": "config.json", "RepoTags": null, "Layers": names }]);
            classic.0.push(("manifest.json".to_owned(), manifest.to_string().into_bytes()));
            fs::write(&broken, classic.tar()).expect("written");
            if tampered {
                let said = load_badly(&world, &broken, &own).await;
                assert!(said.contains("damaged or was changed: save it anew"), "{said}");
            } else {
                load_well(&world, &broken, &own).await;
            }
        }

        fs::write(&broken, "no archive").expect("written");
        let said = load_badly(&world, &broken, &id).await;
        assert!(said.contains("no tar file"), "{said}");
        // Compressed so that only engines unpack it, and it is not.
        fs::write(&broken, "BZh9 no archive").expect("written");
        let said = load_badly(&world, &broken, &id).await;
        assert!(said.contains("plain or compressed by gzip"), "{said}");
        fs::copy(crate::lab::busybox_tar(), &broken).expect("a copy");
        let said = load_badly(&world, &broken, &id).await;
        assert!(said.contains("declare it as `source: { rootfs: … }`"), "{said}");

        // Nothing of it stays in the way of the whole one.
        fs::write(&broken, whole).expect("written");
        load_well(&world, &broken, &id).await;
    });
}

#[test]
fn several_images_in_an_archive_are_listed_and_not_loaded() {
    live(|world| async move {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("two.tar");
        let mut ids = Vec::new();
        let tags = ["one", "two"].map(|name| format!("{name}-{}:1", world.owner));
        for tag in &tags {
            let made = docker(world.engine, &["create", "--net", "none", "busybox:latest", "true"]);
            let label = format!("LABEL of={tag}");
            let id = docker(world.engine, &["commit", "--change", &label, &made, tag]);
            docker(world.engine, &["rm", &made]);
            ids.push(ImageId(id.as_str().into()));
        }
        let file = path.display().to_string();
        docker(world.engine, &["save", "-o", &file, &tags[0], &tags[1]]);
        docker(world.engine, &["rmi", &tags[0], &tags[1]]);
        let said = load_badly(&world, &path, &ids[0]).await;
        assert!(said.contains("this one holds 2") && tags.iter().all(|tag| said.contains(tag)));
        assert!(!holds(&world, &ids[1]).await, "the engine has it all the same");
    });
}

fn a_file_that_changes_on_its_way_is_given_up(engine: &'static Engine) {
    let _place = Place::take();
    // With one thread, progress is told before much more of the file is read.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let world = World::new(engine).await;
        let dir = tempfile::tempdir().expect("a directory");
        let (_, path) = saved(&world, dir.path()).await;
        let noise: Vec<u8> = (0..LARGE_BYTES / 8)
            .flat_map(|n| (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect();
        let parts = Parts::of(&path).with_layer(noise);
        let mut layout = Layout::default();
        let manifest = parts.add(&mut layout, false);
        let id = ImageId(format!("sha256:{}", Digest::of(&parts.config)).into());
        layout.index(&[manifest]);
        fs::write(&path, layout.tar()).expect("written");

        let file = image_file(&path);
        let change = Mutex::new(Some(fs::OpenOptions::new().write(true).open(&path)));
        let on_the_way = |_| {
            if let Some(opened) = change.lock().expect("no panic").take() {
                let mut opened = opened.expect("a file");
                // Within the large layer, which is as long as before.
                opened.seek(SeekFrom::End(-(8 << 20))).expect("it has that many bytes");
                opened.write_all(b"changed").expect("written");
            }
        };
        let done = world.driver.execute(&Action::LoadImage { file }, &on_the_way).await;
        assert!(change.lock().expect("no panic").is_none(), "no progress was told");
        let error = done.expect_err("it has changed");
        assert_eq!(error.kind, DriverErrorKind::Refused, "{error}");
        assert!(error.message.contains(&path.display().to_string()), "{error}");
        assert!(error.message.contains("the file has changed"), "{error}");
        assert!(!holds(&world, &id).await, "the engine has it all the same");
    });
}

#[test]
fn a_file_that_changes_on_its_way_is_given_up_on_20_10() {
    a_file_that_changes_on_its_way_is_given_up(engine!(V20_10));
}

#[test]
fn a_file_that_changes_on_its_way_is_given_up_on_26_1() {
    a_file_that_changes_on_its_way_is_given_up(engine!(V26_1));
}
