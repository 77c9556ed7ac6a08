//! The lab: real engines for tests, and rooms in which to run `windlass` against them.
//!
//! ```ignore
//! #[test]
//! fn a_spec_becomes_a_container() {
//!     let engine = engine!(V20_10);                     // shared by all tests of this binary
//!     let room = Sandbox::new(engine);                  // own specs, state, project, ports, cgroups
//!     room.spec("web.yaml", "… metadata: { name: web, project: $project } … host: $port0 …");
//!     assert_eq!(room.windlass(&["apply"]).code, 0);
//! }
//! ```
//!
//! Reading order: [`engine`], [`sandbox`], [`registry`], [`wait`].

#![allow(dead_code, reason = "a lab offers more than the tests of one day take")]

// Macros are known only below the place where they stand, so they come before the modules.

/// The shared engine of a version, or the end of the test if this machine cannot have it.
macro_rules! engine {
    ($version:ident) => {
        match $crate::lab::engine::shared($crate::lab::Version::$version) {
            Ok(engine) => engine,
            Err(reason) => skip!("{reason}"),
        }
    };
}

/// The same, of an engine of the test's own.
macro_rules! private {
    ($version:ident) => {
        match $crate::lab::Engine::private($crate::lab::Version::$version) {
            Ok(engine) => engine,
            Err(reason) => skip!("{reason}"),
        }
    };
}

/// Ends the test without a verdict. `make test` lists what was skipped, and why.
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::lab::skipped(&format!($($reason)*));
        return;
    }};
}

pub(crate) mod engine;
pub(crate) mod registry;
pub(crate) mod sandbox;
mod smoke;
pub(crate) mod wait;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

#[allow(unused_imports, reason = "as above")]
pub(crate) use self::{
    engine::{Engine, Version, docker},
    registry::Registry,
    sandbox::{Output, Sandbox, Up},
    wait::{eventually, eventually_or},
};

/// The top of the repository.
pub(crate) fn repository() -> &'static Path {
    static TOP: OnceLock<PathBuf> = OnceLock::new();
    // Cargo says it to the running test too, and is right where two checkouts share what they build.
    TOP.get_or_init(|| {
        std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from)
    })
}

/// A root file system as a tar file: busybox, and nothing else.
pub(crate) fn busybox_tar() -> PathBuf {
    static MADE: std::sync::Once = std::sync::Once::new();
    let into = repository().join("target/lab");
    MADE.call_once(|| {
        let status = std::process::Command::new(repository().join("tests/lab/image"))
            .arg(&into)
            .status()
            .expect("tests/lab/image starts");
        assert!(status.success(), "tests/lab/image failed");
    });
    into.join("busybox.tar")
}

/// Says that the running test is skipped, and counts it where `make test` looks.
pub(crate) fn skipped(reason: &str) {
    let thread = std::thread::current();
    let line = format!("skipped: {}: {reason}\n", thread.name().unwrap_or("a test"));
    let mut err = std::io::stderr();
    // What cannot be said is no reason to fail.
    let _ = err.write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("WINDLASS_SKIPPED")
        && let Ok(mut file) = std::fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = file.write_all(line.as_bytes());
    }
}
