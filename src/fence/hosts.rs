//! The names in a container's hosts file: a block of lines of ours, in the engine's own file, which
//! is mounted into the container. It is written in place, since the mount holds on to it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;

use reconciler::model::fence::HostNames;

use super::host::Host;
use crate::small;

/// The line before ours.
const BEGIN: &str = "# windlass: links, begin";

/// The line after ours.
const END: &str = "# windlass: links, end";

/// The largest file that is read: a container may write into its own, and ours are a few lines.
const BYTES_MAX: u64 = 256 << 10;

/// The names that stand in a container's file; `None` if it cannot be read.
pub(super) fn read(host: &Host, path: &str) -> Option<HostNames> {
    let mut file = open(host, path).ok()?;
    let text = text_of(&mut file).ok()?;
    let (_, ours, _) = parts(&text);
    Some(names(ours))
}

/// Puts names in place of those that are there.
///
/// # Errors
/// If the file cannot be read or written.
pub(super) fn write(host: &Host, path: &str, wanted: &HostNames) -> io::Result<()> {
    let mut file = open(host, path)?;
    let text = text_of(&mut file)?;
    let text = with(&text, wanted);
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

fn open(host: &Host, path: &str) -> io::Result<File> {
    if !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no absolute path"));
    }
    // The last part must be the file itself.
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or(0);
    OpenOptions::new().read(true).write(true).custom_flags(no_follow).open(host.file(path))
}

fn text_of(file: &mut File) -> io::Result<String> {
    let bytes = small::read(file.take(BYTES_MAX + 1))?;
    if bytes.len() as u64 > BYTES_MAX {
        let message = format!("it is longer than {BYTES_MAX} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What stands before our lines, they themselves, and what stands behind them.
fn parts(text: &str) -> (&str, &str, &str) {
    let Some((before, rest)) = text.split_once(BEGIN) else { return (text, "", "") };
    match rest.split_once(END) {
        Some((ours, after)) => (before, ours, after.strip_prefix('\n').unwrap_or(after)),
        // Somebody took the end away. Only what has our form is ours.
        None => (before, "", rest.strip_prefix('\n').unwrap_or(rest)),
    }
}

fn names(ours: &str) -> HostNames {
    let mut names: HostNames = BTreeMap::new();
    for line in ours.lines() {
        let mut words = line.split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<Ipv4Addr>) else { continue };
        for name in words {
            names.entry(name.to_owned()).or_default().insert(address);
        }
    }
    names
}

fn with(text: &str, wanted: &HostNames) -> String {
    let (before, _, after) = parts(text);
    let mut out = before.to_owned();
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    if !wanted.is_empty() {
        out.push_str(BEGIN);
        out.push('\n');
        for (name, addresses) in wanted {
            for address in addresses {
                out.push_str(&format!("{address}\t{name}\n"));
            }
        }
        out.push_str(END);
        out.push('\n');
    }
    out.push_str(after);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINES: &str = "127.0.0.1\tlocalhost\n10.144.8.2\tweb-0\n";

    fn two() -> HostNames {
        let all = |last: &[u8]| last.iter().map(|last| Ipv4Addr::new(10, 144, 8, *last)).collect();
        HostNames::from([("cache".to_owned(), all(&[9])), ("db".to_owned(), all(&[3, 4]))])
    }

    #[test]
    fn names_are_written_read_replaced_and_taken_away() {
        let written = with(ENGINES, &two());
        assert!(written.starts_with(ENGINES), "{written}");
        assert!(written.contains("10.144.8.3\tdb\n10.144.8.4\tdb\n"), "{written}");
        assert_eq!(names(parts(&written).1), two());
        assert_eq!(with(&written, &two()), written);
        assert_eq!(with(&written, &HostNames::new()), ENGINES);
        // What a container added stays.
        let more = format!("{written}10.0.0.1\tmine\n");
        assert_eq!(with(&more, &HostNames::new()), format!("{ENGINES}10.0.0.1\tmine\n"));
    }

    #[test]
    fn a_block_that_lost_its_end_takes_nothing_else_with_it() {
        let torn = format!("{ENGINES}{BEGIN}\n10.0.0.1\tmine\n");
        assert_eq!(names(parts(&torn).1), HostNames::new());
        assert_eq!(with(&torn, &HostNames::new()), format!("{ENGINES}10.0.0.1\tmine\n"));
    }

    #[test]
    fn a_file_without_a_line_end_gets_one() {
        assert!(with("127.0.0.1 localhost", &two()).starts_with("127.0.0.1 localhost\n# windlass"));
    }
}
