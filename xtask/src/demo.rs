//! The demonstration: two real networks explain real photos, and a page shows it.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::models::{Models, NETWORKS};

/// The photos: file, and what the page calls them.
const PHOTOS: [(&str, &str); 4] = [
    ("chelsea.png", "cat"),
    ("coffee.png", "coffee"),
    ("astronaut.png", "astronaut"),
    ("rocket.jpg", "rocket"),
];

/// The methods of the pictures, each with its settings.
const METHODS: &str = "gradient,input-x-gradient,integrated-gradients,smoothgrad,grad-cam,occlusion";

/// Relevance and DeepLIFT by their rules; the bounds are those of a photo as the networks see it, about.
const RULES: &str = "lrp,lrp[rules=epsilon-plus],lrp[rules=epsilon-plus-flat],lrp[rules=epsilon-alpha2-beta1],\
    lrp[rules=epsilon-gamma-box -2.2 2.7],lrp[rules=gamma],lrp[rules=innvestigate-a-flat],lrp[rules=innvestigate-b],\
    lrp[rules=nn-interpretability],deep-taylor,deep-taylor[bounds=-2.2 2.7],deeplift,deeplift[rule=reveal-cancel],\
    deeplift[baselines=blur 8]";

/// Explains the photos; pictures, evidence and `index.html` go to `target/demo`.
pub(crate) fn run(models: &Models) -> Result<(), Box<dyn Error>> {
    let attr = build()?;
    let folder = root().join("target/demo");
    fs::create_dir_all(&folder)?;
    let mut page = String::from(HEAD);
    call(&attr, [OsStr::new("demo"), "--out".as_ref(), folder.join("digits.png").as_ref()])?;
    for network in NETWORKS {
        let model = models.folder.join(format!("{network}.onnx"));
        writeln!(page, "<h2>{network}</h2>")?;
        for (photo, name) in PHOTOS {
            let (input, stem) = (models.photos.join(photo), format!("{network}-{name}"));
            let common = [OsStr::new("--model"), model.as_ref(), "--input".as_ref(), input.as_ref()];
            println!("\n{network}, {name}");
            let with = |command: &'static str, more: &[&OsStr]| {
                let words = [&[OsStr::new(command)], &common[..], more].concat();
                call(&attr, words)
            };
            let predictions = with("predict", &[])?;
            print!("{predictions}");
            let picture = format!("{stem}.png");
            with(
                "compare",
                &["--methods".as_ref(), METHODS.as_ref(), "--out".as_ref(), folder.join(&picture).as_ref()],
            )?;
            let evidence = format!("{stem}.json");
            let method = ["--method".as_ref(), "integrated-gradients".as_ref(), "--out".as_ref()];
            with("explain", &[&method[..], &[folder.join(&evidence).as_ref()]].concat())?;
            writeln!(
                page,
                "<figure><img src=\"{picture}\" alt=\"{name}\"><figcaption><pre>{predictions}</pre>\
                 <a href=\"{evidence}\">evidence of integrated gradients</a></figcaption></figure>"
            )?;
        }
    }
    page.push_str(EVERY_METHOD);
    for network in NETWORKS {
        let (model, photo) = (models.folder.join(format!("{network}.onnx")), models.photos.join(PHOTOS[0].0));
        let patterns = folder.join(format!("{network}.patterns.safetensors"));
        let mut words: Vec<&OsStr> = ["patterns", "--model"].map(OsStr::new).into();
        words.extend([model.as_ref(), OsStr::new("--out"), patterns.as_ref()]);
        let photos = PHOTOS.map(|(photo, _)| models.photos.join(photo));
        words.extend(photos.iter().flat_map(|photo| [OsStr::new("--input"), photo.as_ref()]));
        print!("\n{network}, {}", call(&attr, words)?);
        for (methods, suffix, alt) in
            [("all", "every-method", "every method"), (RULES, "rules", "the rules of relevance and DeepLIFT")]
        {
            let picture = format!("{network}-{suffix}.png");
            println!("\n{network}, {alt}");
            let words = ["compare", "--methods", methods, "--seed", "0", "--model"].map(OsStr::new);
            let files = [model.as_ref(), OsStr::new("--input"), photo.as_ref(), OsStr::new("--out")];
            let out = folder.join(&picture);
            // Patterns are refused where no method uses them.
            let more = [OsStr::new("--patterns"), patterns.as_ref()];
            let more = if methods == "all" { &more[..] } else { &[] };
            print!("{}", call(&attr, [&words[..], &files, &[out.as_ref()], more].concat())?);
            writeln!(page, "<figure><img src=\"{picture}\" alt=\"{alt} on {network}\"></figure>")?;
        }
    }
    page.push_str(DIGITS);
    fs::write(folder.join("index.html"), page)?;
    println!("\nopen {}", folder.join("index.html").display());
    Ok(())
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>attr: what two networks look at</title>\n\
<style>body{font:16px sans-serif;margin:2em auto;max-width:100em;padding:0 1em}figure{margin:1.5em 0}\
img{max-width:100%;border:1px solid #ccc}pre{margin:.5em 0;line-height:1.4}</style>\n\
<h1>What two networks look at</h1>\n\
<p>Each picture: the photo as the network sees it, then one map a method for the class it predicts. Red speaks \
for the class, blue against it; maps without sign go from dark to bright.</p>\n";

const EVERY_METHOD: &str = "<h2>Every method on the cat</h2>\n\
<p>Then relevance (LRP) and deep Taylor by the rules of different libraries, and DeepLIFT by its rules. The patterns of \
pattern-net and pattern-attribution are fitted to these four photos, which is far too few for a network of this size: \
the digits below show what they are meant to show.</p>\n";

const DIGITS: &str = "<h2>The embedded digit network</h2>\n<figure><img src=\"digits.png\" alt=\"digits\"></figure>\n</html>\n";

/// Builds the command, as the tests do, so that nothing is built twice.
fn build() -> Result<PathBuf, Box<dyn Error>> {
    let status = Command::new(env!("CARGO")).args(["build", "--bin", "attr"]).current_dir(root()).status()?;
    if !status.success() {
        return Err("the command could not be built".into());
    }
    Ok(built("debug", "attr"))
}

/// Where Cargo puts the program `name`, in the folder of a profile.
pub(crate) fn built(profile: &str, name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join(profile).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Runs the command and gives what it printed.
fn call<W: AsRef<OsStr>>(attr: &Path, words: impl IntoIterator<Item = W>) -> Result<String, Box<dyn Error>> {
    let output = Command::new(attr).args(words).stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("the command failed with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("BUG: xtask lies in the workspace").into()
}
