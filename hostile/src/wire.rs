//! The bytes of a protobuf file as fields, without knowing what they mean.

/// A field: its number and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) number: u64,
    pub(crate) value: Value,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    /// Bytes that are fields themselves, as far as one can tell.
    Fields(Vec<Field>),
}

/// Fields are looked for within fields no deeper than this.
const DEPTH: usize = 12;

/// The fields that these bytes are, if they are.
pub(crate) fn fields(mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = key >> 3;
        if number == 0 || number > 1 << 12 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(*take(&mut bytes, 8)?.first_chunk()?),
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let inner = take(&mut bytes, len)?;
                let nested = if depth < DEPTH && !inner.is_empty() { fields(inner, depth + 1) } else { None };
                nested.map_or_else(|| Value::Bytes(inner.to_vec()), Value::Fields)
            }
            5 => Value::Fixed32(*take(&mut bytes, 4)?.first_chunk()?),
            _ => return None,
        };
        found.push(Field { number, value });
    }
    Some(found)
}

/// The bytes of fields.
pub(crate) fn bytes(fields: &[Field]) -> Vec<u8> {
    let mut to = Vec::new();
    for field in fields {
        let kind = match field.value {
            Value::Varint(_) => 0,
            Value::Fixed64(_) => 1,
            Value::Bytes(_) | Value::Fields(_) => 2,
            Value::Fixed32(_) => 5,
        };
        put_varint(&mut to, field.number << 3 | kind);
        match &field.value {
            Value::Varint(n) => put_varint(&mut to, *n),
            Value::Fixed64(b) => to.extend(b),
            Value::Fixed32(b) => to.extend(b),
            Value::Bytes(b) => put_bytes(&mut to, b),
            Value::Fields(inner) => put_bytes(&mut to, &bytes(inner)),
        }
    }
    to
}

/// How many fields there are, those within others too.
pub(crate) fn count(fields: &[Field]) -> usize {
    let within = |field: &Field| if let Value::Fields(inner) = &field.value { count(inner) } else { 0 };
    fields.iter().map(|field| 1 + within(field)).sum()
}

/// Field number `at`, counted as in [`count`]: the list it is in, and its place there.
pub(crate) fn find(fields: &mut Vec<Field>, at: usize) -> Option<(&mut Vec<Field>, usize)> {
    let mut left = at;
    let mut place = 0;
    for field in fields.iter() {
        if left == 0 {
            break;
        }
        let within = if let Value::Fields(inner) = &field.value { count(inner) } else { 0 };
        if left <= within {
            break;
        }
        left -= 1 + within;
        place += 1;
    }
    match left {
        0 if place < fields.len() => Some((fields, place)),
        0 => None,
        _ => match &mut fields.get_mut(place)?.value {
            Value::Fields(inner) => find(inner, left - 1),
            _ => None,
        },
    }
}

pub(crate) fn put_varint(to: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        to.push(n as u8 | 0x80);
        n >>= 7;
    }
    to.push(n as u8);
}

fn put_bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(to, bytes.len() as u64);
    to.extend(bytes);
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take(bytes, 1)?[0];
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}
