//! Two real networks on real photos: they see what is there, and look where it is.
//!
//! `cargo xtask test` lays out the networks and photos and says where they are.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use ndarray::{Array4, Axis};
use serde_json::Value;

const NETWORKS: [&str; 2] = ["efficientnet-lite0", "squeezenet1.1"];

/// A photo and what is right about it. The boxes were drawn by hand.
struct Case {
    photo: &'static str,
    classes: &'static [&'static str],
    /// Where the object is: left, top, right and bottom as shares of the photo.
    place: [f64; 4],
    /// The share of the highest-valued decile that must lie there: for Grad-CAM, for integrated gradients.
    least: [f64; 2],
}

const CASES: [Case; 2] = [
    // The cup is 30 % of the photo.
    Case { photo: "coffee.png", classes: &["espresso"], place: [0.27, 0.05, 0.70, 0.75], least: [0.9, 0.5] },
    // The cat is 82 % of the photo.
    Case {
        photo: "chelsea.png",
        classes: &["Egyptian cat", "tabby"],
        place: [0.02, 0.0, 0.86, 0.98],
        least: [0.9, 0.8],
    },
];

#[test]
fn objects_are_recognised_and_looked_at() {
    let folder = |name: &str| std::env::var_os(name).map(PathBuf::from);
    let (Some(models), Some(photos)) = (folder("ATTR_MODELS"), folder("ATTR_PHOTOS")) else {
        // Not by `eprintln!`, which a test that passes keeps to itself.
        let line = "skipped: real networks, which are not set up; `cargo xtask test` does it";
        writeln!(std::io::stderr(), "{line}").unwrap();
        return;
    };
    let out = std::env::temp_dir().join(format!("attr-real-networks-{}", std::process::id()));
    std::fs::create_dir_all(&out).unwrap();
    let (map, evidence) = (out.join("map.npy"), out.join("map.json"));
    for network in NETWORKS {
        for Case { photo, classes, place, least } in CASES {
            for (method, least) in ["grad-cam", "integrated-gradients"].into_iter().zip(least) {
                let what = format!("{method} of {photo} on {network}");
                let mut attr = Command::new(env!("CARGO_BIN_EXE_attr"));
                attr.args(["explain", "--method", method, "--model"])
                    .arg(models.join(format!("{network}.onnx")));
                attr.arg("--input")
                    .arg(photos.join(photo))
                    .arg("--out")
                    .arg(&map)
                    .arg("--out")
                    .arg(&evidence);
                let output = attr.output().unwrap();
                assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));

                let evidence: Value =
                    serde_json::from_str(&std::fs::read_to_string(&evidence).unwrap()).unwrap();
                let label = evidence["labels"][0].as_str().unwrap();
                assert!(classes.contains(&label), "{what}: {label:?}");
                let share = share_of_top_decile(ndarray_npy::read_npy(&map).unwrap(), place);
                assert!(share >= least, "{what}: {share:.2} of the top decile lies on the object");
            }
        }
    }
    std::fs::remove_dir_all(&out).unwrap();
}

/// The share of the tenth of pixels with the highest values (summed over channels) that lies in a box.
fn share_of_top_decile(map: Array4<f32>, [left, top, right, bottom]: [f64; 4]) -> f64 {
    let map = map.sum_axis(Axis(1)).remove_axis(Axis(0));
    let (height, width) = map.dim();
    let mut pixels: Vec<_> = map.indexed_iter().collect();
    pixels.sort_by(|(_, a), (_, b)| b.total_cmp(a));
    pixels.truncate(height * width / 10);
    let inside = |&&((y, x), _): &&((usize, usize), &f32)| {
        let (y, x) = (y as f64 / height as f64, x as f64 / width as f64);
        (left..right).contains(&x) && (top..bottom).contains(&y)
    };
    pixels.iter().filter(inside).count() as f64 / pixels.len() as f64
}
