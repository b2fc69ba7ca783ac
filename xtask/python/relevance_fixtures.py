"""Writes tests/fixtures/relevance: small random networks as ONNX files, and what Captum and Zennit make of them.

Each result stands beside the words in which this library asks for the same. Both peers compute in double precision, on
weights and inputs that single precision holds exactly. Run it from the repository's root with a Python that has torch
2.13, captum 0.9, zennit 0.5.1 and onnx:

    python xtask/python/relevance_fixtures.py
"""

import copy
import json
import pathlib
import warnings

import captum
import captum.attr
import numpy
import torch
import zennit.canonizers
import zennit.composites
import zennit.layer
import zennit.rules
import zennit.types
from captum.attr._utils.custom_modules import Addition_Module
from captum.attr._utils import lrp_rules
from torch import nn

FIXTURES = pathlib.Path("tests/fixtures/relevance")
ROWS = 2


class Add(nn.Module):
    """A sum of two values in the form that a peer asks for."""

    def __init__(self):
        super().__init__()
        self.way = "plain"
        self.of_captum = Addition_Module()
        self.of_zennit = zennit.layer.Sum(dim=-1)

    def forward(self, a, b):
        if self.way == "captum":
            return self.of_captum(a, b)
        if self.way == "zennit":
            return self.of_zennit(torch.stack([a, b], -1))
        return a + b


class Plain(nn.Module):
    size = (2, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.relu1 = nn.ReLU()
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 5, 3)
        self.relu2 = nn.ReLU()
        self.fc1 = nn.Linear(20, 6)
        self.relu3 = nn.ReLU()
        self.fc2 = nn.Linear(6, 4)

    def forward(self, x):
        x = self.pool1(self.relu1(self.conv1(x)))
        x = self.relu2(self.conv2(x))
        return self.fc2(self.relu3(self.fc1(x.flatten(1))))


class BatchNorm(nn.Module):
    size = (3, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(4)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1, groups=2)
        self.norm2 = nn.BatchNorm2d(6)
        self.relu2 = nn.ReLU()
        self.pool = nn.AvgPool2d(2)
        self.conv3 = nn.Conv2d(6, 5, 1)
        self.relu3 = nn.ReLU()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x):
        x = self.relu1(self.norm1(self.conv1(x)))
        x = self.pool(self.relu2(self.norm2(self.conv2(x))))
        return self.fc(self.mean(self.relu3(self.conv3(x))).flatten(1))


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(out)
        self.skip = None
        if stride != 1 or channels != out:
            conv = nn.Conv2d(channels, out, 1, stride=stride, bias=False)
            self.skip = nn.Sequential(conv, nn.BatchNorm2d(out))
        self.add = Add()
        self.relu2 = nn.ReLU()

    def forward(self, x):
        y = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(self.add(y, x if self.skip is None else self.skip(x)))


class Residual(nn.Module):
    size = (2, 9, 9)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(3)
        self.relu1 = nn.ReLU()
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.block1 = Block(3, 3, 1)
        self.block2 = Block(3, 4, 2)
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        x = self.pool(self.relu1(self.norm1(self.conv1(x))))
        return self.fc(self.mean(self.block2(self.block1(x))).flatten(1))


class UNet(nn.Module):
    size = (2, 8, 8)

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(4)
        self.relu1 = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 6, 3, padding=1)
        self.relu2 = nn.ReLU()
        self.up = nn.ConvTranspose2d(6, 3, 2, stride=2)
        self.conv3 = nn.Conv2d(7, 4, 3, padding=1)
        self.relu3 = nn.ReLU()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(4, 4)

    def forward(self, x):
        skip = self.relu1(self.norm1(self.conv1(x)))
        x = self.up(self.relu2(self.conv2(self.pool(skip))))
        x = self.relu3(self.conv3(torch.cat([skip, x], 1)))
        return self.fc(self.mean(x).flatten(1))


def make(kind, seed):
    torch.manual_seed(seed)
    network = kind().eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Zennit's merging leaves the epsilon out.
            module.eps = 0.0
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.3)
    return network, torch.randn(ROWS, *kind.size)


def way(network, name):
    for module in network.modules():
        if isinstance(module, Add):
            module.way = name
    return network


def of_zennit(network, x, composite, start):
    """The attribution of a composite, and of a relevance that starts with the logit or with one."""
    network, x = way(copy.deepcopy(network), "zennit"), x.clone().requires_grad_()
    with composite.context(network) as modified:
        logits = modified(x)
        chosen = nn.functional.one_hot(logits.argmax(1), logits.shape[1]).to(logits)
        start = chosen * logits.detach() if start == "value" else chosen
        return torch.autograd.grad(logits, x, start)[0]


def one_rule(rule):
    """A rule for all weighted layers, with what Zennit's own composites do with the others."""
    types = zennit.types
    layers = [
        (types.Activation, zennit.rules.Pass()),
        (zennit.layer.Sum, zennit.rules.Norm()),
        (types.AvgPool, zennit.rules.Norm()),
        (types.BatchNorm, zennit.rules.Pass()),
        (types.Linear, rule),
    ]
    merge = [zennit.canonizers.SequentialMergeBatchNorm()]
    return zennit.composites.LayerMapComposite(layers, canonizers=merge)


def zennit_cases():
    """The composite, what it is called, and how this library asks for it."""
    named, rules = zennit.composites, zennit.rules
    low, high = torch.tensor(-3.0, dtype=torch.float64), torch.tensor(3.0, dtype=torch.float64)
    merge = lambda: [zennit.canonizers.SequentialMergeBatchNorm()]
    presets = [
        ("EpsilonPlus", {}, "epsilon-plus"),
        ("EpsilonPlusFlat", {}, "epsilon-plus-flat"),
        ("EpsilonAlpha2Beta1", {}, "epsilon-alpha2-beta1"),
        ("EpsilonAlpha2Beta1Flat", {}, "epsilon-alpha2-beta1-flat"),
        ("EpsilonGammaBox", {"low": low, "high": high}, "epsilon-gamma-box -3 3"),
    ]
    for name, arguments, ours in presets:
        yield name, getattr(named, name)(canonizers=merge(), **arguments), "value", "lrp", {"rules": ours}
    yield (
        "ExcitationBackprop",
        named.ExcitationBackprop(canonizers=merge()),
        "one",
        "lrp",
        {"rules": "excitation-backprop", "start": "one"},
    )
    yield "GuidedBackprop", named.GuidedBackprop(canonizers=merge()), "one", "guided-backprop", {}
    yield "DeconvNet", named.DeconvNet(canonizers=merge()), "one", "deconvnet", {}
    singles = [
        ("Epsilon()", rules.Epsilon(), "epsilon"),
        ("Epsilon(0.25)", rules.Epsilon(0.25), "epsilon 0.25"),
        ("Epsilon(0.25), zero_params=bias", rules.Epsilon(0.25, zero_params="bias"), "epsilon 0.25 no-bias"),
        ("Gamma()", rules.Gamma(), "gamma"),
        ("Gamma(1.0)", rules.Gamma(1.0), "gamma 1"),
        ("ZPlus()", rules.ZPlus(), "z-plus own"),
        ("ZPlus(), zero_params=bias", rules.ZPlus(zero_params="bias"), "z-plus none"),
        ("AlphaBeta(2, 1)", rules.AlphaBeta(2.0, 1.0), "alpha-beta 2 1 own"),
        ("AlphaBeta(1, 0)", rules.AlphaBeta(1.0, 0.0), "alpha-beta 1 0 own"),
        (
            "AlphaBeta(2, 1), zero_params=bias",
            rules.AlphaBeta(2.0, 1.0, zero_params="bias"),
            "alpha-beta 2 1 none",
        ),
        # With a bias its square counts in Zennit's denominator.
        ("WSquare(), zero_params=bias", rules.WSquare(zero_params="bias"), "w-square"),
        ("Flat()", rules.Flat(), "flat"),
    ]
    for name, rule, ours in singles:
        yield name, one_rule(rule), "value", "lrp", {"rules": ours}
    box = one_rule(rules.Epsilon())
    box = zennit.composites.SpecialFirstLayerMapComposite(
        box.layer_map, [(zennit.types.Linear, rules.ZBox(low, high))], canonizers=merge()
    )
    yield "ZBox first, Epsilon()", box, "value", "lrp", {"rules": "first weighted: z-box -3 3; weighted: epsilon"}


def captum_cases(network, x, target):
    """The result of a method, what it is called, and how this library asks for it."""
    attr, zeros = captum.attr, torch.zeros_like(x)
    yield "Saliency(abs=False)", attr.Saliency(network).attribute(x, target, abs=False), "gradient", {}
    yield "InputXGradient", attr.InputXGradient(network).attribute(x, target), "input-x-gradient", {}
    yield "GuidedBackprop", attr.GuidedBackprop(network).attribute(x, target), "guided-backprop", {}
    yield "Deconvolution", attr.Deconvolution(network).attribute(x, target), "deconvnet", {}
    layer = {"Plain": "conv2", "BatchNorm": "conv2", "Residual": "block2.conv1", "UNet": "conv2"}
    layer = layer[type(network).__name__]
    module, ours = network.get_submodule(layer), layer.replace(".", "/") + "/Conv"
    grad_cam = attr.LayerGradCam(network, module).attribute(x, target)
    yield "LayerGradCam", grad_cam, "grad-cam", {"relu": "false", "upsampling": "none", "layer": ours}
    guided = attr.GuidedGradCam(network, module).attribute(x, target)
    yield "GuidedGradCam", guided, "guided-grad-cam", {"upsampling": "nearest", "layer": ours}
    # Behind a ReLU, Captum's rule for max pooling has no effect: the pooling acts by its plain gradient.
    if any(isinstance(module, nn.MaxPool2d) for module in network.modules()):
        return
    for text, baseline in [("zeros", zeros), ("0.375", zeros + 0.375)]:
        for multiply in [True, False]:
            method = attr.DeepLift(network, multiply_by_inputs=multiply)
            name = f"DeepLift(multiply_by_inputs={multiply}), baseline {text}"
            settings = {"baselines": text, "multiply": str(multiply).lower()}
            yield name, method.attribute(x, baseline, target), "deeplift", settings
    several = torch.cat([zeros[:1], zeros[:1] + 0.375, zeros[:1] - 0.5])
    shap = attr.DeepLiftShap(network).attribute(x, several, target)
    yield "DeepLiftShap, three baselines", shap, "deeplift", {"baselines": "zeros, 0.375, -0.5"}


def captum_lrp_cases(network, x, target):
    # A functional concatenation of a value that has another reader multiplies Captum's relevance by that value twice.
    if type(network) is UNet:
        return
    weighted = (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)
    base = "kind batch norm: epsilon 1e-9; sums: epsilon 1e-9; stabilizer 1e-9"
    cases = [
        ("EpsilonRule()", lrp_rules.EpsilonRule, "weighted: epsilon 1e-9"),
        ("GammaRule()", lrp_rules.GammaRule, "weighted: plain-gamma 0.25"),
        ("Alpha1_Beta0_Rule()", lrp_rules.Alpha1_Beta0_Rule, "weighted: z-plus-fast bias"),
    ]
    for name, rule, ours in cases:
        ruled = copy.deepcopy(network)
        for module in ruled.modules():
            if isinstance(module, weighted):
                module.rule = rule()
            if isinstance(module, zennit.layer.Sum):
                module.rule = lrp_rules.IdentityRule()
        # The relevance that Captum starts with is the output of the last layer as its rule has changed it.
        last = ruled.get_submodule("fc2" if type(network) is Plain else "fc")
        last.rule = lrp_rules.EpsilonRule()
        result = captum.attr.LRP(ruled).attribute(x, target)
        yield f"LRP, {name}", result, "lrp", {"rules": f"last weighted: epsilon 1e-9; {base}; {ours}"}


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    FIXTURES.mkdir(parents=True, exist_ok=True)
    index = []
    for kind in [Plain, BatchNorm, Residual, UNet]:
        for seed in [1, 2]:
            single, inputs = make(kind, seed)
            name = f"{kind.__name__.lower()}-{seed}"
            keep = torch.onnx.TrainingMode.PRESERVE
            torch.onnx.export(
                way(single, "plain"), inputs, FIXTURES / f"{name}.onnx", input_names=["x"], output_names=["logits"],
                dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}}, dynamo=False, training=keep,
                do_constant_folding=False, opset_version=17,
            )
            network, x = copy.deepcopy(single).double(), inputs.double()
            logits = network(x).detach()
            target = logits.argmax(1)
            arrays, cases, refused = {"x": x, "logits": logits}, [], []

            def add(peer, what, method, settings, result):
                key = f"result{len(cases)}"
                arrays[key] = result.detach()
                settings = dict(settings)
                case = {"key": key, "peer": peer, "what": what, "method": method}
                cases.append({**case, "layer": settings.pop("layer", None), "settings": settings})

            for what, composite, start, method, settings in zennit_cases():
                add("zennit 0.5.1", what, method, settings, of_zennit(network, x, composite, start))
            peer = f"captum {captum.__version__}"
            asked = way(copy.deepcopy(network), "captum")
            for cases_of in [captum_cases, captum_lrp_cases]:
                try:
                    for what, result, method, settings in cases_of(asked, x, target):
                        add(peer, what, method, settings, result)
                except Exception as error:
                    refused.append({"peer": peer, "what": cases_of.__name__, "why": str(error).split("\n")[0]})
            numpy.savez_compressed(
                FIXTURES / f"{name}.npz", **{key: value.numpy() for key, value in arrays.items()}
            )
            index.append({"network": name, "cases": cases, "refused": refused})
    (FIXTURES / "index.json").write_text(json.dumps(index, indent=1) + "\n")


if __name__ == "__main__":
    main()
