//! Networks of `tch::vision`, and the graphs of `attr-networks` with the variables of their stores: the same numbers.

use std::collections::BTreeMap;

use attr_core::{Cut, ModelWrapper, Param, Point, Precision};
use attr_networks::{Options, Weights, build_with};
use attr_torch::{TorchTensor, compile, variables};
use ndarray::array;
use tch::nn::{self, ModuleT};
use tch::vision::{resnet, squeezenet, vgg};
use tch::{Device, Kind, Tensor};

const CLASSES: i64 = 10;

/// Batch norms that have seen something, so that they do something.
fn stir(store: &nn::VarStore) {
    tch::no_grad(|| {
        // In the order of their names: the store's own differs from run to run.
        for (name, mut variable) in BTreeMap::from_iter(store.variables()) {
            if name.ends_with("running_mean") {
                let _ = variable.uniform_(-0.1, 0.1);
            } else if name.ends_with("running_var") {
                let _ = variable.uniform_(0.1, 0.5);
            }
        }
    });
}

/// That the network and the graph of this name give the same logits and gradients, in double precision.
fn agree<M: ModuleT>(name: &str, side: i64, network: impl Fn(&nn::Path<'_>) -> M) {
    tch::manual_seed(3);
    let mut store = nn::VarStore::new(Device::Cpu);
    let network = network(&store.root());
    stir(&store);
    store.double();
    let size = side as usize;
    let weights = Weights::new(variables(&store).unwrap());
    let graph = build_with(name, &weights, &Options { size: Some([size, size]) }).unwrap();
    let model = compile(graph, Precision::F64).unwrap();

    let image = Tensor::randn([2, 3, side, side], (Kind::Double, Device::Cpu));
    let x = image.copy().set_requires_grad(true);
    let theirs = network.forward_t(&x, false);
    theirs.sum(Kind::Double).backward();
    let x = [TorchTensor::from(x.grad())];
    let [their_gradient] = x;

    let image = [TorchTensor::from(image)];
    let mut ours = None;
    let gradient = model.gradient(Point::at(&image), &Cut::input(), &Cut::output(), &mut |values| {
        ours = Some(values[0].clone());
        Ok(vec![values[0].ones_like().into()])
    });
    let gradient = gradient.unwrap().gradients.remove(0);
    for (what, ours, theirs) in
        [("logits", &*ours.unwrap(), &theirs.detach()), ("gradient", &*gradient, &*their_gradient)]
    {
        let largest = theirs.abs().max().double_value(&[]);
        let gap = (ours - theirs).abs().max().double_value(&[]);
        assert!(largest > 1e-6 && gap <= 1e-10 * largest, "{name}: {what}: {gap} of {largest}");
    }
}

/// But for MobileNetV2's, which takes a mean in single precision whatever its variables are, and AlexNet's, whose second
/// convolution has other strides than torchvision's.
#[test]
fn stores_of_tch_load_into_graphs() {
    agree("resnet18", 64, |path| resnet::resnet18(path, CLASSES));
    agree("resnet50", 64, |path| resnet::resnet50(path, CLASSES));
    agree("squeezenet1_0", 64, |path| squeezenet::v1_0(path, CLASSES));
    agree("squeezenet1_1", 64, |path| squeezenet::v1_1(path, CLASSES));
    agree("vgg11_bn", 224, |path| vgg::vgg11_bn(path, CLASSES));
}

#[test]
fn variables_of_all_kinds() {
    let mut store = nn::VarStore::new(Device::Cpu);
    let root = store.root();
    let _ = root.sub("b").var_copy("weight", &Tensor::from_slice(&[1.5f64, -2.0]).reshape([1, 2]));
    let _ = root.sub("a").var_copy("weight", &Tensor::from_slice(&[0.5f32, 3.0]).to_kind(Kind::BFloat16));
    // A view whose numbers are not in the order of its axes.
    let _ =
        root.sub("c").var_copy("weight", &Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0]).reshape([2, 2]).tr());
    let expected = [
        ("a.weight".to_string(), Param::from(array![0.5f32, 3.0])),
        ("b.weight".to_string(), Param::from(array![[1.5f32, -2.0]])),
        ("c.weight".to_string(), Param::from(array![[1.0f32, 3.0], [2.0, 4.0]])),
    ];
    assert_eq!(variables(&store).unwrap(), expected);
    store.double();
    assert_eq!(variables(&store).unwrap()[1].1, Param::from(array![[1.5f64, -2.0]]));
}
