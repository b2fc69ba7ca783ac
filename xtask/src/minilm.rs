//! The sentence encoder all-MiniLM-L6-v2 as a layer graph, from its published weights.

use std::collections::BTreeMap;
use std::path::Path;

use attr_core::{Activation, Error, Graph, NodeId, Op, Param, Result, Shape};
use ndarray::{ArrayD, IxDyn};
use safetensors::{Dtype, SafeTensors};

const LAYERS: usize = 6;
const HEADS: usize = 12;
const WIDTH: usize = 384;
const EPSILON: f64 = 1e-12;

/// What is added to the scores of tokens that are only there to fill up: far below what any exponential survives.
const HIDDEN: f32 = 1e9;

/// What lies beside the model so that texts can be made into tokens for it.
pub(crate) const DESCRIPTION: &str = "{\n  \"tokenizer\": \"all-minilm-l6-v2.tokenizer.json\"\n}\n";

/// The parameters by their names, those in single precision.
pub(crate) fn weights(
    path: &Path,
) -> std::result::Result<BTreeMap<String, ArrayD<f32>>, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensors = file.iter().filter(|(_, tensor)| tensor.dtype() == Dtype::F32);
    tensors
        .map(|(name, tensor)| {
            let numbers =
                tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
            Ok((name.to_string(), ArrayD::from_shape_vec(IxDyn(tensor.shape()), numbers)?))
        })
        .collect()
}

/// MiniLM (Wang et al. 2020, arXiv 2002.10957: a small BERT, Devlin et al. 2018, arXiv 1810.04805) for texts of so many
/// tokens, as sentence-transformers uses it (Reimers and Gurevych 2019, arXiv 1908.10084). Inputs `[B, tokens]`: token
/// numbers, 1 for each token that is not there to fill up, and the tokens' places from 0. Output: the mean of the last
/// values of all tokens, at length 1, `[B, 384]`.
pub(crate) fn encoder(weights: &BTreeMap<String, ArrayD<f32>>, tokens: usize) -> Result<Graph> {
    let mut net = MiniLm { graph: Graph::default(), weights, tokens };
    let [ids, mask, places] = ["input_ids", "attention_mask", "position_ids"].map(|name| (name, [tokens]));
    let (ids, mask, places) = (net.input(ids)?, net.input(mask)?, net.input(places)?);

    let words = net.layer("embeddings/word_embeddings", Op::Embedding, &[ids], &["weight"])?;
    let positions = net.layer("embeddings/position_embeddings", Op::Embedding, &[places], &["weight"])?;
    let x = net.graph.add("embeddings/words_and_positions", Op::Add, &[words, positions], &[])?;
    // One text, so that all tokens have the first type.
    let types =
        net.weight("embeddings.token_type_embeddings.weight")?.outer_iter().next().map(|row| row.to_owned());
    let types = types.ok_or_else(|| Error::Unsupported("no embeddings of token types".into()))?;
    let types = net.constant("embeddings/token_type_embeddings", types)?;
    let x = net.graph.add("embeddings/sum", Op::Add, &[x, types], &[])?;
    let mut x = net.norm("embeddings/LayerNorm", x)?;

    let column = net.reshape("mask/columns", mask, &[tokens, 1, 1])?;
    let row = net.graph.add("mask/row", Op::Transpose { axes: vec![0, 2, 3, 1] }, &[column], &[])?;
    let one = net.constant("mask/one", number(1.0))?;
    let hidden = net.constant("mask/hidden", number(HIDDEN))?;
    let row = net.graph.add("mask/minus_one", Op::Sub, &[row, one], &[])?;
    let row = net.graph.add("mask/scores", Op::Mul, &[row, hidden], &[])?;
    for i in 0..LAYERS {
        x = net.block(&format!("encoder/layer.{i}"), x, row)?;
    }

    let mask = net.reshape("pooling/mask", mask, &[tokens, 1])?;
    let seen = net.graph.add("pooling/seen", Op::Mul, &[x, mask], &[])?;
    let over_tokens = || Op::Sum { axes: vec![1], keep: false };
    let sum = net.graph.add("pooling/sum", over_tokens(), &[seen], &[])?;
    let count = net.graph.add("pooling/count", over_tokens(), &[mask], &[])?;
    let mean = net.graph.add("pooling/mean", Op::Div, &[sum, count], &[])?;
    let length = net.graph.add("normalize/length", Op::Norm { axes: vec![1], keep: true }, &[mean], &[])?;
    let output = net.graph.add("sentence_embedding", Op::Div, &[mean, length], &[])?;
    net.graph.set_outputs(&[output])?;
    Ok(net.graph)
}

struct MiniLm<'a> {
    graph: Graph,
    weights: &'a BTreeMap<String, ArrayD<f32>>,
    tokens: usize,
}

impl MiniLm<'_> {
    /// Attention over all tokens, then a network of two layers for each token; each is added to what it reads, and the
    /// sum normalized.
    fn block(&mut self, name: &str, x: NodeId, mask: NodeId) -> Result<NodeId> {
        let split = [HEADS, WIDTH / HEADS];
        let mut part = |role: &str, axes: [usize; 4]| {
            let name = format!("{name}/attention/self/{role}");
            let whole = self.linear(&name, x)?;
            let heads = self.reshape(&format!("{name}/heads"), whole, &[self.tokens, split[0], split[1]])?;
            self.graph.add(&format!("{name}/by_head"), Op::Transpose { axes: axes.to_vec() }, &[heads], &[])
        };
        let by_head = [0, 2, 1, 3];
        let (query, value) = (part("query", by_head)?, part("value", by_head)?);
        let key = part("key", [0, 2, 3, 1])?;
        let inner = format!("{name}/attention/self");
        let add = |graph: &mut Graph, what: &str, op, inputs: &[NodeId]| {
            graph.add(&format!("{inner}/{what}"), op, inputs, &[])
        };
        let products = add(&mut self.graph, "products", Op::MatMul, &[query, key])?;
        let scale = self.constant(&format!("{inner}/scale"), number((split[1] as f32).sqrt().recip()))?;
        let scaled = add(&mut self.graph, "scaled", Op::Mul, &[products, scale])?;
        let scores = add(&mut self.graph, "scores", Op::Add, &[scaled, mask])?;
        let shares = add(&mut self.graph, "softmax", Op::Softmax { axis: 3 }, &[scores])?;
        let context = add(&mut self.graph, "context", Op::MatMul, &[shares, value])?;
        let context = add(&mut self.graph, "by_token", Op::Transpose { axes: by_head.to_vec() }, &[context])?;
        let context = self.reshape(&format!("{inner}/joined"), context, &[self.tokens, WIDTH])?;
        let attended = self.added(&format!("{name}/attention/output"), context, x)?;

        let intermediate = self.linear(&format!("{name}/intermediate/dense"), attended)?;
        let gelu = Op::Activation(Activation::Gelu);
        let active = self.graph.add(&format!("{name}/intermediate/gelu"), gelu, &[intermediate], &[])?;
        self.added(&format!("{name}/output"), active, attended)
    }

    /// A linear layer, added to what was there before, and normalized.
    fn added(&mut self, name: &str, x: NodeId, before: NodeId) -> Result<NodeId> {
        let x = self.linear(&format!("{name}/dense"), x)?;
        let sum = self.graph.add(&format!("{name}/add"), Op::Add, &[x, before], &[])?;
        self.norm(&format!("{name}/LayerNorm"), sum)
    }

    fn linear(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        self.layer(name, Op::Linear, &[x], &["weight", "bias"])
    }

    fn norm(&mut self, name: &str, x: NodeId) -> Result<NodeId> {
        self.layer(name, Op::LayerNorm { axis: 2, epsilon: EPSILON }, &[x], &["weight", "bias"])
    }

    /// A layer with the parameters of its name.
    fn layer(&mut self, name: &str, op: Op, inputs: &[NodeId], parts: &[&str]) -> Result<NodeId> {
        let path = name.replace('/', ".");
        let param = |part: &&str| Ok(self.weight(&format!("{path}.{part}"))?.clone());
        let params = parts.iter().map(param).collect::<Result<Vec<_>>>()?;
        let params: Vec<_> = params.into_iter().map(|weight| self.graph.param(weight)).collect();
        self.graph.add(name, op, inputs, &params)
    }

    fn input(&mut self, (name, row): (&str, [usize; 1])) -> Result<NodeId> {
        self.graph.input(name, &row)
    }

    fn reshape(&mut self, name: &str, x: NodeId, row: &[usize]) -> Result<NodeId> {
        self.graph.add(name, Op::Reshape { shape: Shape::batched(row) }, &[x], &[])
    }

    fn constant(&mut self, name: &str, value: impl Into<Param>) -> Result<NodeId> {
        let value = self.graph.param(value);
        self.graph.add(name, Op::Constant, &[], &[value])
    }

    fn weight(&self, name: &str) -> Result<&ArrayD<f32>> {
        self.weights.get(name).ok_or_else(|| Error::Unsupported(format!("weights without {name:?}")))
    }
}

fn number(x: f32) -> ArrayD<f32> {
    ArrayD::from_elem(IxDyn(&[1]), x)
}
