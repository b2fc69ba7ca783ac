//! Lets this package's tests and examples find libtorch when they run, and tells packages that depend on this
//! one where it is: `DEP_ATTR_TORCH_LIBTORCH_LIB` in their build scripts.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else { return };
    println!("cargo::metadata=libtorch_lib={lib}");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
}
