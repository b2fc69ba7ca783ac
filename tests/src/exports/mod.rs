//! What PyTorch computes, beside what is computed here of its own files: the tables of `cargo xtask torchvision` and
//! `cargo xtask network-weights`.
//!
//! A question is two rows of pictures and a number for each logit of a row; its answer the logits, and the gradient of
//! their weighted sum by the pictures.

use std::error::Error;
use std::path::Path;

use attr_core::{Cut, Graph, ModelWrapper, Point, Tensor};
use ndarray::{ArrayD, Axis, Slice};

use crate::adapter::{Adapter, candle_f32, candle_f64, torch_f32, torch_f64};

pub mod networks;
pub mod torchvision;

/// The largest difference to PyTorch's number, in parts of the largest of these, that counts as equal in single precision:
/// on another framework, and on PyTorch's own.
const SINGLE: f64 = 1e-4;
const SINGLE_ON_TORCH: f64 = 1e-5;

/// PyTorch's side: the question, and its answers in both precisions.
struct Reference {
    input: ArrayD<f64>,
    weights: ArrayD<f64>,
    single: [ArrayD<f64>; 2],
    double: [ArrayD<f64>; 2],
}

impl Reference {
    fn read(folder: &Path) -> Result<Self, Box<dyn Error>> {
        let single = |name: &str| -> Result<ArrayD<f64>, Box<dyn Error>> {
            let array: ArrayD<f32> = ndarray_npy::read_npy(folder.join(format!("{name}.npy")))?;
            Ok(array.mapv(f64::from))
        };
        let double = |name: &str| ndarray_npy::read_npy(folder.join(format!("{name}.npy")));
        Ok(Self {
            input: single("input")?,
            weights: single("weights")?.insert_axis(Axis(0)),
            single: [single("logits")?, single("gradient")?],
            double: [double("logits64")?, double("gradient64")?],
        })
    }

    /// The graph's answers on both adapters beside PyTorch's.
    fn figures(&self, graph: &Graph) -> attr_core::Result<Figures> {
        let first = |array: &ArrayD<f64>| array.slice_axis(Axis(0), Slice::from(..1)).to_owned();
        let alone = answer(&candle_f64(), graph, &first(&self.input), &self.weights)?;
        let candle = answer(&candle_f32(), graph, &self.input, &self.weights)?;
        let torch = answer(&torch_f32(), graph, &self.input, &self.weights)?;
        Ok(Figures {
            candle: distances(&candle, &self.single),
            torch: distances(&torch, &self.single),
            rounding: [candle, torch].map(|single| distance(&single[0], &self.double[0])),
            theirs: distances(&self.single, &self.double),
            candle_double: distances(
                &answer(&candle_f64(), graph, &self.input, &self.weights)?,
                &self.double,
            ),
            torch_double: distances(&answer(&torch_f64(), graph, &self.input, &self.weights)?, &self.double),
            alone: distances(&alone, &self.double.each_ref().map(first)),
        })
    }
}

/// The logits, and the gradient of their weighted sum by the input.
fn answer<M: ModelWrapper>(
    adapter: &Adapter<M>,
    graph: &Graph,
    input: &ArrayD<f64>,
    weights: &ArrayD<f64>,
) -> attr_core::Result<[ArrayD<f64>; 2]> {
    let model = adapter.model(graph)?;
    let x = [(adapter.tensor)(input)?];
    let mut logits = None;
    let gradient = model.gradient(Point::at(&x), &Cut::input(), &Cut::output(), &mut |upper| {
        let value = upper[0].to_array()?;
        let weights = weights.broadcast(value.raw_dim());
        let cotangent = weights.map_or_else(|| ArrayD::zeros(value.raw_dim()), |weights| weights.to_owned());
        logits = Some(value);
        Ok(vec![upper[0].like(&cotangent)?])
    })?;
    let logits = logits.expect("BUG: the values at the output have not been seen");
    Ok([logits, gradient.gradients[0].to_array()?])
}

/// How far an answer is from PyTorch's: the largest difference in parts of the largest number there.
#[derive(Debug, Clone, Copy)]
struct Distance {
    logits: f64,
    gradient: f64,
}

impl Distance {
    fn largest(self) -> f64 {
        self.logits.max(self.gradient)
    }
}

/// How far a network is from PyTorch, on each adapter.
#[derive(Debug, Clone, Copy)]
struct Figures {
    /// In single precision.
    candle: Distance,
    torch: Distance,
    /// The logits in single precision, of candle and libtorch, from PyTorch's in double precision.
    rounding: [f64; 2],
    /// PyTorch's single precision from its own double precision.
    theirs: Distance,
    /// In double precision.
    candle_double: Distance,
    torch_double: Distance,
    /// The first row without the second, on candle in double precision.
    alone: Distance,
}

fn distances(ours: &[ArrayD<f64>; 2], theirs: &[ArrayD<f64>; 2]) -> Distance {
    Distance { logits: distance(&ours[0], &theirs[0]), gradient: distance(&ours[1], &theirs[1]) }
}

/// The largest difference in parts of the largest number; infinite where the shapes differ, a number is none, or all
/// of theirs are zero.
fn distance(ours: &ArrayD<f64>, theirs: &ArrayD<f64>) -> f64 {
    let largest = theirs.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let differences = || ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    if ours.shape() != theirs.shape() || largest == 0.0 || !differences().all(f64::is_finite) {
        return f64::INFINITY;
    }
    differences().fold(0.0, f64::max) / largest
}

/// What figures say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// In both precisions.
    Equal,
    /// In double precision; in single precision rounding has taken a unit across a kink.
    EqualButForKinks,
    /// In double precision; in single precision rounding adds up to more than counts as equal, but to at most four times
    /// PyTorch's own.
    EqualButForRounding,
    Differs,
}

impl Figures {
    /// The head of a table with these columns before the figures, up to and with the verdict.
    fn head(columns: &str) -> String {
        const FIGURES: &str = "candle: logits | gradient | libtorch: logits | gradient | rounding: candle | libtorch | \
                               PyTorch | PyTorch's gradient | double: candle | libtorch | one row | |";
        let head = format!("{columns}{FIGURES}");
        let count = head.matches('|').count() - 1;
        format!("{head}\n|{}\n", " --- |".repeat(count))
    }

    /// `exact` is what counts as equal in double precision.
    fn verdict(&self, exact: f64) -> Verdict {
        if ![self.candle_double, self.torch_double, self.alone].iter().all(|double| double.largest() <= exact)
        {
            return Verdict::Differs;
        }
        let both = [(self.candle, SINGLE, self.rounding[0]), (self.torch, SINGLE_ON_TORCH, self.rounding[1])];
        let rounded = |rounding: f64| rounding <= 4.0 * self.theirs.logits;
        if both.iter().all(|(single, equal, _)| single.largest() <= *equal) {
            Verdict::Equal
        } else if both.iter().all(|(single, equal, _)| single.logits <= *equal) {
            Verdict::EqualButForKinks
        } else if both.iter().all(|&(single, equal, rounding)| single.logits <= equal || rounded(rounding)) {
            Verdict::EqualButForRounding
        } else {
            Verdict::Differs
        }
    }

    fn cells(&self) -> String {
        let Figures {
            candle,
            torch,
            rounding: [on_candle, on_torch],
            theirs,
            candle_double,
            torch_double,
            alone,
        } = self;
        let singles = [candle.logits, candle.gradient, torch.logits, torch.gradient];
        let rounding = [*on_candle, *on_torch, theirs.logits, theirs.gradient];
        let doubles = [candle_double, torch_double, alone].map(|double| double.largest());
        singles.iter().chain(&rounding).chain(&doubles).map(|figure| format!("{figure:.1e} | ")).collect()
    }
}

impl Verdict {
    fn text(self) -> &'static str {
        match self {
            Verdict::Equal => "equal",
            Verdict::EqualButForKinks => "equal but for kinks",
            Verdict::EqualButForRounding => "equal but for rounding",
            Verdict::Differs => "differs",
        }
    }
}

/// The first line of a message, as far as a table has room for it.
fn in_a_cell(text: &str) -> String {
    const ROOM: usize = 300;
    let line = text.lines().next().unwrap_or_default();
    let cut = if line.chars().count() > ROOM { "..." } else { "" };
    let shown: String = line.chars().take(ROOM).collect();
    format!("{}{cut}", shown.replace('|', "\\|"))
}

#[cfg(test)]
mod tests {
    use ndarray::arr1;

    use super::*;

    #[test]
    fn a_distance_is_the_largest_difference_in_parts_of_the_largest_number() {
        let distance =
            |ours: &[f64], theirs: &[f64]| distance(&arr1(ours).into_dyn(), &arr1(theirs).into_dyn());
        assert_eq!(distance(&[1.0, -3.5], &[1.5, -4.0]), 0.125);
        for (ours, theirs) in
            [(&[f64::NAN, 1.0][..], &[1.0, 1.0]), (&[1.0], &[1.0, 1.0]), (&[0.0, 0.0], &[0.0, 0.0])]
        {
            assert_eq!(distance(ours, theirs), f64::INFINITY, "{ours:?} {theirs:?}");
        }
    }

    #[test]
    fn only_kinks_excuse_a_gradient() {
        let at = |logits, gradient| Distance { logits, gradient };
        let (good, exact, theirs) = (at(1e-6, 1e-6), at(1e-15, 1e-15), at(1e-6, 1e-2));
        let of = |candle, torch, double, rounding| {
            let figures = Figures {
                candle,
                torch,
                rounding,
                theirs,
                candle_double: double,
                torch_double: double,
                alone: exact,
            };
            figures.verdict(1e-6)
        };
        assert_eq!(of(good, good, exact, [1e-6; 2]), Verdict::Equal);
        assert_eq!(of(at(1e-6, 1e-2), good, exact, [1e-6; 2]), Verdict::EqualButForKinks);
        assert_eq!(of(good, at(1e-6, 1e-2), exact, [1e-6; 2]), Verdict::EqualButForKinks);
        assert_eq!(of(good, at(1.1e-5, 1e-6), exact, [1e-6, 3.9e-6]), Verdict::EqualButForRounding);
        assert_eq!(of(good, at(1.1e-5, 1e-6), exact, [1e-6, 4.1e-6]), Verdict::Differs);
        assert_eq!(of(good, good, at(1e-15, 1e-5), [1e-6; 2]), Verdict::Differs);
    }
}
