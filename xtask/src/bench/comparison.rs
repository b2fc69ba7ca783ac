//! Figures of two sides over several rounds, and the rows of a table they make.

use std::collections::BTreeMap;
use std::error::Error;
use std::process::{Command, Stdio};

/// What a side prints under each name.
pub(super) type Figures = BTreeMap<String, Figure>;

/// A number with its unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) value: f64,
    pub(super) unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Mebibytes,
    /// 10^9 floating-point operations a second.
    Rate,
}

impl Figure {
    /// The better of two.
    fn best(self, other: Self) -> Self {
        let value = if self.unit == Unit::Rate { f64::max } else { f64::min };
        Self { value: value(self.value, other.value), ..self }
    }

    /// Reads `0.476 s`, `183 GFLOP/s` or `900 MiB`, with `min ` before it or not; what comes after is left out.
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.trim().trim_start_matches("min ").split([' ', ',']);
        let value = words.next()?.parse().ok()?;
        let unit = match words.next()? {
            "s" => Unit::Seconds,
            "MiB" => Unit::Mebibytes,
            "GFLOP/s" => Unit::Rate,
            _ => return None,
        };
        Some(Self { value, unit })
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.unit {
            Unit::Seconds => write!(f, "{:.3} s", self.value),
            Unit::Mebibytes => write!(f, "{:.0} MiB", self.value),
            Unit::Rate => write!(f, "{:.0} GFLOP/s", self.value),
        }
    }
}

/// Runs one side and reads the lines `NAME: FIGURE` that it prints.
pub(super) fn measure(command: &mut Command) -> Result<Figures, Box<dyn Error>> {
    let output =
        command.stderr(Stdio::inherit()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    print!("{text}");
    Ok(figures(&text))
}

fn figures(text: &str) -> Figures {
    let figure = |line: &str| {
        let (name, rest) = line.split_once(':')?;
        Some((name.into(), Figure::parse(rest)?))
    };
    text.lines().filter_map(figure).collect()
}

/// The same names on both sides: `batch 1` for what a side calls `NAME batch 1`.
pub(super) fn without_side(figures: Figures) -> Figures {
    let name = |name: String| name.find("batch").map_or(name.clone(), |at| name[at..].into());
    figures.into_iter().map(|(key, figure)| (name(key), figure)).collect()
}

/// What two sides measured, round after round.
#[derive(Default)]
pub(super) struct Comparison {
    rounds: BTreeMap<String, Vec<[Figure; 2]>>,
}

impl Comparison {
    /// Adds what both sides printed in one round.
    pub(super) fn add(&mut self, ours: &Figures, theirs: &Figures) -> Result<(), Box<dyn Error>> {
        if !ours.keys().eq(theirs.keys()) {
            let [ours, theirs] =
                [ours, theirs].map(|side| side.keys().cloned().collect::<Vec<_>>().join(", "));
            return Err(format!("expected the same lines of both sides, found {ours}; and {theirs}").into());
        }
        for ((name, &ours), &theirs) in ours.iter().zip(theirs.values()) {
            self.rounds.entry(name.clone()).or_default().push([ours, theirs]);
        }
        Ok(())
    }

    /// One row a name: the best of either side, and the median over the rounds of what ours is to theirs.
    pub(super) fn rows(&self, prefix: &str) -> String {
        let mut rows = String::new();
        for (name, rounds) in &self.rounds {
            let [ours, theirs] = [0, 1]
                .map(|side| rounds.iter().map(|r| r[side]).reduce(Figure::best).expect("BUG: no round"));
            let mut ratios: Vec<_> = rounds.iter().map(|[ours, theirs]| ours.value / theirs.value).collect();
            ratios.sort_by(f64::total_cmp);
            let ratio = ratios[ratios.len() / 2];
            rows += &format!("| {prefix}{name} | {ours} | {theirs} | {ratio:.2} |\n");
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_side_prints() {
        let said = "a warning: ignored\nmatrix product: 183 GFLOP/s\nbatch 1: min 0.476 s, median 0.5 s\n\
                    peak memory: 900 MiB\n";
        let figure = |value, unit| Figure { value, unit };
        let expected = [
            ("batch 1", figure(0.476, Unit::Seconds)),
            ("matrix product", figure(183.0, Unit::Rate)),
            ("peak memory", figure(900.0, Unit::Mebibytes)),
        ];
        assert_eq!(figures(said), expected.map(|(name, figure)| (name.to_string(), figure)).into());
    }

    #[test]
    fn takes_the_best_of_each_side_and_the_median_ratio() {
        let mut comparison = Comparison::default();
        for (ours, theirs) in [("2 s", "1 s"), ("3 s", "4 s"), ("6 s", "2 s")] {
            let side = |time: &str| figures(&format!("run: {time}\nrate: {time:.1} GFLOP/s\n"));
            comparison.add(&side(ours), &side(theirs)).unwrap();
        }
        assert_eq!(
            comparison.rows("N, "),
            "| N, rate | 6 GFLOP/s | 4 GFLOP/s | 2.00 |\n| N, run | 2.000 s | 1.000 s | 2.00 |\n"
        );
    }

    #[test]
    fn refuses_sides_that_print_different_lines() {
        let error =
            Comparison::default().add(&figures("a: 1 s"), &figures("b: 1 s")).unwrap_err().to_string();
        assert_eq!(error, "expected the same lines of both sides, found a; and b");
    }
}
