//! Files: mapped into memory when they can be.
//!
//! # The promise that comes with a map
//!
//! While a file is mapped nobody may cut it short: reading a page that is gone ends the process with SIGBUS. Servers never do that to an
//! RDB file: they write a new one beside it and rename. To an append-only file they only add, but for one that starts and finds it cut.
//! A file that something else may truncate can be piped in instead.
#![allow(unsafe_code)] // one call: mapping a file

use crate::error::{ErrorKind, RdbError, Result};
use std::fs::File;
use std::path::Path;

/// An opened file.
pub(super) enum Opened {
    /// A regular file, as memory.
    Mapped(memmap2::Mmap),
    /// A pipe or a device.
    Stream(File),
    /// A regular file of no bytes.
    Empty,
}

/// Opens `path`; says what it is when it is nothing that can be read.
pub(super) fn open(path: &Path) -> Result<Opened> {
    let file = File::open(path).map_err(|e| RdbError::io("cannot open", e))?;
    let meta = file
        .metadata()
        .map_err(|e| RdbError::io("cannot look at", e))?;
    if meta.is_dir() {
        return Err(RdbError::other(ErrorKind::Unsupported, directory(path)));
    }
    if !meta.is_file() {
        return Ok(Opened::Stream(file));
    }
    if meta.len() == 0 {
        return Ok(Opened::Empty);
    }
    let map = map(&file).map_err(|e| RdbError::io("cannot map into memory", e))?;
    #[cfg(unix)]
    {
        // Only advice: read ahead, and do not mind the pages behind.
        let _ = map.advise(memmap2::Advice::Sequential);
    }
    Ok(Opened::Mapped(map))
}

/// Maps a file, which nobody may truncate while the map lives: see the promise above.
pub(super) fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only, and the file is not truncated while it lives.
    unsafe { memmap2::Mmap::map(file) }
}

/// What to say of a directory without a manifest.
fn directory(path: &Path) -> String {
    let ends = |end: &str| {
        std::fs::read_dir(path)
            .into_iter()
            .flatten()
            .flatten()
            .map(|f| f.file_name().to_string_lossy().into_owned())
            .find(|n| n.ends_with(end))
    };
    match ends(".aof").or_else(|| ends(".rdb")) {
        Some(file) => format!(
            "is a directory without a manifest; give the file in it: {}",
            path.join(file).display()
        ),
        None => "is a directory, and not an append-only one (it has no manifest)".to_owned(),
    }
}
