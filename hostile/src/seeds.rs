//! The files of the repository that broken ones are made of.

use std::fs;
use std::path::{Path, PathBuf};

use crate::parts::Part;
use crate::{Input, Reader};

/// A file that is as it should be.
#[derive(Debug, Clone)]
pub struct Seed {
    /// Its place in its folder.
    pub name: String,
    /// What reads it.
    pub reader: Reader,
    /// The file.
    pub bytes: Vec<u8>,
    /// The folder it is in.
    pub folder: PathBuf,
    /// How many bytes of variables there are beside it.
    pub beside: usize,
    pub(crate) part: Part,
}

/// No seed is larger than this: larger ones are mostly weights.
const LARGEST: u64 = 256 << 10;

impl Seed {
    /// The file as it is.
    pub fn unchanged(&self) -> Input<'_> {
        Input {
            name: self.name.clone(),
            reader: self.reader,
            variables: Some(self),
            bytes: self.bytes.clone(),
        }
    }

    /// All small files of the repository for these readers.
    pub fn of(readers: &[Reader]) -> std::io::Result<Vec<Seed>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut seeds = Vec::new();
        for folder in ["crates", "tests", "fuzz/seeds"] {
            seeds.extend(Seed::within(&root.join(folder), readers)?);
        }
        Ok(seeds)
    }

    /// All small files in a folder and the folders within it for these readers, by their names.
    pub fn within(folder: &Path, readers: &[Reader]) -> std::io::Result<Vec<Seed>> {
        let mut seeds = Vec::new();
        visit(folder, &mut |path| {
            let reader = path.extension().and_then(|ending| match ending.to_str()? {
                "onnx" => Some(Reader::Onnx),
                // The ONNX project's tests keep tensors in such files, which are no models.
                "pb" if !path.ancestors().any(|folder| folder.ends_with("node")) => Some(Reader::GraphDef),
                "png" | "jpg" => Some(Reader::Picture),
                "npy" => Some(Reader::Npy),
                "pt2" => Some(Reader::Program),
                "pth" | "safetensors" => Some(Reader::Weights),
                _ => None,
            });
            let Some(reader) = reader.filter(|reader| readers.contains(reader)) else { return Ok(()) };
            if fs::metadata(path)?.len() > LARGEST {
                return Ok(());
            }
            let name = path.strip_prefix(folder).unwrap_or(path).display().to_string();
            let bytes = fs::read(path)?;
            let part = Part::of(reader, &bytes);
            let folder = path.parent().unwrap_or(path).to_owned();
            let beside = beside(&folder.join("variables"))?;
            seeds.push(Seed { name, reader, bytes, folder, beside, part });
            Ok(())
        })?;
        seeds.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(seeds)
    }
}

fn visit(folder: &Path, file: &mut dyn FnMut(&Path) -> std::io::Result<()>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { visit(&path, file)? } else { file(&path)? }
    }
    Ok(())
}

fn beside(folder: &Path) -> std::io::Result<usize> {
    if !folder.is_dir() {
        return Ok(0);
    }
    fs::read_dir(folder)?.try_fold(0, |sum, entry| Ok(sum + entry?.metadata()?.len() as usize))
}
