//! How much memory the messages of a protobuf file take, before they are read.
//!
//! An empty message has two bytes in a file and hundreds in memory, so that a small file can ask for all the memory
//! there is. [`check`] walks over a file by what its fields are ([`Message`]), allocates nothing, and refuses a file
//! whose messages take more than [`most`]. What is no valid file counts as far as it is valid: a decoder gets no
//! further either.
//!
//! ```
//! use attr_wire::{Message, check};
//!
//! const NODE: Message = Message::new(400, &[]);
//! const GRAPH: Message = Message::new(24, &[(1, &NODE)]);
//!
//! let empty_nodes = [0x0a, 0].repeat(1 << 20);
//! assert_eq!(check(&empty_nodes[..20], &GRAPH), Ok(()));
//! assert!(check(&empty_nodes, &GRAPH).is_err());
//! ```

#![forbid(unsafe_code)]

/// A kind of message, as far as it matters what it takes in memory. A text is one without fields.
#[derive(Debug)]
pub struct Message {
    bytes: usize,
    fields: &'static [(u64, &'static Message)],
}

impl Message {
    /// A message that takes so many bytes by itself, and has messages and texts as the fields of these numbers. Fields
    /// that hold numbers are left out: they take at most [`NUMBER`] times the bytes that they have in the file.
    pub const fn new(bytes: usize, fields: &'static [(u64, &'static Message)]) -> Self {
        Message { bytes, fields }
    }
}

/// A list of eight-byte numbers of one byte in the file, while it grows from one half of its length to twice of it.
pub const NUMBER: usize = 24;

/// A list has place for so many messages when it has one.
const FIRST: usize = 4;

/// While a list grows, there is place for so many messages for each one in it.
const GROWING: usize = 3;

/// The most bytes that the messages of a file of so many bytes may take: 64 for each, and 16 MiB.
pub const fn most(file: usize) -> usize {
    file.saturating_mul(64).saturating_add(16 << 20)
}

/// Refuses a file of this kind if its messages take more than [`most`], with a sentence that says so.
pub fn check(file: &[u8], kind: &Message) -> Result<(), String> {
    let most = most(file.len());
    match up_to(file, kind, most) {
        cost if cost <= most => Ok(()),
        _ => Err(format!("expected parts that take at most {most} bytes of memory, found more")),
    }
}

/// About how many bytes the messages of a file take, at most.
pub fn cost(file: &[u8], kind: &Message) -> usize {
    up_to(file, kind, usize::MAX)
}

/// What the messages take, or something above `most`.
fn up_to(mut bytes: &[u8], kind: &Message, most: usize) -> usize {
    let mut cost = 0usize;
    let mut seen = 0u64;
    let mut groups = 0usize;
    while !bytes.is_empty() && cost <= most {
        let Some((number, value)) = field(&mut bytes) else { break };
        match value {
            Value::Begin => groups += 1,
            Value::End => match groups.checked_sub(1) {
                Some(left) => groups = left,
                None => break,
            },
            Value::Bytes(inner) if groups == 0 => {
                let Some(at) = kind.fields.iter().position(|(of, _)| *of == number) else { continue };
                let message = kind.fields[at].1;
                let is_first = seen & 1 << at == 0;
                seen |= 1 << at;
                let places = if is_first { FIRST + GROWING } else { GROWING };
                cost = cost.saturating_add(message.bytes.saturating_mul(places));
                if !message.fields.is_empty() {
                    cost = cost.saturating_add(up_to(inner, message, most));
                }
            }
            Value::Bytes(_) | Value::Number => {}
        }
    }
    cost
}

enum Value<'a> {
    Number,
    Bytes(&'a [u8]),
    Begin,
    End,
}

/// The next field, if it is one.
fn field<'a>(bytes: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = varint(bytes)?;
    let value = match key & 7 {
        0 => varint(bytes).map(|_| Value::Number)?,
        1 => take(bytes, 8).map(|_| Value::Number)?,
        2 => {
            let len = usize::try_from(varint(bytes)?).ok()?;
            Value::Bytes(take(bytes, len)?)
        }
        3 => Value::Begin,
        4 => Value::End,
        5 => take(bytes, 4).map(|_| Value::Number)?,
        _ => return None,
    };
    Some((key >> 3, value))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAF: Message = Message::new(100, &[]);
    const MIDDLE: Message = Message::new(10, &[(2, &LEAF)]);
    const ROOT: Message = Message::new(1, &[(1, &MIDDLE), (3, &LEAF)]);

    fn counted(file: &[u8]) -> usize {
        cost(file, &ROOT)
    }

    #[test]
    fn each_message_counts_and_the_first_of_a_list_more() {
        assert_eq!(counted(&[]), 0);
        assert_eq!(counted(&[0x1a, 0]), 700);
        assert_eq!(counted(&[0x1a, 0, 0x1a, 0]), 1000);
        // Two lists of leaves in two messages of the middle.
        assert_eq!(counted(&[0x0a, 2, 0x12, 0, 0x0a, 2, 0x12, 0]), 70 + 700 + 30 + 700);
    }

    #[test]
    fn what_is_skipped_does_not_count() {
        // A number, an unknown text, a group that holds the field of a leaf; then a leaf.
        assert_eq!(counted(&[0x18, 5, 0x7a, 2, 0x1a, 0, 0x2b, 0x1a, 0, 0x2c, 0x1a, 0]), 700);
    }

    #[test]
    fn what_is_broken_counts_as_far_as_it_is_whole() {
        assert_eq!(counted(&[0x1a, 0, 0x1a, 9]), 700);
        assert_eq!(counted(&[0x1a, 0, 0xff]), 700);
        assert_eq!(counted(&[0x1a, 0, 0x2c, 0x1a, 0]), 700);
    }
}
