//! What archives are made of, and how they break.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;
use reconciler::model::ids::Digest as Content;

use super::*;

/// Files of an archive, in their order.
#[derive(Clone, Default)]
struct Files(Vec<(String, Vec<u8>)>);

impl Files {
    fn add(&mut self, name: &str, content: impl Into<Vec<u8>>) {
        self.0.push((name.to_owned(), content.into()));
    }

    /// Adds a blob; its digest.
    fn blob(&mut self, content: impl Into<Vec<u8>>) -> String {
        let content = content.into();
        let digest = Content::of(&content).to_string();
        self.add(&format!("blobs/sha256/{digest}"), content);
        format!("sha256:{digest}")
    }

    /// Adds an image of two layers; the descriptor of its manifest.
    fn image(&mut self, architecture: &str, mark: &str) -> serde_json::Value {
        let layers = [format!("first of {mark}"), format!("second of {mark}")];
        let layers: Vec<_> = layers.into_iter().map(|layer| self.blob(layer)).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": layers },
        });
        let config = self.blob(config.to_string());
        let of = |digest: &String| json!({ "mediaType": "x", "digest": digest, "size": 1 });
        let layers: Vec<_> = layers.iter().map(of).collect();
        let manifest = json!({ "schemaVersion": 2, "config": of(&config), "layers": layers });
        let digest = self.blob(manifest.to_string());
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest,
            "platform": { "os": "linux", "architecture": architecture },
        })
    }

    fn index(&mut self, manifests: &[serde_json::Value]) {
        self.add("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#);
        self.add("index.json", json!({ "manifests": manifests }).to_string());
    }

    /// The digest of the configuration that follows this one of the blobs that `image` adds.
    fn config(&self, image: usize) -> String {
        let (name, _) = &self.0[4 * image + 2];
        name.replace("blobs/sha256/", "sha256:")
    }

    fn tar(&self) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (name, content) in &self.0 {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
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

fn one() -> Files {
    let mut files = Files::default();
    let mut image = files.image("amd64", "one");
    image["annotations"] = json!({ "org.opencontainers.image.ref.name": "shop/web:1" });
    files.index(&[image]);
    files
}

struct Room {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

impl Room {
    fn of(bytes: &[u8]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("image.tar");
        fs::write(&path, bytes).expect("written");
        Self { _dir: dir, path }
    }

    fn file(&self) -> LocalFile {
        let bytes = fs::read(&self.path).expect("read");
        let digest = format!("sha256:{}", Content::of(&bytes));
        LocalFile { path: self.path.display().to_string(), digest }
    }
}

fn examine_as(file: &LocalFile, machine: &str) -> Result<Contents, String> {
    let info = SystemInfo {
        os_type: Some("linux".to_owned()),
        architecture: Some(machine.to_owned()),
        ..SystemInfo::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let limit = Duration::from_secs(60);
    let work = examine("load image f.tar", file, Platform::of(&info), limit);
    runtime.expect("a runtime").block_on(work).map_err(|error| {
        assert_eq!(error.kind, DriverErrorKind::Refused, "{error}");
        let text = error.message.strip_prefix("load image f.tar: ");
        text.expect("it names the file").to_owned()
    })
}

fn look_at(bytes: &[u8]) -> Result<Contents, String> {
    examine_as(&Room::of(bytes).file(), "x86_64")
}

fn assert_fault(bytes: &[u8], part: &str) {
    let fault = look_at(bytes).expect_err(part);
    assert!(fault.contains(part), "{fault}");
}

/// What the engine gets, unpacked: the files of the prefix and of the file behind it.
fn sent(contents: &Contents, file: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut bytes = contents.prefix.clone();
    bytes.extend(file);
    let mut plain = Vec::new();
    if bytes.starts_with(&[0x1f, 0x8b]) {
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .read_to_end(&mut plain)
            .expect("unpacked");
    } else {
        plain = bytes;
    }
    let mut archive = tar::Archive::new(plain.as_slice());
    let read = |entry: io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("an entry");
        let name = entry.path().expect("a name").display().to_string();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("a content");
        (name, content)
    };
    archive.entries().expect("entries").map(read).collect()
}

#[test]
fn a_layout_becomes_what_engines_read() {
    let files = one();
    for bytes in [files.tar(), gzip(&files.tar())] {
        let contents = look_at(&bytes).expect("it is whole");
        assert_eq!(contents.id.as_deref(), Some(&*files.config(0)));
        let sent = sent(&contents, &bytes);
        let (name, manifest) = &sent[0];
        let manifest: serde_json::Value = serde_json::from_slice(manifest).expect("JSON");
        assert_eq!((name.as_str(), &sent[1..]), ("manifest.json", &files.0[..]));
        let layers: Vec<&str> = files.0[..2].iter().map(|(name, _)| name.as_str()).collect();
        let config = files.0[2].0.as_str();
        let wanted = json!([{ "Config": config, "RepoTags": ["shop/web:1"], "Layers": layers }]);
        assert_eq!(manifest, wanted);
    }
}

#[test]
fn names_may_begin_with_a_point_and_be_long() {
    let mut files = one();
    files.add(&format!("./{}/x", "long/".repeat(60)), "x");
    for (name, _) in &mut files.0 {
        *name = format!("./{name}");
    }
    let contents = look_at(&files.tar()).expect("it is whole");
    assert_eq!(contents.id.as_deref(), Some(&*files.config(0).replace("./", "")));

    // The same with a header as newer tools write it for names and sizes.
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in &one().0 {
        let size = content.len().to_string();
        let pairs = [("path", name.as_bytes()), ("size", size.as_bytes())];
        builder.append_pax_extensions(pairs).expect("a header");
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, "short", content.as_slice()).expect("a tar");
    }
    let contents = look_at(&builder.into_inner().expect("a tar")).expect("it is whole");
    assert_eq!(contents.id.as_deref(), Some(&*one().config(0)));
}

#[test]
fn the_image_of_the_engine_s_platform_is_taken() {
    let mut files = Files::default();
    let images = ["amd64", "arm64", "s390x"].map(|name| files.image(name, name));
    let mut note = files.image("unknown", "note");
    note["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    // As builders have it: one index, which is named by the outer one.
    let inner = json!({ "manifests": [images[0], note, images[1], images[2]] });
    let inner = files.blob(inner.to_string());
    let outer = "application/vnd.oci.image.index.v1+json";
    files.index(&[json!({ "mediaType": outer, "digest": inner })]);
    for bytes in [files.tar(), gzip(&files.tar())] {
        let file = Room::of(&bytes);
        for (machine, image) in [("x86_64", 0), ("aarch64", 1), ("s390x", 2)] {
            let contents = examine_as(&file.file(), machine).expect("it is there");
            assert_eq!(contents.id, Some(files.config(image)), "{machine}");
        }
        let fault = examine_as(&file.file(), "riscv64").expect_err("there is none");
        let wanted = "holds images for linux/amd64, linux/arm64, linux/s390x, and the engine runs \
                      linux/riscv64";
        assert!(fault.contains(wanted), "{fault}");
    }
}

#[test]
fn a_platform_may_stand_in_the_configuration_alone() {
    let mut files = Files::default();
    let images = ["arm64", "amd64"].map(|name| {
        let mut image = files.image(name, name);
        image.as_object_mut().expect("a descriptor").remove("platform");
        image
    });
    files.index(&images);
    assert_eq!(look_at(&files.tar()).expect("it is there").id, Some(files.config(1)));
}

#[test]
fn several_images_are_listed() {
    let mut files = Files::default();
    let images = ["one", "two"].map(|name| {
        let mut image = files.image("amd64", name);
        let reference = format!("shop/{name}:1");
        image["annotations"] = json!({ "io.containerd.image.name": reference });
        image
    });
    files.index(&images);
    let fault = look_at(&files.tar()).expect_err("which one?");
    assert!(fault.contains("holds 2: ") && fault.contains("of its own"), "{fault}");
    for name in ["shop/one:1 (linux/amd64)", "shop/two:1 (linux/amd64)"] {
        assert!(fault.contains(name), "{fault}");
    }

    let mut files = Files::default();
    let saved = json!([
        { "Config": "a.json", "RepoTags": ["a:1", "a:2"], "Layers": [] },
        { "Config": "b.json", "RepoTags": null, "Layers": [] },
    ]);
    files.add("manifest.json", saved.to_string());
    assert_fault(&files.tar(), "holds 2: a:1 = a:2, b;");

    // One image under two names is one image.
    let mut files = Files::default();
    let mut twice = [files.image("amd64", "one"), serde_json::Value::Null];
    twice[1] = twice[0].clone();
    files.index(&twice);
    assert_eq!(look_at(&files.tar()).expect("one").id, Some(files.config(0)));
    let mut files = Files::default();
    files.index(&[]);
    assert_fault(&files.tar(), "holds no image");
}

#[test]
fn what_docker_saved_is_known_by_its_configuration() {
    let mut files = Files::default();
    files.add("abc/layer.tar", "layer");
    files.add("123.json", "{}");
    let saved = json!([{ "Config": "123.json", "RepoTags": ["a:1"], "Layers": ["abc/layer.tar"] }]);
    files.add("manifest.json", saved.to_string());
    let id = format!("sha256:{}", Content::of(b"{}"));
    let whole = Contents { id: Some(id), prefix: Vec::new() };
    assert_eq!(look_at(&files.tar()), Ok(whole));
    files.0.remove(0);
    assert_fault(&files.tar(), "`abc/layer.tar`, which its image needs, is not in it");
    // How engines did it before, and packed as only they unpack it: they judge.
    let mut files = Files::default();
    files.add("repositories", "{}");
    assert_eq!(look_at(&files.tar()), Ok(Contents::default()));
    assert_eq!(look_at(b"BZh91AY&SY"), Ok(Contents::default()));
}

#[test]
fn changed_blobs_are_found() {
    let files = one();
    for at in 0..4 {
        let mut files = files.clone();
        let (name, content) = &mut files.0[at];
        content[3] ^= 1;
        let name = name.clone();
        for bytes in [files.tar(), gzip(&files.tar())] {
            let fault = look_at(&bytes).expect_err("it was changed");
            assert!(fault.contains("damaged or was changed") && fault.contains(&name), "{fault}");
        }
    }
    for at in 0..4 {
        let mut files = files.clone();
        let (name, _) = files.0.remove(at);
        assert_fault(&files.tar(), &format!("`{name}`, which its image needs, is not in it"));
    }
}

#[test]
fn a_cut_anywhere_is_found() {
    let tar = one().tar();
    let end = tar.len() - 1024;
    for length in (1..end).step_by(97) {
        look_at(&tar[..length]).expect_err("it is cut");
    }
    // Without its end mark, it is whole all the same.
    look_at(&tar[..end]).expect("it is whole");
    let packed = gzip(&tar);
    for length in (1..packed.len() - 8).step_by(41) {
        look_at(&packed[..length]).expect_err("it is cut");
    }
}

#[test]
fn what_is_no_archive_is_told_apart() {
    assert_fault(b"", "is empty");
    assert_fault(b"no archive", "no tar file");
    assert_fault(&[7; 2048], "no tar file");
    assert_fault(&gzip(&[7; 2048]), "no tar file");
    assert_fault(&[0x1f, 0x8b, 7, 7], "no tar file");
    assert_fault(&[0; 2048], "no image archive");
    let mut files = Files::default();
    files.add("etc/hostname", "x");
    assert_fault(&files.tar(), "declare it as `source: { rootfs: … }`");
    let mut files = Files::default();
    for number in 0..10_001 {
        files.add(&number.to_string(), "");
    }
    assert_fault(&files.tar(), "more than 10000 entries");
    let mut files = Files::default();
    files.add("index.json", "{");
    assert_fault(&files.tar(), "`index.json` in it cannot be read (line 1, column 1)");
    let mut files = Files::default();
    files.add("index.json", vec![b' '; (4 << 20) + 1]);
    assert_fault(&files.tar(), "no image needs more than");
}

#[test]
fn a_name_without_bounds_is_not_read() {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::GNULongName);
    header.set_size(1 << 40);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend([b'x'; 4096]);
    assert_fault(&bytes, "a header of the tar makes no sense");
}

#[test]
fn a_file_that_changed_is_said_to_have() {
    let room = Room::of(&one().tar());
    let file = room.file();
    fs::write(&room.path, "another").expect("written");
    let fault = examine_as(&file, "x86_64").expect_err("it has changed");
    assert!(fault.starts_with("the file has changed: sha256:"), "{fault}");
    fs::remove_file(&room.path).expect("removed");
    assert_eq!(examine_as(&file, "x86_64"), Err("No such file or directory".to_owned()));
}

proptest! {
    /// Whatever is written over an archive: either it is refused, or it is still the same image.
    #[test]
    fn damage_is_refused_or_harmless(
        at in any::<prop::sample::Index>(),
        noise in prop::collection::vec(any::<u8>(), 1..64),
        packed in any::<bool>(),
    ) {
        let files = one();
        let mut bytes = if packed { gzip(&files.tar()) } else { files.tar() };
        let at = at.index(bytes.len());
        for (byte, noise) in bytes[at..].iter_mut().zip(noise) {
            *byte = noise;
        }
        let room = Room::of(&bytes);
        let info = SystemInfo {
            architecture: Some("x86_64".to_owned()),
            ..SystemInfo::default()
        };
        let stall = Arc::new(Stall::new(Duration::from_secs(60)));
        let pulse = Pulse { stall, given_up: Arc::default() };
        // On this thread, so that a panic is one.
        if let Ok(Contents { id: Some(id), prefix: _ }) =
            look(&room.file(), &Platform::of(&info), &pulse)
        {
            prop_assert_eq!(id, files.config(0));
        }
    }
}
