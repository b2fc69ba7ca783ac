//! Whole numbers that may depend on the batch.

use crate::schema::SymInt;

/// A length: known, or so many for each row of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    Fixed(i64),
    Batch(i64),
}

/// No expression that is understood is longer; a length may be asked for over and over.
const LONGEST: usize = 256;

impl Size {
    /// What a program says, where the batch has this symbol.
    pub(crate) fn of(said: &SymInt, batch: Option<&str>) -> Option<Self> {
        match said {
            SymInt::AsInt(n) => Some(Size::Fixed(*n)),
            SymInt::AsExpr(expression) => {
                let (factor, symbol) = product(&expression.expr_str)?;
                (Some(symbol) == batch).then_some(Size::Batch(factor))
            }
        }
    }

    pub(crate) fn fixed(self) -> Option<i64> {
        if let Size::Fixed(n) = self { Some(n) } else { None }
    }
}

/// The symbol of an expression that is nothing but one.
pub(crate) fn symbol(said: &SymInt) -> Option<&str> {
    match said {
        SymInt::AsExpr(expression) => product(&expression.expr_str).filter(|(factor, _)| *factor == 1),
        SymInt::AsInt(_) => None,
    }
    .map(|(_, symbol)| symbol)
}

/// `s0`, `7*s0`, `Symbol('s0', ...)` and `Mul(Integer(7), Symbol('s0', ...))`: the number and the symbol.
fn product(expression: &str) -> Option<(i64, &str)> {
    if expression.len() > LONGEST {
        return None;
    }
    let expression = expression.trim();
    if let Some(inner) = expression.strip_prefix("Mul(").and_then(|rest| rest.strip_suffix(')')) {
        let (number, symbol) = inner.split_once(", ")?;
        let number = number.strip_prefix("Integer(")?.strip_suffix(')')?;
        return Some((number.parse().ok()?, single(symbol)?));
    }
    match expression.split_once('*') {
        Some((number, symbol)) => Some((number.trim().parse().ok()?, single(symbol.trim())?)),
        None => Some((1, single(expression)?)),
    }
}

fn single(expression: &str) -> Option<&str> {
    let name = match expression.strip_prefix("Symbol('") {
        Some(rest) => rest.split_once('\'').filter(|(_, rest)| !rest.contains("Symbol"))?.0,
        None => expression,
    };
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    plain.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_of_a_number_and_the_batch() {
        for (text, expected) in [
            ("s0", Some((1, "s0"))),
            ("7*s0", Some((7, "s0"))),
            ("Symbol('s77', positive=True, integer=True)", Some((1, "s77"))),
            ("Mul(Integer(14), Symbol('s77', positive=True, integer=True))", Some((14, "s77"))),
            ("Add(Symbol('s77', positive=True, integer=True), Integer(1))", None),
            ("Mul(Symbol('s1', integer=True), Symbol('s2', integer=True))", None),
            ("s0 + 1", None),
            ("", None),
        ] {
            assert_eq!(product(text), expected, "{text}");
        }
    }
}
