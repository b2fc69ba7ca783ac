//! `attr patterns`: patterns fitted to data, and read again for the methods that use them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use attr_core::{PatternKind, Patterns};
use ndarray::{ArrayD, Axis, Slice};

use crate::catalogue::Common;
use crate::cli::{InputArgs, ModelArgs, QuestionArgs};
use crate::error::{At, Error, Result};
use crate::input::Reader;
use crate::{files, model, progress, terminal};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// The data, gone through once. Of a model with one input also folders with pictures and arrays
    #[command(flatten)]
    input: InputArgs,
    /// For which inputs of a neuron: all (linear), those for which it is positive, or negative
    #[arg(long, value_name = "KIND", default_value_t)]
    kind: PatternKind,
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
    if !args.input.texts.is_empty() {
        return Err(Error::usage("text: expected --input with data that patterns are fitted to"));
    }
    files::check_writable(&args.out)?;
    let model = model::open(&args.model, None)?;
    let reader = Reader::new(&args.input, &model)?;
    let files = if reader.has_one_input() { listed(&args.input.inputs)? } else { args.input.inputs.clone() };
    let batch = args.batch as usize;
    let at_once = if reader.has_one_input() { batch } else { files.len().max(1) };
    let mut data = Data { reader, files: files.chunks(at_once), rows: Vec::new(), batch, failed: None };
    let patterns = model.face.fit_patterns(args.kind, &mut data);
    if let Some(error) = data.failed {
        return Err(error);
    }
    let patterns = patterns.at(args.model.model.display())?;
    files::write(&args.out, &patterns.to_safetensors()?)?;
    let (kind, layers, rows) = (patterns.kind, patterns.of.len(), patterns.rows);
    terminal::line(format_args!("{kind} patterns of {layers} layers, fitted to {rows} rows"))?;
    terminal::line(format_args!("wrote {}", args.out.display()))
}

/// Patterns from a file.
pub(crate) struct Read {
    pub(crate) patterns: Arc<Patterns>,
    /// Which file it was, for the evidence.
    pub(crate) note: String,
}

impl Read {
    /// Those that a question names, if it names any.
    pub(crate) fn of(question: &QuestionArgs) -> Result<Option<Self>> {
        let Some(path) = &question.patterns else { return Ok(None) };
        let bytes = std::fs::read(path).map_err(|error| Error::file(path, error))?;
        let patterns = Patterns::from_safetensors(&bytes).map_err(|error| Error::file(path, error))?;
        let note = format!("patterns {}, sha256 {}", path.display(), model::hash(&bytes));
        Ok(Some(Read { patterns: Arc::new(patterns), note }))
    }
}

/// What the words about a question set for all methods.
pub(crate) fn common<'a>(question: &'a QuestionArgs, read: Option<&Read>) -> Common<'a> {
    let patterns = read.map(|read| Arc::clone(&read.patterns));
    Common { settings: &question.settings, seed: question.seed, patterns }
}

/// The files, those of a folder in the order of their names.
fn listed(inputs: &[String]) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for text in inputs {
        let path = Path::new(text);
        if !path.is_dir() {
            files.push(text.clone());
            continue;
        }
        let entries = std::fs::read_dir(path).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()
        });
        let mut found = entries.map_err(|error| Error::file(path, error))?;
        let endings = ["png", "jpg", "jpeg", "npy", "csv", "tsv"];
        found.retain(|file| {
            let ending = file.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
            ending.is_some_and(|ending| endings.contains(&ending.as_str()))
        });
        if found.is_empty() {
            return Err(Error::file(path, "expected pictures or arrays in this folder, found none"));
        }
        found.sort();
        files.extend(found.iter().map(|file| file.display().to_string()));
    }
    Ok(files)
}

/// The data batch by batch, read as it goes.
struct Data<'a> {
    reader: Reader<'a>,
    /// What is read at once.
    files: std::slice::Chunks<'a, String>,
    /// Rows that were read and not given out, one array for each input.
    rows: Vec<ArrayD<f64>>,
    batch: usize,
    /// What ended it before its time.
    failed: Option<Error>,
}

impl Data<'_> {
    fn next_batch(&mut self) -> Result<Option<Vec<ArrayD<f64>>>> {
        progress::check()?;
        while self.left() == 0 {
            let Some(files) = self.files.next() else { return Ok(None) };
            self.rows = self.reader.arrays(files)?.arrays;
        }
        let len = self.left().min(self.batch) as isize;
        let cut = |array: &ArrayD<f64>, rows: Slice| array.slice_axis(Axis(0), rows).to_owned();
        let batch = self.rows.iter().map(|array| cut(array, Slice::from(..len))).collect();
        self.rows.iter_mut().for_each(|array| *array = cut(array, Slice::from(len..)));
        Ok(Some(batch))
    }

    /// How many rows were read and not given out.
    fn left(&self) -> usize {
        self.rows.first().map_or(0, |array| array.len_of(Axis(0)))
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
