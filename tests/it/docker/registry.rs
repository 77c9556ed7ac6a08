//! Registries: who may pull, what a tag is once it is known, and what happens when one has nothing.
//!
//! Credentials come from the environment, so what is about them runs the binary.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::lab::registry::{PASSWORD, USER, docker_config, script};
use crate::lab::{Engine, Registry, Sandbox, docker};

/// A command line in base64, as Docker keeps a login.
const LOGIN: &str = "cHVsbGVyOn5+fj8/Pz4+PnNlc2FtZQ==";

/// The same user with another password, `open-up`.
const WRONG: &str = "cHVsbGVyOm9wZW4tdXA=";

/// A sandbox with an Instance of an image, and a Docker configuration of its own.
struct Room<'e> {
    room: Sandbox<'e>,
    config: PathBuf,
    helpers: PathBuf,
}

impl<'e> Room<'e> {
    fn new(engine: &'e Engine) -> Self {
        let room = Sandbox::new(engine);
        let (config, helpers) = (room.path().join("docker"), room.path().join("helpers"));
        std::fs::create_dir(&helpers).expect("a directory");
        Self { room, config, helpers }
    }

    /// Declares an Instance `web`, with more documents before it.
    fn declare(&self, image: &str, documents: &str) {
        let spec = format!(
            "{documents}---\napiVersion: windlass/v1\nkind: Instance\nmetadata: {{ name: web, project: $project }}\nspec:\n  image: {image}\n  command: [sleep, '100000']\n  stop: {{ signal: KILL }}\n"
        );
        self.room.spec("set.yaml", &spec);
    }

    fn log_in(&self, config: &Value) {
        docker_config(&self.config, config);
    }

    fn prepared(&self, args: &[&str]) -> Command {
        let mut command = self.room.command(args);
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .env("DOCKER_CONFIG", &self.config)
            .env("PATH", format!("{}:{path}", self.helpers.display()));
        command
    }

    /// Runs `windlass apply`; whether all is as declared, and what it said.
    fn apply(&self) -> (bool, String) {
        let out = self.prepared(&["apply"]).output().expect("windlass starts");
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        for secret in [PASSWORD, "open-up", LOGIN, WRONG] {
            assert!(!said.contains(secret), "{said}");
        }
        (out.status.success(), said)
    }

    fn apply_well(&self) {
        let (good, said) = self.apply();
        assert!(good, "{said}");
    }

    /// Applies in vain; what was said holds all of `parts`.
    fn refused(&self, parts: &[&str]) {
        let (good, said) = self.apply();
        assert!(!good, "{said}");
        for part in parts {
            assert!(said.contains(part), "`{part}` is not in: {said}");
        }
    }

    /// One field of the one container of `web`.
    fn field(&self, format: &str) -> String {
        let containers = self.room.containers("web");
        assert_eq!(containers.len(), 1, "{containers:?}");
        docker(self.room.engine(), &["inspect", "--format", format, &containers[0]])
    }

    fn mark(&self) -> String {
        self.field("{{index .Config.Labels \"mark\"}}")
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn credentials_are_taken(engine: &Engine) {
    let room = Room::new(engine);
    let project = room.room.project().to_owned();
    let open = Registry::start(engine);
    open.push("1", &project);
    open.push("2", &format!("{project}-2"));
    let locked = open.locked();
    let (address, file) = (locked.address().to_owned(), shown(&room.config.join("config.json")));
    let (first, second) = (locked.reference("1"), locked.reference("2"));
    let login = format!("docker login {address}");

    // Nobody's, a stranger's, and another registry's.
    room.declare(&first, "");
    let missing = format!("registry {address} wants credentials, and {file} has none for it");
    room.refused(&[&first, &missing, &login, "as the user that windlass runs as"]);
    room.log_in(&json!({ "auths": { open.address(): { "auth": LOGIN } } }));
    room.refused(&[&first, &missing, &login]);
    room.log_in(&json!({ "auths": { &address: { "auth": WRONG } } }));
    let wrong = format!("registry {address} refuses the credentials of {file}");
    room.refused(&[&first, &wrong, &login]);
    std::fs::write(room.config.join("config.json"), "{ auths").expect("written");
    room.refused(&[&first, &file, "is not valid JSON (line 1, column 3)"]);
    assert!(room.room.containers("web").is_empty(), "nothing could be made");

    // A login counts from the next try on.
    room.log_in(&json!({ "auths": { &address: { "auth": LOGIN } } }));
    room.apply_well();
    assert_eq!(room.mark(), project);

    // A helper for this registry, and one for all: what the file holds is not asked then.
    let before = room.field("{{.Id}} {{.State.StartedAt}}");
    room.declare(&second, "");
    let helper = room.helpers.join("docker-credential-lab");
    script(&helper, "echo 'no keychain'; exit 1");
    room.log_in(&json!({
        "credHelpers": { &address: "lab" }, "auths": { &address: { "auth": LOGIN } },
    }));
    room.refused(&[&second, "docker-credential-lab", "failed (exit status: 1)"]);
    assert_eq!(room.field("{{.Id}} {{.State.StartedAt}}"), before, "the old one was touched");
    let answer = json!({ "ServerURL": "", "Username": USER, "Secret": PASSWORD });
    let question = format!("read -r at; test \"$1 $at\" = 'get {address}' || exit 1");
    script(&helper, &format!("{question}\ncat <<'EOF'\n{answer}\nEOF"));
    room.log_in(&json!({ "credsStore": "lab" }));
    room.apply_well();
    assert_eq!(room.mark(), format!("{project}-2"));
}

#[test]
fn credentials_are_taken_on_20_10() {
    credentials_are_taken(engine!(V20_10));
}

#[test]
fn credentials_are_taken_on_26_1() {
    credentials_are_taken(engine!(V26_1));
}

#[test]
fn a_helper_that_hangs_is_given_up() {
    let room = Room::new(engine!(V20_10));
    // No registry is needed: nobody gets to ask it.
    let reference = "127.0.0.1:1/shop/web:1";
    room.declare(reference, "");
    script(&room.helpers.join("docker-credential-asleep"), "sleep 100000");
    room.log_in(&json!({ "credsStore": "asleep" }));
    room.refused(&[reference, "docker-credential-asleep", "did not answer within 5 s"]);
}

/// Two engines get the same content by the digest, wherever the tag has moved meanwhile.
#[test]
fn a_digest_is_the_same_everywhere() {
    let (one, other) = (engine!(V20_10), engine!(V26_1));
    let room = Room::new(one);
    let project = room.room.project().to_owned();
    let (registry, _twin) = Registry::start_pair(one, other);
    let digest = registry.push("1", &project);
    room.declare(&registry.reference("1"), "");
    room.apply_well();
    registry.push("1", &format!("{project}-moved"));
    room.apply_well();
    assert_eq!(room.mark(), project, "a tag that moves moves nothing");

    let away = Room::new(other);
    away.declare(&format!("{}/shop/web@{digest}", registry.address()), "");
    away.apply_well();
    assert_eq!(away.mark(), project);
    assert_eq!(away.field("{{.Image}}"), room.field("{{.Image}}"));
}

#[test]
fn pull_policies_are_kept() {
    let engine = engine!(V20_10);
    let room = Room::new(engine);
    let project = room.room.project().to_owned();
    let registry = Registry::start(engine);
    let reference = registry.reference("1");
    let policy = |policy: &str| {
        let image = format!(
            "---\napiVersion: windlass/v1\nkind: Image\nmetadata: {{ name: shop, project: $project }}\nspec: {{ source: {{ registry: '{reference}' }}, pull: {policy} }}\n"
        );
        room.declare("shop", &image);
    };
    registry.push("1", &format!("{project}-old"));

    policy("never");
    room.refused(&[&reference, "its pull policy is `never`"]);
    docker(engine, &["pull", &reference]);
    room.apply_well();
    assert_eq!(room.mark(), format!("{project}-old"));
    // Somewhere else the tag is moved; here the old image still has it.
    docker(engine, &["tag", &reference, &format!("{project}:kept")]);
    registry.push("1", &format!("{project}-new"));
    docker(engine, &["tag", &format!("{project}:kept"), &reference]);

    policy("missing");
    room.apply_well();
    assert_eq!(room.mark(), format!("{project}-old"), "what is there is not pulled");
    policy("always");
    room.apply_well();
    assert_eq!(room.mark(), format!("{project}-new"), "what is there may be old");
    // Resolved once: not at every round.
    let before = room.field("{{.Id}} {{.State.StartedAt}}");
    registry.push("1", &format!("{project}-newest"));
    room.apply_well();
    assert_eq!(room.field("{{.Id}} {{.State.StartedAt}}"), before);
}

#[test]
fn what_a_registry_lost_still_runs() {
    let engine = engine!(V26_1);
    let room = Room::new(engine);
    let project = room.room.project().to_owned();
    let registry = Registry::start(engine);
    registry.push("1", &project);
    registry.push("2", &format!("{project}-2"));
    room.declare(&registry.reference("1"), "");
    room.apply_well();
    let before = room.field("{{.Id}} {{.State.StartedAt}}");
    registry.lose_all();
    room.apply_well();
    room.declare(&registry.reference("2"), "");
    room.refused(&[&registry.reference("2"), "pull image"]);
    assert_eq!(room.field("{{.Id}} {{.State.StartedAt}}"), before, "the old one was touched");
    // Back to what is known: it needs no registry.
    room.declare(&registry.reference("1"), "");
    room.apply_well();
    assert_eq!(room.field("{{.Id}} {{.State.StartedAt}}"), before);
}
