//! Files: mapped into memory when they can be.
//!
//! # The promise that comes with a map
//!
//! While a file is mapped nobody may cut it short: reading a page that is gone ends the process with SIGBUS. Servers never do that to an
//! RDB file: they write a new one beside it and rename. A file that something else may truncate can be piped in instead.
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
        return Err(RdbError::other(
            ErrorKind::UnexpectedEof,
            "the file is empty: a server that has saved nothing yet, or a copy that failed",
        ));
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

/// What to say of a directory.
fn directory(path: &Path) -> String {
    let files = || std::fs::read_dir(path).into_iter().flatten().flatten();
    let ends = |end: &str| {
        files()
            .map(|f| f.file_name().to_string_lossy().into_owned())
            .find(|n| n.ends_with(end))
    };
    if ends(".manifest").is_some() {
        match ends(".base.rdb") {
            Some(base) => format!(
                "is an append-only directory, which cannot be read yet; its base alone can: {}",
                path.join(base).display()
            ),
            None => "is an append-only directory, which cannot be read yet".to_owned(),
        }
    } else {
        match ends(".rdb") {
            Some(rdb) => format!(
                "is a directory; give the file in it: {}",
                path.join(rdb).display()
            ),
            None => "is a directory, and not an append-only one (it has no manifest)".to_owned(),
        }
    }
}
