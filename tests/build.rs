//! Lets the tests find libtorch, if they are built with it, and takes the example out of the README, so that
//! `tests/readme.rs` compiles and runs it.

use std::path::Path;

fn main() {
    if let Ok(lib) = std::env::var("DEP_ATTR_TORCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    }
    println!("cargo::rerun-if-changed=../README.md");
    let readme = std::fs::read_to_string("../README.md").expect("the README");
    let (_, rest) = readme.split_once("```rust\n").expect("a block of Rust in the README");
    let (example, _) = rest.split_once("```").expect("the end of the block");
    let function =
        format!("fn example() -> Result<(), Box<dyn std::error::Error>> {{\n{example}Ok(())\n}}\n");
    let out = std::env::var("OUT_DIR").expect("cargo says where");
    std::fs::write(Path::new(&out).join("readme.rs"), function).expect("a file in the output folder");
}
