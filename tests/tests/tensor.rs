//! Each operation of a tensor on every adapter: against the reference's, and the reference's against
//! literals.

use attr_core::{ModelWrapper, Precision, Tensor};
use attr_tests::adapter::reference;
use attr_tests::sampling::{positive, spread};
use attr_tests::tolerance::close;
use attr_tests::{Adapter, Case, Level, Outcome, on_every_adapter};
use ndarray::{ArrayD, arr1, arr2, array};

/// One operation, with what it takes besides tensors.
#[derive(Debug, Clone)]
enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Affine(f64, f64),
    Abs,
    Sqrt,
    Exp,
    Ln,
    Gt,
    Eq,
    Sum(Vec<usize>),
    Max(usize),
    Argmax(usize),
    Reshape(Vec<usize>),
    Permute(Vec<usize>),
    /// Permuted, then reshaped: the numbers are in another order than in memory.
    PermuteThenReshape(Vec<usize>, Vec<usize>),
    BroadcastTo(Vec<usize>),
    Narrow(usize, usize, usize),
    /// A part of a part, then the sum with itself.
    NarrowTwice,
    Concat(usize),
    Matmul,
    Square,
    Relu,
    Mean(Vec<usize>),
    RowSums,
    SliceRows(usize, usize),
    TileRows(usize),
    FilledLike(f64),
}

fn apply<T: Tensor>(operation: &Operation, x: &[T]) -> attr_core::Result<T> {
    let a = &x[0];
    match operation {
        Operation::Add => a.add(&x[1]),
        Operation::Sub => a.sub(&x[1]),
        Operation::Mul => a.mul(&x[1]),
        Operation::Div => a.div(&x[1]),
        Operation::Affine(scale, shift) => a.affine(*scale, *shift),
        Operation::Abs => a.abs(),
        Operation::Sqrt => a.sqrt(),
        Operation::Exp => a.exp(),
        Operation::Ln => a.ln(),
        Operation::Gt => a.gt(&x[1]),
        Operation::Eq => a.eq(&x[1]),
        Operation::Sum(axes) => a.sum(axes),
        Operation::Max(axis) => a.max(*axis),
        Operation::Argmax(axis) => a.argmax(*axis),
        Operation::Reshape(dims) => a.reshape(dims),
        Operation::Permute(axes) => a.permute(axes),
        Operation::PermuteThenReshape(axes, dims) => a.permute(axes)?.reshape(dims),
        Operation::BroadcastTo(dims) => a.broadcast_to(dims),
        Operation::Narrow(axis, start, len) => a.narrow(*axis, *start, *len),
        Operation::NarrowTwice => {
            let part = a.narrow(1, 1, 2)?.narrow(0, 1, 1)?.narrow(2, 1, 2)?;
            part.add(&part)
        }
        Operation::Concat(axis) => T::concat(x, *axis),
        Operation::Matmul => a.matmul(&x[1]),
        Operation::Square => a.square(),
        Operation::Relu => a.relu(),
        Operation::Mean(axes) => a.mean(axes),
        Operation::RowSums => a.row_sums(),
        Operation::SliceRows(start, len) => a.slice_rows(*start, *len),
        Operation::TileRows(copies) => a.tile_rows(*copies),
        Operation::FilledLike(value) => a.filled_like(*value),
    }
}

/// An operation on arrays.
struct TensorCase {
    name: String,
    operation: Operation,
    arrays: Vec<ArrayD<f64>>,
    /// What it gives, where that is written out; otherwise what the reference gives.
    expected: Option<ArrayD<f64>>,
}

impl Case for TensorCase {
    fn name(&self) -> &str {
        &self.name
    }
}

fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &TensorCase) -> Outcome {
    let expected = match &case.expected {
        Some(expected) => expected.clone(),
        None => apply(&case.operation, &reference().tensors(&case.arrays)?)?.0,
    };
    let found = apply(&case.operation, &adapter.tensors(&case.arrays)?)?;
    if found.dims() != expected.shape() || found.precision() != adapter.precision {
        return Err(format!("found {} of {:?}", found.precision(), found.dims()).into());
    }
    Ok(adapter.close(&found, &expected, Level::Layer)?)
}

#[test]
fn against_the_reference() {
    on_every_adapter!(check, cases());
}

#[test]
fn against_literals() {
    on_every_adapter!(check, literals());
}

/// What does not fit is an error, not a panic.
#[test]
fn mistakes() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &TensorCase) -> Outcome {
        match apply(&case.operation, &adapter.tensors(&case.arrays)?) {
            Ok(found) => Err(format!("expected an error, found a tensor of {:?}", found.dims()).into()),
            Err(error) if error.to_string().lines().count() == 1 => Ok(()),
            Err(error) => Err(format!("expected one line, found {error}").into()),
        }
    }
    let (a, b) = (spread(&[2, 3], 1), spread(&[2, 4], 2));
    let pair = || vec![a.clone(), b.clone()];
    let cases = vec![
        case("shapes that don't broadcast", Operation::Add, pair()),
        case("comparing shapes that don't broadcast", Operation::Gt, pair()),
        case("matrices that don't fit", Operation::Matmul, pair()),
        case("parts that don't fit", Operation::Concat(0), pair()),
        case("reshaped to other numbers", Operation::Reshape(vec![5]), pair()),
        case("broadcast to fewer", Operation::BroadcastTo(vec![2, 1]), pair()),
        case("a part beyond the end", Operation::Narrow(1, 2, 2), pair()),
    ];
    on_every_adapter!(check, cases);
}

fn cases() -> Vec<TensorCase> {
    let (a, b) = (|| spread(&[2, 3, 4], 1), || spread(&[2, 3, 4], 2));
    let one = |operation: Operation| case(&format!("{operation:?}"), operation.clone(), vec![a()]);
    let mut cases: Vec<_> = [
        Operation::Affine(-2.5, 0.75),
        Operation::Abs,
        Operation::Exp,
        Operation::Square,
        Operation::Relu,
        Operation::RowSums,
        Operation::NarrowTwice,
        Operation::Sum(vec![0]),
        Operation::Sum(vec![2]),
        Operation::Sum(vec![1, 2]),
        Operation::Sum(vec![0, 1, 2]),
        Operation::Sum(vec![]),
        Operation::Mean(vec![0, 2]),
        Operation::Max(0),
        Operation::Max(1),
        Operation::Max(2),
        Operation::Argmax(0),
        Operation::Argmax(1),
        Operation::Argmax(2),
        Operation::Reshape(vec![4, 6]),
        Operation::Reshape(vec![24]),
        Operation::Permute(vec![2, 0, 1]),
        Operation::Permute(vec![0, 1, 2]),
        Operation::PermuteThenReshape(vec![0, 2, 1], vec![8, 3]),
        Operation::Narrow(0, 1, 1),
        Operation::Narrow(2, 1, 2),
        Operation::SliceRows(0, 2),
        Operation::SliceRows(1, 1),
        Operation::TileRows(1),
        Operation::TileRows(3),
        Operation::FilledLike(1.5),
        Operation::BroadcastTo(vec![2, 3, 4]),
    ]
    .map(one)
    .into();
    for operation in [Operation::Sqrt, Operation::Ln] {
        cases.push(case(&format!("{operation:?}"), operation, vec![positive(&[2, 3], 1)]));
    }
    for axis in 0..3 {
        cases.push(case(&format!("Concat({axis})"), Operation::Concat(axis), vec![a(), b(), a()]));
    }
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[2, 3, 4], &[2, 3, 4]),
        (&[2, 3, 4], &[2, 1, 1]),
        (&[2, 3, 4], &[1, 3, 1]),
        (&[2, 1, 4], &[2, 3, 1]),
        (&[2, 3, 4], &[4]),
        (&[4], &[2, 3, 4]),
        (&[2, 3, 4], &[]),
    ];
    for (left, right) in shapes {
        for operation in
            [Operation::Add, Operation::Sub, Operation::Mul, Operation::Div, Operation::Gt, Operation::Eq]
        {
            let name = format!("{operation:?} of {left:?} and {right:?}");
            cases.push(case(&name, operation, vec![positive(left, 1), positive(right, 2)]));
        }
    }
    let products: [(&[usize], &[usize]); 4] =
        [(&[2, 3], &[3, 4]), (&[2, 2, 3], &[2, 3, 4]), (&[5, 2, 3], &[3, 4]), (&[1, 2, 3], &[4, 3, 2])];
    for (left, right) in products {
        let name = format!("Matmul of {left:?} and {right:?}");
        cases.push(case(&name, Operation::Matmul, vec![spread(left, 1), spread(right, 2)]));
    }
    let broadcasts: [(&[usize], &[usize]); 3] =
        [(&[2, 1, 4], &[2, 3, 4]), (&[1, 1], &[3, 2]), (&[4], &[2, 4])];
    for (from, to) in broadcasts {
        let name = format!("{from:?} broadcast to {to:?}");
        cases.push(case(&name, Operation::BroadcastTo(to.to_vec()), vec![spread(from, 1)]));
    }
    cases
}

fn literals() -> Vec<TensorCase> {
    let a = || arr2(&[[1.0, 5.0, 5.0], [-2.0, -2.0, -3.0]]).into_dyn();
    let literal = |name: &str, operation, arrays, expected| TensorCase {
        expected: Some(expected),
        ..case(name, operation, arrays)
    };
    let column = |x: f64, y: f64| arr2(&[[x], [y]]).into_dyn();
    vec![
        literal("sum over rows", Operation::Sum(vec![0]), vec![a()], arr2(&[[-1.0, 3.0, 2.0]]).into_dyn()),
        literal("sum over columns", Operation::Sum(vec![1]), vec![a()], column(11.0, -7.0)),
        literal("sum over no axes", Operation::Sum(vec![]), vec![a()], a()),
        literal("mean over no axes", Operation::Mean(vec![]), vec![a()], a()),
        literal("largest", Operation::Max(1), vec![a()], column(5.0, -2.0)),
        literal("the first of the largest", Operation::Argmax(1), vec![a()], column(1.0, 0.0)),
        literal(
            "greater, not equal",
            Operation::Gt,
            vec![a(), arr1(&[1.0, 4.0, 6.0]).into_dyn()],
            arr2(&[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).into_dyn(),
        ),
        literal(
            "equal",
            Operation::Eq,
            vec![a(), arr1(&[1.0, 5.0, 6.0]).into_dyn()],
            arr2(&[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]).into_dyn(),
        ),
        literal(
            "transposed",
            Operation::Permute(vec![1, 0]),
            vec![a()],
            arr2(&[[1.0, -2.0], [5.0, -2.0], [5.0, -3.0]]).into_dyn(),
        ),
        literal(
            "three axes turned",
            Operation::Permute(vec![2, 0, 1]),
            vec![array![[[1.0, 2.0], [3.0, 4.0]]].into_dyn()],
            array![[[1.0, 3.0]], [[2.0, 4.0]]].into_dyn(),
        ),
        literal(
            "product of matrices",
            Operation::Matmul,
            vec![a(), arr2(&[[1.0, 0.0], [2.0, 1.0], [0.0, -1.0]]).into_dyn()],
            arr2(&[[11.0, 0.0], [-6.0, 1.0]]).into_dyn(),
        ),
        literal("row sums", Operation::RowSums, vec![a()], arr1(&[11.0, -7.0]).into_dyn()),
        literal(
            "tiled",
            Operation::TileRows(2),
            vec![column(1.0, 2.0)],
            arr2(&[[1.0], [2.0], [1.0], [2.0]]).into_dyn(),
        ),
    ]
}

/// Numbers come back from the device as they went in, but for the precision.
#[test]
fn to_the_device_and_back() {
    fn check<M: ModelWrapper>(adapter: &Adapter<M>, case: &TensorCase) -> Outcome {
        let (first, second) = (&case.arrays[0], &case.arrays[1]);
        let tensor = adapter.tensors(std::slice::from_ref(first))?.remove(0);
        close(&tensor.to_array()?, first, Level::Bitwise, adapter.precision)?;
        close(&tensor.like(second)?.to_array()?, second, Level::Bitwise, adapter.precision)?;
        let third = tensor.like(&ArrayD::from_elem(vec![], 1.0 / 3.0))?.to_array()?;
        let expected = if adapter.precision == Precision::F32 { f64::from(1f32 / 3.0) } else { 1.0 / 3.0 };
        close(&third, &ArrayD::from_elem(vec![], expected), Level::Bitwise, adapter.precision)?;
        Ok(())
    }
    // The second array lies in memory in another order.
    let turned = spread(&[3, 2, 4], 2).permuted_axes(vec![2, 0, 1]);
    on_every_adapter!(check, [case("numbers", Operation::Abs, vec![spread(&[2, 3], 1), turned])]);
}

fn case(name: &str, operation: Operation, arrays: Vec<ArrayD<f64>>) -> TensorCase {
    TensorCase { name: name.into(), operation, arrays, expected: None }
}
