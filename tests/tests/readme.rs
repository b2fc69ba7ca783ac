//! The README's example, run from the folder in which a reader would run it.

include!(concat!(env!("OUT_DIR"), "/readme.rs"));

#[test]
fn readme() {
    std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/..")).unwrap();
    std::fs::create_dir_all("target").unwrap();
    example().unwrap();
}
