//! `-` where specs are taken: a set from standard input, for verbs that only read.
//!
//! It is kept in memory, since specs may hold secrets, and has a path while this process lives.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, IntoRawFd as _};
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, memfd_create};

use super::failure::Failure;
use super::out;

/// Longest set, in bytes: ten thousand objects have a tenth of it, and what never ends must not fill
/// the memory.
const SET_BYTES_MAX: u64 = 64 << 20;

/// Whether a path means standard input; a file of that name is `./-`.
pub(super) fn is_meant(path: &Path) -> bool {
    path == Path::new("-")
}

/// Reads all of standard input, and gives the path under which it can be read again and again.
pub(super) fn read() -> Result<PathBuf, Failure> {
    let mut text = Vec::new();
    let failed = |error: std::io::Error| Failure::new(format!("read standard input: {error}"));
    std::io::stdin().lock().take(SET_BYTES_MAX + 1).read_to_end(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > SET_BYTES_MAX {
        let limit = SET_BYTES_MAX >> 20;
        let failure = Failure::new(format!("read standard input: more than {limit} MiB"));
        return Err(failure.help("write the specs into a directory, and name that"));
    }
    let memory = memfd_create("specs", MemfdFlags::CLOEXEC)
        .map_err(|error| failed(std::io::Error::from(error)))?;
    let mut file = File::from(memory);
    file.write_all(&text).map_err(failed)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    // Open for as long as this process lives: the path is good until then.
    let _ = file.into_raw_fd();
    out::call(path.clone(), "(standard input)");
    Ok(PathBuf::from(path))
}

/// Why a verb that acts takes no set from standard input, and what to do instead.
pub(super) fn refused(verb: &str) -> Failure {
    let failure = Failure::new(format!(
        "`{verb} -` has no sound meaning: what is declared is a directory (or a file) that stays, and \
         all that is not in it goes; a set from standard input is gone once it is read, so the next \
         look would find nothing declared"
    ));
    failure.help(
        "write it into the specs directory, as `… > specs/shop.yaml`, and apply that; `windlass plan -` \
         and `windlass diff -` show what such a set would bring about",
    )
}
