//! The entries of a tar, plain or compressed by gzip, within bounds.
//!
//! The crate `tar` reads headers. Walking from one to the next is done here, since its own reader
//! takes names of any length into memory, and an archive may be made to have long ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use flate2::bufread::MultiGzDecoder;
use reconciler::model::ids::hex;
use sha2::{Digest, Sha256};
use tar::Header;

use super::{CHUNK_BYTES, Fault, JSON_BYTES_MAX, Pulse};
use crate::docker::error;

/// Bytes of a tar's unit: headers are that long, and content is filled up to a multiple of it.
const BLOCK_BYTES: u64 = 512;

/// Longest name or extended header: what names a path longer than the system's limit is no image's.
const NAME_BYTES_MAX: u64 = 64 << 10;

/// Entries that are looked at. An image has some four for each of its at most 127 layers, a root file
/// system tens of thousands.
const ENTRIES_MAX: usize = 10_000;

/// Blobs up to this size are kept when they are first passed if they can be JSON: manifests and
/// configurations mostly are smaller, and are not looked for a second time then.
const KEPT_BYTES_MAX: u64 = 64 << 10;

/// What is kept altogether: what does not fit is read again when it is needed.
const KEPT_SUM_BYTES_MAX: usize = 8 << 20;

/// An archive that can be gone through from the beginning, any number of times.
#[derive(Debug)]
pub(super) struct Archive {
    source: Source,
    pulse: Pulse,
}

/// What a file turned out to be.
#[derive(Debug)]
pub(super) enum Opened {
    /// A tar, perhaps within gzip.
    Tar(Archive),
    /// Compressed in another way that engines read.
    OtherCompression,
}

/// All names of an archive, and what was kept of the contents.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    names: BTreeSet<String>,
    kept: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
enum Source {
    Plain { file: File, length: u64 },
    Gzip(Box<MultiGzDecoder<BufReader<File>>>),
}

/// An entry that has been come to.
struct Entry<'a> {
    archive: &'a mut Archive,
    name: String,
    size: u64,
    /// Bytes of the content that have not been read.
    left: u64,
}

impl Catalogue {
    /// Whether there is an entry of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// A file at the top of the archive.
    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        self.kept.get(name).map(Vec::as_slice)
    }
}

impl Archive {
    /// Looks at how a file begins.
    pub(super) fn open(mut file: File, pulse: Pulse) -> Result<Opened, Fault> {
        let broken = |failure: io::Error| Fault(error::system_text(&failure));
        let length = file.metadata().map_err(broken)?.len();
        let mut head = Vec::new();
        (&mut file).take(BLOCK_BYTES).read_to_end(&mut head).map_err(broken)?;
        let others: [&[u8]; 3] = [b"BZh", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"];
        if others.iter().any(|magic| head.starts_with(magic)) {
            return Ok(Opened::OtherCompression);
        }
        let source = if head.starts_with(&[0x1f, 0x8b]) {
            let reader = BufReader::with_capacity(CHUNK_BYTES, file);
            Source::Gzip(Box::new(MultiGzDecoder::new(reader)))
        } else if head.is_empty() {
            return Err(Fault("the file is empty; save the image anew".to_owned()));
        } else {
            Source::Plain { file, length }
        };
        Ok(Opened::Tar(Self { source, pulse }))
    }

    /// Whether it is compressed.
    pub(super) fn is_gzip(&self) -> bool {
        matches!(self.source, Source::Gzip(_))
    }

    /// Goes through all entries, and keeps the small ones that may be needed.
    pub(super) fn catalogue(&mut self) -> Result<Catalogue, Fault> {
        let mut catalogue = Catalogue::default();
        let mut kept_bytes = 0;
        let mut entries = 0;
        self.each(|entry| {
            entries += 1;
            if entries > ENTRIES_MAX {
                return Err(Fault(format!(
                    "this is no image archive: it has more than {ENTRIES_MAX} entries; if it is the \
                     tree of a root file system, declare it as `source: {{ rootfs: … }}`"
                )));
            }
            let top = ["manifest.json", "index.json"].contains(&entry.name.as_str());
            let json = entry.name.ends_with(".json") && !entry.name.contains('/');
            let small = (json || entry.name.starts_with("blobs/")) && entry.size <= KEPT_BYTES_MAX;
            if top || small {
                let name = entry.name.clone();
                let content = entry.content()?;
                // A second entry of a name takes the place of the first when it is unpacked.
                kept_bytes -= catalogue.kept.remove(&name).map_or(0, |old| old.len());
                let fits = kept_bytes + content.len() <= KEPT_SUM_BYTES_MAX;
                if top || (fits && content.starts_with(b"{")) {
                    kept_bytes += content.len();
                    catalogue.kept.insert(name, content);
                }
            }
            catalogue.names.insert(entry.name.clone());
            Ok(())
        })?;
        Ok(catalogue)
    }

    /// The contents of these small files.
    pub(super) fn fetch(
        &mut self,
        catalogue: &Catalogue,
        names: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, Vec<u8>>, Fault> {
        let mut found = BTreeMap::new();
        for name in names {
            if !catalogue.has(name) {
                return Err(missing(name));
            }
            if let Some(kept) = catalogue.kept.get(name) {
                found.insert(name.clone(), kept.clone());
            }
        }
        if found.len() < names.len() {
            self.each(|entry| {
                if names.contains(&entry.name) {
                    let content = entry.content()?;
                    found.insert(entry.name.clone(), content);
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Checks that the blobs among these files are what their names say.
    pub(super) fn verify(
        &mut self,
        catalogue: &Catalogue,
        names: &BTreeSet<String>,
    ) -> Result<(), Fault> {
        if let Some(name) = names.iter().find(|name| !catalogue.has(name)) {
            return Err(missing(name));
        }
        if !names.iter().any(|name| blob_digest(name).is_some()) {
            return Ok(());
        }
        self.each(|entry| {
            if !names.contains(&entry.name) || blob_digest(&entry.name).is_none() {
                return Ok(());
            }
            let found = entry.digest()?;
            if blob_digest(&entry.name) == Some(&*found) {
                return Ok(());
            }
            Err(wrong_digest(&entry.name, &found))
        })
    }

    /// Calls `visit` with each entry, from the beginning.
    fn each(
        &mut self,
        mut visit: impl FnMut(&mut Entry<'_>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.rewind()?;
        let mut long = Long::default();
        let mut first = true;
        while let Some(header) = self.header(first)? {
            first = false;
            let size = header.entry_size().map_err(|_| damaged())?;
            let kind = header.entry_type();
            if kind.is_gnu_longname() {
                let text = self.extension(size)?;
                let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
                long.name = text.get(..end).map(<[u8]>::to_vec);
                continue;
            }
            if kind.is_pax_local_extensions() {
                long.take(&self.extension(size)?);
                continue;
            }
            if kind.is_gnu_longlink() || kind.is_pax_global_extensions() {
                self.extension(size)?;
                continue;
            }
            let Long { name, size: long_size } = std::mem::take(&mut long);
            let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
            let name = String::from_utf8_lossy(&name);
            let name = name.trim_start_matches("./").trim_start_matches('/').to_owned();
            // Links have no content, whatever their header says.
            let is_link = kind.is_hard_link() || kind.is_symlink();
            let size = if is_link { 0 } else { long_size.unwrap_or(size) };
            let fill = filled(size)? - size;
            let mut entry = Entry { archive: self, name, size, left: size };
            visit(&mut entry)?;
            let Entry { archive: _, name, size: _, left } = entry;
            self.skip(left + fill, &name)?;
        }
        Ok(())
    }

    fn rewind(&mut self) -> Result<(), Fault> {
        let broken = |failure: io::Error| Fault(error::system_text(&failure));
        match &mut self.source {
            Source::Plain { file, length: _ } => file.rewind().map_err(broken),
            Source::Gzip(decoder) => {
                let mut file = decoder.get_ref().get_ref().try_clone().map_err(broken)?;
                file.rewind().map_err(broken)?;
                let reader = BufReader::with_capacity(CHUNK_BYTES, file);
                **decoder = MultiGzDecoder::new(reader);
                Ok(())
            }
        }
    }

    /// The next header; `None` at the end, which need not be marked.
    fn header(&mut self, first: bool) -> Result<Option<Header>, Fault> {
        let mut header = Header::new_old();
        let block = header.as_mut_bytes();
        let mut have = 0;
        while let Some(rest) = block.get_mut(have..).filter(|rest| !rest.is_empty()) {
            match self.read(rest) {
                Ok(0) if have == 0 => return Ok(None),
                Ok(0) if first => return Err(not_a_tar()),
                Ok(0) => return Err(cut_off("a header")),
                Ok(read) => have += read,
                Err(_) if first && have == 0 && self.is_gzip() => return Err(not_a_tar()),
                Err(fault) => return Err(fault),
            }
        }
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut right = header.clone();
        right.set_cksum();
        match (header.cksum(), right.cksum()) {
            (Ok(found), Ok(wanted)) if found == wanted => Ok(Some(header)),
            _ if first => Err(not_a_tar()),
            _ => Err(damaged()),
        }
    }

    /// What stands in an entry that only describes the next one.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > NAME_BYTES_MAX {
            return Err(damaged());
        }
        let fill = filled(size)? - size;
        let mut entry = Entry { archive: self, name: "a header".to_owned(), size, left: size };
        let content = entry.content()?;
        self.skip(fill, "a header")?;
        Ok(content)
    }

    fn skip(&mut self, bytes: u64, name: &str) -> Result<(), Fault> {
        self.pulse.beat()?;
        if let Source::Plain { file, length } = &mut self.source {
            let broken = |failure: io::Error| Fault(error::system_text(&failure));
            let here = file.stream_position().map_err(broken)?;
            if here.checked_add(bytes).is_none_or(|there| there > *length) {
                return Err(cut_off(name));
            }
            let distance = i64::try_from(bytes).map_err(|_| damaged())?;
            file.seek(SeekFrom::Current(distance)).map_err(broken)?;
            return Ok(());
        }
        let mut left = bytes;
        let mut chunk = vec![0; CHUNK_BYTES];
        while left > 0 {
            let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            match self.read(chunk.get_mut(..wanted).unwrap_or_default())? {
                0 => return Err(cut_off(name)),
                read => left -= read as u64,
            }
        }
        Ok(())
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        self.pulse.beat()?;
        match &mut self.source {
            Source::Plain { file, length: _ } => {
                file.read(into).map_err(|failure| Fault(error::system_text(&failure)))
            }
            Source::Gzip(decoder) => decoder.read(into).map_err(|failure| {
                if failure.kind() == io::ErrorKind::UnexpectedEof {
                    return cut_off("its compressed stream");
                }
                if failure.raw_os_error().is_some() {
                    return Fault(error::system_text(&failure));
                }
                let text = "the file is damaged: gzip cannot unpack it; copy or save it anew";
                Fault(text.to_owned())
            }),
        }
    }
}

/// What extended headers say of the entry that follows them.
#[derive(Debug, Default)]
struct Long {
    name: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Long {
    fn take(&mut self, text: &[u8]) {
        for pair in tar::PaxExtensions::new(text).flatten() {
            match pair.key_bytes() {
                b"path" => self.name = Some(pair.value_bytes().to_vec()),
                b"size" => self.size = pair.value().ok().and_then(|text| text.parse().ok()),
                _ => {}
            }
        }
    }
}

impl Entry<'_> {
    /// All of it, if it is as small as it should be.
    fn content(&mut self) -> Result<Vec<u8>, Fault> {
        if self.left > JSON_BYTES_MAX {
            let name = &self.name;
            return Err(Fault(format!(
                "`{name}` in it has {} bytes, and no image needs more than {JSON_BYTES_MAX} there",
                self.size
            )));
        }
        let mut content = vec![0; usize::try_from(self.left).unwrap_or_default()];
        let mut have = 0;
        while let Some(rest) = content.get_mut(have..).filter(|rest| !rest.is_empty()) {
            have += self.read(rest)?;
        }
        Ok(content)
    }

    /// The digest of it, in hexadecimal.
    fn digest(&mut self) -> Result<String, Fault> {
        let mut hash = Sha256::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        while self.left > 0 {
            let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
            let read = self.read(chunk.get_mut(..wanted).unwrap_or_default())?;
            hash.update(chunk.get(..read).unwrap_or_default());
        }
        Ok(hex(&hash.finalize()))
    }

    fn read(&mut self, into: &mut [u8]) -> Result<usize, Fault> {
        match self.archive.read(into)? {
            0 => Err(cut_off(&self.name)),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }
}

/// The digest that a blob's name says it has.
pub(super) fn blob_digest(name: &str) -> Option<&str> {
    let digest = name.strip_prefix("blobs/sha256/")?;
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    (digest.len() == 64 && digest.chars().all(hex)).then_some(digest)
}

/// A blob is not what its name says.
pub(super) fn wrong_digest(name: &str, found: &str) -> Fault {
    Fault(format!(
        "the archive is damaged or was changed: the digest of `{name}` is {found}; save the image \
         anew, and look into where the file came from"
    ))
}

fn missing(name: &str) -> Fault {
    Fault(format!(
        "the archive is not whole: `{name}`, which its image needs, is not in it; save the image anew"
    ))
}

fn cut_off(name: &str) -> Fault {
    Fault(format!("the file is cut off in the middle of {}; copy or save it anew", quoted(name)))
}

/// Names of entries stand in quotes, what we call things ourselves does not.
fn quoted(name: &str) -> String {
    if name.contains(' ') { name.to_owned() } else { format!("`{name}`") }
}

fn damaged() -> Fault {
    Fault("the file is damaged: a header of the tar makes no sense; copy or save it anew".into())
}

fn not_a_tar() -> Fault {
    Fault("this is no tar file; an image archive is what `docker save` writes".to_owned())
}

/// A size, filled up to whole blocks.
fn filled(size: u64) -> Result<u64, Fault> {
    size.checked_next_multiple_of(BLOCK_BYTES).ok_or_else(damaged)
}
