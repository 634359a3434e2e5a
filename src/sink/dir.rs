//! Directories written beside their place and renamed when whole.

use crate::error::{RdbError, Result};
use std::path::{Path, PathBuf};

/// A directory that appears under its name only once all that belongs into it is there.
///
/// Until then it is `NAME.partial-PID` beside it. What has been written goes if it is not committed.
#[derive(Debug)]
pub struct NewDir {
    path: PathBuf,
    partial: Option<PathBuf>,
    /// Whether another is there, to be replaced.
    replaces: bool,
}

impl NewDir {
    /// Makes a directory to write into. One that is there and not empty is an error, unless `force` says that it may be replaced;
    /// and even then it must hold a file of the name `mark`, as those that are made here do: a directory that is something else is
    /// never deleted.
    pub fn create(path: &Path, force: bool, mark: &str) -> Result<NewDir> {
        let failed = |what: &str, e| RdbError::io(what, e).with_file(&path.display().to_string());
        let refused = |kind: std::io::ErrorKind, what: &str| failed(what, kind.into());
        let Some(name) = path.file_name() else {
            let invalid = std::io::ErrorKind::InvalidInput;
            return Err(refused(invalid, "no name of a directory to be made"));
        };
        let mut replaces = false;
        match std::fs::read_dir(path) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    let exists = std::io::ErrorKind::AlreadyExists;
                    if !force {
                        return Err(refused(exists, "will not be replaced without --force"));
                    }
                    if !path.join(mark).is_file() {
                        let what = format!(
                            "will not be replaced: it holds no {mark}, so it was not made here"
                        );
                        return Err(refused(exists, &what));
                    }
                    replaces = true;
                }
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed("cannot write to", e)),
        }
        let pid = std::process::id();
        let mut partial = name.to_owned();
        partial.push(format!(".partial-{pid}"));
        let partial = path.with_file_name(partial);
        std::fs::create_dir(&partial).map_err(|e| failed("cannot create", e))?;
        Ok(NewDir {
            path: path.to_owned(),
            partial: Some(partial),
            replaces,
        })
    }

    /// Where to write.
    pub fn partial(&self) -> &Path {
        self.partial.as_deref().unwrap_or(&self.path)
    }

    /// Gives the directory its name.
    pub fn commit(mut self) -> Result<()> {
        let name = self.path.display().to_string();
        let failed = |e| RdbError::io("cannot rename to", e).with_file(&name);
        let mut old = None;
        if self.replaces {
            let mut aside = self.path.file_name().unwrap_or_default().to_owned();
            aside.push(format!(".old-{}", std::process::id()));
            let aside = self.path.with_file_name(aside);
            std::fs::rename(&self.path, &aside).map_err(failed)?;
            old = Some(aside);
        }
        if let Some(partial) = &self.partial
            && let Err(e) = std::fs::rename(partial, &self.path)
        {
            if let Some(old) = old {
                let _ = std::fs::rename(old, &self.path);
            }
            return Err(failed(e));
        }
        self.partial = None;
        if let Some(old) = old {
            std::fs::remove_dir_all(&old).map_err(|e| {
                RdbError::io("cannot remove", e).with_file(&old.display().to_string())
            })?;
        }
        Ok(())
    }
}

/// Not committed: what has been written is of no use.
impl Drop for NewDir {
    fn drop(&mut self) {
        if let Some(partial) = &self.partial {
            let _ = std::fs::remove_dir_all(partial);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn appears_when_whole_and_replaces_only_its_like() {
        let top = std::env::temp_dir().join(format!("rdbtool-newdir-{}", std::process::id()));
        let _ = fs::remove_dir_all(&top);
        fs::create_dir_all(&top).unwrap();
        let path = top.join("seed");
        let make = |force, text: &str| {
            let dir = NewDir::create(&path, force, "mark")?;
            fs::write(dir.partial().join("mark"), text).unwrap();
            Ok::<_, RdbError>(dir)
        };
        let names = || fs::read_dir(&top).unwrap().count();
        drop(make(false, "half").unwrap());
        assert_eq!(names(), 0);
        fs::create_dir(&path).unwrap();
        make(false, "one").unwrap().commit().unwrap();
        assert!(make(false, "two").is_err());
        make(true, "two").unwrap().commit().unwrap();
        assert_eq!(fs::read_to_string(path.join("mark")).unwrap(), "two");
        assert_eq!(names(), 1);
        fs::rename(path.join("mark"), path.join("other")).unwrap();
        let e = make(true, "three").unwrap_err();
        assert!(e.to_string().contains("not made here"), "{e}");
        fs::write(top.join("file"), "").unwrap();
        assert!(NewDir::create(&top.join("file"), true, "mark").is_err());
        for odd in ["/", "..", "."] {
            assert!(NewDir::create(Path::new(odd), true, "mark").is_err());
        }
        fs::remove_dir_all(&top).unwrap();
    }
}
