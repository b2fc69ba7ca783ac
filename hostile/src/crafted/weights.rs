//! Files of weights that are written to take much memory or time.

use crate::parts::headed;
use crate::zip;

type File = fn(usize) -> Vec<u8>;

pub(super) const FILES: &[(&str, File)] = &[
    ("weights: empty tensors", |n| {
        safetensors(
            &entries(n / 50, |i| format!(r#""{i:x}":{{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}"#)),
            0,
        )
    }),
    ("weights: axes of a tensor", |n| {
        let shape = vec!["1"; n / 2].join(",");
        safetensors(&format!(r#""a":{{"dtype":"F32","shape":[{shape}],"data_offsets":[0,4]}}"#), 4)
    }),
    ("weights: notes", |n| {
        let notes = entries(n / 9, |i| format!(r#""{i:x}":"""#));
        safetensors(&format!(r#""__metadata__":{{{notes}}}"#), 0)
    }),
    ("weights: numbers of what nobody knows", |n| {
        safetensors(&format!(r#""a":{{"x":[{}]}}"#, vec!["1"; n / 2].join(",")), 0)
    }),
    ("weights: lists of what nobody knows", |n| {
        safetensors(&format!(r#""a":{{"x":[{}]}}"#, vec!["[]"; n / 3].join(",")), 0)
    }),
    ("weights: objects of what nobody knows", |n| {
        safetensors(&format!(r#""a":{{"x":[{}]}}"#, vec![r#"{"":0}"#; n / 7].join(",")), 0)
    }),
    ("weights: brackets within brackets", |n| safetensors(&format!(r#""a":{}"#, "[".repeat(n)), 0)),
    ("weights: a tensor with a long name", |n| {
        safetensors(
            &format!(r#""{}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, "long".repeat(n / 4)),
            4,
        )
    }),
    ("weights: half of the precision", |n| {
        safetensors(
            &format!(r#""a":{{"dtype":"F16","shape":[{}],"data_offsets":[0,{}]}}"#, n / 2, n / 2 * 2),
            n / 2 * 2,
        )
    }),
    ("weights: a header of more bytes than there are", |_| vec![0xff; 64]),
    ("weights: one member under many names", |n| {
        zip::repeated((n / 50).min((1 << 16) - 1), |i| format!("{i:x}"), b"")
    }),
    ("weights: nothing over and over", |n| checkpoint(&vec![b'N'; n], 0)),
    ("weights: empty tuples", |n| checkpoint(&vec![b')'; n], 0)),
    ("weights: empty dictionaries", |n| checkpoint(&vec![b'}'; n], 0)),
    ("weights: marks", |n| checkpoint(&vec![b'('; n], 0)),
    ("weights: what is put aside", |n| checkpoint(&[&b"N"[..], &vec![0x94; n]].concat(), 0)),
    ("weights: tuples within tuples", |n| checkpoint(&[&b"N"[..], &vec![0x85; n]].concat(), 0)),
    ("weights: a tuple that doubles", |n| {
        checkpoint(&[&b"K\x01q\x00"[..], &b"h\x00h\x00\x86q\x00".repeat(n / 7), b"."].concat(), 0)
    }),
    ("weights: a tuple that doubles with a tensor in it", |n| {
        let double = b"h\x00h\x00\x86q\x00".repeat(60.min(n));
        checkpoint(&[&tensor(1, &[1])[..], b"q\x00", &double, b"."].concat(), 4)
    }),
    ("weights: one tensor in many lists", |n| {
        let inner = [&b"("[..], &b"h\x02".repeat(n / 8), b"tq\x03"].concat();
        let outer = [&b"("[..], &b"h\x03".repeat(n / 8), b"t."].concat();
        checkpoint(&[&tensor(1, &[1; 16])[..], b"q\x02", &inner, &outer].concat(), 4)
    }),
    ("weights: one tensor in a list over and over", |n| {
        let list = [&b"("[..], &b"h\x02".repeat(n / 2), b"t."].concat();
        checkpoint(&[&tensor(1, &[1; 16])[..], b"q\x02", &list].concat(), 4)
    }),
    ("weights: tensors of many axes", |n| {
        let arguments = arguments(1, &vec![1; n / 8]);
        let calls = b"h\x06h\x07R".repeat(n / 8);
        checkpoint(&[TENSOR, b"q\x06", &arguments, b"q\x07(", &calls, b"t."].concat(), 4)
    }),
    ("weights: tensors of sixteen axes", |n| {
        let calls = b"h\x06h\x07R".repeat(n / 5);
        checkpoint(&[TENSOR, b"q\x06", &arguments(1, &[1; 16]), b"q\x07(", &calls, b"t."].concat(), 4)
    }),
    ("weights: arrays of the same bytes", |n| {
        let bytes = [&b"B"[..], &(n as u32 / 2).to_le_bytes(), &vec![0; n / 2]].concat();
        let shape = [&b"\x8a\x08"[..], &(n as u64 / 2).to_le_bytes(), b"\x85"].concat();
        arrays(n / 2, &shape, &bytes)
    }),
    ("weights: arrays of many axes", |n| {
        let shape = [&b"("[..], &b"K\x01".repeat(n / 4), b"t"].concat();
        arrays(n / 2, &shape, b"C\x01\x00")
    }),
    ("weights: arrays of sixteen axes", |n| {
        let shape = [&b"("[..], &b"K\x01".repeat(16), b"t"].concat();
        arrays(n, &shape, b"C\x01\x00")
    }),
    ("weights: many views of all numbers", |n| {
        let entry = |i: usize| named(i, b"h\x06h\x07R");
        let entries: Vec<u8> = (0..n / 2 / 14).flat_map(entry).collect();
        let count = n / 2 / 4;
        let arguments = arguments(count, &[count as u64]);
        checkpoint(&[TENSOR, b"q\x06", &arguments, b"q\x07}(", &entries, b"u."].concat(), count * 4)
    }),
    ("weights: many tensors of a number each", |n| {
        let entries: Vec<u8> = (0..n / 14).flat_map(|i| named(i, b"h\x06h\x07R")).collect();
        checkpoint(&[TENSOR, b"q\x06", &arguments(1, &[1]), b"q\x07}(", &entries, b"u."].concat(), 4)
    }),
    ("weights: numbers in another order", |n| {
        let count = n as u64 / 8;
        let shape = [count / 1024, 1024].iter().map(|&len| number(len)).collect::<Vec<_>>().concat();
        let strides = [1, count / 1024].iter().map(|&len| number(len)).collect::<Vec<_>>().concat();
        let view = [&storage(count as usize)[..], b"K\x00(", &shape, b"t(", &strides, b"t\x89}t"].concat();
        checkpoint(&[TENSOR, b"q\x06(", &view, b"R."].concat(), count as usize * 4)
    }),
    ("weights: numbers in another order along many axes", |n| {
        let count = n as u64 / 8;
        let axes = n / 64;
        let shape = [&b"K\x01".repeat(axes)[..], &number(count), &number(1)].concat();
        let strides = [&b"K\x00".repeat(axes)[..], &number(0), &number(1)].concat();
        let view = [&storage(count as usize)[..], b"K\x00(", &shape, b"t(", &strides, b"t\x89}t"].concat();
        checkpoint(&[TENSOR, b"q\x06(", &view, b"R."].concat(), count as usize * 4)
    }),
    ("weights: a long key", |n| {
        let key = [&b"X"[..], &(n as u32 / 2).to_le_bytes(), &vec![b'k'; n / 2]].concat();
        let inner = (0..n / 24).flat_map(|i| named(i, b"h\x02")).collect::<Vec<_>>();
        checkpoint(&[&tensor(1, &[1])[..], b"q\x02}", &key, b"}(", &inner, b"us."].concat(), 4)
    }),
    ("weights: storages", |n| {
        let id = [IDENTIFIER, b"K\x01tq\x06"].concat();
        checkpoint(&[&id[..], &b"h\x06Q".repeat(n / 3), b"."].concat(), 4)
    }),
    ("weights: the older format", |n| {
        let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.";
        let machine = b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.";
        let state = [&b"\x80\x02"[..], &b"]".repeat(n / 2), b"."].concat();
        let keys = [&b"\x80\x02]("[..], &b"X\x01\x00\x00\x000".repeat(n / 12), b"e."].concat();
        [&magic[..], machine, &state, &keys].concat()
    }),
];

fn safetensors(entries: &str, numbers: usize) -> Vec<u8> {
    headed(format!("{{{entries}}}").as_bytes(), &vec![0; numbers])
}

fn entries(count: usize, each: impl Fn(usize) -> String) -> String {
    (0..count).map(each).collect::<Vec<_>>().join(",")
}

/// A checkpoint with a pickle, and so many bytes of numbers under the key 0.
fn checkpoint(pickle: &[u8], numbers: usize) -> Vec<u8> {
    zip::bytes(&[("a/data.pkl", [b"\x80\x02", pickle].concat()), ("a/data/0", vec![0; numbers])])
}

/// A checkpoint of a tensor that takes long to be read, of about so many bytes.
pub(super) fn long_checkpoint(n: usize) -> Vec<u8> {
    checkpoint(&[&b"N".repeat(n)[..], &tensor(1, &[1]), b"."].concat(), 4)
}

const TENSOR: &[u8] = b"ctorch._utils\n_rebuild_tensor_v2\n";

/// The storage 0 of floating-point numbers, but for how many they are.
const IDENTIFIER: &[u8] =
    b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu";

fn number(number: u64) -> Vec<u8> {
    if let Ok(small) = u8::try_from(number) {
        return vec![b'K', small];
    }
    [&b"\x8a\x08"[..], &number.to_le_bytes()].concat()
}

/// The storage 0, with so many numbers.
fn storage(count: usize) -> Vec<u8> {
    [IDENTIFIER, &number(count as u64), b"tQ"].concat()
}

/// What makes a tensor of the storage.
fn arguments(count: usize, shape: &[u64]) -> Vec<u8> {
    let lens: Vec<_> = shape.iter().flat_map(|&len| number(len)).collect();
    let strides = b"K\x01".repeat(shape.len());
    [&b"("[..], &storage(count), b"K\x00(", &lens, b"t(", &strides, b"t\x89}t"].concat()
}

fn tensor(count: usize, shape: &[u64]) -> Vec<u8> {
    [TENSOR, &arguments(count, shape), b"R"].concat()
}

/// An entry of a dictionary, under a name that no other has.
fn named(i: usize, value: &[u8]) -> Vec<u8> {
    let name = format!("{i:x}");
    [&b"\x8c"[..], &[name.len() as u8], name.as_bytes(), value].concat()
}

/// A list of arrays, all of the same bytes.
fn arrays(n: usize, shape: &[u8], bytes: &[u8]) -> Vec<u8> {
    let maker = b"cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nK\x00\x85C\x01b\x87q\x01";
    let kind = b"cnumpy\ndtype\nX\x02\x00\x00\x00u1K\x00K\x01\x87R(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb";
    let state = [&b"(K\x01"[..], shape, kind, b"\x89", bytes, b"tq\x02"].concat();
    let array = b"h\x00h\x01Rh\x02b";
    let pickle = [&maker[..], &state, b"(", &array.repeat(n / 8), b"t."].concat();
    checkpoint(&pickle, 0)
}
