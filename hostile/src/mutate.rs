//! Breaking a file, the same way for the same number.

use crate::Seed;
use crate::parts::Part;
use crate::wire::{Field, Value, bytes, count, find, put_varint};

/// A generator of numbers (SplitMix64), so that every run sees the same files.
#[derive(Debug, Clone)]
pub struct Draw(u64);

/// Numbers that lengths, axes and counts are seldom made for.
pub(crate) const ODD: [i64; 20] = [
    0,
    1,
    -1,
    2,
    3,
    5,
    -3,
    7,
    16,
    17,
    255,
    1 << 16,
    1 << 20,
    1 << 30,
    (1 << 31) - 1,
    1 << 40,
    i64::MAX,
    i64::MAX - 1,
    i64::MIN,
    i64::MIN + 1,
];

/// A field is put within itself so often.
const NESTED: [usize; 4] = [8, 99, 101, 2_000];

impl Draw {
    /// For one input of a run.
    pub fn new(run: u64, number: usize) -> Self {
        let mut draw = Draw(run ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        draw.next();
        draw
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n.max(1) as u64) as usize
    }

    pub(crate) fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A file with one to six changes: of its parts, if some are known, of its bytes, or of both.
    pub fn changed(&mut self, seed: &Seed, others: &[Seed]) -> Vec<u8> {
        let is_known = !matches!(seed.part, Part::Bytes(_));
        let way = if is_known { self.below(4) } else { 2 };
        let mut file = seed.bytes.clone();
        if way < 3 && is_known {
            let mut part = seed.part.clone();
            for _ in 0..1 + self.below(4) {
                self.change_part(&mut part, others);
            }
            file = part.bytes();
        }
        if way >= 2 {
            for _ in 0..1 + self.below(6) {
                self.change_bytes(&mut file, others);
            }
        }
        file
    }

    fn change_part(&mut self, part: &mut Part, others: &[Seed]) {
        match part {
            Part::Bytes(bytes) => self.change_bytes(bytes, others),
            Part::Fields(fields) => self.change_field(fields),
            Part::Members(members) => self.change_members(members, others),
            Part::Json(value) => self.change_json(value),
            Part::Headed(header, numbers) => match self.below(8) {
                0 => self.change_bytes(numbers, others),
                _ => self.change_json(header),
            },
            Part::Pickle(instructions) => self.change_pickle(instructions),
        }
    }

    /// Mostly a member that says something, now and then which members there are.
    fn change_members(&mut self, members: &mut Vec<(String, Part)>, others: &[Seed]) {
        if members.is_empty() {
            return;
        }
        let (at, other) = (self.below(members.len()), self.below(members.len()));
        match self.below(12) {
            0 => drop(members.remove(at)),
            1 => members[at].1 = members[other].1.clone(),
            2 => self.change_part(&mut members[at].1, others),
            _ => {
                let says = |&at: &usize| !matches!(members[at].1, Part::Bytes(_));
                let telling: Vec<_> = (0..members.len()).filter(says).collect();
                let at = if telling.is_empty() { at } else { self.of(&telling) };
                self.change_part(&mut members[at].1, others);
            }
        }
    }

    fn change_bytes(&mut self, file: &mut Vec<u8>, others: &[Seed]) {
        let at = self.below(file.len());
        let end = (at + 1 + self.below(64)).min(file.len());
        let to = self.below(file.len());
        match self.below(10) {
            0 => file.truncate(at),
            1 => drop(file.drain(at.min(end)..end)),
            2 => {
                let part = file[at.min(end)..end].to_vec();
                let part = part.repeat(1 + self.below(8));
                file.splice(to..to, part);
            }
            3 => {
                let value = self.of(&[0, 0x7f, 0x80, 0xff]);
                file[at.min(end)..end].fill(value);
            }
            4 => {
                let other = &others[self.below(others.len())].bytes;
                let from = self.below(other.len());
                let part = &other[from..(from + 1 + self.below(512)).min(other.len())];
                file.splice(to..to, part.iter().copied());
            }
            5 => {
                let mut number = Vec::new();
                put_varint(&mut number, self.of(&ODD) as u64);
                let over = if self.below(2) == 0 { number.len() } else { 0 };
                file.splice(at..(at + over).min(file.len()), number);
            }
            6 if !file.is_empty() => {
                let other = self.below(file.len());
                file.swap(at, other);
            }
            7 if !file.is_empty() => file[at] = self.next() as u8,
            _ if !file.is_empty() => file[at] ^= 1 << self.below(8),
            _ => {}
        }
    }

    fn change_field(&mut self, fields: &mut Vec<Field>) {
        let all = count(fields);
        if all == 0 {
            return;
        }
        let (at, other) = (self.below(all), self.below(all));
        let odd = self.of(&ODD);
        let other = find(fields, other).map(|(list, place)| list[place].clone());
        let Some((list, place)) = find(fields, at) else { return };
        match self.below(9) {
            0 => drop(list.remove(place)),
            1 => {
                let copy = list[place].clone();
                let times = self.of(&[1, 1, 2, 60]);
                list.splice(place..place, std::iter::repeat_n(copy, times));
            }
            2 => list[place].number = (odd as u64 & 31).max(1),
            3 => {
                if let Some(other) = other {
                    list[place].value = other.value;
                }
            }
            4 => {
                let other = self.below(list.len());
                list.swap(place, other);
            }
            5 => self.nest(&mut list[place]),
            _ => self.change_value(list, place, odd),
        }
    }

    fn change_value(&mut self, list: &mut [Field], place: usize, odd: i64) {
        // Another field of the same number is of the same kind: another name, say.
        let number = list[place].number;
        let same: Vec<_> = (0..list.len()).filter(|&i| i != place && list[i].number == number).collect();
        if !same.is_empty() && self.below(2) == 0 {
            list[place].value = list[self.of(&same)].value.clone();
            return;
        }
        let pick = self.below(8);
        match &mut list[place].value {
            Value::Varint(n) if pick < 2 => *n = n.wrapping_add_signed(1 - 2 * pick as i64),
            Value::Varint(n) => *n = odd as u64,
            Value::Fixed32(b) => *b = self.of(&[f32::NAN, f32::INFINITY, -1.0, 0.0, 1e30]).to_le_bytes(),
            Value::Fixed64(b) => *b = odd.to_le_bytes(),
            Value::Bytes(bytes) => match pick {
                0 => bytes.clear(),
                1 => bytes.truncate(bytes.len() / 2),
                // Numbers, packed.
                2 | 3 => {
                    bytes.clear();
                    (0..1 + self.below(6)).for_each(|_| put_varint(bytes, self.of(&ODD) as u64));
                }
                4 => bytes.extend(odd.to_le_bytes()),
                _ if bytes.is_empty() => bytes.extend(b"x"),
                // Whole numbers of eight bytes, as weights and shapes have them.
                _ => {
                    let at = self.below(bytes.len()) & !7;
                    bytes.iter_mut().skip(at).zip(odd.to_le_bytes()).for_each(|(to, byte)| *to = byte);
                }
            },
            Value::Fields(inner) => match pick {
                0 => inner.clear(),
                1..4 => {
                    let end = self.below(inner.len());
                    inner.truncate(end);
                }
                _ => {
                    let (at, to) = (self.below(inner.len()), self.below(inner.len()));
                    if at < inner.len() {
                        inner.swap(at, to);
                    }
                }
            },
        }
    }

    /// Puts a field within itself, over and over; deep ones as bytes.
    fn nest(&mut self, field: &mut Field) {
        let mut inner = bytes(std::slice::from_ref(field));
        for _ in 0..self.of(&NESTED) {
            // Each level repeats the lengths of all within: longer ones are no deeper in sense.
            if inner.len() > 1 << 17 {
                break;
            }
            let nested = Field { number: field.number, value: Value::Bytes(inner) };
            inner = bytes(std::slice::from_ref(&nested));
        }
        field.value = Value::Bytes(inner);
    }
}
