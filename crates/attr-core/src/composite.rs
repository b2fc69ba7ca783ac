//! Composites: which layers are dealt with by which rule.
//!
//! A composite is a table; the first row that names a layer counts. What no row names is dealt with by the base
//! table: weighted layers and sums by epsilon, max pooling and other maxima by winner takes all, functions of each
//! element by pass, layer norm and group norm by epsilon with the deviation that they divide by held.
//! A batch norm behind a convolution or linear layer is folded into it, if no row names it; elsewhere it is a weighted
//! layer of its own.
//!
//! ```
//! use attr_core::composite::{Composite, Layers};
//! use attr_core::rule::{Bias, Rule};
//!
//! let composite = Composite::default()
//!     .with(Layers::first(Layers::Weighted), Rule::ZBox { low: vec![-1.0], high: vec![1.0] })
//!     .with(Layers::Convolutions, Rule::alpha_beta(2.0, 1.0, Bias::Own)?)
//!     .with(Layers::named("head/*"), Rule::Zero);
//! // The same as text, as the command takes it.
//! let text = "first weighted: z-box -1 1; convolutions: alpha-beta 2 1 own; name head/*: zero";
//! assert_eq!(composite, text.parse()?);
//! # Ok::<(), attr_core::Error>(())
//! ```

use std::fmt;
use std::str::FromStr;

use crate::parameter::FromText;
use crate::rule::{Bias, EPSILON, Rule};
use crate::walk::Walk;
use crate::{Error, Graph, LayeredModel, NodeId, Op, Result};

/// A table of layers and rules.
///
/// As text: rows `LAYERS: RULE` joined by semicolons. One of them may be the name of a preset
/// ([`Composite::PRESETS`]), which stands for its rows, or a rule alone, which is for all weighted layers; and
/// `stabilizer E`, if any, is a row of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Composite {
    /// Rows; the first one that names a layer counts.
    pub rows: Vec<(Layers, Rule)>,
    /// What is added to denominators by rules without an epsilon of their own; 1e-6.
    pub stabilizer: f64,
}

/// Which layers a row names.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Layers {
    /// Convolutions, transposed convolutions, linear layers, and batch norms that are not folded.
    Weighted,
    /// Convolutions and transposed convolutions.
    Convolutions,
    /// Linear layers.
    Dense,
    /// Add, subtract, mean, sum, average pooling, resize.
    Sums,
    /// Layers of one kind, as [`Op::kind`] gives it.
    Kind(String),
    /// Layers by name; `*` stands for any number of letters.
    Named(String),
    /// Of these, those that no weighted layer lies below.
    First(Box<Layers>),
    /// Of these, those that no weighted layer lies above on the way to the quantity.
    Last(Box<Layers>),
    /// Of these, those above the first share of the network's weighted layers, in their order, up to the second:
    /// 0 and 1 are all.
    Between(f64, f64, Box<Layers>),
}

impl Layers {
    /// Of these, those that no weighted layer lies below.
    pub fn first(of: Layers) -> Self {
        Layers::First(Box::new(of))
    }

    /// Of these, those that no weighted layer lies above.
    pub fn last(of: Layers) -> Self {
        Layers::Last(Box::new(of))
    }

    /// Layers by name; `*` stands for any number of letters.
    pub fn named(pattern: &str) -> Self {
        Layers::Named(pattern.into())
    }
}

impl Default for Composite {
    fn default() -> Self {
        Composite { rows: Vec::new(), stabilizer: EPSILON }
    }
}

/// A preset: its name, what it is, and how it is built.
type Preset = (&'static str, &'static str, fn() -> Composite);

impl Composite {
    /// Ready tables: name, what they are, and how they are built. `epsilon-gamma-box` takes two bounds behind its
    /// name.
    pub const PRESETS: &'static [Preset] = &[
        ("epsilon-plus", "Zennit's EpsilonPlus", || plus(Rule::z_plus(Bias::Own))),
        ("epsilon-plus-flat", "Zennit's EpsilonPlusFlat", || plus(Rule::z_plus(Bias::Own)).flat()),
        ("epsilon-alpha2-beta1", "Zennit's EpsilonAlpha2Beta1", || plus(alpha2(Bias::Own))),
        ("epsilon-alpha2-beta1-flat", "Zennit's EpsilonAlpha2Beta1Flat", || plus(alpha2(Bias::Own)).flat()),
        ("epsilon-gamma-box", "Zennit's EpsilonGammaBox, with bounds -3 and 3", || gamma_box(-3.0, 3.0)),
        ("excitation-backprop", "Zennit's ExcitationBackprop", || Composite::of(Rule::z_plus(Bias::Own))),
        ("innvestigate-a", "iNNvestigate's sequential preset A", || innvestigate(Rule::z_plus(Bias::Both))),
        ("innvestigate-a-flat", "iNNvestigate's preset A flat", || {
            innvestigate(Rule::z_plus(Bias::Both)).flat()
        }),
        ("innvestigate-b", "iNNvestigate's sequential preset B", || innvestigate(alpha2(Bias::Both))),
        ("innvestigate-b-flat", "iNNvestigate's preset B flat", || innvestigate(alpha2(Bias::Both)).flat()),
        (
            "innvestigate-deep-taylor",
            "iNNvestigate's deep Taylor, with relevance that starts positive",
            innvestigate_deep_taylor,
        ),
        ("nn-interpretability", "nn_interpretability's mixture", nn_interpretability),
        ("attn-lrp", "AttnLRP, by epsilon", || attn_lrp().with(Layers::Weighted, Rule::epsilon(EPSILON))),
        ("attn-lrp-gamma", "AttnLRP, by gamma 0.25 on convolutions and 0.05 on linear layers", || {
            let composite = attn_lrp().with(Layers::Convolutions, Rule::Gamma { gamma: 0.25 });
            composite.with(Layers::Dense, Rule::Gamma { gamma: 0.05 })
        }),
        ("cp-lrp", "conservative propagation: as AttnLRP, with the weights of attention held", || {
            let held = (Layers::Kind("attention".into()), Rule::Values { epsilon: EPSILON });
            let mut composite = attn_lrp().with(Layers::Weighted, Rule::epsilon(EPSILON));
            composite.rows.insert(0, held);
            composite
        }),
    ];

    /// One rule for all weighted layers.
    pub fn of(rule: Rule) -> Self {
        Composite::default().with(Layers::Weighted, rule)
    }

    /// With one more row at the end.
    pub fn with(mut self, layers: Layers, rule: Rule) -> Self {
        self.rows.push((layers, rule));
        self
    }

    /// The first layers by the flat rule.
    fn flat(mut self) -> Self {
        self.rows.insert(0, (Layers::first(Layers::Weighted), Rule::Flat));
        self
    }

    /// The rule of each layer that the way back goes through, and the batch norm that is folded into it.
    pub(crate) fn assign<M: LayeredModel>(&self, walk: &Walk<'_, M>) -> Result<Vec<Option<Assigned>>> {
        let ranks = Ranks::of(walk);
        let graph = walk.model.graph();
        let nodes = graph.nodes();
        let is_found = |pattern: &str| (0..nodes.len()).any(|id| is_called(graph, id, pattern));
        let nowhere = |layers: &&Layers| matches!(layers, Layers::Named(pattern) if !is_found(pattern));
        if let Some(layers) = self.rows.iter().map(|(layers, _)| layers).find(nowhere) {
            let names: Vec<_> = nodes.iter().map(|node| node.name.as_str()).take(8).collect();
            let expected = format!("names of layers, such as {}", names.join(", "));
            return Err(Error::parameter("rules", &expected, layers));
        }
        let row =
            |id| self.rows.iter().find(|(layers, _)| layers.include(walk, &ranks, id)).map(|(_, rule)| rule);
        let folded = |id| walk.norm_behind(id).filter(|&norm| row(norm).is_none());
        let assigned = |id: NodeId| {
            let op = &walk.node(id).op;
            let is_folded = matches!(op, Op::BatchNorm { .. }) && folded(walk.node(id).inputs[0]) == Some(id);
            let rule = if is_folded { Some(Rule::Pass) } else { row(id).cloned().or_else(|| base(op)) };
            rule.map(|rule| Assigned { rule, folded: folded(id) })
        };
        let ids = 0..nodes.len();
        Ok(ids.map(|id| if walk.goes_through(id) { assigned(id) } else { None }).collect())
    }
}

/// What a composite says about a layer.
pub(crate) struct Assigned {
    pub(crate) rule: Rule,
    /// The batch norm that is folded into it.
    pub(crate) folded: Option<NodeId>,
}

fn plus(convolutions: Rule) -> Composite {
    let composite = Composite::default().with(Layers::Convolutions, convolutions);
    composite.with(Layers::Dense, Rule::epsilon(EPSILON))
}

fn alpha2(bias: Bias) -> Rule {
    Rule::AlphaBeta { alpha: 2.0, beta: 1.0, bias }
}

fn gamma_box(low: f64, high: f64) -> Composite {
    let (low, high) = (vec![low], vec![high]);
    let composite = Composite::default().with(Layers::first(Layers::Convolutions), Rule::ZBox { low, high });
    let composite = composite.with(Layers::Convolutions, Rule::Gamma { gamma: 0.25 });
    composite.with(Layers::Dense, Rule::epsilon(EPSILON))
}

/// iNNvestigate stabilizes nothing; its epsilon of 0.1 is a rule of its own.
fn innvestigate(convolutions: Rule) -> Composite {
    Composite { stabilizer: 0.0, ..Composite::default() }
        .with(Layers::Convolutions, convolutions)
        .with(Layers::Dense, Rule::epsilon(0.1))
        .with(Layers::Sums, Rule::Zero)
}

/// It has z-plus also at the input, and average pooling by its gradient.
fn innvestigate_deep_taylor() -> Composite {
    Composite { stabilizer: 0.0, ..Composite::of(Rule::z_plus(Bias::None)) }
        .with(Layers::Kind("average pooling".into()), Rule::Gradient)
        .with(Layers::Sums, Rule::Zero)
}

/// The bounds of the first layer, LRP-0 in the upper two fifths, a data-dependent epsilon in the middle, alpha-beta
/// below, and max pooling as average pooling.
fn nn_interpretability() -> Composite {
    let between = |low, high| Layers::Between(low, high, Box::new(Layers::Weighted));
    Composite { stabilizer: 1e-9, ..Composite::default() }
        .with(Layers::first(Layers::Weighted), Rule::ZBox { low: vec![-1.0], high: vec![1.0] })
        .with(between(0.6, 1.0), Rule::Zero)
        .with(between(0.3, 0.6), Rule::RelativeEpsilon { share: 0.1 })
        .with(Layers::Weighted, Rule::z_plus(Bias::Own))
        .with(Layers::Kind("max pooling".into()), Rule::Spread)
}

/// Softmax by its Taylor expansion, and half to each factor of a product of computed values. Functions of each element
/// and norms are as everywhere: what they do to a value's size passes relevance on (Achtibat et al. 2024, eq. 9 and
/// proposition 3.4).
fn attn_lrp() -> Composite {
    let composite = Composite::default().with(Layers::Kind("softmax".into()), Rule::Taylor);
    let kinds = ["matrix product", "multiply", "attention"];
    kinds.into_iter().fold(composite, |composite, kind| {
        composite.with(Layers::Kind(kind.into()), Rule::Uniform { epsilon: EPSILON })
    })
}

/// The rule of a kind of layer that no row names; none where there is none.
fn base(op: &Op) -> Option<Rule> {
    match op {
        Op::Activation(_) | Op::PRelu | Op::Softmax { .. } | Op::LogSoftmax { .. } => Some(Rule::Pass),
        Op::MaxPool(_) | Op::Max { .. } | Op::Min { .. } | Op::Maximum | Op::Minimum | Op::Compare(_) => {
            Some(Rule::Gradient)
        }
        _ => Some(Rule::epsilon(EPSILON)),
    }
}

/// Where the weighted layers of a network are.
struct Ranks {
    /// Whether a weighted layer lies below.
    below: Vec<bool>,
    /// Whether a weighted layer lies above, on the way to the quantity.
    above: Vec<bool>,
    /// The share of the weighted layers up to this one.
    share: Vec<f64>,
}

impl Ranks {
    fn of<M: LayeredModel>(walk: &Walk<'_, M>) -> Self {
        let nodes = walk.model.graph().nodes();
        let weighted: Vec<_> = (0..nodes.len()).map(|id| is_weighted(walk, id)).collect();
        let (mut below, mut above) = (vec![false; nodes.len()], vec![false; nodes.len()]);
        for (id, node) in nodes.iter().enumerate() {
            below[id] = node.inputs.iter().any(|&src| below[src] || weighted[src]);
        }
        for id in (0..nodes.len()).rev().filter(|&id| walk.goes_through(id)) {
            nodes[id].inputs.iter().for_each(|&src| above[src] |= above[id] || weighted[id]);
        }
        let total = weighted.iter().filter(|weighted| **weighted).count().max(1);
        let mut upto = 0;
        let share = weighted.iter().map(|&weighted| {
            upto += usize::from(weighted);
            upto as f64 / total as f64
        });
        let share = share.collect();
        Ranks { below, above, share }
    }
}

fn is_weighted<M: LayeredModel>(walk: &Walk<'_, M>, id: NodeId) -> bool {
    let op = &walk.node(id).op;
    is_convolution(op) || *op == Op::Linear || (matches!(op, Op::BatchNorm { .. }) && !walk.can_fold(id))
}

fn is_convolution(op: &Op) -> bool {
    matches!(op, Op::Conv(_) | Op::ConvTranspose(_))
}

impl Layers {
    /// Whether a layer is one of these.
    fn include<M: LayeredModel>(&self, walk: &Walk<'_, M>, ranks: &Ranks, id: NodeId) -> bool {
        let node = walk.node(id);
        match self {
            Layers::Weighted => is_weighted(walk, id),
            Layers::Convolutions => is_convolution(&node.op),
            Layers::Dense => node.op == Op::Linear,
            Layers::Sums => matches!(
                node.op,
                Op::Add | Op::Sub | Op::Mean { .. } | Op::Sum { .. } | Op::AveragePool { .. } | Op::Resize(_)
            ),
            Layers::Kind(kind) => node.op.kind() == kind,
            Layers::Named(pattern) => is_called(walk.model.graph(), id, pattern),
            Layers::First(of) => of.include(walk, ranks, id) && !ranks.below[id],
            Layers::Last(of) => of.include(walk, ranks, id) && !ranks.above[id],
            Layers::Between(low, high, of) => {
                of.include(walk, ranks, id) && ranks.share[id] > *low && ranks.share[id] <= *high
            }
        }
    }
}

/// Whether a name of a layer is of a pattern.
fn is_called(graph: &Graph, id: NodeId, pattern: &str) -> bool {
    matches(pattern, &graph.node(id).name)
        || graph.other_names().any(|(other, name)| other == id && matches(pattern, name))
}

/// Whether a name is of a pattern, in which `*` stands for any number of letters.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|name| {
            rest.is_empty()
                || name.char_indices().any(|(at, _)| matches(rest, &name[at..]))
                || matches(rest, "")
        }),
    }
}

const SETS: [(&str, Layers); 4] = [
    ("weighted", Layers::Weighted),
    ("convolutions", Layers::Convolutions),
    ("dense", Layers::Dense),
    ("sums", Layers::Sums),
];

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((name, _)) = SETS.iter().find(|(_, layers)| layers == self) {
            return f.write_str(name);
        }
        match self {
            Layers::Kind(kind) => write!(f, "kind {kind}"),
            Layers::Named(pattern) => write!(f, "name {pattern}"),
            Layers::First(of) => write!(f, "first {of}"),
            Layers::Last(of) => write!(f, "last {of}"),
            Layers::Between(low, high, of) => write!(f, "between {low} {high} {of}"),
            _ => unreachable!("BUG: every set has a name"),
        }
    }
}

impl FromStr for Layers {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let expected = "weighted, convolutions, dense, sums, `kind KIND`, `name PATTERN`, or `first`, `last` or \
                        `between FROM TO` before one of these";
        let wrong = || Error::parameter("rules", expected, format!("{text:?}"));
        if let Some((_, layers)) = SETS.iter().find(|(name, _)| *name == text) {
            return Ok(layers.clone());
        }
        let (word, rest) = text.split_once(' ').ok_or_else(wrong)?;
        match word {
            "kind" => Ok(Layers::Kind(rest.trim().into())),
            "name" => Ok(Layers::named(rest.trim())),
            "first" => Ok(Layers::first(rest.parse()?)),
            "last" => Ok(Layers::last(rest.parse()?)),
            "between" => {
                let mut words = rest.splitn(3, ' ');
                let mut share = || words.next().and_then(|word| word.parse::<f64>().ok()).ok_or_else(wrong);
                let (low, high) = (share()?, share()?);
                Ok(Layers::Between(low, high, Box::new(words.next().ok_or_else(wrong)?.parse()?)))
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Composite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows: Vec<_> = self.rows.iter().map(|(layers, rule)| format!("{layers}: {rule}")).collect();
        if self.stabilizer != EPSILON {
            rows.push(format!("stabilizer {}", self.stabilizer));
        }
        f.write_str(&rows.join("; "))
    }
}

impl FromStr for Composite {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut composite = Composite::default();
        for row in text.split(';').map(str::trim).filter(|row| !row.is_empty()) {
            if let Some(number) = row.strip_prefix("stabilizer ") {
                let parsed = number.trim().parse().ok().filter(|x: &f64| x.is_finite() && *x >= 0.0);
                composite.stabilizer =
                    parsed.ok_or_else(|| Error::parameter("stabilizer", "a number of at least 0", number))?;
            } else if let Some(preset) = preset(row)? {
                composite.rows.extend(preset.rows);
                composite.stabilizer = preset.stabilizer;
            } else {
                composite.rows.push(match row.split_once(':') {
                    Some((layers, rule)) => (layers.parse()?, rule.parse()?),
                    None => (Layers::Weighted, row.parse().map_err(|_| unknown(row))?),
                });
            }
        }
        Ok(composite)
    }
}

/// The preset of this name, if there is one.
fn preset(row: &str) -> Result<Option<Composite>> {
    if let Some(bounds) = row.strip_prefix("epsilon-gamma-box ") {
        let bounds: Vec<_> = bounds.split_whitespace().map(str::parse::<f64>).collect();
        return match bounds[..] {
            [Ok(low), Ok(high)] if low < high => Ok(Some(gamma_box(low, high))),
            _ => Err(Error::parameter("rules", "epsilon-gamma-box LOW HIGH", format!("{row:?}"))),
        };
    }
    Ok(Composite::PRESETS.iter().find(|(name, ..)| *name == row).map(|(_, _, build)| build()))
}

fn unknown(row: &str) -> Error {
    let presets: Vec<_> = Composite::PRESETS.iter().map(|(name, ..)| *name).collect();
    let expected =
        format!("a preset ({}), a rule ({}) or rows `LAYERS: RULE`", presets.join(", "), Rule::TEXT);
    Error::parameter("rules", &expected, format!("{row:?}"))
}

impl FromText for Composite {
    fn from_text(_: &str, text: &str) -> Result<Self> {
        text.parse()
    }
}
