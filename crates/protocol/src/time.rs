//! Instants of the wall clock and how the wire writes them.

use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z in an `i64`: what the store keeps and sorts by.
pub type UnixMicros = i64;

/// An instant of the wall clock: nanoseconds since 1970-01-01T00:00:00Z.
///
/// Never negative; good until the year 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From nanoseconds since the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the epoch.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// From the store's microseconds; what lies before the epoch becomes the epoch.
    #[must_use]
    pub fn from_micros(micros: UnixMicros) -> Self {
        Self(u64::try_from(micros).unwrap_or(0).saturating_mul(1_000))
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Microseconds since the epoch, rounded down.
    #[must_use]
    pub fn as_micros(self) -> UnixMicros {
        i64::try_from(self.0 / 1_000).unwrap_or(i64::MAX)
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn as_seconds(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Later by `seconds`.
    #[must_use]
    pub const fn plus_seconds(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds.saturating_mul(1_000_000_000)))
    }

    /// `YYYY-MM-DDTHH:MM:SS.mmmZ`: the control plane's form, always three digits of fraction.
    #[must_use]
    pub fn to_millis_text(self) -> String {
        self.to_millis().as_str().to_owned()
    }

    /// The same without a `String`: a page of ListRooms has a hundred of them.
    #[must_use]
    pub fn to_millis(self) -> MillisText {
        let (year, month, day) = civil_from_days(self.as_seconds() / 86_400);
        let (hour, minute, second) = time_of_day(self.as_seconds());
        let millis = self.0 / 1_000_000 % 1_000;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        text[0..2].copy_from_slice(two_digits(year / 100));
        text[2..4].copy_from_slice(two_digits(year));
        text[5..7].copy_from_slice(two_digits(month));
        text[8..10].copy_from_slice(two_digits(day));
        text[11..13].copy_from_slice(two_digits(hour));
        text[14..16].copy_from_slice(two_digits(minute));
        text[17..19].copy_from_slice(two_digits(second));
        text[20..22].copy_from_slice(two_digits(millis / 10));
        text[22] = two_digits(millis)[1];
        MillisText(text)
    }

    /// RFC 3339 with up to nine digits of fraction, trailing zeros dropped, and a literal `Z`: the form of
    /// `SendTime`. The iOS SDK needs the zone to be that one character.
    #[must_use]
    pub fn to_nanos_text(self) -> String {
        let mut text = self.date_and_time();
        let nanos = self.0 % 1_000_000_000;
        if nanos > 0 {
            let digits = format!("{nanos:09}");
            text.push('.');
            text.push_str(digits.trim_end_matches('0'));
        }
        text.push('Z');
        text
    }

    /// `YYYYMMDDTHHMMSSZ`: the form of `x-amz-date`.
    #[must_use]
    pub fn to_amz_text(self) -> String {
        let (year, month, day) = civil_from_days(self.as_seconds() / 86_400);
        let (hour, minute, second) = time_of_day(self.as_seconds());
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// Reads `YYYYMMDDTHHMMSSZ`; `None` when it is not exactly that or no such day exists.
    #[must_use]
    pub fn parse_amz(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
            return None;
        }
        let number = |from: usize, to: usize| -> Option<u64> {
            let digits = text.get(from..to)?;
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
        };
        let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
        let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
        if !(1970..=2500).contains(&year) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days_from_civil(year, month, day)?;
        Some(Self::from_seconds(days * 86_400 + hour * 3_600 + minute * 60 + second))
    }

    fn date_and_time(self) -> String {
        let (year, month, day) = civil_from_days(self.as_seconds() / 86_400);
        let (hour, minute, second) = time_of_day(self.as_seconds());
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// `YYYY-MM-DDTHH:MM:SS.mmmZ`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MillisText([u8; 24]);

impl MillisText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in, so this never takes the empty default.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text's bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 24] {
        &self.0
    }
}

impl fmt::Debug for MillisText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The last two digits of a number.
fn two_digits(number: u64) -> &'static [u8; 2] {
    const PAIRS: [[u8; 2]; 100] = {
        let mut pairs = [[b'0'; 2]; 100];
        let mut number = 0_u8;
        while number < 100 {
            pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
            number += 1;
        }
        pairs
    };
    &PAIRS[(number % 100) as usize]
}

fn time_of_day(seconds: u64) -> (u64, u64, u64) {
    let second_of_day = seconds % 86_400;
    (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60)
}

/// Year, month and day of a number of days since 1970-01-01 in the proleptic Gregorian calendar.
/// Counts in eras of 400 years that begin on 1 March, so that the leap day is the last day of a year.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

/// The inverse of [`civil_from_days`]; `None` when the date does not exist.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted_year = year - u64::from(month <= 2);
    let era = shifted_year / 400;
    let year_of_era = shifted_year % 400;
    let month_from_march = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

#[cfg(test)]
mod tests {
    use super::Timestamp;

    #[test]
    fn instants_are_written_as_the_wire_wants_them() {
        let instant = Timestamp::from_nanos(1_669_969_551_136_912_720);
        assert_eq!(instant.to_millis_text(), "2022-12-02T08:25:51.136Z");
        assert_eq!(instant.to_nanos_text(), "2022-12-02T08:25:51.13691272Z");
        assert_eq!(instant.to_amz_text(), "20221202T082551Z");
        let whole = Timestamp::from_seconds(1_669_969_551);
        assert_eq!(whole.to_millis_text(), "2022-12-02T08:25:51.000Z");
        assert_eq!(whole.to_nanos_text(), "2022-12-02T08:25:51Z");
    }

    #[test]
    fn every_day_of_some_centuries_is_written_and_read_back() {
        for day in 0..(530 * 365) {
            let instant = Timestamp::from_seconds(day * 86_400 + 86_399);
            assert_eq!(Timestamp::parse_amz(&instant.to_amz_text()), Some(instant));
        }
        assert_eq!(Timestamp::parse_amz("20240229T000000Z").map(Timestamp::as_seconds), Some(1_709_164_800));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "20230229T000000Z",
            "20231301T000000Z",
            "20230101T240000Z",
            "20230101T000000",
            "2023-01-01T00:00Z",
        ] {
            assert_eq!(Timestamp::parse_amz(text), None, "{text:?}");
        }
    }
}
