//! Rows, bars, and the Markdown table made of them.

/// What a figure has to be.
#[derive(Clone, Copy)]
pub(super) enum Bar {
    /// At most so many times the floor.
    Ratio(f64),
    /// At most this, with its unit as written after the number.
    Most(f64, &'static str),
    /// At least this, with its unit.
    Least(f64, &'static str),
    /// Only shown.
    None,
}

/// A figure, or why there is none.
pub(super) enum Value {
    Measured(f64),
    NotMeasured,
    Failed(String),
}

/// One line of the table.
pub(super) struct Row {
    pub(super) name: String,
    /// Seconds; `None` when the figure has no floor.
    pub(super) floor: Option<f64>,
    pub(super) measured: Value,
    pub(super) unit: &'static str,
    pub(super) bar: Bar,
}

impl Row {
    /// Whether the bar is held; what was not measured or has no bar does hold.
    pub(super) fn holds(&self) -> bool {
        let value = match (&self.measured, self.bar) {
            (Value::NotMeasured, _) => return true,
            (Value::Failed(_), _) => return false,
            (Value::Measured(value), _) => *value,
        };
        match self.bar {
            Bar::Ratio(most) => self.floor.is_some_and(|floor| value <= most * floor),
            Bar::Most(most, _) => value <= most,
            Bar::Least(least, _) => value >= least,
            Bar::None => true,
        }
    }

    fn cells(&self) -> [String; 6] {
        let floor = self.floor.map_or("–".to_owned(), |floor| format!("{floor:.3} s"));
        let (measured, ratio) = match &self.measured {
            Value::Measured(value) => {
                let ratio = self.floor.map(|floor| format!("{:.2}", value / floor));
                let measured = format!("{} {}", number(*value), self.unit);
                (measured.trim_end().to_owned(), ratio.unwrap_or("–".to_owned()))
            }
            Value::NotMeasured => ("–".to_owned(), "–".to_owned()),
            Value::Failed(why) => (format!("failed: {}", why.replace('|', "\\|")), "–".to_owned()),
        };
        let bar = match self.bar {
            Bar::Ratio(most) => format!("≤ {most} × floor"),
            Bar::Most(most, unit) => format!("≤ {most}{unit}"),
            Bar::Least(least, unit) => format!("≥ {least}{unit}"),
            Bar::None => "–".to_owned(),
        };
        let verdict = match (&self.measured, self.bar) {
            (Value::NotMeasured, _) | (_, Bar::None) => "–",
            _ if self.holds() => "yes",
            _ => "NO",
        };
        [self.name.clone(), floor, measured, ratio, bar, verdict.to_owned()]
    }
}

/// A number with three decimals below a thousand and none above.
fn number(value: f64) -> String {
    if value < 1_000.0 { format!("{value:.3}") } else { format!("{value:.0}") }
}

/// The rows as a Markdown table.
pub(super) fn render(rows: &[Row], slow_sync_ms: u64) -> String {
    let mut text = String::new();
    if slow_sync_ms > 0 {
        text.push_str(&format!("Every sync takes {slow_sync_ms} ms longer.\n\n"));
    }
    text.push_str("| workload | floor | segue | ratio | bar | ok? |\n");
    text.push_str("| --- | --- | --- | --- | --- | --- |\n");
    for row in rows {
        text.push_str(&format!("| {} |\n", row.cells().join(" | ")));
    }
    text
}

/// The middle one of an odd number of values, the upper middle one of an even number.
///
/// # Panics
/// When there is no value.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(floor: Option<f64>, measured: Value, bar: Bar) -> Row {
        Row { name: "w".to_owned(), floor, measured, unit: "s", bar }
    }

    #[test]
    fn equality_holds_and_failure_does_not() {
        assert!(row(Some(2.0), Value::Measured(3.0), Bar::Ratio(1.5)).holds());
        assert!(!row(Some(2.0), Value::Measured(3.1), Bar::Ratio(1.5)).holds());
        assert!(row(None, Value::Measured(5.0), Bar::Most(5.0, "")).holds());
        assert!(!row(None, Value::Measured(4.0), Bar::Least(5.0, "")).holds());
        assert!(!row(None, Value::Failed("x".into()), Bar::None).holds());
    }

    #[test]
    fn a_row_shows_ratio_bar_and_verdict() {
        let rows = [
            row(Some(2.0), Value::Measured(3.0), Bar::Ratio(1.5)),
            row(None, Value::Failed("a | b".into()), Bar::Most(1.0, " s")),
        ];
        let text = render(&rows, 0);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "| w | 2.000 s | 3.000 s | 1.50 | ≤ 1.5 × floor | yes |");
        assert_eq!(lines[1], "| w | – | failed: a \\| b | – | ≤ 1 s | NO |");
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
    }
}
