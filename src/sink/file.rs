//! Files written beside their place and renamed when whole.

use super::Sink;
use crate::error::{RdbError, Result};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

/// A file that appears under its name only once it is whole.
///
/// Until then it is `NAME.partial-PID` in the same directory. A path that is there and is no regular file (a device, a pipe) is
/// written to as it is.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    /// Where the bytes go until they are whole.
    partial: Option<PathBuf>,
}

impl NewFile {
    /// Opens an output. One that exists is an error, unless `force` says that it may be replaced.
    pub fn create(path: &Path, force: bool) -> Result<NewFile> {
        let failed = |what: &str, e| RdbError::io(what, e).with_file(&path.display().to_string());
        if let Ok(meta) = std::fs::metadata(path) {
            if !meta.is_file() {
                let file = File::options()
                    .write(true)
                    .open(path)
                    .map_err(|e| failed("cannot write to", e))?;
                return Ok(NewFile {
                    file,
                    path: path.to_owned(),
                    partial: None,
                });
            }
            if !force {
                let e = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
                return Err(failed("will not be overwritten without --force", e));
            }
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".partial-{}", std::process::id()));
        let partial = path.with_file_name(name);
        let file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .open(&partial)
            .map_err(|e| failed("cannot create", e))?;
        Ok(NewFile {
            file,
            path: path.to_owned(),
            partial: Some(partial),
        })
    }

    /// Gives the file its name.
    pub fn commit(mut self) -> Result<()> {
        if let Some(partial) = self.partial.take() {
            std::fs::rename(&partial, &self.path).map_err(|e| {
                RdbError::io("cannot rename to", e).with_file(&self.path.display().to_string())
            })?;
        }
        Ok(())
    }

    /// Leaves what has been written where it is, under its provisional name, and gives that.
    pub fn keep_partial(mut self) -> Option<PathBuf> {
        self.partial.take()
    }
}

impl Sink for NewFile {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| {
            RdbError::io("cannot write", e).with_file(&self.path.display().to_string())
        })
    }
}

/// Neither committed nor kept: what has been written is of no use.
impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_file(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appears_when_whole_and_not_before() {
        let dir = std::env::temp_dir().join(format!("rdbtool-newfile-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("out.json");
        let names = || std::fs::read_dir(&dir).unwrap().count();

        let mut f = NewFile::create(&path, false).unwrap();
        f.write(b"whole").unwrap();
        assert!(!path.exists() && names() == 1);
        f.commit().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");

        assert!(NewFile::create(&path, false).is_err());
        let mut f = NewFile::create(&path, true).unwrap();
        f.write(b"half").unwrap();
        drop(f);
        assert_eq!(
            (std::fs::read(&path).unwrap(), names()),
            (b"whole".to_vec(), 1)
        );

        let mut f = NewFile::create(&path, true).unwrap();
        f.write(b"salvaged").unwrap();
        let kept = f.keep_partial().unwrap();
        assert_eq!(std::fs::read(kept).unwrap(), b"salvaged");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
