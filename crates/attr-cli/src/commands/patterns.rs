//! `attr patterns`: patterns fitted to data, and read again for the methods that use them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attr_core::{PatternKind, Patterns};
use clap::builder::PossibleValuesParser;
use ndarray::{ArrayD, Axis, Slice, concatenate};

use crate::catalogue::Common;
use crate::cli::{InputArgs, ModelArgs, QuestionArgs};
use crate::error::{At, Error, Result};
use crate::model::Model;
use crate::{files, input, model, progress, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The data, gone through once. Of a model with one input also folders with pictures and arrays
    #[command(flatten)]
    input: InputArgs,
    /// For which inputs of a neuron: all (linear), those for which it is positive, or negative
    #[arg(long, default_value = "positive", value_parser = PossibleValuesParser::new(["linear", "positive", "negative"]))]
    kind: String,
    /// How many rows are worked on at once
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Where to write them: a .safetensors file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Fits and writes.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.out.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("safetensors")) {
        return Err(Error::usage(format!("out: expected a .safetensors file, found {}", args.out.display())));
    }
    let kind: PatternKind = args.kind.parse()?;
    files::check_writable(&args.out)?;
    let model = model::open(&args.model)?;
    let mut data = Data {
        model: &model,
        args: &args.input,
        parts: parts(&args.input, &model)?.into_iter(),
        waiting: Vec::new(),
        batch: args.batch as usize,
        failed: None,
    };
    let patterns = model.face.fit_patterns(kind, &mut data);
    if let Some(error) = data.failed {
        return Err(error);
    }
    let patterns = patterns.at(args.model.model.display())?;
    files::write(&args.out, &patterns.to_safetensors()?)?;
    let (layers, rows) = (patterns.of.len(), patterns.rows);
    terminal::line(format_args!("{kind} patterns of {layers} layers, fitted to {rows} rows"))?;
    terminal::line(format_args!("wrote {}", args.out.display()))
}

/// What the words about a question set for all methods, patterns included.
pub(crate) fn common(question: &QuestionArgs) -> Result<Common<'_>> {
    let patterns = question.patterns.as_deref().map(read).transpose()?;
    Ok(Common { settings: &question.settings, seed: question.seed, patterns })
}

fn read(path: &Path) -> Result<Arc<Patterns>> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
    Ok(Arc::new(Patterns::from_safetensors(&bytes).map_err(|error| Error::file(path, error))?))
}

/// What is read at once: of a model with one input a file, else all.
fn parts(args: &InputArgs, model: &Model) -> Result<Vec<Vec<String>>> {
    if model.face.places(&attr_core::Cut::input())?.len() != 1 {
        return Ok(vec![args.inputs.clone()]);
    }
    let mut parts = Vec::new();
    for text in &args.inputs {
        let path = Path::new(text);
        if !path.is_dir() {
            parts.push(vec![text.clone()]);
            continue;
        }
        let entries = std::fs::read_dir(path).map_err(|error| Error::file(path, error))?;
        let files = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut files =
            files.collect::<std::io::Result<Vec<_>>>().map_err(|error| Error::file(path, error))?;
        let endings = ["png", "jpg", "jpeg", "npy"];
        files.retain(|file| {
            let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
            ending.is_some_and(|ending| endings.contains(&ending.as_str()))
        });
        if files.is_empty() {
            return Err(Error::file(path, "expected pictures or arrays in this folder, found none"));
        }
        files.sort();
        parts.extend(files.into_iter().map(|file| vec![file.display().to_string()]));
    }
    Ok(parts)
}

/// The data batch by batch, read as it goes.
struct Data<'a> {
    model: &'a Model,
    args: &'a InputArgs,
    parts: std::vec::IntoIter<Vec<String>>,
    /// Rows that were read and not given out, one array for each input.
    waiting: Vec<ArrayD<f64>>,
    batch: usize,
    /// What ended it before its time.
    failed: Option<Error>,
}

impl Data<'_> {
    /// Reads on until a batch is full or nothing is left.
    fn next_batch(&mut self) -> Result<Option<Vec<ArrayD<f64>>>> {
        progress::check()?;
        while self.rows() < self.batch {
            let Some(part) = self.parts.next() else { break };
            let read = input::read(&InputArgs { inputs: part, ..self.args.clone() }, self.model)?.arrays;
            if self.waiting.is_empty() {
                self.waiting = read;
                continue;
            }
            for (waiting, read) in self.waiting.iter_mut().zip(read) {
                let both = concatenate(Axis(0), &[waiting.view(), read.view()]);
                *waiting =
                    both.map_err(|error| Error::failed(format!("files don't fit together: {error}")))?;
            }
        }
        let len = self.rows().min(self.batch) as isize;
        if len == 0 {
            return Ok(None);
        }
        let cut = |array: &ArrayD<f64>, rows: Slice| array.slice_axis(Axis(0), rows).to_owned();
        let batch = self.waiting.iter().map(|array| cut(array, Slice::from(..len))).collect();
        self.waiting.iter_mut().for_each(|array| *array = cut(array, Slice::from(len..)));
        Ok(Some(batch))
    }

    fn rows(&self) -> usize {
        self.waiting.first().map_or(0, |array| array.len_of(Axis(0)))
    }
}

impl Iterator for Data<'_> {
    type Item = attr_core::Result<Vec<ArrayD<f64>>>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.next_batch() {
            Ok(batch) => batch.map(Ok),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }
}
