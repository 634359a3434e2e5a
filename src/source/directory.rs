//! Append-only directories: from a manifest to the files that it lists, opened.
//!
//! ```text
//!   data/                        each of these three names the directory
//!     appendonlydir/
//!       appendonly.aof.manifest
//! ```
//!
//! A server may be rewriting while this looks: it puts another manifest in the place of the old one, and deletes files that the new one no longer
//! lists. So all files are opened first, and then the manifest is read again: if it is another by now, all begins anew. What has been opened
//! stays readable.

use super::Source;
use crate::aof::Place;
use crate::aof::manifest::{Listed, Manifest};
use crate::error::{ErrorKind, RdbError, Result};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// How often it is begun anew. A rewrite takes longer than opening some files.
const TRIES: usize = 10;
/// Bytes of the largest manifest that is read: some 100,000 files.
const LARGEST: u64 = 16 << 20;

/// The manifest that a path means, if it means one.
pub(super) fn manifest_of(path: &Path) -> Result<Option<PathBuf>> {
    if path.is_dir() {
        let inside = |dir: &Path| -> Vec<PathBuf> {
            let mut found: Vec<_> = entries(dir).filter(|p| is_manifest(p)).collect();
            found.sort();
            found
        };
        let mut found = inside(path);
        if found.is_empty() {
            let mut dirs: Vec<_> = entries(path).filter(|p| p.is_dir()).collect();
            dirs.sort();
            found = dirs.iter().flat_map(|dir| inside(dir)).collect();
        }
        if let [first, second, ..] = &found[..] {
            let what = format!(
                "has more than one manifest, {} and {}: give the one that is meant",
                first.display(),
                second.display()
            );
            let e = RdbError::other(ErrorKind::Unsupported, what);
            return Err(e.with_file(&path.display().to_string()));
        }
        return Ok(found.pop());
    }
    Ok(is_manifest(path).then(|| path.to_owned()))
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|e| e.path())
}

/// Whether a file is a manifest, by its name, as for servers. What a server that was killed left unfinished is none.
fn is_manifest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    name.ends_with(b".manifest") && !name.starts_with(b"temp-") && path.is_file()
}

/// Opens the files that a manifest lists, but for the history.
pub(super) fn open(path: &Path) -> Result<Vec<Source>> {
    let mut text = read(path)?;
    for _ in 0..TRIES {
        let opened = open_listed(path, &text);
        let again = read(path)?;
        if again == text {
            return opened;
        }
        text = again;
    }
    let what = "another manifest each time it is read: a server rewrites too often to follow";
    Err(RdbError::other(ErrorKind::Io, what).with_file(&path.display().to_string()))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut text))
        .map_err(|e| RdbError::io("cannot read", e))
        .and_then(|_| match text.len() as u64 {
            ..=LARGEST => Ok(text),
            _ => Err(RdbError::other(
                ErrorKind::Limit,
                format!("more than {LARGEST} bytes, which no manifest has"),
            )),
        })
        .map_err(|e| e.with_file(&path.display().to_string()))
}

fn open_listed(path: &Path, text: &[u8]) -> Result<Vec<Source>> {
    let named = |e: RdbError| e.with_file(&path.display().to_string());
    let manifest = Manifest::read(text).map_err(named)?;
    let files: Vec<&Listed> = manifest.loaded().collect();
    if files.is_empty() {
        let what = "the manifest lists no file to load: a server would start empty";
        return Err(named(RdbError::other(ErrorKind::Unsupported, what)));
    }
    let dir = path.parent().unwrap_or(Path::new("."));
    let last = files.len() - 1;
    let base = manifest.base();
    files
        .iter()
        .enumerate()
        .map(|(i, listed)| {
            let place = Place {
                continues: i > 0,
                base: i == 0 && base.is_some(),
                last: i == last,
            };
            let file = dir.join(OsStr::from_bytes(&listed.name));
            Source::file(&stored(&file), Some(place)).map_err(|e| {
                match e.io_error().map(std::io::Error::kind) {
                    Some(std::io::ErrorKind::NotFound) => {
                        let what = format!("lists {}, which is not there", file.display());
                        named(RdbError::other(ErrorKind::Unsupported, what))
                    }
                    _ => e,
                }
            })
        })
        .collect()
}

/// Where a file lies: under its name, or compressed beside it.
fn stored(file: &Path) -> PathBuf {
    if !file.exists() {
        for end in [".gz", ".zst"] {
            let mut name = file.as_os_str().to_owned();
            name.push(end);
            if Path::new(&name).exists() {
                return name.into();
            }
        }
    }
    file.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &[u8])]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        dir
    }

    const MANIFEST: &[u8] =
        b"file i seq 1 type i\nfile b seq 1 type b\nfile h seq 1 type h\nfile j seq 2 type i\n";

    #[test]
    fn in_the_order_of_loading() {
        let d = dir(&[
            ("sub/x.manifest", MANIFEST),
            ("sub/temp-x.manifest", b"?"),
            ("sub/i", b""),
            ("sub/b", b"*"),
            ("sub/j", b"*"),
        ]);
        for path in ["", "sub", "sub/x.manifest"] {
            let sources = Source::open_all(&d.path().join(path)).unwrap();
            let seen: Vec<_> = sources
                .iter()
                .map(|s| {
                    let Place {
                        continues,
                        base,
                        last,
                    } = s.place();
                    let name = Path::new(s.name()).file_name().unwrap().to_owned();
                    (name.into_string().unwrap(), continues, base, last)
                })
                .collect();
            assert_eq!(
                seen,
                [
                    ("b".to_owned(), false, true, false),
                    ("i".to_owned(), true, false, false),
                    ("j".to_owned(), true, false, true),
                ]
            );
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let d = dir(&[("x.manifest", MANIFEST), ("i", b""), ("b", b"")]);
        let e = Source::open_all(d.path()).unwrap_err().to_string();
        assert!(
            e.contains("x.manifest: lists") && e.contains("j, which is not there"),
            "{e}"
        );
        let d = dir(&[("x.manifest", b"# nothing\n")]);
        let e = Source::open_all(d.path()).unwrap_err().to_string();
        assert!(e.contains("lists no file"), "{e}");
        let d = dir(&[("x.manifest", MANIFEST), ("y.manifest", MANIFEST)]);
        let e = Source::open_all(d.path()).unwrap_err().to_string();
        assert!(e.contains("more than one manifest"), "{e}");
        let d = dir(&[("x.aof", b"*")]);
        let e = Source::open_all(d.path()).unwrap_err().to_string();
        assert!(
            e.contains("without a manifest") && e.contains("x.aof"),
            "{e}"
        );
    }
}
