//! Quantities with their units in the type: time, money, bytes.
//!
//! Nothing here knows a clock; a [`Timestamp`] always comes in from outside.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time in whole milliseconds.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// A span of `seconds`; saturates.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// The span in seconds, for display and for expressions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "2^53 ms is 285,000 years")]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

/// As promised in S3.47: `0.4s`, `2.3s`, `4m 23s`, `1h 15m 11s`.
impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0 / 1000;
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, 0, _) => write!(f, "{}.{}s", seconds, self.0 % 1000 / 100),
            (0, minutes, rest) => write!(f, "{minutes}m {rest}s"),
            (hours, minutes, rest) => write!(f, "{hours}h {minutes}m {rest}s"),
        }
    }
}

/// An instant: milliseconds since the Unix epoch, UTC. Written as RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The greatest instant that RFC 3339 can write: the end of the year 9998.
    pub const MAX: Self = Self(253_370_764_799_999);

    /// From milliseconds since the Unix epoch, clamped to the years 1970–9998.
    #[must_use]
    pub const fn from_unix_ms(ms: i64) -> Self {
        if ms < 0 {
            Self(0)
        } else if ms > Self::MAX.0 {
            Self::MAX
        } else {
            Self(ms)
        }
    }

    /// Milliseconds since the Unix epoch; never negative.
    #[must_use]
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// How long after `earlier` this is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Millis {
        Millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }

    /// As RFC 3339 to the second, rounded down: what programs read that know no fractions, such as
    /// jq's `fromdateiso8601`.
    #[must_use]
    pub fn to_second(self) -> String {
        format!("{:.0}", Self(self.0 - self.0 % 1000).to_jiff())
    }

    /// As a `jiff` timestamp, for formatting in a time zone.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).expect("clamped to the years jiff knows")
    }
}

impl Add<Millis> for Timestamp {
    type Output = Self;
    fn add(self, span: Millis) -> Self {
        Self::from_unix_ms(self.0.saturating_add(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }
}

impl Sub<Millis> for Timestamp {
    type Output = Self;
    fn sub(self, span: Millis) -> Self {
        Self::from_unix_ms(self.0.saturating_sub(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}", self.to_jiff())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'_, str>::deserialize(deserializer)?;
        let parsed: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        Ok(Self::from_unix_ms(parsed.as_millisecond()))
    }
}

/// Money in millionths of a US dollar; sums never round.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Usd(pub i64);

impl Usd {
    /// From dollars, rounded to the millionth; `None` if not finite or too large.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the range is checked first")]
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        let micros = (dollars * 1e6).round();
        (micros.is_finite() && micros.abs() < 9e15).then_some(Self(micros as i64))
    }

    /// In dollars, for expressions.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "shown with two to four decimals")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl AddAssign for Usd {
    fn add_assign(&mut self, other: Self) {
        self.0 = self.0.saturating_add(other.0);
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${:.2}", self.dollars())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_people_say_them() {
        let cases = [
            (0, "0.0s"),
            (2_345, "2.3s"),
            (59_999, "59.9s"),
            (263_000, "4m 23s"),
            (4_511_000, "1h 15m 11s"),
        ];
        for (ms, text) in cases {
            assert_eq!(Millis(ms).to_string(), text);
        }
    }

    #[test]
    fn timestamps_round_trip_as_rfc_3339() {
        let at = Timestamp::from_unix_ms(1_764_066_466_123);
        let text = serde_json::to_string(&at).unwrap();
        assert_eq!(text, "\"2025-11-25T10:27:46.123Z\"");
        assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), at);
        assert_eq!(Timestamp::from_unix_ms(i64::MAX) + Millis(u64::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.to_string(), "9998-12-31T23:59:59.999Z");
        assert_eq!(Timestamp::from_unix_ms(1_764_066_466_999).to_second(), "2025-11-25T10:27:46Z");
    }
}
