//! The specs directory: which files are in it, and their text. Nothing in it can make us hang.
//!
//! Symlinks are followed, to files and to folders: ConfigMaps and git-sync are made of them.

use crate::hint::{FOLDERS_DEEP_MAX, FOLDERS_MAX, is_ignored};
use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Largest spec file. A document has some 500 bytes, so this is about 8,000 of them; what is
/// larger is a database dump or an image that got a wrong name.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 20;

/// Opening a FIFO for reading waits for a writer unless this is set. It has this value on all
/// Linux machines that engines run on (x86, arm, riscv, power, s390).
const O_NONBLOCK: i32 = 0o4000;

/// What the system says of links that lead to each other; the standard library has no stable name
/// for it yet.
const ELOOP: i32 = 40;

/// A file that changed this recently may change again within the same tick of the file system's
/// clock (at most 10 ms), and look the same: it is read again next time.
const RACY: Duration = Duration::from_millis(20);

/// Tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stat {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the file changed so recently that a further change could look the same.
    fn racy(&self) -> bool {
        let (Ok(seconds), Ok(nanos)) =
            (u64::try_from(self.changed.0), u32::try_from(self.changed.1))
        else {
            return true;
        };
        let changed = UNIX_EPOCH + Duration::new(seconds, nanos);
        // A time in the future is a clock that was set: nothing can be told from it.
        SystemTime::now().duration_since(changed).map_or(true, |age| age < RACY)
    }
}

/// A spec file that was found.
pub(crate) struct Found {
    /// Its path below the root, with `/` between its parts.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Its state, or why there is none.
    pub(crate) stat: Result<Stat, String>,
}

impl Found {
    /// What was found at `path`; an error if it is no file.
    pub(crate) fn new(name: String, path: PathBuf, metadata: &Metadata) -> Self {
        let stat = regular(metadata).map(|()| Stat::of(metadata));
        Self { name, path, stat }
    }
}

/// What is below the root.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) files: Vec<Found>,
    /// Folders that could not be read, by their path below the root, and why.
    pub(crate) blind: Vec<(String, String)>,
    /// Folders that were looked into.
    folders: usize,
}

/// Whether a name is that of a spec file.
#[must_use]
pub(crate) fn is_spec(name: &str) -> bool {
    !is_ignored(name) && (name.ends_with(".yaml") || name.ends_with(".yml"))
}

/// Finds all spec files below `root`, or `root` itself if it is a file.
///
/// # Errors
/// Why `root` cannot be looked at.
pub(crate) fn walk(root: &Path, metadata: &Metadata) -> Result<Walk, String> {
    let mut walk = Walk::default();
    if !metadata.is_dir() {
        let name = root.file_name().unwrap_or(root.as_os_str());
        walk.found(name.to_string_lossy().into_owned(), root.to_path_buf(), metadata);
        return Ok(walk);
    }
    fs::read_dir(root).map_err(|error| error.to_string())?;
    walk.folder(root, "", &mut vec![(metadata.dev(), metadata.ino())]);
    // What is beyond is unknown, and must not look as if it were gone: so all of it is.
    if walk.folders > FOLDERS_MAX {
        return Err(format!("more than {FOLDERS_MAX} folders; does a link lead out of it?"));
    }
    walk.files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(walk)
}

impl Walk {
    /// Adds what is in a folder; `above` holds the ids of all folders that it is in.
    fn folder(&mut self, folder: &Path, prefix: &str, above: &mut Vec<(u64, u64)>) {
        self.folders += 1;
        if self.folders > FOLDERS_MAX {
            return;
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // It went away meanwhile: a removal like any other.
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) => return self.blind.push((trimmed(prefix), error.to_string())),
        };
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.blind.push((trimmed(prefix), error.to_string())),
            };
            let file_name = entry.file_name();
            let name = file_name.to_string_lossy();
            if is_ignored(&name) {
                continue;
            }
            let Ok(file_type) = entry.file_type() else { continue };
            if file_type.is_file() && !is_spec(&name) {
                continue;
            }
            let (path, below) = (entry.path(), format!("{prefix}{name}"));
            match fs::metadata(&path) {
                Ok(metadata) if metadata.is_dir() => {
                    let id = (metadata.dev(), metadata.ino());
                    if above.contains(&id) {
                        self.failed(below, path, "the link leads back to a folder that it is in");
                    } else if above.len() > FOLDERS_DEEP_MAX {
                        let why = format!("more than {FOLDERS_DEEP_MAX} folders inside each other");
                        self.failed(below, path, &why);
                    } else {
                        above.push(id);
                        self.folder(&path, &format!("{below}/"), above);
                        above.pop();
                    }
                }
                Ok(metadata) if is_spec(&name) => self.found(below, path, &metadata),
                Ok(_) => {}
                Err(error) if !file_type.is_symlink() && error.kind() == ErrorKind::NotFound => {}
                Err(error) if is_spec(&name) || error.raw_os_error() == Some(ELOOP) => {
                    self.failed(below, path, &error.to_string());
                }
                // A link to nowhere that would be no spec either.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => self.blind.push((below, error.to_string())),
            }
        }
    }

    fn found(&mut self, name: String, path: PathBuf, metadata: &Metadata) {
        self.files.push(Found::new(name, path, metadata));
    }

    fn failed(&mut self, name: String, path: PathBuf, why: &str) {
        self.files.push(Found { name, path, stat: Err(why.to_owned()) });
    }
}

fn trimmed(prefix: &str) -> String {
    prefix.trim_end_matches('/').to_owned()
}

/// Says what stands in the place of a regular file.
fn regular(metadata: &Metadata) -> Result<(), String> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() || kind.is_char_device() {
        "a device"
    } else {
        "a folder"
    };
    Err(format!("this is {what}, not a file"))
}

/// Opens a regular file without ever waiting for it.
///
/// # Errors
/// The system's, or what stands in its place.
pub(crate) fn open(path: &Path) -> Result<(File, Stat), OpenError> {
    let file = fs::OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path);
    let file = file.map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            OpenError::Gone
        } else {
            OpenError::Other(error.to_string())
        }
    })?;
    let metadata = file.metadata().map_err(|error| OpenError::Other(error.to_string()))?;
    regular(&metadata).map_err(OpenError::Other)?;
    Ok((file, Stat::of(&metadata)))
}

/// Why a file could not be opened or read.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// It is not there.
    Gone,
    /// Anything else, in words.
    Other(String),
}

/// How often a file is read again that changed while it was read. Who writes it in pieces leaves a
/// moment between them; who writes all the time will not stop for us.
const TORN_READS_MAX: u32 = 3;

/// Reads a spec file. The state is `None` if it may change again without looking changed.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read(path: &Path) -> Result<(Vec<u8>, Option<Stat>), OpenError> {
    read_with(path, |_| {})
}

/// As [`read`]; `opened` is called each time that the file was opened, before it is read.
fn read_with(
    path: &Path,
    mut opened: impl FnMut(&File),
) -> Result<(Vec<u8>, Option<Stat>), OpenError> {
    let other = |error: std::io::Error| OpenError::Other(error.to_string());
    let too_large = || {
        let limit = FILE_BYTES_MAX >> 20;
        OpenError::Other(format!("larger than {limit} MiB; spread it over several files"))
    };
    for _ in 0..TORN_READS_MAX {
        let (mut file, stat) = open(path)?;
        if stat.size > FILE_BYTES_MAX {
            return Err(too_large());
        }
        opened(&file);
        let mut bytes = Vec::with_capacity(usize::try_from(stat.size).unwrap_or(0) + 1);
        (&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(other)?;
        if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
            return Err(too_large());
        }
        // Half of a file may be a good spec of half of its objects.
        let after = Stat::of(&file.metadata().map_err(other)?);
        if after == stat {
            return Ok((bytes, (!stat.racy()).then_some(stat)));
        }
    }
    Err(OpenError::Other("it is being written; it is read again when that ends".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use super::{FILE_BYTES_MAX, OpenError, TORN_READS_MAX, read, read_with};

    fn append(path: &std::path::Path, bytes: &[u8]) {
        fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_read_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::write(&path, "one").unwrap();
        let mut opened = 0;
        let (bytes, _) = read_with(&path, |_| {
            opened += 1;
            if opened == 1 {
                append(&path, b" two");
            }
        })
        .unwrap();
        assert_eq!((bytes.as_slice(), opened), (&b"one two"[..], 2));

        let mut opened = 0;
        let refused = read_with(&path, |_| {
            opened += 1;
            append(&path, b" more");
        });
        assert!(matches!(refused, Err(OpenError::Other(why)) if why.contains("being written")));
        assert_eq!(opened, TORN_READS_MAX);

        // Past the limit it is refused, however small it was when it was opened.
        let grown = read_with(&path, |_| {
            append(&path, &vec![b'x'; usize::try_from(FILE_BYTES_MAX).unwrap()]);
        });
        assert!(matches!(grown, Err(OpenError::Other(why)) if why.contains("larger than 4 MiB")));
    }

    #[test]
    fn a_large_file_is_refused_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
        let refused = read_with(&path, |_| panic!("it was about to be read"));
        assert!(matches!(refused, Err(OpenError::Other(why)) if why.contains("larger than 4 MiB")));
        fs::File::create(&path).unwrap().set_len(FILE_BYTES_MAX).unwrap();
        assert_eq!(read(&path).unwrap().0.len(), usize::try_from(FILE_BYTES_MAX).unwrap());
    }
}
