//! What an explanation rests on, as JSON and as a few lines for people.

use std::fmt::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::explanation::{Explanation, Question};
use crate::input::Inputs;
use crate::model::Model;
use crate::parts;

/// Below this share of the quantity, what is left over of a conservation law is called small.
const SMALL: f64 = 0.01;

/// All evidence, for a program.
pub(crate) fn json(explanation: &Explanation, question: &Question, model: &Model, inputs: &Inputs) -> Value {
    let evidence = &explanation.attribution.evidence;
    let parameters: Map<String, Value> = evidence
        .parameters
        .iter()
        .map(|parameter| (parameter.name.to_string(), Value::from(parameter.value.as_str())))
        .collect();
    let rows = 0..inputs.rows.len();
    let classes: Vec<_> = rows.map(|row| explanation.class(question, row)).collect();
    let labels: Vec<_> = classes.iter().map(|class| class.map(|class| inputs.labels.name(class))).collect();
    let arrays = explanation.names.iter().zip(&explanation.attribution.values);
    let mut json = json!({
        "method": evidence.method,
        "parameters": parameters,
        "inputs": inputs.rows,
        "from": evidence.from,
        "to": evidence.to,
        "target": question.words().unwrap_or(&evidence.target),
        "classes": classes,
        "labels": labels,
        "quantity": evidence.quantity,
        "baseline_quantity": evidence.baseline_quantity,
        "claimed": evidence.claimed,
        "residual": evidence.residual,
        "law": evidence.law,
        "attributions": arrays.map(|(name, array)| json!({"name": name, "shape": array.shape()})).collect::<Vec<_>>(),
        "notes": evidence.notes,
        "model": {"file": model.path.display().to_string(), "sha256": model.sha256, "network": model.network},
        "backend": evidence.backend,
        "dtype": evidence.precision.to_string(),
        "seed": evidence.parameters.iter().find(|p| p.name == "seed").and_then(|p| p.value.parse::<u64>().ok()),
        "evaluations": evidence.evaluations,
        "seconds": explanation.seconds,
        "peak_bytes": peak_bytes(),
    });
    if let (Some((name, parts)), Some(object)) = (parts::json(explanation, inputs), json.as_object_mut()) {
        object.insert(name.to_string(), parts);
    }
    json
}

/// The most important of it, for a person.
pub(crate) fn summary(explanation: &Explanation, question: &Question, inputs: &Inputs) -> String {
    let rows: Vec<_> = (0..inputs.rows.len()).collect();
    facts(explanation, question, inputs, &rows).iter().fold(String::new(), |mut text, (name, value)| {
        writeln!(text, "{name:<10} {value}").expect("BUG: a String takes all text");
        text
    })
}

/// What is known about an explanation of these rows: names and values.
pub(crate) fn facts(
    explanation: &Explanation,
    question: &Question,
    inputs: &Inputs,
    rows: &[usize],
) -> Vec<(&'static str, String)> {
    let evidence = &explanation.attribution.evidence;
    let mut facts = Vec::new();
    let parameters: Vec<_> = evidence.parameters.iter().map(|p| format!("{}={}", p.name, p.value)).collect();
    let with = if parameters.is_empty() { String::new() } else { format!(" ({})", parameters.join(", ")) };
    facts.push(("method", format!("{}{with}", evidence.method)));
    facts.push(("influence", format!("of {} on {}", evidence.from, evidence.to)));
    for &row in rows {
        if inputs.rows.len() > 1 {
            facts.push(("input", inputs.rows[row].clone()));
        }
        let about = match explanation.class(question, row) {
            Some(class) if evidence.classes.is_some() => {
                format!("{}, {}", inputs.labels.describe(class), question.target)
            }
            _ => question.describe(&inputs.labels),
        };
        facts.push(("target", about));
        if let Some(quantity) = evidence.quantity.get(row) {
            let baseline = evidence.baseline_quantity.as_ref().and_then(|values| values.get(row));
            let there = baseline.map_or(String::new(), |value| format!("; at the baseline {value:.6}"));
            facts.push(("quantity", format!("{quantity:.6}{there}")));
            if let Some(residual) = evidence.residual.as_ref().and_then(|values| values.get(row)) {
                let claimed = evidence.claimed.as_ref().and_then(|values| values.get(row));
                facts.push(("residual", meaning(*residual, *claimed.unwrap_or(quantity), evidence.law)));
            }
        }
    }
    let dtype = evidence.precision;
    let time = format!("{:.2} s, {} evaluations", explanation.seconds, evidence.evaluations);
    facts.push(("time", format!("{time}, {} {dtype}", evidence.backend)));
    facts.extend(evidence.notes.iter().map(|note| ("note", note.clone())));
    facts
}

/// What a residual says, against what the attributions should add up to.
fn meaning(residual: f64, claimed: f64, law: Option<&str>) -> String {
    let share = residual.abs() / claimed.abs().max(f64::MIN_POSITIVE);
    let verdict = match share <= SMALL {
        true => "holds",
        false => "DOES NOT HOLD: don't read amounts from this",
    };
    let percent = if share > 10.0 { "over 1000 %".to_string() } else { format!("{:.2} %", share * 100.0) };
    let law = law.unwrap_or("conservation");
    format!("{residual:.3e}, {percent} of {claimed:.6}: {verdict} ({law})")
}

/// The most memory this process has had so far, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residuals_in_words() {
        assert!(meaning(0.001, 2.0, None).contains("holds"));
        assert!(meaning(-0.1, 2.0, None).contains("5.00 % of 2.000000: DOES NOT HOLD"));
        assert!(meaning(0.1, 0.0, None).contains("over 1000 %"));
        assert!(meaning(0.0, 0.0, None).contains("0.00 % of 0.000000: holds"));
    }
}
