//! Rules: how a layer shares out the relevance of its outputs among its inputs.
//!
//! A rule is data: a few quotients ([`Branch`]), each made of products ([`Term`]) of a part of the inputs with a
//! part of the weights. One engine computes them, on any layer that is linear in its inputs:
//! `z = sum over terms of sign * layer(inputs', weights') + bias'`, `s = share * R / (z + epsilon sign z)`, and
//! `R_in = sum over terms of sign * inputs' * (layer's transpose with weights')(s)`.
//!
//! A rule of one's own:
//!
//! ```
//! use attr_core::rule::{Branch, Part, Rule, Term};
//!
//! // Positive contributions weigh three times as much as negative ones, whatever the sign of the inputs.
//! let rule = Rule::Own(vec![Branch {
//!     terms: vec![
//!         Term::new(Part::POSITIVE, Part::Signed(3.0, 1.0)),
//!         Term::new(Part::NEGATIVE, Part::Signed(1.0, 3.0)),
//!     ],
//!     ..Branch::of(1.0)
//! }]);
//! # assert_eq!(rule.to_string(), "a rule of the caller's own");
//! ```

use std::fmt;
use std::str::FromStr;

use crate::bilinear;
use crate::linear_form::LinearForm;
use crate::tensor::nonzero;
use crate::walk::{Layer, Signals, add_into};
use crate::{Error, LayeredModel, NodeId, Op, Result, Tensor};

/// How a layer shares out relevance.
///
/// As text: the words of [`Rule::TEXT`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// `x w / z`, nothing where z is zero (Bach et al. 2015, eq. 56).
    Zero,
    /// `x w / (z + epsilon sign z)` with sign(0) = 1 (Bach et al. 2015, eq. 58).
    Epsilon {
        /// What is added; absolute.
        epsilon: f64,
        /// Whether the bias takes its share, which is lost then; or z is made without it.
        bias: bool,
    },
    /// As epsilon, but what is added is `1e-9 + share * root mean square of z in its row`.
    RelativeEpsilon {
        /// The share of the root mean square.
        share: f64,
    },
    /// `x (w + gamma w+) / (z + gamma z+)` (Montavon et al. 2019); for inputs of either sign, and turned round
    /// for negative outputs (Andeol et al. 2021).
    Gamma {
        /// By how much more positive contributions weigh.
        gamma: f64,
    },
    /// `x (w + gamma w+) / (sum x (w + gamma w+) + b)`, whatever the signs of inputs and outputs: as Captum.
    PlainGamma {
        /// By how much more positive weights weigh.
        gamma: f64,
    },
    /// `alpha` times the shares of positive contributions minus `beta` times those of negative ones
    /// (Bach et al. 2015, eq. 60). The relevance is kept where `alpha - beta = 1`.
    AlphaBeta {
        /// The weight of positive contributions.
        alpha: f64,
        /// The weight of negative contributions.
        beta: f64,
        /// Where the bias counts.
        bias: Bias,
    },
    /// `x w+ / sum x w+`, which is z-plus where no input is negative: as iNNvestigate's fast z-plus; with the whole
    /// bias in the denominator, as Captum's alpha 1, beta 0.
    ZPlusFast {
        /// Whether the bias counts in the denominator.
        bias: bool,
    },
    /// `(x w - low w+ - high w-) / z`, for inputs known to lie between bounds (Montavon et al. 2017); without bias.
    ZBox {
        /// The least values: one for all, or one a channel.
        low: Vec<f64>,
        /// The largest values: one for all, or one a channel.
        high: Vec<f64>,
    },
    /// `w^2 / sum w^2` (Montavon et al. 2017).
    WSquare,
    /// The same share to every input (Lapuschkin et al. 2019).
    Flat,
    /// Relevance stays where it is; for functions of each element.
    Pass,
    /// Relevance goes back as a gradient would: of max pooling, the winner takes all.
    Gradient,
    /// Max pooling as if it were average pooling.
    Spread,
    /// Softmax expanded to first order: `x_i (R_i - s_i sum_j R_j)`, what is left over being its bias (Achtibat et al.
    /// 2024, proposition 3.1).
    Taylor,
    /// Products of two computed values: each takes half (Achtibat et al. 2024, lemma 3.2), of a matrix product as far as
    /// it contributes (proposition 3.3), and all of it where the other one does not lead to the lower cut. Attention is
    /// two such products with a softmax between them, by [`Rule::Taylor`].
    Uniform {
        /// What is added to the denominator of a matrix product, in its own sign.
        epsilon: f64,
    },
    /// Attention as if its weights were given, so that all goes to the values, by epsilon (Ali et al. 2022).
    Values {
        /// What is added to the denominator, in its own sign.
        epsilon: f64,
    },
    /// A rule of the caller's own: quotients whose results add up.
    Own(Vec<Branch>),
}

/// In which quotient of the alpha-beta rule the bias counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bias {
    /// A positive bias with the positive contributions, a negative one with the negative ones: as Zennit.
    #[default]
    Own,
    /// A positive bias with the positive contributions, a negative one nowhere.
    Positive,
    /// The whole bias in both: as iNNvestigate.
    Both,
    /// Nowhere.
    None,
}

/// One quotient of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Branch {
    /// How much of the relevance it shares out; those of a rule add up to one where relevance is to be kept.
    pub share: f64,
    /// For which outputs of the layer it counts.
    pub outputs: Outputs,
    /// The products that are shared by, added up.
    pub terms: Vec<Term>,
    /// The part of the bias that counts in the denominator, and so is lost.
    pub bias: Part,
}

/// For which outputs of a layer a quotient counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outputs {
    /// All.
    All,
    /// Those above zero.
    Positive,
    /// Those below zero.
    Negative,
}

/// A part of the inputs times a part of the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Term {
    /// 1 or -1.
    pub sign: f64,
    /// What is made of the inputs.
    pub inputs: Part,
    /// What is made of the weights.
    pub weights: Part,
}

/// What is made of numbers before they enter a product.
#[derive(Debug, Clone, PartialEq)]
pub enum Part {
    /// Those above zero times the first factor, those below zero times the second.
    Signed(f64, f64),
    /// Their squares.
    Square,
    /// Given numbers in their place: one for all, or one for each channel (axis 1).
    Constant(Vec<f64>),
}

impl Part {
    /// All numbers as they are.
    pub const ALL: Part = Part::Signed(1.0, 1.0);
    /// Those above zero.
    pub const POSITIVE: Part = Part::Signed(1.0, 0.0);
    /// Those below zero.
    pub const NEGATIVE: Part = Part::Signed(0.0, 1.0);
    /// None of them.
    pub const NONE: Part = Part::Signed(0.0, 0.0);

    /// One everywhere.
    pub fn ones() -> Part {
        Part::Constant(vec![1.0])
    }

    /// The part of these numbers; none if it is all zeros.
    pub(crate) fn of<T: Tensor>(&self, x: &T) -> Result<Option<T>> {
        Ok(match self {
            &Part::Signed(0.0, 0.0) => None,
            &Part::Signed(p, n) if p == n => Some(x.scale(p)?),
            &Part::Signed(p, 0.0) => Some(x.relu()?.scale(p)?),
            &Part::Signed(p, n) => Some(x.scale(n)?.add(&x.relu()?.scale(p - n)?)?),
            Part::Square => Some(x.square()?),
            Part::Constant(values) if values.len() == 1 => Some(x.filled_like(values[0])?),
            Part::Constant(values) => {
                let mut dims = vec![1; x.dims().len()];
                if x.dims().get(1) != Some(&values.len()) {
                    let expected = format!("{} channels on axis 1", values.len());
                    return Err(Error::Shape { place: "a rule's numbers".into(), expected, found: x.dims() });
                }
                dims[1] = values.len();
                let array = ndarray::ArrayD::from_shape_vec(dims, values.clone());
                Some(x.like(&array.expect("BUG: as many numbers as channels"))?.broadcast_to(&x.dims())?)
            }
        })
    }

    /// The part of one number.
    pub(crate) fn of_number(&self, x: f64) -> f64 {
        match self {
            Part::Signed(p, n) => x * if x > 0.0 { p } else { n },
            Part::Square => x * x,
            Part::Constant(values) => values[0],
        }
    }
}

impl Term {
    /// A part of the inputs times a part of the weights, counted as it is.
    pub fn new(inputs: Part, weights: Part) -> Self {
        Term { sign: 1.0, inputs, weights }
    }

    /// A product of it with its sign.
    pub(crate) fn signed<T: Tensor>(&self, product: T) -> Result<T> {
        product.scale(self.sign)
    }

    fn minus(inputs: Part, weights: Part) -> Self {
        Term { sign: -1.0, ..Term::new(inputs, weights) }
    }
}

impl Branch {
    /// A quotient with this share, for all outputs, yet without terms and without bias.
    pub fn of(share: f64) -> Self {
        Branch { share, outputs: Outputs::All, terms: Vec::new(), bias: Part::NONE }
    }
}

impl Rule {
    /// The rules as they are written.
    pub const TEXT: &str = "`zero`, `epsilon [E] [no-bias]`, `relative-epsilon SHARE`, `gamma [G]`, `plain-gamma [G]`, \
        `alpha-beta [A B] [own|positive|both|none]`, `z-plus [own|positive|both|none]` (where the bias counts), `z-plus-fast [bias]`, \
        `z-box LOW HIGH` (a number, or one a channel joined by commas), `w-square`, `flat`, `pass`, `gradient` (of max \
        pooling: the winner takes all), `spread` (max pooling as average pooling), `taylor` (of softmax), `uniform [E]` (of \
        products and attention) or `values [E]` (of attention: all to the values)";

    /// Epsilon with this value, the bias counted.
    pub fn epsilon(epsilon: f64) -> Rule {
        Rule::Epsilon { epsilon, bias: true }
    }

    /// The alpha-beta rule.
    ///
    /// # Errors
    ///
    /// [`Error::Parameter`] unless alpha and beta are at least 0 and `alpha - beta = 1`.
    pub fn alpha_beta(alpha: f64, beta: f64, bias: Bias) -> Result<Rule> {
        if !(alpha >= 0.0 && beta >= 0.0 && (alpha - beta - 1.0).abs() <= 1e-9) {
            let found = format!("alpha {alpha} and beta {beta}");
            return Err(Error::parameter("rules", "alpha - beta = 1, neither below 0", found));
        }
        Ok(Rule::AlphaBeta { alpha, beta, bias })
    }

    /// Positive contributions alone: alpha-beta with 1 and 0.
    pub fn z_plus(bias: Bias) -> Rule {
        Rule::AlphaBeta { alpha: 1.0, beta: 0.0, bias }
    }

    /// The quotients it is made of; none for rules that are none.
    pub fn branches(&self) -> Vec<Branch> {
        let all = || vec![Term::new(Part::ALL, Part::ALL)];
        match self {
            Rule::Zero | Rule::RelativeEpsilon { .. } | Rule::Spread => {
                vec![Branch { terms: all(), bias: Part::ALL, ..Branch::of(1.0) }]
            }
            Rule::Epsilon { bias, .. } => {
                let bias = if *bias { Part::ALL } else { Part::NONE };
                vec![Branch { terms: all(), bias, ..Branch::of(1.0) }]
            }
            &Rule::Gamma { gamma } => {
                let raise = || Part::Signed(1.0 + gamma, 1.0);
                let lower = || Part::Signed(1.0, 1.0 + gamma);
                let half = |outputs, more: Part, less| Branch {
                    outputs,
                    terms: vec![Term::new(Part::POSITIVE, more.clone()), Term::new(Part::NEGATIVE, less)],
                    bias: more,
                    ..Branch::of(1.0)
                };
                vec![half(Outputs::Positive, raise(), lower()), half(Outputs::Negative, lower(), raise())]
            }
            &Rule::PlainGamma { gamma } => {
                let terms = vec![Term::new(Part::ALL, Part::Signed(1.0 + gamma, 1.0))];
                vec![Branch { terms, bias: Part::ALL, ..Branch::of(1.0) }]
            }
            &Rule::AlphaBeta { alpha, beta, bias } => {
                let [with_positive, with_negative] = match bias {
                    Bias::Own => [Part::POSITIVE, Part::NEGATIVE],
                    Bias::Positive => [Part::POSITIVE, Part::NONE],
                    Bias::Both => [Part::ALL, Part::ALL],
                    Bias::None => [Part::NONE, Part::NONE],
                };
                let pairs =
                    |first, second| vec![Term::new(Part::POSITIVE, first), Term::new(Part::NEGATIVE, second)];
                let positive = pairs(Part::POSITIVE, Part::NEGATIVE);
                let negative = pairs(Part::NEGATIVE, Part::POSITIVE);
                vec![
                    Branch { terms: positive, bias: with_positive, ..Branch::of(alpha) },
                    Branch { terms: negative, bias: with_negative, ..Branch::of(-beta) },
                ]
            }
            Rule::ZPlusFast { bias } => {
                let bias = if *bias { Part::ALL } else { Part::NONE };
                vec![Branch { terms: vec![Term::new(Part::ALL, Part::POSITIVE)], bias, ..Branch::of(1.0) }]
            }
            Rule::ZBox { low, high } => vec![Branch {
                terms: vec![
                    Term::new(Part::ALL, Part::ALL),
                    Term::minus(Part::Constant(low.clone()), Part::POSITIVE),
                    Term::minus(Part::Constant(high.clone()), Part::NEGATIVE),
                ],
                ..Branch::of(1.0)
            }],
            Rule::WSquare => {
                vec![Branch { terms: vec![Term::new(Part::ones(), Part::Square)], ..Branch::of(1.0) }]
            }
            Rule::Flat => {
                vec![Branch { terms: vec![Term::new(Part::ones(), Part::ones())], ..Branch::of(1.0) }]
            }
            Rule::Own(branches) => branches.clone(),
            Rule::Pass | Rule::Gradient => Vec::new(),
            Rule::Taylor | Rule::Uniform { .. } | Rule::Values { .. } => Vec::new(),
        }
    }

    /// What is added to a denominator, in its own sign: a number, and a share of the root mean square of its row.
    fn stabilizer(&self, otherwise: f64) -> (f64, f64) {
        match self {
            Rule::Zero => (0.0, 0.0),
            Rule::Epsilon { epsilon, .. } => (*epsilon, 0.0),
            Rule::RelativeEpsilon { share } => (1e-9, *share),
            _ => (otherwise, 0.0),
        }
    }

    /// What a layer sends on of the relevance that arrived at it. `stabilizer` is for rules without an epsilon;
    /// `folded` is the batch norm that is part of the layer.
    pub(crate) fn back<M: LayeredModel>(
        &self,
        layer: &Layer<'_, M>,
        relevance: &M::Tensor,
        stabilizer: f64,
        folded: Option<NodeId>,
    ) -> Result<Signals<M::Tensor>> {
        let hint = match layer.op() {
            Op::Mul | Op::MatMul | Op::Attention { .. } => "; composite `attn-lrp` has a rule for it",
            _ => "",
        };
        let undefined = || layer.undefined_but(&format!("the rule `{self}`"), hint);
        if *self == Rule::Gradient || moves_values(layer.op()) {
            return layer.vjp(relevance);
        }
        if *self == Rule::Pass {
            return match layer.inputs[..] {
                [input] if input.dims() == relevance.dims() => Ok(vec![Some(relevance.clone())]),
                _ => Err(undefined()),
            };
        }
        let shares = match *self {
            Rule::Taylor => Some(bilinear::taylor(layer, relevance)?),
            Rule::Uniform { epsilon } => Some(bilinear::uniform(layer, relevance, epsilon)?),
            Rule::Values { epsilon } => Some(bilinear::values(layer, relevance, epsilon)?),
            _ => None,
        };
        if let Some(shares) = shares {
            return shares.ok_or_else(undefined);
        }
        if let Rule::Zero | Rule::Epsilon { .. } | Rule::RelativeEpsilon { .. } = self {
            let with_bias = !matches!(self, Rule::Epsilon { bias: false, .. });
            let stabilizer = self.stabilizer(stabilizer);
            if let Some(shares) = bilinear::with_held_deviation(layer, relevance, with_bias, stabilizer)? {
                return Ok(shares);
            }
        }
        let form = LinearForm::of(layer, *self == Rule::Spread, folded)?.ok_or_else(undefined)?;
        let mut sums = vec![None; layer.inputs.len()];
        let branches = self.branches();
        if !branches.iter().all(|branch| form.defines(branch)) {
            return Err(undefined());
        }
        for branch in branches {
            let Some(z) = form.forward(&branch)? else { continue };
            let signal = relevance.scale(branch.share)?;
            let signal = match branch.outputs {
                Outputs::All => signal,
                Outputs::Positive => signal.mul(&form.output.gt(&form.output.zeros_like()?)?)?,
                Outputs::Negative => signal.mul(&form.output.zeros_like()?.gt(form.output)?)?,
            };
            let signal = signal.div(&stabilized(&z, self.stabilizer(stabilizer))?)?;
            for term in &branch.terms {
                for (sum, part) in sums.iter_mut().zip(form.pull(term, &signal)?) {
                    if let Some(part) = part {
                        add_into(sum, part)?;
                    }
                }
            }
        }
        layer.filled(sums)
    }
}

/// Whether a layer only moves values to other places, or chooses among them, so that their relevance goes with them.
pub(crate) fn moves_values(op: &Op) -> bool {
    matches!(
        op,
        Op::Identity
            | Op::Reshape { .. }
            | Op::Transpose { .. }
            | Op::Slice { .. }
            | Op::Gather { .. }
            | Op::Expand { .. }
            | Op::Where
            | Op::Concat { .. }
            | Op::Pad { .. }
    )
}

/// `z + epsilon sign z`, with sign(0) = 1; never zero: where nothing is added, zero becomes one.
pub(crate) fn stabilized<T: Tensor>(z: &T, (epsilon, share): (f64, f64)) -> Result<T> {
    if epsilon == 0.0 {
        return nonzero(z);
    }
    // 1 where z is below zero.
    let negative = z.zeros_like()?.gt(z)?;
    let sized = match share {
        0.0 => negative.affine(-2.0 * epsilon, epsilon)?,
        share => {
            let axes: Vec<_> = (1..z.dims().len()).collect();
            negative.affine(-2.0, 1.0)?.mul(&z.square()?.mean(&axes)?.sqrt()?.affine(share, epsilon)?)?
        }
    };
    z.add(&sized)
}

const BIASES: [(&str, Bias); 4] =
    [("own", Bias::Own), ("positive", Bias::Positive), ("both", Bias::Both), ("none", Bias::None)];
crate::parameter::names!(Bias, "bias", BIASES);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |values: &[f64]| values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
        match self {
            Rule::Zero => f.write_str("zero"),
            Rule::Epsilon { epsilon, bias: true } => write!(f, "epsilon {epsilon}"),
            Rule::Epsilon { epsilon, bias: false } => write!(f, "epsilon {epsilon} no-bias"),
            Rule::RelativeEpsilon { share } => write!(f, "relative-epsilon {share}"),
            Rule::Gamma { gamma } => write!(f, "gamma {gamma}"),
            Rule::PlainGamma { gamma } => write!(f, "plain-gamma {gamma}"),
            Rule::AlphaBeta { alpha: 1.0, beta: 0.0, bias } => write!(f, "z-plus {bias}"),
            Rule::AlphaBeta { alpha, beta, bias } => write!(f, "alpha-beta {alpha} {beta} {bias}"),
            Rule::ZPlusFast { bias: true } => f.write_str("z-plus-fast bias"),
            Rule::ZPlusFast { bias: false } => f.write_str("z-plus-fast"),
            Rule::ZBox { low, high } => write!(f, "z-box {} {}", list(low), list(high)),
            Rule::WSquare => f.write_str("w-square"),
            Rule::Flat => f.write_str("flat"),
            Rule::Pass => f.write_str("pass"),
            Rule::Gradient => f.write_str("gradient"),
            Rule::Spread => f.write_str("spread"),
            Rule::Taylor => f.write_str("taylor"),
            Rule::Uniform { epsilon } => write!(f, "uniform {epsilon}"),
            Rule::Values { epsilon } => write!(f, "values {epsilon}"),
            Rule::Own(_) => f.write_str("a rule of the caller's own"),
        }
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::parameter("rules", Rule::TEXT, format!("{text:?}"));
        let number = |word: &str| word.parse::<f64>().ok().filter(|x| x.is_finite()).ok_or_else(wrong);
        let size = |word: &str| number(word).and_then(|x| if x >= 0.0 { Ok(x) } else { Err(wrong()) });
        let list = |word: &str| word.split(',').map(number).collect::<Result<Vec<_>>>();
        let words: Vec<_> = text.split_whitespace().collect();
        Ok(match words[..] {
            ["zero"] => Rule::Zero,
            ["epsilon"] => Rule::epsilon(EPSILON),
            ["epsilon", "no-bias"] => Rule::Epsilon { epsilon: EPSILON, bias: false },
            ["epsilon", epsilon] => Rule::epsilon(size(epsilon)?),
            ["epsilon", epsilon, "no-bias"] => Rule::Epsilon { epsilon: size(epsilon)?, bias: false },
            ["relative-epsilon", share] => Rule::RelativeEpsilon { share: size(share)? },
            ["gamma"] => Rule::Gamma { gamma: GAMMA },
            ["gamma", gamma] => Rule::Gamma { gamma: size(gamma)? },
            ["plain-gamma"] => Rule::PlainGamma { gamma: GAMMA },
            ["plain-gamma", gamma] => Rule::PlainGamma { gamma: size(gamma)? },
            ["alpha-beta"] => Rule::alpha_beta(2.0, 1.0, Bias::Own)?,
            ["alpha-beta", bias] => Rule::alpha_beta(2.0, 1.0, bias.parse()?)?,
            ["alpha-beta", alpha, beta] => Rule::alpha_beta(number(alpha)?, number(beta)?, Bias::Own)?,
            ["alpha-beta", alpha, beta, bias] => {
                Rule::alpha_beta(number(alpha)?, number(beta)?, bias.parse()?)?
            }
            ["z-plus"] => Rule::z_plus(Bias::Own),
            ["z-plus", bias] => Rule::z_plus(bias.parse()?),
            ["z-plus-fast"] => Rule::ZPlusFast { bias: false },
            ["z-plus-fast", "bias"] => Rule::ZPlusFast { bias: true },
            ["z-box", low, high] => Rule::ZBox { low: list(low)?, high: list(high)? },
            ["w-square"] => Rule::WSquare,
            ["flat"] => Rule::Flat,
            ["pass"] => Rule::Pass,
            ["gradient"] => Rule::Gradient,
            ["spread"] => Rule::Spread,
            ["taylor"] => Rule::Taylor,
            ["uniform"] => Rule::Uniform { epsilon: EPSILON },
            ["uniform", epsilon] => Rule::Uniform { epsilon: size(epsilon)? },
            ["values"] => Rule::Values { epsilon: EPSILON },
            ["values", epsilon] => Rule::Values { epsilon: size(epsilon)? },
            _ => return Err(wrong()),
        })
    }
}

/// The epsilon where none is given, and what stabilizes the denominators of other rules.
pub(crate) const EPSILON: f64 = 1e-6;

/// The gamma where none is given.
const GAMMA: f64 = 0.25;
