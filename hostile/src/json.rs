//! Changes of JSON.

use serde_json::{Map, Number, Value};

use crate::Draw;
use crate::mutate::ODD;

/// A value is put within itself so often.
const NESTED: [usize; 3] = [8, 60, 200];

/// How many values there are, those within others too.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// Value number `at`, counted as in [`count`].
fn find(value: &mut Value, at: usize) -> Option<&mut Value> {
    if at == 0 {
        return Some(value);
    }
    let mut left = at - 1;
    let within: Box<dyn Iterator<Item = &mut Value>> = match value {
        Value::Array(values) => Box::new(values.iter_mut()),
        Value::Object(fields) => Box::new(fields.values_mut()),
        _ => return None,
    };
    for value in within {
        match left.checked_sub(count(value)) {
            Some(rest) => left = rest,
            None => return find(value, left),
        }
    }
    None
}

impl Draw {
    pub(crate) fn change_json(&mut self, root: &mut Value) {
        let all = count(root);
        let other = find(root, self.below(all)).cloned().unwrap_or_default();
        let at = self.below(all);
        // A list is changed more often than there are lists, a number more often than a text.
        let at = match self.below(3) {
            0 => at,
            kind => (at..all.min(at + 64)).find(|&at| is_of(kind, find(root, at))).unwrap_or(at),
        };
        let Some(value) = find(root, at) else { return };
        if self.below(12) == 0 {
            *value = other;
            return;
        }
        match value {
            Value::Array(values) => self.change_list(values, other),
            Value::Object(fields) => self.change_object(fields, other),
            Value::Number(number) => {
                let odd = self.of(&ODD);
                *number = match self.below(6) {
                    0 => Number::from_f64(self.of(&[-1.0, 0.5, 1e300, 1e-300])).unwrap_or(odd.into()),
                    1 => (odd as u64).into(),
                    step @ 2..4 => number.as_i64().unwrap_or(0).wrapping_add(5 - 2 * step as i64).into(),
                    _ => odd.into(),
                };
            }
            Value::String(text) => match other {
                // Another name.
                Value::String(other) if self.below(2) == 0 => *text = other,
                _ => match self.below(5) {
                    0 => text.clear(),
                    1 => *text = text.repeat(self.of(&[2, 100])),
                    2 => *text = text.chars().skip(1).collect(),
                    3 => drop(text.pop()),
                    _ => {
                        *text =
                            self.of(&["NaN", "Infinity", "s0", "7*s0", "as_int", "self", "x", "''"]).into()
                    }
                },
            },
            Value::Bool(truth) => *truth = !*truth,
            Value::Null => *value = other,
        }
    }

    fn change_list(&mut self, values: &mut Vec<Value>, other: Value) {
        let (at, to) = (self.below(values.len()), self.below(values.len()));
        match self.below(6) {
            _ if values.is_empty() => values.push(other),
            0 => drop(values.remove(at)),
            1 | 2 => {
                let times = self.of(&[1, 1, 2, 60]);
                let copy = values[at].clone();
                values.splice(to..to, std::iter::repeat_n(copy, times));
            }
            3 => values.swap(at, to),
            4 => values.truncate(at),
            _ => values.insert(to, other),
        }
    }

    fn change_object(&mut self, fields: &mut Map<String, Value>, other: Value) {
        let key = fields.keys().nth(self.below(fields.len())).cloned().unwrap_or_default();
        let to = fields.keys().nth(self.below(fields.len())).cloned().unwrap_or_default();
        match self.below(4) {
            0 => drop(fields.remove(&key)),
            1 => drop(fields.insert(key, other)),
            2 => {
                let mut value = fields.remove(&key).unwrap_or_default();
                for _ in 0..self.of(&NESTED) {
                    value = match self.below(2) {
                        0 => Value::Array(vec![value]),
                        _ => Value::Object(Map::from_iter([(key.clone(), value)])),
                    };
                }
                fields.insert(key, value);
            }
            _ => {
                let value = fields.get(&key).cloned().unwrap_or_default();
                fields.insert(to, value);
            }
        }
    }
}

/// Whether a value is a list, or a number.
fn is_of(kind: usize, value: Option<&mut Value>) -> bool {
    matches!((kind, value), (1, Some(Value::Array(_))) | (2, Some(Value::Number(_))))
}
