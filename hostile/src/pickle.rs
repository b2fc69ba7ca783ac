//! The bytes of a pickle as instructions, and changes of them.

use crate::Draw;
use crate::mutate::ODD;

/// The instructions of pickles, one after another; what is no instruction is one with all that is left.
pub(crate) fn instructions(mut bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let len = len(bytes).filter(|&len| len <= bytes.len()).unwrap_or(bytes.len());
        let (instruction, rest) = bytes.split_at(len);
        found.push(instruction.to_vec());
        bytes = rest;
    }
    found
}

/// The length of the first instruction, if it is one that the reader knows.
fn len(bytes: &[u8]) -> Option<usize> {
    let count = |width: usize| {
        let mut count = [0; 8];
        count[..width].copy_from_slice(bytes.get(1..1 + width)?);
        usize::try_from(u64::from_le_bytes(count)).ok()?.checked_add(1 + width)
    };
    let line = |from: usize| Some(from + 1 + bytes.get(from..)?.iter().position(|&byte| byte == b'\n')?);
    match bytes[0] {
        b'.' | b'(' | b'N' | 0x88 | 0x89 | b')' | 0x85..=0x87 | b't' | b']' | b'}' => Some(1),
        b'a' | b'e' | b's' | b'u' | 0x93 | b'R' | b'b' | b'Q' | 0x94 => Some(1),
        0x80 | b'K' | b'q' | b'h' => Some(2),
        b'M' => Some(3),
        b'J' | b'r' | b'j' => Some(5),
        0x95 | b'G' => Some(9),
        0x8c | 0x8a | b'C' => count(1),
        b'X' | b'B' => count(4),
        b'c' => line(line(1)?),
        _ => None,
    }
}

/// Values that stand anywhere: nothing, true, an empty tuple, list or dictionary, a mark, and what was put aside.
const VALUES: [&[u8]; 8] = [b"N", b"\x88", b")", b"]", b"}", b"(", b"h\x01", b"K\x02"];

/// What makes a value of others, or ends.
const ACTIONS: [&[u8]; 13] =
    [b"\x85", b"\x86", b"\x87", b"t", b"a", b"e", b"s", b"u", b"R", b"b", b"Q", b"\x93", b"."];

impl Draw {
    pub(crate) fn change_pickle(&mut self, instructions: &mut Vec<Vec<u8>>) {
        if instructions.is_empty() {
            return;
        }
        let (at, other) = (self.below(instructions.len()), self.below(instructions.len()));
        match self.below(10) {
            0 => drop(instructions.remove(at)),
            1 => instructions.swap(at, other),
            2 => {
                let end = (at + 1 + self.below(40)).min(instructions.len());
                let part = instructions[at..end].to_vec();
                let times = self.of(&[1, 1, 2, 60]);
                (0..times).for_each(|_| drop(instructions.splice(other..other, part.iter().cloned())));
            }
            3 => instructions.insert(at, self.of(&VALUES).into()),
            4 => instructions.insert(at, self.of(&ACTIONS).into()),
            5 => instructions[at] = instructions[other].clone(),
            // What follows the instruction's own byte: lengths, numbers, names.
            6 => {
                if let Some(last) = instructions[at].get_mut(1..).and_then(<[u8]>::last_mut) {
                    *last = self.next() as u8;
                }
            }
            _ => self.change_number(instructions, at),
        }
    }

    /// Puts another number in the place of the next one.
    fn change_number(&mut self, instructions: &mut [Vec<u8>], from: usize) {
        let number = self.of(&ODD);
        let is_number = |instruction: &&mut Vec<u8>| [b'K', b'M', b'J', 0x8a].contains(&instruction[0]);
        let Some(found) = instructions[from..].iter_mut().find(is_number) else { return };
        *found = [&b"\x8a\x08"[..], &number.to_le_bytes()].concat();
    }
}
