//! The specs that are judged: each in the form of windlass, and as the same in JSON.

use std::sync::Arc;

use reconciler::model::desired::{Declared, Source};
use reconciler::model::ids::{ImageName, Key};
use reconciler::model::quantity::{Bytes, Cpus};
use reconciler::model::sparse::Sparse;
use reconciler::model::spec::{
    InstanceSpec, More, Mount, MountSource, Namespaces, Port, PortRange, Protocol, Resources,
    Security,
};
use reconciler::policy::view::Object;
use serde_json::{Map, Value, json};

/// How many there are.
pub(crate) const SPECS: u64 = 1_000;

/// One spec, in both forms.
pub(crate) struct Sample {
    /// Whether it keeps all checks, on purpose.
    pub(crate) is_good: bool,
    /// As windlass has it.
    pub(crate) object: Arc<Object>,
    /// The same.
    pub(crate) json: Value,
}

/// All of them: every other one keeps all checks, the others break about a quarter of them.
pub(crate) fn samples() -> Result<Vec<Sample>, String> {
    (0..SPECS).map(|number| sample(number, number % 2 == 0)).collect()
}

/// Numbers that look like chance, and are the same in each run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

fn sample(number: u64, is_good: bool) -> Result<Sample, String> {
    let mut dice = Dice(number);
    let mut breaks = || !is_good && dice.next().is_multiple_of(4);
    let registry = if breaks() { "elsewhere.example" } else { "registry.example" };
    let version = if breaks() { ":1.4" } else { "@sha256:00" };
    let image = format!("{registry}/shop/web-{number}{version}");
    let privileged = breaks();
    let mut capabilities = vec!["CHOWN".to_owned(), "KILL".to_owned()];
    if breaks() {
        capabilities.push("SYS_ADMIN".to_owned());
    }
    let mut binds = vec![format!("/srv/data-{number}")];
    if breaks() {
        binds.push("/var/run/docker.sock".to_owned());
    } else if breaks() {
        binds.push("/etc/ssl".to_owned());
    }
    let mut ports =
        vec![(8080, 8000 + u16::try_from(number % 1000).unwrap_or(0), Some("127.0.0.1"))];
    if breaks() {
        ports.push((443, 443, Some("127.0.0.1")));
    } else if breaks() {
        ports.push((9090, 9090, None));
    }
    let limit = |is_broken: bool, amount: u64| (!is_broken).then_some(amount);
    let memory = limit(breaks(), 256 << 20);
    let cpus = limit(breaks(), 500_000_000);
    let pids = limit(breaks(), 100);
    let (read_only_root, no_new_privileges) = (!breaks(), !breaks());
    let user = (!breaks()).then(|| "app".to_owned());
    let host = |is_broken: bool| is_broken.then(|| "host".to_owned());
    let (pid, ipc) = (host(breaks()), host(breaks()));
    let seccomp = breaks().then(|| "unconfined".to_owned());

    let json = json!({
        "image": { "ref": image, "pinned": image.contains('@'), "registry": registry },
        "resources": object(&[("memory", memory.into()), ("cpus", cpus.into()), ("pids", pids.into())]),
        "security": Value::Object(
            object(&[("user", user.clone().into()), ("seccomp", seccomp.clone().into())])
                .as_object().cloned().into_iter().flatten()
                .chain([
                    ("privileged".to_owned(), privileged.into()),
                    ("capAdd".to_owned(), capabilities.clone().into()),
                    ("readOnlyRoot".to_owned(), read_only_root.into()),
                    ("noNewPrivileges".to_owned(), no_new_privileges.into()),
                    ("namespaces".to_owned(), object(&[("pid", pid.clone().into()), ("ipc", ipc.clone().into())])),
                ])
                .collect::<Map<_, _>>(),
        ),
        "volumes": binds.iter().map(|bind| json!({ "kind": "bind", "bind": bind, "target": "/data" })).collect::<Vec<_>>(),
        "ports": ports.iter().map(|(container, host, address)| object(&[
            ("container", (*container).into()),
            ("host", json!({ "first": host, "last": host })),
            ("address", (*address).into()),
        ])).collect::<Vec<_>>(),
    });

    let security = Security {
        user,
        cap_add: capabilities.into_iter().collect(),
        privileged,
        read_only_root,
        no_new_privileges,
        seccomp: seccomp.map(Into::into),
        namespaces: Namespaces { pid, ipc, ..Namespaces::default() },
        ..Security::default()
    };
    let mount = |bind: String| Mount {
        source: MountSource::Bind(bind),
        target: "/data".to_owned(),
        read_only: false,
        shared: false,
    };
    let port = |(container, host, address): (u16, u16, Option<&str>)| Port {
        container,
        protocol: Protocol::Tcp,
        host: Some(PortRange { first: host, last: host }),
        address: address.map(Into::into),
    };
    let spec = InstanceSpec {
        resources: Resources {
            cpus: cpus.map(Cpus),
            memory: memory.map(Bytes),
            pids,
            ..Resources::default()
        },
        ports: ports.into_iter().map(port).collect(),
        volumes: binds.into_iter().map(mount).collect(),
        more: Sparse::new(More { security: Sparse::new(security), ..More::default() }),
        ..InstanceSpec::of(ImageName::Reference(image.into()))
    };
    let key: Key = format!("shop/web-{number}").parse().map_err(|error| format!("{error}"))?;
    let source = Source { file: Arc::from("specs.yaml"), line: 1, column: 1 };
    let object = Arc::new(Object::instance(&key, &Declared::new(spec, source), None));
    Ok(Sample { is_good, object, json })
}

/// An object of what is there.
fn object(fields: &[(&str, Value)]) -> Value {
    let there = fields.iter().filter(|(_, value)| !value.is_null());
    Value::Object(there.map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}
