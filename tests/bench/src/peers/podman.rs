//! `podman kube play`: no engine, so it has storage of its own, in the engine's namespaces.
//!
//! It may be unpacked and not installed, so it is told where everything is. Its locks and addresses,
//! which it keeps in fixed places of the host, are hidden below file systems of the engine's mount
//! namespace: those of a user's podman are not touched.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::process::{self, Ran, output};
use super::world::{Container, TAGS, World};
use super::{Healer, Peer, Step, Task, before, unpacked};
use crate::lab::EVENT_WITHIN;
use crate::table::{Failure, ms};

/// Fixed places that it writes to.
const PLACES: [&str; 3] = ["/dev/shm", "/var/lib/cni", "/var/lib/containers"];

/// How often the file with a container's process is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(1);

#[derive(Debug, Default)]
pub(super) struct Podman {
    home: PathBuf,
    root: PathBuf,
    /// Ids of both images, as podman has them.
    images: Vec<String>,
}

impl Podman {
    fn command(&self, world: &World) -> Command {
        let mut command = inside(world);
        command.arg(self.root.join("usr/bin/podman"));
        command
            .env("PATH", before("PATH", &self.root.join("usr/bin")))
            .env("LD_LIBRARY_PATH", self.libraries())
            .env("HOME", &self.home)
            .env("CONTAINERS_CONF", self.home.join("containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", self.home.join("storage.conf"));
        command
    }

    fn libraries(&self) -> PathBuf {
        self.root.join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
    }

    fn configure(&self) -> Result<(), Failure> {
        let (home, root) = (self.home.display(), self.root.display());
        let storage = format!(
            "[storage]\ndriver = \"overlay\"\ngraphroot = \"{home}/graph\"\nrunroot = \"{home}/run\"\n"
        );
        // Many machines allow no more than these limits, and control groups as the engine has them.
        let containers = format!(
            "[containers]
default_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]
[network]
network_backend = \"cni\"
cni_plugin_dirs = [\"{root}/usr/lib/cni\"]
network_config_dir = \"{home}/net\"
[engine]
runtime = \"runc\"
cgroup_manager = \"cgroupfs\"
events_logger = \"file\"
conmon_path = [\"{home}/conmon\"]
helper_binaries_dir = [\"{root}/usr/libexec/podman\", \"{root}/usr/bin\"]
tmp_dir = \"{home}/tmp\"
"
        );
        // It calls podman when a container ends, and hands on nothing of this environment.
        let conmon = format!(
            "#!/bin/sh
export HOME={home} LD_LIBRARY_PATH={} PATH={root}/usr/bin:$PATH
export CONTAINERS_CONF={home}/containers.conf CONTAINERS_STORAGE_CONF={home}/storage.conf
exec {root}/usr/bin/conmon \"$@\"
",
            self.libraries().display()
        );
        let policy = "{ \"default\": [{ \"type\": \"insecureAcceptAnything\" }] }\n";
        let files = [
            ("storage.conf", storage.as_str()),
            ("containers.conf", &containers),
            ("conmon", &conmon),
            (".config/containers/policy.json", policy),
        ];
        for (name, text) in files {
            let path = self.home.join(name);
            let parent = path.parent().unwrap_or(&self.home);
            fs::create_dir_all(parent)
                .and_then(|()| fs::write(&path, text))
                .map_err(|error| format!("write {}: {error}", path.display()))?;
        }
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(self.home.join("conmon"), executable).map_err(|error| error.to_string())
    }

    /// The file in which the process of a container is named.
    fn pidfile(&self, container: &Container) -> PathBuf {
        let containers = self.home.join("run/overlay-containers");
        containers.join(&container.id).join("userdata/pidfile")
    }
}

/// A command in the engine's namespaces.
fn inside(world: &World) -> Command {
    let network = world.engine.netns();
    let mut command = Command::new("nsenter");
    command.arg(format!("--mount={}", network.replace("/net", "/mnt")));
    command.arg(format!("--net={network}")).arg("--");
    command
}

impl Peer for Podman {
    fn name(&self) -> &'static str {
        "`podman kube play`"
    }

    fn setup(&mut self, world: &World) -> Result<String, Failure> {
        if !rustix::process::geteuid().is_root() {
            return Err("it is measured as root only".to_owned());
        }
        self.root = unpacked("podman")?;
        self.home = world.engine.rooms().join("podman");
        self.configure()?;
        for place in PLACES {
            let hide = format!("mkdir -p {place} && mount -t tmpfs none {place}");
            output(inside(world).args(["sh", "-c", &hide]))?;
        }
        let archive = self.home.join("images.tar");
        output(world.docker().arg("save").args(TAGS).arg("--output").arg(&archive))?;
        output(self.command(world).args(["load", "--quiet", "--input"]).arg(&archive))?;
        for tag in TAGS {
            let mut inspect = self.command(world);
            inspect.args(["image", "inspect", "--format", "{{.Id}}"]);
            self.images.push(output(inspect.arg(format!("localhost/{tag}")))?);
        }
        let podman =
            output(self.command(world).args(["version", "--format", "{{.Client.Version}}"]))?;
        let runtime = output(Command::new("runc").arg("--version"))?;
        Ok(format!(
            "{podman}, {}",
            runtime.lines().next().unwrap_or("runc").replace(" version", "")
        ))
    }

    fn specs(&self, _: &World, count: usize, changed: bool) -> String {
        let mut text = String::new();
        // Only the pod that changes: what is played again is made anew.
        let last = if changed { 1 } else { count };
        for number in 1..=last {
            let image = TAGS[usize::from(changed)];
            // Writing to a text cannot fail.
            let _ = write!(
                text,
                "---
apiVersion: v1
kind: Pod
metadata:
  name: web-{number}
spec:
  restartPolicy: Always
  containers:
    - name: main
      image: localhost/{image}
"
            );
        }
        text
    }

    fn file(&self) -> &'static str {
        "pods.yaml"
    }

    fn run(&mut self, world: &World, step: Step, task: &Task) -> Result<Option<Ran>, Failure> {
        let mut command = self.command(world);
        command.args(["kube", "play"]);
        match step {
            Step::Deploy => {}
            Step::Again | Step::Change => {
                command.arg("--replace");
            }
        }
        process::run(command.arg(&task.specs)).map(Some)
    }

    fn again_replaces(&self) -> bool {
        true
    }

    fn healer(&self) -> Healer {
        Healer::Itself
    }

    fn started(&self, _: &World, _: usize, _: Instant) -> Result<Option<Instant>, Failure> {
        // It is there until they have.
        Ok(None)
    }

    fn running(&self, world: &World) -> Result<Vec<Container>, Failure> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            id: String,
            #[serde(rename = "ImageID")]
            image: String,
            is_infra: bool,
        }
        let text = output(self.command(world).args(["ps", "--no-trunc", "--format", "json"]))?;
        let listed: Vec<Listed> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        // The images are the same ones, with other ids.
        let image = |one: &Listed| {
            let known = self.images.iter().zip(&world.images).find(|(own, _)| **own == one.image);
            known.map_or_else(String::new, |(_, image)| image.clone())
        };
        let mains = listed.into_iter().filter(|one| !one.is_infra);
        Ok(mains.map(|one| Container { image: image(&one), id: one.id }).collect())
    }

    fn kill(&self, _: &World, container: &Container) -> Result<f64, Failure> {
        let path = self.pidfile(container);
        let process = || {
            let text = fs::read_to_string(&path).ok()?;
            text.trim().parse::<i32>().ok().and_then(rustix::process::Pid::from_raw)
        };
        let first = process().ok_or_else(|| format!("{} names no process", path.display()))?;
        let at = Instant::now();
        rustix::process::kill_process(first, rustix::process::Signal::KILL)
            .map_err(|error| format!("kill: {error}"))?;
        while process().is_none_or(|now| now == first) {
            if at.elapsed() > EVENT_WITHIN {
                return Err(format!("it was not back in {EVENT_WITHIN:?}"));
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Ok(ms(at.elapsed()))
    }

    fn end(&mut self, world: &World) -> Result<(), Failure> {
        output(self.command(world).args(["pod", "rm", "--force", "--all"])).map(drop)
    }

    fn close(&mut self) {
        // The groups that it makes for all pods are empty now, or somebody else's.
        for hierarchy in fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
            remove_empty(&hierarchy.path().join("libpod_parent"));
        }
        remove_empty(Path::new("/sys/fs/cgroup/libpod_parent"));
        for place in PLACES {
            // Only where nobody had anything.
            let _ = fs::remove_dir(place);
        }
    }
}

fn remove_empty(group: &Path) {
    for below in fs::read_dir(group).into_iter().flatten().flatten() {
        if below.path().is_dir() {
            remove_empty(&below.path());
        }
    }
    // A group in use stays.
    let _ = fs::remove_dir(group);
}
