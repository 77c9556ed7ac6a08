//! Small files, read in as few calls as it takes: the kernel makes those of control groups as they are
//! read, and says that they are empty, so that a reader which trusts their size begins with a few
//! bytes and comes back again and again.

use std::io::{self, Read};

/// So much is read at once, in bytes: more than all that is read so has.
const AT_ONCE: usize = 4 << 10;

/// All that `file` says.
///
/// # Errors
/// If it cannot be read.
pub(crate) fn read(mut file: impl Read) -> io::Result<Vec<u8>> {
    let mut chunk = [0; AT_ONCE];
    let mut bytes = Vec::new();
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(bytes),
            Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The same, of a text.
///
/// # Errors
/// As there, and if it is no text.
pub(crate) fn text(file: impl Read) -> io::Result<String> {
    String::from_utf8(read(file)?)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time, as files of the kernel may.
    struct Slowly<'a>(&'a [u8]);

    impl Read for Slowly<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(into.len()).min(3);
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn all_of_it_is_read() {
        assert_eq!(text(Slowly(b"")).unwrap(), "");
        assert_eq!(text(Slowly(b"a line\nand one more\n")).unwrap(), "a line\nand one more\n");
        let long = vec![b'x'; 3 * AT_ONCE + 1];
        assert_eq!(read(long.as_slice()).unwrap(), long);
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(text(&[0xff_u8][..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
