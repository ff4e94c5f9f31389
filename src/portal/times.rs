//! Times as people read them. Without a script nobody knows the reader's time zone, so it is said how long ago something was,
//! and the date in UTC.

use std::time::Duration;

use crate::domain::time::Timestamp;

/// A time, in the forms that a page has it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    /// RFC 3339.
    pub exact: String,
    /// `3 Oct 2026, 14:02 UTC`.
    pub date: String,
    /// `5 minutes ago`, or `in 5 minutes`.
    pub ago: String,
}

impl Shown {
    pub fn new(time: Timestamp, now: Timestamp) -> Self {
        let exact = time.to_string();
        let since = u64::try_from(now.as_millis() - time.as_millis()).map(Duration::from_millis).unwrap_or_default();
        let ago = if since < Duration::from_mins(1) { "just now".to_owned() } else { format!("{} ago", in_words(since)) };
        Self { date: date(&exact), exact, ago }
    }

    /// The time of its day, to the second.
    pub fn time(&self) -> &str {
        self.exact.get(11..19).unwrap_or_default()
    }

    /// A time that is to come: `in 5 minutes`.
    pub fn coming(time: Timestamp, now: Timestamp) -> Self {
        let left = u64::try_from(time.as_millis() - now.as_millis()).map(Duration::from_millis).unwrap_or_default();
        Self { ago: format!("in {}", in_words(left)), ..Self::new(time, now) }
    }
}

/// `14 days`, `12 hours`, `1 minute`: the largest unit of which there is a whole one, without the rest.
pub(super) fn in_words(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    let (number, unit) = match minutes {
        0 => return "less than a minute".to_owned(),
        1..60 => (minutes, "minute"),
        60..2880 => (minutes / 60, "hour"),
        _ => (minutes / 1440, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

/// From RFC 3339 in UTC.
fn date(exact: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let part = |range| exact.get(range).unwrap_or_default();
    let month = part(5..7).parse::<usize>().ok().and_then(|month| MONTHS.get(month.checked_sub(1)?));
    match month {
        Some(month) => format!("{} {month} {}, {} UTC", part(8..10).trim_start_matches('0'), part(0..4), part(11..16)),
        None => exact.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_words() {
        let time = Timestamp::parse("2026-10-03T14:02:07.123Z").unwrap();
        let after = |seconds| Shown::new(time, time.checked_add(Duration::from_secs(seconds)).unwrap());
        assert_eq!(after(0).date, "3 Oct 2026, 14:02 UTC");
        let agos = [0, 59, 60, 3599, 3600, 172_799, 172_800, 864_000].map(|seconds| after(seconds).ago);
        let expected =
            ["just now", "just now", "1 minute ago", "59 minutes ago", "1 hour ago", "47 hours ago", "2 days ago", "10 days ago"];
        assert_eq!(agos, expected);
        assert_eq!(Shown::new(time, Timestamp::from_millis(0)).ago, "just now");
        assert_eq!(in_words(Duration::from_hours(24 * 14)), "14 days");
        assert_eq!(Shown::coming(time.checked_add(Duration::from_hours(48)).unwrap(), time).ago, "in 2 days");
    }
}
