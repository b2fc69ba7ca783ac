//! The cache: a folder outside the repository with the files of [`packages`](crate::packages).
//!
//! A file is in the cache whole and with the right hash, or it is not there: downloads and extraction
//! happen in a scratch folder inside the cache, and each file enters it by a rename. When all files of a
//! package are there, nothing is run, nothing is written and no network is needed.

use std::fs::{self, File};
use std::io;
#[cfg(unix)]
use std::os::unix::fs::symlink;
#[cfg(windows)]
use std::os::windows::fs::symlink_file as symlink;
use std::path::{Path, PathBuf};
use std::sync::Once;

use crate::archive::{download, extract, extract_parts, hash, mismatch, only_file};
use crate::packages::{Layout, Package};

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Why a package could not be brought into the cache.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error(
        "no cache folder: expected one of ATTR_CACHE, XDG_CACHE_HOME or HOME to be set, found none: \
         set ATTR_CACHE to a folder that can be written to"
    )]
    NoFolder,
    #[error(
        "package \"{package}\": expected the command \"{command}\", found none: install it and run this again"
    )]
    NoClient { package: String, command: &'static str },
    #[error(
        "package \"{package}\": expected {client} to download it, found this:\n{output}\n\
         check the network, and the free space on the disk of the cache, then run this again"
    )]
    Download { package: String, client: &'static str, output: String },
    #[error(
        "package \"{package}\": expected {what} with sha256 {expected}, found {found}: nothing was kept; \
         run this again, and if it stays so the package has changed and must be reviewed"
    )]
    Hash { package: String, what: String, expected: String, found: String },
    #[error("package \"{package}\": expected a readable archive, found this: {reason}")]
    Archive { package: String, reason: String },
    #[error("package \"{package}\": expected \"{member}\" in its archive, found no such file")]
    NoMember { package: String, member: String },
    #[error("{}: {source}: check that it can be written to and that its disk is not full", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// The folder that packages are unpacked in, one folder each.
#[derive(Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// The user's cache: `ATTR_CACHE` if set, else `attr` in `XDG_CACHE_HOME`, else in `~/.cache`.
    pub(crate) fn open() -> Result<Self> {
        let variable =
            |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        // The XDG specification says that a relative path is to be ignored.
        let base = || {
            variable("XDG_CACHE_HOME")
                .filter(|path| path.is_absolute())
                .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        };
        let root = variable("ATTR_CACHE").or_else(|| base().map(|base| base.join("attr")));
        let root = root.ok_or(Error::NoFolder)?;
        // Builds are told of folders in it, and they run elsewhere.
        Ok(Self { root: std::path::absolute(&root).map_err(at(&root))? })
    }

    /// The folder itself, which need not exist yet.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes sure that all files of `package` are in the cache and returns their folder.
    pub(crate) fn fetch(&self, package: &Package) -> Result<PathBuf> {
        self.fetch_with(package, download)
    }

    /// As [`fetch`](Self::fetch), with the step that puts the archive into a given, empty folder.
    fn fetch_with(
        &self,
        package: &Package,
        download: impl FnOnce(&Package, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.root.join(format!("{}-{}", package.name, package.version));
        if is_complete(&folder, package) {
            return Ok(folder);
        }
        let scratch = Scratch::create(&self.root)?;
        // Another run may have fetched it while this one waited for the lock.
        if is_complete(&folder, package) {
            return Ok(folder);
        }
        let archive = scratch.archive(package, download)?;
        let unpacked = scratch.folder("files")?;
        extract(package, &archive, &unpacked)?;
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        for member in package.members {
            let file = folder.join(member.name);
            fs::rename(unpacked.join(member.name), &file).map_err(at(&file))?;
        }
        Ok(folder)
    }

    /// Makes sure that the folder of `layout` is in the cache and returns it.
    pub(crate) fn lay_out(&self, layout: &Layout) -> Result<PathBuf> {
        self.lay_out_with(layout, download)
    }

    fn lay_out_with(
        &self,
        layout: &Layout,
        download: impl Fn(&Package, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let folder = self.root.join(format!("{}-{}", layout.name, layout.version));
        if folder.is_dir() {
            return Ok(folder);
        }
        let scratch = Scratch::create(&self.root)?;
        if folder.is_dir() {
            return Ok(folder);
        }
        let unpacked = scratch.folder("files")?;
        for (package, parts) in layout.wheels {
            let archive = scratch.archive(package, &download)?;
            eprintln!("unpacking {} {}", package.name, package.version);
            extract_parts(package, parts, &archive, &unpacked)?;
        }
        for (name, target) in layout.links {
            let path = unpacked.join(name);
            symlink(target, &path).map_err(at(&path))?;
        }
        for (name, content) in layout.texts {
            let path = unpacked.join(name);
            fs::write(&path, content).map_err(at(&path))?;
        }
        fs::rename(unpacked, &folder).map_err(at(&folder))?;
        Ok(folder)
    }
}

/// The one folder in which a run works, under a lock that makes it the only such run.
///
/// It is removed when dropped and on Ctrl-C; what a killed run has left is removed by the next.
struct Scratch {
    path: PathBuf,
    // The operating system releases the lock with the file, however this process ends.
    _lock: File,
}

impl Scratch {
    fn create(root: &Path) -> Result<Self> {
        fs::create_dir_all(root).map_err(at(root))?;
        let lock_path = root.join(".lock");
        let lock = File::create(&lock_path).map_err(at(&lock_path))?;
        lock.lock().map_err(at(&lock_path))?;
        let scratch = Self { path: root.join(".fetching"), _lock: lock };
        scratch.remove().map_err(at(&scratch.path))?;
        fs::create_dir(&scratch.path).map_err(at(&scratch.path))?;
        remove_on_interrupt(&scratch.path);
        Ok(scratch)
    }

    /// Downloads a package's archive and checks its hash.
    fn archive(
        &self,
        package: &Package,
        download: impl FnOnce(&Package, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        eprintln!("fetching {} {} ({} MB)", package.name, package.version, package.megabytes);
        let folder = self.folder(package.name)?;
        download(package, &folder)?;
        let archive = only_file(&folder, package)?;
        let found = hash(&archive)?;
        if found != package.sha256 {
            return Err(mismatch(package, "an archive", package.sha256, found));
        }
        Ok(archive)
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        fs::create_dir(&path).map_err(at(&path))?;
        Ok(path)
    }

    fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

/// Ctrl-C ends the process without running destructors, so the folder is removed here too.
fn remove_on_interrupt(path: &Path) {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        let path = path.to_owned();
        // If the program already handles Ctrl-C, the next run's sweep has to do.
        let _ = ctrlc::set_handler(move || {
            let _ = fs::remove_dir_all(&path);
            std::process::exit(130);
        });
    });
}

fn is_complete(folder: &Path, package: &Package) -> bool {
    package.members.iter().all(|m| hash(&folder.join(m.name)).is_ok_and(|found| found == m.sha256))
}

pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::archive::hex;
    use crate::packages::{Kind, Member, Part};

    const CONTENT: &[u8] = b"a file of a package";

    /// A package of one file, in an archive made here and handed over by a pretended client.
    struct Case {
        cache: Cache,
        package: Package,
        archive: Vec<u8>,
    }

    impl Case {
        fn new(name: &str, kind: Kind) -> Self {
            let root = std::env::temp_dir().join(format!("attr-cache-{}-{name}", std::process::id()));
            let archive = if kind == Kind::Wheel { zip_of(&[CONTENT]) } else { tar_of(&[CONTENT]) };
            let package = Package {
                kind,
                name: "example",
                version: "1.0",
                megabytes: 0,
                sha256: sha256(&archive),
                members: Box::leak(Box::new([member(0, CONTENT)])),
            };
            Self { cache: Cache { root }, package, archive }
        }

        fn with_archive(mut self, archive: Vec<u8>) -> Self {
            self.package.sha256 = sha256(&archive);
            self.archive = archive;
            self
        }

        fn with_members(mut self, members: Vec<Member>) -> Self {
            self.package.members = members.leak();
            self
        }

        fn fetch(&self) -> Result<PathBuf> {
            self.cache.fetch_with(&self.package, |_, folder| self.download(folder))
        }

        fn layout(&self, parts: Vec<Part>) -> Layout {
            let Package { kind, name, version, megabytes, sha256, .. } = self.package;
            let package = Package { kind, name, version, megabytes, sha256, members: &[] };
            let parts: &[Part] = parts.leak();
            Layout {
                name: "layout",
                version: "2.0",
                wheels: Box::leak(Box::new([(package, parts)])),
                links: &[("lib/link", "a")],
                texts: &[("text", "content")],
            }
        }

        fn lay_out(&self, parts: Vec<Part>) -> Result<PathBuf> {
            self.cache.lay_out_with(&self.layout(parts), |_, folder| self.download(folder))
        }

        fn download(&self, folder: &Path) -> Result<()> {
            let path = folder.join("archive");
            fs::write(&path, &self.archive).map_err(at(&path))
        }

        /// Asserts that fetching fails and that the cache holds no file and no folder after it.
        fn fails_and_leaves_nothing(&self) -> String {
            self.left_nothing(self.fetch())
        }

        fn left_nothing(&self, result: Result<PathBuf>) -> String {
            let error = result.expect_err("expected an error").to_string();
            let left: Vec<_> =
                fs::read_dir(&self.cache.root).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(left, [".lock"], "after: {error}");
            error
        }
    }

    impl Drop for Case {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.cache.root);
        }
    }

    fn sha256(bytes: &[u8]) -> &'static str {
        hex(Sha256::digest(bytes).as_slice()).leak()
    }

    fn member(index: usize, content: &[u8]) -> Member {
        Member {
            name: format!("file{index}").leak(),
            path: format!("data/{index}").leak(),
            sha256: sha256(content),
        }
    }

    fn zip_of(contents: &[&[u8]]) -> Vec<u8> {
        let named: Vec<_> = contents.iter().enumerate().map(|(i, c)| (format!("data/{i}"), *c)).collect();
        zip_of_named(&named)
    }

    /// A name that ends in a slash makes a folder.
    fn zip_of_named<N: AsRef<str>>(files: &[(N, &[u8])]) -> Vec<u8> {
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (name, content) in files {
            let (name, deflated) = (name.as_ref(), zip::write::SimpleFileOptions::default());
            if name.ends_with('/') {
                zip.add_directory(name, deflated).unwrap();
            } else {
                zip.start_file(name, deflated).unwrap();
                zip.write_all(content).unwrap();
            }
        }
        zip.finish().unwrap().into_inner()
    }

    fn tar_of(contents: &[&[u8]]) -> Vec<u8> {
        let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut tar = tar::Builder::new(gzip);
        for (index, content) in contents.iter().enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            tar.append_data(&mut header, format!("data/{index}"), *content).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn fetches_once() {
        for kind in [Kind::Wheel, Kind::Sdist, Kind::Npm] {
            let case = Case::new(&format!("once-{kind:?}"), kind);
            let folder = case.fetch().unwrap();
            assert_eq!(fs::read(folder.join("file0")).unwrap(), CONTENT);
            let again = case.cache.fetch_with(&case.package, |_, _| panic!("expected no second download"));
            assert_eq!(again.unwrap(), folder);
            assert!(!case.cache.root.join(".fetching").exists());
        }
    }

    #[test]
    fn replaces_a_damaged_file() {
        let case = Case::new("damaged", Kind::Npm);
        let file = case.fetch().unwrap().join("file0");
        fs::write(&file, &CONTENT[1..]).unwrap();
        case.fetch().unwrap();
        assert_eq!(fs::read(file).unwrap(), CONTENT);
    }

    #[test]
    fn sweeps_what_a_killed_run_left() {
        let case = Case::new("killed", Kind::Wheel);
        fs::create_dir_all(case.cache.root.join(".fetching/archive")).unwrap();
        case.fetch().unwrap();
        assert!(!case.cache.root.join(".fetching").exists());
    }

    #[test]
    fn refuses_another_archive() {
        let mut case = Case::new("archive", Kind::Wheel);
        case.package.sha256 = sha256(b"another");
        let error = case.fails_and_leaves_nothing();
        assert!(error.contains(&format!(
            "with sha256 {}, found {}",
            sha256(b"another"),
            sha256(&case.archive)
        )));
    }

    /// The second file is wrong, so that the first is already unpacked when the error comes.
    #[test]
    fn refuses_another_member() {
        for kind in [Kind::Wheel, Kind::Sdist] {
            let contents: [&[u8]; 2] = [CONTENT, b"changed"];
            let archive = if kind == Kind::Wheel { zip_of(&contents) } else { tar_of(&contents) };
            let case = Case::new(&format!("member-{kind:?}"), kind)
                .with_archive(archive)
                .with_members(vec![member(0, CONTENT), member(1, CONTENT)]);
            let error = case.fails_and_leaves_nothing();
            assert!(error.contains("\"data/1\" with sha256"), "{error}");
        }
    }

    #[test]
    fn refuses_an_archive_that_ends_early() {
        for kind in [Kind::Wheel, Kind::Sdist] {
            let case = Case::new(&format!("early-{kind:?}"), kind);
            let half = case.archive[..case.archive.len() / 2].to_vec();
            let error = case.with_archive(half).fails_and_leaves_nothing();
            assert!(error.contains("expected a readable archive"), "{error}");
        }
    }

    #[test]
    fn names_a_missing_member() {
        for kind in [Kind::Wheel, Kind::Npm] {
            let case = Case::new(&format!("missing-{kind:?}"), kind).with_members(vec![member(7, CONTENT)]);
            let error = case.fails_and_leaves_nothing();
            assert!(error.contains("expected \"data/7\" in its archive"), "{error}");
        }
    }

    #[test]
    fn removes_the_scratch_folder_when_a_step_panics() {
        let case = Case::new("panic", Kind::Wheel);
        let fetch = || case.cache.fetch_with(&case.package, |_, _| panic!("expected by this test"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(fetch)).is_err());
        assert!(!case.cache.root.join(".fetching").exists());
    }

    /// The files of a pretended wheel and where its parts go.
    fn parts() -> (Vec<u8>, Vec<Part>) {
        let files: [(&str, &[u8]); 5] = [
            ("wheel/include/", b""),
            ("wheel/include/deep/er.h", b"header"),
            ("wheel/include/flat.h", CONTENT),
            ("wheel/lib/a", CONTENT),
            ("wheel/lib/large", b"not wanted"),
        ];
        let parts =
            [Part { from: "wheel/include/", to: "include/" }, Part { from: "wheel/lib/a", to: "lib/a" }];
        (zip_of_named(&files), parts.into())
    }

    #[test]
    fn lays_out_once() {
        let (wheel, parts) = parts();
        let case = Case::new("layout", Kind::Wheel).with_archive(wheel);
        let folder = case.lay_out(parts).unwrap();
        assert_eq!(folder, case.cache.root.join("layout-2.0"));
        assert_eq!(fs::read(folder.join("include/deep/er.h")).unwrap(), b"header");
        assert_eq!(fs::read(folder.join("include/flat.h")).unwrap(), CONTENT);
        assert_eq!(fs::read(folder.join("lib/link")).unwrap(), CONTENT);
        assert_eq!(fs::read_link(folder.join("lib/link")).unwrap(), Path::new("a"));
        assert_eq!(fs::read(folder.join("text")).unwrap(), b"content");
        assert_eq!(fs::read_dir(folder.join("lib")).unwrap().count(), 2);
        assert!(!case.cache.root.join(".fetching").exists());
        let again =
            case.cache.lay_out_with(&case.layout(vec![]), |_, _| panic!("expected no second download"));
        assert_eq!(again.unwrap(), folder);
    }

    #[test]
    fn lays_out_all_or_nothing() {
        let (wheel, good) = parts();
        let case = |name: &str, wheel: Vec<u8>| Case::new(name, Kind::Wheel).with_archive(wheel);

        let missing = case("layout-missing", wheel.clone());
        let error = missing.left_nothing(
            missing.lay_out(good.into_iter().chain([Part { from: "wheel/no/", to: "no/" }]).collect()),
        );
        assert!(error.contains("expected \"wheel/no/\" in its archive"), "{error}");

        let early = case("layout-early", wheel[..wheel.len() / 2].to_vec());
        let error = early.left_nothing(early.lay_out(parts().1));
        assert!(error.contains("expected a readable archive"), "{error}");

        let mut another = case("layout-another", wheel);
        another.package.sha256 = sha256(b"another");
        let error = another.left_nothing(another.lay_out(parts().1));
        assert!(error.contains("expected an archive with sha256"), "{error}");
    }

    #[test]
    fn writes_nothing_beside_a_layout() {
        let wheel = zip_of_named(&[("wheel/../../outside", CONTENT)]);
        let case = Case::new("layout-outside", Kind::Wheel).with_archive(wheel);
        let error = case.left_nothing(case.lay_out(vec![Part { from: "wheel/", to: "include/" }]));
        assert!(error.contains("is not the name of a file below a folder"), "{error}");
    }
}
