//! PyTorch's files and numbers: networks of torchvision that it exports, or whose weights it writes, held against PyTorch.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cache::Cache;
use crate::demo::{built, root};
use crate::framework;
use crate::peers::{self, call};

/// One of the comparisons.
pub(crate) struct Exports {
    /// What the comparing program calls it.
    which: &'static str,
    /// The script that writes the files of a network.
    script: &'static str,
    /// Raised when the script changes, so that old files are made anew.
    version: u32,
    /// The networks, as torchvision calls them; others can be asked for by name.
    networks: &'static [&'static str],
    /// Where the table goes.
    page: &'static str,
}

/// Files of whole networks.
pub(crate) const TORCHVISION: Exports = Exports {
    which: "torchvision",
    script: "xtask/python/torchvision_export.py",
    version: 2,
    networks: &[
        "alexnet",
        "vgg16_bn",
        "resnet50",
        "squeezenet1_1",
        "densenet121",
        "inception_v3",
        "googlenet",
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "shufflenet_v2_x1_0",
        "mnasnet1_0",
        "efficientnet_b0",
        "regnet_y_400mf",
        "convnext_tiny",
        "vit_b_16",
        "swin_t",
        "deeplabv3_resnet50",
        "fcn_resnet50",
    ],
    page: "docs/torchvision.md",
};

/// Weights, of networks that are built in code.
pub(crate) const NETWORK_WEIGHTS: Exports = Exports {
    which: "networks",
    script: "xtask/python/network_weights.py",
    version: 2,
    networks: &[
        "alexnet",
        "vgg11",
        "vgg13",
        "vgg16_bn",
        "resnet18",
        "resnet50",
        "resnext50_32x4d",
        "wide_resnet50_2",
        "squeezenet1_0",
        "squeezenet1_1",
        "mobilenet_v2",
        "efficientnet_b0",
        "efficientnet_b3",
        "efficientnet_b5",
        "vit_b_16",
        "vit_b_32",
    ],
    page: "docs/networks.md",
};

impl Exports {
    /// Has PyTorch write what is missing, and compares everything; the page is written unless it is of some networks only.
    pub(crate) fn run(&self, cache: &Cache, names: &[String]) -> Result<(), Box<dyn Error>> {
        let folder = cache.root().join(format!("{}-{}", self.which, self.version));
        let all = self.networks.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let (chosen, page) = if names.is_empty() { (&all[..], self.page) } else { (names, "-") };
        for name in chosen.iter().filter(|name| !folder.join(name).is_dir()) {
            let python = peers::set_up(cache, &peers::TORCH)?;
            fs::create_dir_all(&folder)?;
            call(
                Command::new(python).arg(root().join(self.script)).args([folder.as_path(), Path::new(name)]),
            )?;
        }
        let frameworks = framework::ALL.map(|framework| framework.set_up(cache));
        let frameworks = frameworks.into_iter().collect::<Result<Vec<_>, _>>()?;
        // With the features of the tests, so that nothing is built twice.
        let build = ["build", "--workspace", "--all-features", "--bin", "exports"];
        call(Command::new(env!("CARGO")).args(build).envs(frameworks.iter().cloned()).current_dir(root()))?;
        let mut comparison = Command::new(built("debug", "exports"));
        comparison.arg(self.which).arg(folder).arg(page).args(chosen);
        call(comparison.envs(frameworks).current_dir(root()))
    }
}
