//! The tree of modules that a model's layers are in by their names, as lines to print.

use std::collections::{HashMap, HashSet};

use attr_core::Place;

/// Modules further in are no lines of their own: a long name must not make very many.
const MAX_DEPTH: usize = 16;

/// A layer or a module.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// How many modules with lines it is in.
    pub(crate) level: usize,
    /// The layer's index; of a module whose layers have no lines, that of its last layer.
    pub(crate) index: Option<usize>,
    /// The layer's name or the module's path.
    pub(crate) name: String,
    /// The layer's kind, or how many layers the module has.
    pub(crate) kind: String,
    /// The shape of the value of the layer that the index is of.
    pub(crate) shape: String,
    /// How many numbers the parameters are. A weight that several layers share is counted with each of them.
    pub(crate) parameters: usize,
    /// Whether the model's first output depends on it.
    pub(crate) leads_to_output: bool,
}

/// A line for each layer in the model's order, and one for each module before its first layer. Layers within `depth`
/// modules have none: the last of these modules stands for them all, in the place of its last layer.
///
/// A module has one line with all that is in it, even where it is called again later or layers of another branch come
/// in between: their indent and their names say where layers belong. A line for each stretch of its layers would split
/// it into parts that say little, and come back behind every constant that stands in between.
///
/// A module has no line where that would say nothing new: where it is a single layer; where the module around it has
/// no other layers; and where no two of its layers are next to each other, for then it is a step that is taken now and
/// then, as a ResNet's block takes its one ReLU. A path that is the name of a layer stands for that layer and no
/// module: an adapter has put others beside it (`mul` and `mul/constant`).
pub(crate) fn lines(layers: &[Place], depth: usize) -> Vec<Line> {
    let paths: Vec<_> = layers.iter().map(|layer| paths(&layer.name)).collect();
    let modules = modules(layers, &paths);
    let mut lines = Vec::new();
    for (index, (layer, paths)) in layers.iter().zip(&paths).enumerate() {
        let mut around: Vec<&Module> = Vec::new();
        for module in paths.iter().filter_map(|path| modules.get(path)) {
            let is_new = around.last().is_none_or(|outer| module.layers < outer.layers);
            if is_new && module.has_neighbours {
                around.push(module);
            }
        }
        let shape = layer.shape.as_ref().map_or("?".to_string(), ToString::to_string);
        for (level, module) in around.iter().take(depth).enumerate() {
            if level + 1 == depth && index == module.last {
                lines.push(Line { index: Some(index), shape: shape.clone(), ..module.line(level) });
            } else if level + 1 < depth && index == module.first {
                lines.push(module.line(level));
            }
        }
        if around.len() < depth {
            lines.push(Line {
                level: around.len(),
                index: Some(index),
                name: layer.name.clone(),
                kind: layer.kind.to_string(),
                shape,
                parameters: layer.parameters,
                leads_to_output: layer.leads_to_output,
            });
        }
    }
    lines
}

/// What the layers of a module are together.
#[derive(Debug)]
struct Module<'a> {
    path: &'a str,
    /// The index of the first layer.
    first: usize,
    /// The index of the last one.
    last: usize,
    layers: usize,
    /// Whether two of them are next to each other.
    has_neighbours: bool,
    parameters: usize,
    leads_to_output: bool,
}

impl Module<'_> {
    fn line(&self, level: usize) -> Line {
        Line {
            level,
            index: None,
            name: self.path.to_string(),
            kind: format!("{} layers", self.layers),
            shape: String::new(),
            parameters: self.parameters,
            leads_to_output: self.leads_to_output,
        }
    }
}

/// The modules by their paths.
fn modules<'a>(layers: &[Place], paths: &'a [Vec<String>]) -> HashMap<&'a String, Module<'a>> {
    let of_layers: HashSet<_> = paths.iter().filter_map(|paths| paths.last()).collect();
    let mut modules = HashMap::new();
    for (index, (layer, paths)) in layers.iter().zip(paths).enumerate() {
        for path in paths.iter().filter(|path| !of_layers.contains(path)) {
            let module = modules.entry(path).or_insert(Module {
                path,
                first: index,
                last: index,
                layers: 0,
                has_neighbours: false,
                parameters: 0,
                leads_to_output: false,
            });
            module.has_neighbours |= module.last + 1 == index;
            module.last = index;
            module.layers += 1;
            module.parameters += layer.parameters;
            module.leads_to_output |= layer.leads_to_output;
        }
    }
    modules
}

/// The paths of the modules that a layer is in, from the outside in, and at last its own.
///
/// They end at each `.` and `/` of its name. PyTorch's older exporter to ONNX begins names with a slash and says twice
/// what is in a list: the path of `/layer4/layer4.1/conv2/Conv` is `layer4.1.conv2.Conv`.
fn paths(name: &str) -> Vec<String> {
    let Some(parts) = name.strip_prefix('/') else {
        let ends = name.match_indices(['.', '/']).map(|(end, _)| end).filter(|&end| end > 0);
        return ends.take(MAX_DEPTH).chain([name.len()]).map(|end| name[..end].to_string()).collect();
    };
    let mut steps = Vec::new();
    let mut before = "";
    for part in parts.split('/') {
        let own = part.strip_prefix(before).and_then(|rest| rest.strip_prefix('.')).unwrap_or(part);
        steps.extend(own.split('.'));
        before = part;
    }
    (1..steps.len()).take(MAX_DEPTH).chain([steps.len()]).map(|end| steps[..end].join(".")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines for layers of these names, each of which has one parameter: index, name and kind, behind an indent.
    fn text(names: &[&str], depth: usize) -> Vec<String> {
        let layer = |name: &&str| Place {
            name: name.to_string(),
            kind: "relu",
            shape: None,
            parameters: 1,
            leads_to_output: true,
        };
        let lines = lines(&names.iter().map(layer).collect::<Vec<_>>(), depth);
        for line in &lines {
            let layers = line.kind.split_once(' ').map_or(1, |(layers, _)| layers.parse().unwrap());
            assert_eq!(line.parameters, layers, "{line:?}");
            assert_eq!(line.shape, if line.index.is_some() { "?" } else { "" }, "{line:?}");
        }
        let text = |line: &Line| {
            let index = line.index.map_or("-".to_string(), |index| index.to_string());
            format!("{}{index} {} {}", "  ".repeat(line.level), line.name, line.kind)
        };
        lines.iter().map(text).collect()
    }

    #[test]
    fn modules_stand_before_their_layers_and_for_them() {
        let names = ["x", "body.0.conv", "body.0.norm", "body/add", "head/linear", "head/softmax"];
        let all = [
            "0 x relu",
            "- body 3 layers",
            "  - body.0 2 layers",
            "    1 body.0.conv relu",
            "    2 body.0.norm relu",
            "  3 body/add relu",
            "- head 2 layers",
            "  4 head/linear relu",
            "  5 head/softmax relu",
        ];
        assert_eq!(text(&names, usize::MAX), all);
        assert_eq!(text(&names, 3), all);
        let folded = ["0 x relu", "- body 3 layers", "  2 body.0 2 layers", "  3 body/add relu"];
        assert_eq!(text(&names, 2), [&folded[..], &all[6..]].concat());
        assert_eq!(text(&names, 1), ["0 x relu", "3 body 3 layers", "5 head 2 layers"]);
    }

    #[test]
    fn a_module_that_is_called_again_has_one_line() {
        let names = ["x", "tower.conv", "tower.relu", "y", "tower/conv", "tower/relu", "distance"];
        let all = [
            "0 x relu",
            "- tower 4 layers",
            "  1 tower.conv relu",
            "  2 tower.relu relu",
            "3 y relu",
            "  4 tower/conv relu",
            "  5 tower/relu relu",
            "6 distance relu",
        ];
        assert_eq!(text(&names, 2), all);
        assert_eq!(text(&names, 1), ["0 x relu", "3 y relu", "5 tower 4 layers", "6 distance relu"]);
    }

    #[test]
    fn what_would_say_nothing_new_has_no_line() {
        // One layer; steps taken now and then; all layers of the module around them.
        let names = ["stem.conv", "net.block.conv1", "net.block.relu/relu", "net.block.conv2"];
        let names = [&names[..], &["net.block.relu/relu_1", "convs.0", "relu", "convs.1"]].concat();
        let all = [
            "0 stem.conv relu",
            "- net 4 layers",
            "  1 net.block.conv1 relu",
            "  2 net.block.relu/relu relu",
            "  3 net.block.conv2 relu",
            "  4 net.block.relu/relu_1 relu",
            "5 convs.0 relu",
            "6 relu relu",
            "7 convs.1 relu",
        ];
        assert_eq!(text(&names, usize::MAX), all);
        assert_eq!(text(&names, 1)[1], "4 net 4 layers");
        // Layers beside another one.
        let names = ["image", "image/turned", "mul/constant", "mul", "mul/kept", "mul/kept.1"];
        let flat: Vec<_> = names.iter().enumerate().map(|(i, name)| format!("{i} {name} relu")).collect();
        assert_eq!(text(&names, 1), flat);
    }

    #[test]
    fn names_of_pytorchs_older_exporter_have_the_paths_of_modules() {
        let names = ["/layer4/layer4.1/conv2/Conv", "/layer4/layer4.1/Add", "layer4.1.scale", "/Relu"];
        let all = [
            "- layer4 3 layers",
            "  0 /layer4/layer4.1/conv2/Conv relu",
            "  1 /layer4/layer4.1/Add relu",
            "  2 layer4.1.scale relu",
            "3 /Relu relu",
        ];
        assert_eq!(text(&names, usize::MAX), all);
        let deepest = |name: &str| paths(name).pop().unwrap();
        assert_eq!(deepest("/features/features.0/features.0.1/Conv"), "features.0.1.Conv");
        assert_eq!(
            deepest("/encoder/layer.0/attention/attention/key/Add"),
            "encoder.layer.0.attention.attention.key.Add"
        );
        // No more modules than that, however long a name is.
        assert_eq!(paths(&"a.".repeat(1000)).len(), MAX_DEPTH + 1);
        assert_eq!(paths(&"/a".repeat(1000)).len(), MAX_DEPTH + 1);
    }
}
