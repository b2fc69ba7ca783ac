//! The ONNX project's own backend tests: small models with inputs and the outputs that ONNX says they have.
//!
//! Each is read, compiled on candle and run, with every input open but those that a layer here has as a parameter or
//! attribute. It then counts as passed, as skipped for a reason that is listed, or as failed. What passed is run in
//! more ways, none of which may give other numbers: with further inputs held at their values, with all of them held
//! (then the constants are worked out while the file is read), with axis 0 as a batch of twice the rows, and with the
//! layers written to a file and read again.

mod case;
mod file;
mod lists;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use self::case::{Case, Verdict};
use crate::cache::Cache;
use crate::packages;

/// Runs the tests whose name contains `part`, and prints what came of them.
pub(crate) fn run(cache: &Cache, part: &str, each: bool) -> Result<(), Box<dyn Error>> {
    let tests = cache.lay_out(&packages::ONNX_TESTS)?;
    let report = Report::of(&tests.join("node"), part)?;
    if each {
        for (name, verdict) in &report.verdicts {
            println!("{name}: {verdict}");
        }
    }
    println!("{report}");
    if report.failed() == 0 { Ok(()) } else { Err("some of ONNX's backend tests failed".into()) }
}

/// What came of each test, by name.
pub(crate) struct Report {
    verdicts: Vec<(String, Verdict)>,
}

impl Report {
    /// Runs every test in a folder whose name contains `part`.
    pub(crate) fn of(folder: &Path, part: &str) -> Result<Self, Box<dyn Error>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.retain(|name| name.contains(part));
        names.sort_unstable();
        let verdict = |name: String| Ok((name.clone(), Case::read(folder, &name)?.verdict()));
        let verdicts = names.into_iter().map(verdict).collect::<Result<_, Box<dyn Error>>>()?;
        Ok(Report { verdicts })
    }

    fn failed(&self) -> usize {
        self.verdicts.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).count()
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (mut passed, mut held, mut batched, mut again) = (0, 0, 0, 0);
        let mut skipped = BTreeMap::<&str, usize>::new();
        let mut not_listed = BTreeMap::<&str, usize>::new();
        for (name, verdict) in &self.verdicts {
            match verdict {
                Verdict::Passed { in_all, as_batch, written } => {
                    passed += 1;
                    held += usize::from(*in_all);
                    batched += usize::from(*as_batch);
                    again += usize::from(*written);
                }
                Verdict::Skipped(reason) => *skipped.entry(reason).or_default() += 1,
                Verdict::NotListed(operator) => *not_listed.entry(operator).or_default() += 1,
                Verdict::Failed(reason) => writeln!(f, "failed: {name}: {reason}")?,
            }
        }
        let tests = self.verdicts.len();
        writeln!(f, "{tests} tests, {passed} passed")?;
        writeln!(
            f,
            "  also with all inputs held: {held}, as a batch: {batched}, written and read again: {again}"
        )?;
        let other: usize = not_listed.values().sum();
        writeln!(f, "{} skipped:", other + skipped.values().sum::<usize>())?;
        for (reason, count) in skipped {
            writeln!(f, "{count:6} {reason}")?;
        }
        let operators: Vec<_> = not_listed.iter().map(|(name, count)| format!("{name} {count}")).collect();
        writeln!(f, "{other:6} operators that are not on the list: {}", operators.join(", "))?;
        write!(f, "{} failed", self.failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where set-up has laid them out, all of ONNX's tests are run.
    #[test]
    fn none_fails() {
        let Some(folder) = std::env::var_os("ATTR_ONNX_TESTS") else {
            eprintln!("left out: ATTR_ONNX_TESTS does not say where ONNX's backend tests are");
            return;
        };
        let report = Report::of(Path::new(&folder), "").unwrap();
        assert_eq!(report.failed(), 0, "{report}");
        // The tests are pinned, so that a wrongly listed reason does not hide in their number.
        let passed = report.verdicts.iter().filter(|(_, v)| matches!(v, Verdict::Passed { .. })).count();
        assert_eq!((report.verdicts.len(), passed), (1615, lists::PASSED), "{report}");
    }
}
