//! Files with bytes changed, cut off or put in: an error or a graph, never a panic, and not for long.

use std::fs;
use std::path::{Path, PathBuf};

use attr_graphdef::proto::{Attr, GraphDef, NodeDef, SavedModel};
use attr_graphdef::{decode, read};
use prost::Message;

const NAMES: [&str; 9] =
    ["sequential", "functional", "mobile", "gelu", "dilated", "silu", "attention", "module", "recurrent"];

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A generator of numbers (xorshift), so that every run sees the same files.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n.max(1) as u64) as usize
    }

    /// One to eight changes of a file.
    fn changed(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..1 + self.below(8) {
            let at = self.below(bytes.len());
            match self.below(8) {
                0 => bytes.truncate(at),
                1 => bytes.insert(at, self.below(256) as u8),
                2 if !bytes.is_empty() => drop(bytes.remove(at)),
                3 if !bytes.is_empty() => bytes[at] = 0xff,
                4 => {
                    let end = (at + self.below(64)).min(bytes.len());
                    let part = bytes[at.min(end)..end].to_vec();
                    let to = self.below(bytes.len());
                    bytes.splice(to..to, part);
                }
                _ if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                _ => {}
            }
        }
        bytes
    }
}

/// Numbers that shapes, axes and counts are seldom made for.
const ODD: [i64; 12] = [0, 1, -1, 2, 3, 5, -3, 7, 1 << 20, 1 << 40, i64::MAX, i64::MIN];

impl Draw {
    fn odd(&mut self) -> i64 {
        ODD[self.below(ODD.len())]
    }

    /// One to four operators that are not what they were.
    fn change(&mut self, nodes: &mut [NodeDef]) {
        for _ in 0..1 + self.below(4) {
            let (at, other) = (self.below(nodes.len()), self.below(nodes.len()));
            let (op, attr, name) =
                (nodes[other].op.clone(), nodes[other].attr.clone(), nodes[other].name.clone());
            let (odd, pick, input) = (self.odd(), self.below(16), self.below(nodes[at].input.len()));
            let node = &mut nodes[at];
            match self.below(6) {
                0 => node.op = op,
                1 => node.attr.extend(attr),
                2 if !node.input.is_empty() => node.input.swap(input, 0),
                3 if !node.input.is_empty() => node.input[input] = format!("{name}:output:{}", odd & 3),
                4 if !node.input.is_empty() => drop(node.input.remove(input)),
                _ => {
                    let count = node.attr.len();
                    let value =
                        node.attr.values_mut().nth(pick % count.max(1)).and_then(|v| v.value.as_mut());
                    match value {
                        Some(Attr::I(i)) => *i = odd,
                        Some(Attr::B(b)) => *b = !*b,
                        Some(Attr::Type(kind)) => *kind = (odd & 31) as i32,
                        Some(Attr::List(list)) => {
                            list.i.iter_mut().skip(pick & 3).take(1).for_each(|i| *i = odd)
                        }
                        Some(Attr::Shape(shape)) => {
                            shape.dim.iter_mut().skip(pick & 3).take(1).for_each(|dim| dim.size = odd);
                        }
                        Some(Attr::Tensor(tensor)) => {
                            let mut content = tensor.tensor_content.to_vec();
                            let at = pick % content.len().max(1);
                            content.iter_mut().skip(at & !3).take(1).for_each(|byte| *byte = odd as u8);
                            tensor.tensor_content = content.into();
                            tensor.int_val.iter_mut().for_each(|i| *i = odd as i32);
                        }
                        _ => {}
                    }
                }
            }
        }
    }
}

/// Reads all there is.
fn run(bytes: Vec<u8>, folder: &Path) -> bool {
    let Ok(model) = decode(bytes.into(), folder) else { return false };
    let mut signatures: Vec<_> = model.signatures().into_iter().map(Some).collect();
    signatures.push(None);
    let read = |signature: &Option<&str>| {
        let function = model.function(*signature).ok()?;
        for name in ["conv", "norm", "nothing", ""] {
            let _ = function.find(name);
        }
        function.layers().ok()
    };
    signatures.iter().filter_map(read).count() > 0
}

#[test]
fn changed_models() {
    let mut draw = Draw(0x5eed);
    let mut sound = 0;
    for name in NAMES {
        let bytes = fs::read(fixture(name).join("saved_model.pb")).unwrap();
        sound += (0..200).filter(|_| run(draw.changed(&bytes), &fixture(name))).count();
    }
    let bytes = fs::read(fixture("frozen.pb")).unwrap();
    sound += (0..1000).filter(|_| run(draw.changed(&bytes), Path::new(""))).count();
    // Most changes are noticed, but not all do harm.
    assert!(sound > 50, "{sound} files were read");
}

#[test]
fn changed_operators() {
    let mut draw = Draw(0xfeed);
    let mut sound = 0;
    for name in NAMES {
        let saved = SavedModel::decode(&fs::read(fixture(name).join("saved_model.pb")).unwrap()[..]).unwrap();
        for _ in 0..150 {
            let mut saved = saved.clone();
            let graph = saved.meta_graphs[0].graph_def.as_mut().unwrap();
            let functions = &mut graph.library.as_mut().unwrap().function;
            functions.iter_mut().for_each(|function| draw.change(&mut function.node_def));
            sound += usize::from(run(saved.encode_to_vec(), &fixture(name)));
        }
    }
    let graph = GraphDef::decode(&fs::read(fixture("frozen.pb")).unwrap()[..]).unwrap();
    for _ in 0..1000 {
        let mut graph = graph.clone();
        draw.change(&mut graph.node);
        sound += usize::from(run(graph.encode_to_vec(), Path::new("")));
    }
    assert!(sound > 50, "{sound} files were read");
}

#[test]
fn changed_variables() {
    let folder = std::env::temp_dir().join(format!("attr-graphdef-{}", std::process::id()));
    let variables = folder.join("variables");
    fs::create_dir_all(&variables).unwrap();
    let from = fixture("module");
    fs::copy(from.join("saved_model.pb"), folder.join("saved_model.pb")).unwrap();
    let names = ["variables.index", "variables.data-00000-of-00001"];
    let mut draw = Draw(0xbeef);
    let mut sound = 0;
    for (i, name) in names.iter().enumerate() {
        let bytes = fs::read(from.join("variables").join(name)).unwrap();
        fs::copy(from.join("variables").join(names[1 - i]), variables.join(names[1 - i])).unwrap();
        for _ in 0..500 {
            fs::write(variables.join(name), draw.changed(&bytes)).unwrap();
            sound += usize::from(read(&folder).unwrap().function(Some("classify")).is_ok());
        }
        fs::write(variables.join(name), bytes).unwrap();
    }
    assert!(read(&folder).unwrap().function(Some("classify")).is_ok());
    assert!(sound > 50, "{sound} files were read");
    fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn models_that_end_early() {
    for name in ["sequential/saved_model.pb", "frozen.pb"] {
        let bytes = fs::read(fixture(name)).unwrap();
        for len in (0..bytes.len()).step_by(1 + bytes.len() / 500) {
            run(bytes[..len].to_vec(), &fixture("sequential"));
        }
    }
}
