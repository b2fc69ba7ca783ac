//! Explanations as files, in the format that the ending says.

use std::collections::HashMap;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use attr_core::Precision;
use ndarray::ArrayD;
use ndarray_npy::{NpzWriter, WriteNpyExt};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::explanation::Explanation;
use crate::files;

/// A file to be written.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
}

/// What a file's ending stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `.png`, `.jpg`, `.jpeg`
    Picture,
    /// `.npy`: the values
    Npy,
    /// `.npz`: the values of each tensor, by name
    Npz,
    /// `.safetensors`: likewise, with the evidence
    SafeTensors,
    /// `.json`: the evidence
    Json,
    /// `.html`: a text in colour, with the evidence
    Page,
}

impl Output {
    /// An error if the ending is unknown, or the file can't be written.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let format = match ending.as_str() {
            "png" | "jpg" | "jpeg" => Format::Picture,
            "npy" => Format::Npy,
            "npz" => Format::Npz,
            "safetensors" => Format::SafeTensors,
            "json" => Format::Json,
            "html" => Format::Page,
            _ => {
                let expected = "a file that ends in .png, .jpg, .npy, .npz, .safetensors, .json or .html";
                return Err(Error::usage(format!("out: expected {expected}, found {}", path.display())));
            }
        };
        files::check_writable(path)?;
        Ok(Output { path: path.to_path_buf(), format })
    }

    /// As [`Output::new`], for what can only be a picture.
    pub(crate) fn picture(path: &Path) -> Result<Self> {
        match Output::new(path)? {
            output @ Output { format: Format::Picture, .. } => Ok(output),
            _ => Err(Error::usage(format!("out: expected a .png or .jpg file, found {}", path.display()))),
        }
    }

    /// As [`Output::new`], for what can only be a page.
    pub(crate) fn page(path: &Path) -> Result<Self> {
        match Output::new(path)? {
            output @ Output { format: Format::Page, .. } => Ok(output),
            _ => Err(Error::usage(format!("out: expected a .html file for texts, found {}", path.display()))),
        }
    }

    /// Writes an explanation as numbers or evidence.
    pub(crate) fn write(&self, explanation: &Explanation, evidence: &Value) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Error::file(&self.path, error);
        let values = &explanation.attribution.values;
        let arrays =
            values.iter().map(|values| Array::new(values, explanation.attribution.evidence.precision));
        let mut named = explanation.names.iter().zip(arrays);
        let mut bytes = Cursor::new(Vec::new());
        match self.format {
            Format::Picture | Format::Page => unreachable!("BUG: pictures and pages are made elsewhere"),
            Format::Json => {
                let text = serde_json::to_string_pretty(evidence).map_err(|error| failed(&error))?;
                return files::write(&self.path, format!("{text}\n").as_bytes());
            }
            Format::Npy => match (named.next(), named.len()) {
                (Some((_, array)), 0) => array.write_npy(&mut bytes).map_err(|error| failed(&error))?,
                (_, more) => {
                    let found = format!("expected one array for .npy, found {}: use .npz", more + 1);
                    return Err(Error::usage(format!("{}: {found}", self.path.display())));
                }
            },
            Format::Npz => {
                let mut file = NpzWriter::new(&mut bytes);
                for (name, array) in named {
                    array.add_to(&mut file, name).map_err(|error| failed(&error))?;
                }
                file.finish().map_err(|error| failed(&error))?;
            }
            Format::SafeTensors => {
                let named: Vec<_> = named.map(|(name, array)| (name, array.bytes(), array)).collect();
                let views = named.iter().map(|(name, bytes, array)| {
                    Ok((name.as_str(), TensorView::new(array.dtype(), array.shape().to_vec(), bytes)?))
                });
                let views = views.collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
                let metadata = HashMap::from([("evidence".to_string(), evidence.to_string())]);
                let file = views.and_then(|views| safetensors::serialize(views, Some(metadata)));
                return files::write(&self.path, &file.map_err(|error| failed(&error))?);
            }
        }
        files::write(&self.path, bytes.get_ref())
    }
}

/// Values in the precision they were computed in.
enum Array {
    F32(ArrayD<f32>),
    F64(ArrayD<f64>),
}

impl Array {
    fn new(values: &ArrayD<f64>, precision: Precision) -> Self {
        let values = values.as_standard_layout();
        match precision {
            Precision::F32 => Array::F32(values.mapv(|x| x as f32)),
            _ => Array::F64(values.into_owned()),
        }
    }

    fn dtype(&self) -> Dtype {
        match self {
            Array::F32(_) => Dtype::F32,
            Array::F64(_) => Dtype::F64,
        }
    }

    fn shape(&self) -> &[usize] {
        match self {
            Array::F32(array) => array.shape(),
            Array::F64(array) => array.shape(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Array::F32(array) => array.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Array::F64(array) => array.iter().flat_map(|x| x.to_le_bytes()).collect(),
        }
    }

    fn write_npy(&self, to: &mut Cursor<Vec<u8>>) -> std::result::Result<(), ndarray_npy::WriteNpyError> {
        match self {
            Array::F32(array) => array.write_npy(to),
            Array::F64(array) => array.write_npy(to),
        }
    }

    fn add_to(
        &self,
        file: &mut NpzWriter<&mut Cursor<Vec<u8>>>,
        name: &str,
    ) -> std::result::Result<(), ndarray_npy::WriteNpzError> {
        match self {
            Array::F32(array) => file.add_array(name, array),
            Array::F64(array) => file.add_array(name, array),
        }
    }
}
