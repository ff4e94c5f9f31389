//! Points in time and durations as the contract writes them: RFC 3339 in UTC, and `30s`, `15m`, `90d`.
//!
//! Knows no clock; the present comes in as a value.

use std::{fmt, ops::RangeInclusive, time::Duration};

use serde::{Deserialize, Serialize};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This instant and `duration` more, or `None` past the year 9999 (which RFC 3339 cannot write).
    #[must_use]
    pub fn checked_add(self, duration: Duration) -> Option<Self> {
        let millis = i64::try_from(duration.as_millis()).ok()?;
        let sum = self.0.checked_add(millis)?;
        jiff::Timestamp::from_millisecond(sum).ok()?;
        Some(Self(sum))
    }

    /// Reads an RFC 3339 time with any offset. `None` when it is not one; the other forms of ISO 8601 are none.
    ///
    /// The last hours of the year 9999, which people write for "never", are past what can be represented: they become the
    /// last instant that can, 9999-12-30T22:00:00Z.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let local = local_part(text)?;
        let _possible: jiff::civil::DateTime = local.parse().ok()?;
        // Its form and its date are right, so nothing but its size can be wrong.
        let parsed = text.parse().unwrap_or(jiff::Timestamp::MAX);
        Some(Self(parsed.as_millisecond().min(jiff::Timestamp::MAX.as_second() * 1_000)))
    }
}

/// The date and time of a text in the form of RFC 3339 5.6, `date-time`, without the offset; `None` when the form is
/// another.
fn local_part(text: &str) -> Option<&str> {
    let zulu = text.len().checked_sub(1)?;
    let (local, offset) = match text.as_bytes()[zulu] {
        b'Z' | b'z' => text.split_at_checked(zulu)?,
        _ => text.split_at_checked(text.len().checked_sub("+00:00".len())?)?,
    };
    let in_form = |text: &str, form: &str| {
        let same = |(byte, form): (u8, u8)| if form == b'0' { byte.is_ascii_digit() } else { byte.eq_ignore_ascii_case(&form) };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(same)
    };
    let offset_is_right = match offset {
        "Z" | "z" => true,
        _ => (in_form(offset, "+00:00") || in_form(offset, "-00:00")) && &offset[1..3] < "24" && &offset[4..] < "60",
    };
    let (seconds, fraction) = local.split_at_checked("0000-00-00T00:00:00".len())?;
    let digits = fraction.strip_prefix('.').map(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()));
    let fraction_is_right = fraction.is_empty() || digits == Some(true);
    (offset_is_right && fraction_is_right && in_form(seconds, "0000-00-00T00:00:00")).then_some(local)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("expected an RFC 3339 time"))
    }
}

/// How long a server may go on with what it remembers of the store: below it, keeping track of the store would be most of
/// what the store has to do; above it, nobody would call it a bound.
pub const STALENESS: RangeInclusive<Duration> = Duration::from_millis(50)..=Duration::from_mins(1);

/// Reads `500ms`, `30s`, `15m`, `12h`, `90d`, `1y` (365 days). `None` when it is none of these or overflows.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let millis_per_unit: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "y" => 365 * 86_400_000,
        _ => return None,
    };
    let millis = number.parse::<u64>().ok()?.checked_mul(millis_per_unit)?;
    Some(Duration::from_millis(millis))
}

/// As [`parse_duration`] reads it, in the greatest unit below a year that has no remainder.
#[must_use]
pub fn spell_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let unit = units.into_iter().find(|(unit, _)| seconds > 0 && seconds.is_multiple_of(*unit) && duration.subsec_millis() == 0);
    unit.map_or_else(|| format!("{}ms", duration.as_millis()), |(unit, name)| format!("{}{name}", seconds / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        assert_eq!(parse_duration("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(parse_duration("90d"), Some(Duration::from_hours(2160)));
        for bad in ["", "5", "s", "-5s", "5 s", "1.5h", "5S", "99999999999999999999s", "99999999999999999y"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_duration_is_spelled_as_it_is_read() {
        for text in ["50ms", "1s", "90s", "1m", "12h", "365d", "0ms", "1500ms"] {
            assert_eq!(spell_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn times_are_read_with_any_offset_and_written_in_utc() {
        let time = Timestamp::parse("2026-11-22T05:00:00+01:00").unwrap();
        assert_eq!(time.to_string(), "2026-11-22T04:00:00Z");
        assert_eq!(Timestamp::parse("2026-11-22T04:00:00.250z"), time.checked_add(Duration::from_millis(250)));
        assert_eq!(Timestamp::parse("2026-11-22t04:00:00-00:00"), Some(time));
    }

    #[test]
    fn other_ways_to_write_a_time_are_refused() {
        for bad in [
            "",
            "Z",
            "2026-11-22",
            "20300101T000000Z",
            "2030-01-01T00Z",
            "2030-01-01T00:00Z",
            "2030-01-01 00:00:00Z",
            "2030-01-01T00:00:00",
            "2030-01-01T00:00:00+01",
            "2030-01-01T00:00:00+0100",
            "2030-01-01T00:00:00+24:00",
            "2030-01-01T00:00:00+00:60",
            "2030-01-01T00:00:00.Z",
            "2030-01-01T00:00:00,5Z",
            "2030-01-01T00:00:00+01:00[Europe/Paris]",
            "2030-01-01T00:00:00Z[UTC]",
            "2030-02-30T00:00:00Z",
            "2030-01-01T24:00:00Z",
            "+002030-01-01T00:00:00Z",
            "2030-01-01T00:00:0\u{661}Z",
        ] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_end_of_the_year_9999_is_the_last_instant() {
        let last = Timestamp::parse("9999-12-31T23:59:59Z").unwrap();
        assert_eq!(last.to_string(), "9999-12-30T22:00:00Z");
        assert_eq!(Timestamp::parse("9999-12-31T23:59:59-23:59"), Some(last));
        assert_eq!(Timestamp::parse(&last.to_string()), Some(last));
        assert!(Timestamp::parse("9999-12-30T21:59:59Z").unwrap() < last);
        assert!(Timestamp::parse("0000-01-01T00:00:00Z").unwrap().as_millis() < 0);
    }
}
