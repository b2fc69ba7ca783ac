//! A model's input from a table: rows of a CSV file, with names of columns.

use std::path::Path;

use csv::StringRecord;
use ndarray::{Array2, ArrayD, Axis};

use crate::error::{Error, Result};
use crate::preparation::Standard;

/// The rows of a table that are asked about, and the rest for their mean.
#[derive(Debug)]
pub(crate) struct Table {
    /// The names of the columns in the order of the model's features.
    pub(crate) columns: Vec<String>,
    /// The numbers of the rows asked about as they stand in the file: `[rows, features]`.
    pub(crate) cells: Array2<f64>,
    /// The numbers of these rows in the file, from 1, without the header.
    pub(crate) rows: Vec<usize>,
    standard: Standard,
    file: String,
    /// All rows, and where in each the columns are.
    records: Vec<StringRecord>,
    places: Vec<usize>,
}

impl Table {
    /// Reads a file with a header, its columns apart by commas (in a .tsv file by tabs). `wanted` are numbers of rows
    /// from 1; none stand for all.
    pub(crate) fn read(path: &Path, features: usize, standard: Standard, wanted: &[usize]) -> Result<Self> {
        let failed = |reason: String| Error::file(path, reason);
        let is_tabbed = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("tsv"));
        let separator = if is_tabbed { b'\t' } else { b',' };
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.delimiter(separator).trim(csv::Trim::All).from_path(path);
        let mut reader = reader.map_err(|error| failed(error.to_string()))?;
        let header = reader.headers().map_err(|error| failed(error.to_string()))?.clone();
        let names: Vec<_> = header.iter().collect();
        let (columns, places) = columns(&names, &standard, features).map_err(failed)?;
        let records = reader.records().collect::<std::result::Result<Vec<_>, _>>();
        let records = records.map_err(|error| failed(error.to_string()))?;
        if records.is_empty() {
            return Err(failed("expected rows below the names of columns, found none".into()));
        }
        let rows: Vec<_> = if wanted.is_empty() { (1..=records.len()).collect() } else { wanted.to_vec() };
        if let Some(row) = rows.iter().find(|row| !(1..=records.len()).contains(*row)) {
            let last = records.len();
            return Err(Error::usage(format!(
                "row: expected 1 to {last}, the rows of {}, found {row}",
                path.display()
            )));
        }
        let mut table = Table {
            columns,
            cells: Array2::zeros((0, features)),
            rows,
            standard,
            file: path.display().to_string(),
            records,
            places,
        };
        table.cells = table.numbers(&table.rows)?;
        Ok(table)
    }

    /// The rows asked about as the model takes them: `[rows, features]`.
    pub(crate) fn array(&self) -> ArrayD<f64> {
        self.standard.apply(&self.cells).into_dyn()
    }

    /// The mean of all rows of the file as the model takes it: `[1, features]`.
    pub(crate) fn mean(&self) -> Result<ArrayD<f64>> {
        let all: Vec<_> = (1..=self.records.len()).collect();
        let mean = self.numbers(&all)?.mean_axis(Axis(0)).expect("BUG: a table has rows");
        Ok(self.standard.apply(&mean.insert_axis(Axis(0))).into_dyn())
    }

    /// The numbers of rows, by their numbers.
    fn numbers(&self, rows: &[usize]) -> Result<Array2<f64>> {
        let mut numbers = Array2::zeros((rows.len(), self.places.len()));
        for (&row, mut target) in rows.iter().zip(numbers.rows_mut()) {
            let record = &self.records[row - 1];
            for ((name, &place), number) in self.columns.iter().zip(&self.places).zip(&mut target) {
                let cell = &record[place];
                let parsed = cell.parse().ok().filter(|x: &f64| x.is_finite());
                *number = parsed.ok_or_else(|| {
                    let line = record.position().map_or(0, csv::Position::line);
                    let reason = format!("line {line}, column {name:?}: expected a number, found {cell:?}");
                    Error::file(Path::new(&self.file), reason)
                })?;
            }
        }
        Ok(numbers)
    }
}

/// The names of the model's features, and where they stand in the file: by name where the model's are known, else all.
fn columns(
    names: &[&str],
    standard: &Standard,
    features: usize,
) -> std::result::Result<(Vec<String>, Vec<usize>), String> {
    let Some(wanted) = &standard.columns else {
        return match names.len() == features {
            true => Ok((names.iter().map(ToString::to_string).collect(), (0..features).collect())),
            false => Err(format!(
                "expected {features} columns, as many as the model has features, found {}: \"columns\" in the JSON \
                 beside the model says which they are",
                names.len()
            )),
        };
    };
    let missing: Vec<_> = wanted.iter().filter(|name| !names.contains(&name.as_str())).cloned().collect();
    if !missing.is_empty() {
        let list =
            |names: &[String]| names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        let there: Vec<_> = names.iter().map(ToString::to_string).collect();
        return Err(format!(
            "expected columns {}, found none of these names among {}",
            list(&missing),
            list(&there)
        ));
    }
    let place = |name: &String| {
        let mut found = (0..names.len()).filter(|&i| names[i] == name);
        match (found.next(), found.next()) {
            (Some(place), None) => Ok(place),
            _ => Err(format!("expected one column {name:?}, found several")),
        }
    };
    Ok((wanted.clone(), wanted.iter().map(place).collect::<std::result::Result<_, _>>()?))
}
