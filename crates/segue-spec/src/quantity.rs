//! Durations, sizes, money and counts as people write them: `1h30m`, `512MiB`, `5.51 USD`, `2M`.
//!
//! Each reader says what is wrong as a fragment that fits after "VALUE is not a …: ".

use segue_core::{Millis, Usd};

/// Reads `250ms`, `2s`, `5m`, `1h30m`, `1d`; a bare number counts as seconds if `bare`.
///
/// # Errors
/// What is wrong, as a fragment that fits after "VALUE is not a duration: ".
pub fn duration(text: &str, bare: bool) -> Result<Millis, String> {
    let hint = || "write it as `30s`, `5m` or `1h30m`".to_owned();
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        if !bare {
            return Err(format!("a unit is missing; write `{text}s` or `{text}m`"));
        }
        return millis(number * 1000.0);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..digits].parse().map_err(|_| hint())?;
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        total += number
            * match &rest[..letters] {
                "ms" => 1.0,
                "s" | "sec" => 1e3,
                "m" | "min" => 6e4,
                "h" => 3.6e6,
                "d" => 8.64e7,
                unit => return Err(format!("`{unit}` is no unit of time; use ms, s, m, h or d")),
            };
        rest = rest[letters..].trim_start();
    }
    if text.is_empty() { Err(hint()) } else { millis(total) }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn millis(value: f64) -> Result<Millis, String> {
    const YEARS_100_MS: f64 = 3.2e12;
    if value.is_nan() || value < 0.5 {
        Err("it must be longer than nothing".to_owned())
    } else if value > YEARS_100_MS {
        Err("it is longer than a hundred years".to_owned())
    } else {
        Ok(Millis(value.round() as u64))
    }
}

/// Reads `512MiB`, `1GB`, `64KiB`, `100B`; a bare number counts as bytes if `bare`.
pub(crate) fn size(text: &str, bare: bool) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let number: f64 =
        text[..digits].parse().map_err(|_| "write it as `512MiB` or `2GB`".to_owned())?;
    let unit = text[digits..].trim().to_ascii_lowercase();
    let scale = match unit.as_str() {
        "" if bare => 1.0,
        "" => return Err(format!("a unit is missing; write `{text}MiB` or `{text}B`")),
        "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        unit => return Err(format!("`{unit}` is no unit of size; use B, KiB, MiB, GiB or GB")),
    };
    whole(number * scale)
}

/// Reads `5.51 USD` or `$5.51`; a bare number counts as dollars if `bare`.
pub(crate) fn money(text: &str, bare: bool) -> Result<Usd, String> {
    let text = text.trim();
    let number = match (text.strip_prefix('$'), text.strip_suffix("USD")) {
        (Some(number), _) | (None, Some(number)) => number.trim(),
        (None, None) if bare || text.parse::<f64>().is_err() => text,
        (None, None) => return Err(format!("a currency is missing; write `{text} USD`")),
    };
    let dollars: f64 = number.parse().map_err(|_| {
        "write it as `5.51 USD` or `$5.51`; dollars are the only currency".to_owned()
    })?;
    if dollars < 0.0 {
        return Err("it must not be negative".to_owned());
    }
    Usd::from_dollars(dollars).ok_or_else(|| "it is too much".to_owned())
}

/// Reads `1.5` or `2`: cores, in thousandths.
pub(crate) fn cores(text: &str) -> Result<u64, String> {
    let number: f64 = text.trim().parse().map_err(|_| "write it as `1.5` or `2`".to_owned())?;
    if !(0.01..=4096.0).contains(&number) {
        return Err("it must be from 0.01 to 4096".to_owned());
    }
    whole((number * 1000.0).round())
}

/// Reads `2M`, `50k`, `50_000`.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    let text = text.trim().replace('_', "");
    let (number, scale) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], 1e3),
        Some((at, 'M' | 'm')) => (&text[..at], 1e6),
        Some((at, 'G' | 'B')) => (&text[..at], 1e9),
        _ => (text.as_str(), 1.0),
    };
    let number: f64 =
        number.parse().map_err(|_| "write it as `50000`, `50k` or `2M`".to_owned())?;
    whole(number * scale)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked before")]
fn whole(value: f64) -> Result<u64, String> {
    if value.is_nan() || value < 1.0 {
        Err("it must be at least 1".to_owned())
    } else if value > 9e15 {
        Err("it is too large".to_owned())
    } else if value.fract() > 1e-6 {
        Err("it must be a whole number".to_owned())
    } else {
        Ok(value.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!(duration("1h30m", false), Ok(Millis(5_400_000)));
        assert_eq!(duration("250ms", false), Ok(Millis(250)));
        assert_eq!(duration("1.5s", false), Ok(Millis(1500)));
        assert_eq!(duration("30", true), Ok(Millis(30_000)));
        assert_eq!(size("512MiB", false), Ok(512 << 20));
        assert_eq!(size("1GB", false), Ok(1_000_000_000));
        assert_eq!(money("5.51 USD", false), Ok(Usd(5_510_000)));
        assert_eq!(money("$5.51", false), Ok(Usd(5_510_000)));
        assert_eq!(count("2M"), Ok(2_000_000));
        assert_eq!(count("50_000"), Ok(50_000));
        assert_eq!(cores("1.5"), Ok(1500));
        assert_eq!(cores("0.01"), Ok(10));
    }

    #[test]
    fn what_is_no_quantity_is_refused() {
        for text in ["", "0s", "-1s", "5", "5 parsecs", "s", "1e99h", "nan", "inf"] {
            assert!(duration(text, false).is_err(), "{text:?}");
        }
        for text in ["", "0B", "5", "x", "1.5B", "99999999TB"] {
            assert!(size(text, false).is_err(), "{text:?}");
        }
        for text in ["5", "5 EUR", "-1 USD", "USD", "$", "inf USD", "nan USD"] {
            assert!(money(text, false).is_err(), "{text:?}");
        }
        for text in ["", "0", "0.001", "-1", "5000", "nan", "inf", "many"] {
            assert!(cores(text).is_err(), "{text:?}");
        }
        for text in ["", "0", "-2", "1.5", "M", "many"] {
            assert!(count(text).is_err(), "{text:?}");
        }
    }
}
