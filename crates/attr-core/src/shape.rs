//! Shapes in which one axis may grow with the batch.

/// The length of one axis of a layer's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dim {
    /// Always this long.
    Fixed(usize),
    /// This many for each row of the batch.
    Batch(usize),
}

/// The shape of a layer's value, where at most one axis grows with the batch; none for a constant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// A batch of rows of these lengths: `[B, dims...]`.
    pub fn batched(dims: &[usize]) -> Self {
        Shape(std::iter::once(Dim::Batch(1)).chain(dims.iter().map(|&d| Dim::Fixed(d))).collect())
    }

    /// A shape without a batch.
    pub fn fixed(dims: &[usize]) -> Self {
        Shape(dims.iter().map(|&d| Dim::Fixed(d)).collect())
    }

    /// How many axes.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// The axis that grows with the batch.
    pub fn batch_axis(&self) -> Option<usize> {
        self.0.iter().position(|d| matches!(d, Dim::Batch(_)))
    }

    /// The lengths for a batch of `rows`.
    pub fn at(&self, rows: usize) -> Vec<usize> {
        self.0
            .iter()
            .map(|d| match *d {
                Dim::Fixed(n) => n,
                Dim::Batch(n) => n.saturating_mul(rows),
            })
            .collect()
    }

    /// How many numbers one row has.
    pub fn row_len(&self) -> usize {
        self.at(1).iter().fold(1usize, |product, &n| product.saturating_mul(n))
    }

    /// Whether axis 0 is the batch, one entry a row, and no other axis is.
    pub fn is_batch_first(&self) -> bool {
        self.0.first() == Some(&Dim::Batch(1))
    }

    /// Whether a tensor of these lengths, with any number of rows, has this shape.
    pub fn admits(&self, dims: &[usize]) -> bool {
        dims.len() == self.rank()
            && self.0.iter().zip(dims).all(|(dim, &n)| match *dim {
                Dim::Fixed(len) => len == n,
                Dim::Batch(len) => n > 0 && n % len == 0,
            })
    }
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let dims = self.0.iter().map(|d| match d {
            Dim::Fixed(n) => n.to_string(),
            Dim::Batch(1) => "B".to_string(),
            Dim::Batch(n) => format!("{n}B"),
        });
        write!(f, "[{}]", dims.collect::<Vec<_>>().join(", "))
    }
}
