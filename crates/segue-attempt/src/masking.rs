//! Secrets out of what a report says of an attempt: of what reaches the journal besides output,
//! which its keeper has masked. Files that a task writes stay as they are.

use segue_core::{AttemptReport, Outcome, Value};
use segue_supervisor::Masker;

use crate::prepare::RunContext;

/// A masker of all secrets of the run's workflow; `None` if it has none.
pub(crate) fn masker(context: &RunContext) -> Option<Masker> {
    Masker::new(&secret_bytes(context))
}

/// The values of all secrets of the run's workflow.
pub(crate) fn secret_bytes(context: &RunContext) -> Vec<Vec<u8>> {
    context.secrets.values().map(|value| value.as_bytes().to_vec()).collect()
}

/// Masks every text of a value. A number with a secret's digits becomes a text.
pub(crate) fn mask_value(masker: &mut Masker, value: &mut Value) {
    match value {
        Value::Null | Value::Bool(_) => {}
        Value::Number(number) => {
            let (plain, masked) = (number.to_string(), masker.mask_text(&number.to_string()));
            if masked != plain {
                *value = Value::String(masked);
            }
        }
        Value::String(text) => *text = masker.mask_text(text),
        Value::Array(values) => values.iter_mut().for_each(|value| mask_value(masker, value)),
        Value::Object(map) => {
            for (name, mut value) in std::mem::take(map) {
                mask_value(masker, &mut value);
                map.insert(masker.mask_text(&name), value);
            }
        }
    }
}

/// Masks the words of a report. Its result and outputs are masked as they are found.
pub(crate) fn mask_words(masker: &mut Masker, report: &mut AttemptReport) {
    let AttemptReport { outcome, message, stderr_tail, findings, files, .. } = report;
    let mut words = vec![message, stderr_tail];
    if let Outcome::SpawnFailed { message, .. } = outcome {
        words.push(message);
    }
    words.extend(findings.iter_mut().map(|finding| &mut finding.detail));
    words.extend(files);
    for text in words {
        *text = masker.mask_text(text);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn no_corner_of_a_value_is_left_out() {
        let mut masker = Masker::new(&[b"hunter2hunter2".to_vec(), b"12345678".to_vec()]).unwrap();
        let mut value = json!({
            "a": ["x hunter2hunter2", null, 3], "pin": 12_345_678, "hunter2hunter2": {"b": true},
        });
        mask_value(&mut masker, &mut value);
        let expected = json!({"a": ["x ***", null, 3], "pin": "***", "***": {"b": true}});
        assert_eq!(value, expected);
    }
}
