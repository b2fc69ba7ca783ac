//! Lists the layers of an ONNX file and, given a second name, writes them as a new file:
//! `cargo run -p attr-onnx --example rewrite -- model.onnx [new.onnx]`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(old), new) = (args.next(), args.next()) else { return Err("expected a file".into()) };
    let graph = attr_onnx::read(old)?;
    for node in graph.nodes() {
        println!("{:40} {:16} {}", node.name, node.op.kind(), node.shape);
    }
    println!("{} layers", graph.nodes().len());
    println!("{} parameters", graph.params().iter().map(|param| param.len()).sum::<usize>());
    if let Some(new) = new {
        attr_onnx::write(&graph, new)?;
    }
    Ok(())
}
