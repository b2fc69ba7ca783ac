//! The demonstration: real networks explain photos, sentences and a table, and a page shows it.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::models::{ENCODER, Models, NETWORKS};

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

/// Sentences, each with the one that it is explained by its similarity to.
const SENTENCES: [(&str, &str); 3] = [
    ("A cat sits on the warm windowsill.", "A feline rests in the sun."),
    ("The bank raised its interest rates again.", "Borrowing money became more expensive."),
    ("The bank of the river was covered in reeds.", "Plants grow along the water."),
];

/// Methods whose sums over embeddings mean something also before a layer norm.
const METHODS_OF_TEXTS: &str = "integrated-gradients,input-x-gradient,occlusion";

/// The wines of the table, one of each cultivar.
const WINES: [usize; 3] = [1, 60, 131];

/// Explains the photos, sentences and wines; pictures, evidence and `index.html` go to `target/demo`.
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
    page.push_str(TEXTS);
    for (i, (text, other)) in SENTENCES.into_iter().enumerate() {
        let model = models.folder.join(format!("{ENCODER}.onnx"));
        let file = format!("{ENCODER}-{}.html", i + 1);
        println!("\n{ENCODER}, {text:?}");
        let words =
            ["compare", "--methods", METHODS_OF_TEXTS, "--text", text, "--similar-to", other].map(OsStr::new);
        let out = folder.join(&file);
        let files = [OsStr::new("--model"), model.as_ref(), OsStr::new("--out"), out.as_ref()];
        print!("{}", call(&attr, [&words[..], &files].concat())?);
        writeln!(
            page,
            "<p><a href=\"{file}\">{text}</a> Beside: {other}</p>\n<iframe src=\"{file}\" title=\"{text}\"></iframe>"
        )?;
    }
    page.push_str(TABLE);
    let assets = root().join("crates/attr-cli/assets");
    for row in WINES.map(|row| row.to_string()) {
        let picture = format!("wine-{row}.png");
        println!("\nwine {row}");
        let words = ["explain", "--row", &row, "--baseline", "mean", "--model"].map(OsStr::new);
        let (model, table, out) = (assets.join("wine.onnx"), assets.join("wine.csv"), folder.join(&picture));
        let files =
            [model.as_ref(), OsStr::new("--input"), table.as_ref(), OsStr::new("--out"), out.as_ref()];
        print!("{}", call(&attr, [&words[..], &files].concat())?);
        writeln!(page, "<figure><img src=\"{picture}\" alt=\"wine {row}\"></figure>")?;
    }
    page.push_str("</html>\n");
    fs::write(folder.join("index.html"), page)?;
    println!("\nopen {}", folder.join("index.html").display());
    Ok(())
}

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>attr: what networks look at</title>\n\
<style>body{font:16px sans-serif;margin:2em auto;max-width:100em;padding:0 1em}figure{margin:1.5em 0}\
img{max-width:100%;border:1px solid #ccc}iframe{width:100%;height:40em;border:1px solid #ccc}pre{margin:.5em 0;line-height:1.4}</style>\n\
<h1>What networks look at</h1>\n\
<p>Each picture: the photo as the network sees it, then one map a method for the class it predicts. Red speaks \
for the class, blue against it; maps without sign go from dark to bright.</p>\n";

const EVERY_METHOD: &str = "<h2>Every method on the cat</h2>\n\
<p>Then relevance (LRP) and deep Taylor by the rules of different libraries, and DeepLIFT by its rules. The patterns of \
pattern-net and pattern-attribution are fitted to these four photos, which is far too few for a network of this size: \
the digits below show what they are meant to show.</p>\n";

const DIGITS: &str =
    "<h2>The embedded digit network</h2>\n<figure><img src=\"digits.png\" alt=\"digits\"></figure>\n";

const TEXTS: &str = "<h2>What makes two sentences similar</h2>\n\
<p>The cosine of a sentence's embedding with that of another one, explained at the embeddings of its tokens. Each token has \
the sum over its embedding; it is compared with [PAD] in its place.</p>\n";

const TABLE: &str = "<h2>Which measurements tell the cultivar of a wine</h2>\n\
<p>A small network on a table of 178 wines, compared with the mean wine. Behind each name is the wine's own number.</p>\n";

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
