//! What is explained, from the words of the command line: classes by number or by name.

use attr_core::{Qoi, Squash};

use crate::error::{Error, Result};
use crate::labels::Labels;

/// The quantity that a text means: what [`Qoi`] reads, with names of classes where it has numbers. A number
/// is always a class's number.
pub(crate) fn parse(text: &str, labels: &Labels) -> Result<Qoi> {
    let text = text.trim();
    if let Ok(qoi) = text.parse::<Qoi>() {
        return Ok(qoi);
    }
    let squashes =
        [("softmax ", Squash::Softmax), ("log-softmax ", Squash::LogSoftmax), ("sigmoid ", Squash::Sigmoid)];
    if let Some((rest, squash)) = squashes.iter().find_map(|(word, s)| Some((text.strip_prefix(word)?, s))) {
        return Ok(parse(rest, labels)?.after(*squash));
    }
    // Words of another quantity, but its numbers are wrong: the library says best what it expects.
    let words =
        ["class", "classes", "channel", "channel-mean", "channel-max", "neuron", "output", "threshold"];
    let first = text.split(' ').next().unwrap_or_default();
    if words.contains(&first) || first == "below-threshold" {
        return Ok(text.parse::<Qoi>()?);
    }
    match labels.class(text) {
        Ok(class) => Ok(Qoi::Class(class)),
        Err(error) => match text.split_once(':') {
            Some((a, b)) => Ok(Qoi::Comparative(class(a, labels)?, class(b, labels)?)),
            None => Err(error),
        },
    }
}

/// A quantity in words, with the names of its classes.
pub(crate) fn describe(qoi: &Qoi, labels: &Labels) -> String {
    match qoi {
        Qoi::Class(class) => labels.describe(*class),
        Qoi::Comparative(a, b) => format!("{} against {}", labels.describe(*a), labels.describe(*b)),
        Qoi::After(squash, inner) => format!("{squash} of {}", describe(inner, labels)),
        other => other.to_string(),
    }
}

/// The one class that a quantity is about, given the class it chose itself, if it did.
pub(crate) fn class_of(qoi: &Qoi, chosen: Option<usize>) -> Option<usize> {
    match qoi {
        Qoi::Class(class) => Some(*class),
        Qoi::PredictedClass | Qoi::MaxClass => chosen,
        Qoi::ClassSeq(_) => chosen,
        Qoi::After(_, inner) => class_of(inner, chosen),
        _ => None,
    }
}

/// An error unless the classes of a quantity are among this many.
pub(crate) fn check(qoi: &Qoi, classes: usize) -> Result<()> {
    let within = |class: usize| match class < classes {
        true => Ok(()),
        false => {
            let (wanted, last) = (class.to_string(), classes.saturating_sub(1).to_string());
            Err(Error::Core(attr_core::Error::OutOfRange { what: "class", wanted, last }))
        }
    };
    match qoi {
        Qoi::Class(class) => within(*class),
        Qoi::Comparative(a, b) => within(*a).and(within(*b)),
        Qoi::ClassSeq(list) => list.iter().try_for_each(|class| within(*class)),
        Qoi::After(_, inner) => check(inner, classes),
        _ => Ok(()),
    }
}

fn class(text: &str, labels: &Labels) -> Result<usize> {
    text.trim().parse().or_else(|_| labels.class(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_and_words() {
        let labels = Labels::from_lines("cat\ndog\nbird: small\n");
        for (text, qoi) in [
            ("1", Qoi::Class(1)),
            ("dog", Qoi::Class(1)),
            ("predicted", Qoi::PredictedClass),
            ("cat:dog", Qoi::Comparative(0, 1)),
            ("0:dog", Qoi::Comparative(0, 1)),
            ("bird: small", Qoi::Class(2)),
            ("softmax dog", Qoi::Class(1).after(Squash::Softmax)),
            ("channel 4", Qoi::channel(4)),
        ] {
            assert_eq!(parse(text, &labels).unwrap(), qoi, "{text}");
        }
        for (text, expected) in
            [("channel x", "parameter target"), ("cat:mouse", "mouse"), ("dgo", "\"dog\"")]
        {
            let error = parse(text, &labels).unwrap_err();
            assert!(error.to_string().contains(expected) && error.exit_code() == 2, "{error}");
        }
        assert_eq!(describe(&Qoi::Comparative(0, 1), &labels), "0 \"cat\" against 1 \"dog\"");
    }
}
