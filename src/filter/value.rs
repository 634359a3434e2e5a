//! Questions about what stands beside the key: type, expiry, size.
//!
//! ```text
//!   --type      hash,zset
//!   --expires   any | none | before=T | after=T        before: strictly; after: at T or later
//!                 T = 1767225600000      milliseconds since 1970, from 10^11 (1973) on
//!                     1767225600         seconds since 1970, below 10^11 (the year 5138)
//!                     2026-01-31         that day's first moment, UTC
//!                     2026-01-31T12:00:00Z   2026-01-31T12:00:00.250+02:00
//!                     now  now+2h  now-7d    the moment rdbtool was started, and from there
//!   --expired   keep | drop
//!   --min-size  1000  64k  10MB  2GiB           bytes; k, m, g, t are powers of 1024, kb and kib are k
//! ```

use std::fmt;
use std::str::FromStr;

use crate::rdb::LogicalType;

/// A set of logical types.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TypeSet(u16);

impl TypeSet {
    /// Every type.
    pub const ALL: TypeSet = TypeSet((1 << LogicalType::ALL.len()) - 1);

    /// Whether a type is in the set.
    #[inline]
    pub const fn has(self, t: LogicalType) -> bool {
        self.0 >> (t as u16) & 1 == 1
    }
}

impl Default for TypeSet {
    fn default() -> Self {
        TypeSet::ALL
    }
}

impl FromIterator<LogicalType> for TypeSet {
    fn from_iter<I: IntoIterator<Item = LogicalType>>(types: I) -> Self {
        TypeSet(types.into_iter().fold(0, |set, t| set | 1 << (t as u16)))
    }
}

impl fmt::Debug for TypeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let types = LogicalType::ALL.into_iter().filter(|&t| self.has(t));
        f.debug_set().entries(types).finish()
    }
}

/// Reads the names of types between commas: `hash,zset`.
impl FromStr for TypeSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.split(',')
            .map(|name| match name.trim() {
                "" => Err(format!(
                    "{text:?} has an empty place: expected types such as hash,zset"
                )),
                name => name.parse(),
            })
            .collect()
    }
}

/// One `--expires`: what is asked of a key's expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// The key has an expiry.
    Any,
    /// The key has none.
    None,
    /// It has one, and that is earlier than this.
    Before(Moment),
    /// It has one, and that is this or later.
    After(Moment),
}

/// Reads `any`, `none`, `before=T` or `after=T`.
impl FromStr for Expires {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            None if text == "any" => Ok(Expires::Any),
            None if text == "none" => Ok(Expires::None),
            Some(("before", t)) => Ok(Expires::Before(t.parse()?)),
            Some(("after", t)) => Ok(Expires::After(t.parse()?)),
            _ => Err(format!(
                "{text:?} is no question about an expiry: expected any, none, before=T or after=T, as in before=now+2h"
            )),
        }
    }
}

/// A point in time, fixed or as far from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Milliseconds since 1970.
    At(i64),
    /// Milliseconds after now, negative before it.
    FromNow(i64),
}

impl Moment {
    /// Milliseconds since 1970, when `now_ms` is now.
    pub fn at(self, now_ms: i64) -> i64 {
        match self {
            Moment::At(t) => t,
            // Both ends of what i64 holds are 292 million years away.
            Moment::FromNow(ms) => now_ms.saturating_add(ms),
        }
    }
}

/// From this number on a time is in milliseconds, below it in seconds.
const FIRST_MS: i64 = 100_000_000_000;

/// Reads a number, a date, a date and time with `Z` or an offset, or `now` with what is added to it or taken from it.
impl FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(rest) = text.strip_prefix("now") {
            return from_now(rest).map(Moment::FromNow).ok_or_else(|| {
                format!("{text:?} is no time near now: expected now, now+2h, now-7d or now+1h30m")
            });
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.parse::<i64>() {
                Ok(ms @ FIRST_MS..) => Ok(Moment::At(ms)),
                Ok(s) => Ok(Moment::At(s * 1000)),
                Err(_) => Err(format!(
                    "{text:?} is too large: expected milliseconds since 1970, such as 1767225600000"
                )),
            };
        }
        rfc3339(text).map(Moment::At).ok_or_else(|| {
            format!(
                "{text:?} is no time: expected milliseconds or seconds since 1970, a date such as 2026-01-31 or \
                 2026-01-31T12:00:00Z, or now, now+2h, now-7d"
            )
        })
    }
}

/// Milliseconds of what follows `now`: nothing, `+2h`, `-7d`.
fn from_now(rest: &str) -> Option<i64> {
    let (sign, span) = match rest.as_bytes().first() {
        None => return Some(0),
        Some(b'+') => (1, &rest[1..]),
        Some(b'-') => (-1, &rest[1..]),
        Some(_) => return None,
    };
    Some(sign * span_ms(span)?)
}

/// Milliseconds of a span such as `2h` or `1d 12h`.
pub(super) fn span_ms(text: &str) -> Option<i64> {
    let span = humantime::parse_duration(text).ok()?;
    i64::try_from(span.as_millis()).ok()
}

/// Milliseconds since 1970 of an RFC 3339 date, or date and time. A fraction of a second is cut after the milliseconds.
///
/// A time without `Z` or an offset is refused rather than taken for UTC or for local time.
fn rfc3339(text: &str) -> Option<i64> {
    const DATE: usize = "2026-01-31".len();
    const SECONDS: usize = "2026-01-31T12:00:00".len();
    let text = text.to_ascii_uppercase();
    if text.len() == DATE {
        return utc_seconds(&format!("{text}T00:00:00")).map(|s| s * 1000);
    }
    let (time, rest) = text.split_at_checked(SECONDS)?;
    let (millis, zone) = match rest.strip_prefix('.') {
        None => (0, rest),
        Some(rest) => {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (fraction, zone) = rest.split_at_checked(digits)?;
            let three: String = fraction.chars().chain("00".chars()).take(3).collect();
            // No digit at all leaves "00", which a dot does not stand before.
            (
                if digits > 0 {
                    three.parse().ok()?
                } else {
                    return None;
                },
                zone,
            )
        }
    };
    Some((utc_seconds(time)? - offset_seconds(zone)?) * 1000 + millis)
}

/// Seconds since 1970 of exactly `2026-01-31T12:00:00`, read as UTC.
fn utc_seconds(text: &str) -> Option<i64> {
    let t = humantime::parse_rfc3339_weak(text).ok()?;
    let since = t.duration_since(std::time::UNIX_EPOCH).ok()?;
    i64::try_from(since.as_secs()).ok()
}

/// Seconds of `Z`, `+02:00`, `-11:30`.
fn offset_seconds(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let [sign @ (b'+' | b'-'), digits @ ..] = zone.as_bytes() else {
        return None;
    };
    let &[h1, h2, b':', m1, m2] = digits else {
        return None;
    };
    let digit = |b: u8| (b as char).to_digit(10).map(i64::from);
    let (hours, minutes) = (digit(h1)? * 10 + digit(h2)?, digit(m1)? * 10 + digit(m2)?);
    let seconds = (hours * 60 + minutes) * 60;
    (hours < 24 && minutes < 60).then_some(if *sign == b'+' { seconds } else { -seconds })
}

/// What becomes of keys whose expiry has passed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expired {
    /// They are kept, as the file has them.
    #[default]
    Keep,
    /// They are left out, as a master does when it loads the file: those whose expiry is less than now.
    Drop,
}

/// Reads `keep` or `drop`.
impl FromStr for Expired {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "keep" => Ok(Expired::Keep),
            "drop" => Ok(Expired::Drop),
            _ => Err(format!(
                "{text:?} is not what expired keys can meet with: expected keep or drop"
            )),
        }
    }
}

/// All that is asked of expiries, as one range and one flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExpiryRange {
    /// Keys without an expiry pass.
    without: bool,
    /// Keys with an expiry from the first to the second pass, both included; none do when they are reversed.
    from: i64,
    to: i64,
}

impl ExpiryRange {
    const ALL: ExpiryRange = ExpiryRange {
        without: true,
        from: i64::MIN,
        to: i64::MAX,
    };

    /// What is left when all that is asked holds.
    pub(super) fn new(expires: &[Expires], expired: Expired, now_ms: i64) -> Self {
        let mut range = ExpiryRange::ALL;
        for e in expires {
            match e {
                Expires::Any => range.without = false,
                Expires::None => range.allow(i64::MAX, i64::MIN),
                Expires::Before(t) => {
                    range.without = false;
                    match t.at(now_ms).checked_sub(1) {
                        Some(to) => range.allow(i64::MIN, to),
                        None => range.allow(i64::MAX, i64::MIN),
                    }
                }
                Expires::After(t) => {
                    range.without = false;
                    range.allow(t.at(now_ms), i64::MAX);
                }
            }
        }
        if expired == Expired::Drop {
            range.allow(now_ms, i64::MAX);
        }
        range
    }

    fn allow(&mut self, from: i64, to: i64) {
        self.from = self.from.max(from);
        self.to = self.to.min(to);
    }

    /// Whether every key passes.
    pub(super) fn is_all(self) -> bool {
        self == ExpiryRange::ALL
    }

    /// Whether no key can pass.
    pub(super) fn is_none(self) -> bool {
        !self.without && self.from > self.to
    }

    #[inline]
    pub(super) fn has(self, expire_at_ms: Option<i64>) -> bool {
        match expire_at_ms {
            None => self.without,
            Some(t) => self.from <= t && t <= self.to,
        }
    }
}

impl Default for ExpiryRange {
    fn default() -> Self {
        ExpiryRange::ALL
    }
}

/// A number of bytes, as `--min-size` and `--max-size` take it.
///
/// ```
/// use rdbtool::filter::Size;
/// assert_eq!("64k".parse(), Ok(Size(65536)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Reads digits and, in any case, nothing or `b`, or one of `k`, `m`, `g`, `t`, by itself or before `b` or `ib`. All of
/// them are powers of 1024.
impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => {
                return Err(format!(
                    "{text:?} is no size: expected bytes such as 1000, 64k, 10MB or 2GiB"
                ));
            }
        };
        if digits == 0 {
            return Err(format!(
                "{text:?} has no number: expected bytes such as 1000, 64k, 10MB or 2GiB"
            ));
        }
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(1 << shift))
            .map(Size)
            .ok_or_else(|| {
                format!("{text:?} is too large: expected less than 16777216t, such as 64k or 2GiB")
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use LogicalType::*;

    #[test]
    fn type_lists() {
        let rows: &[(&str, &[LogicalType])] = &[
            ("hash", &[Hash]),
            ("hash,zset", &[Hash, Zset]),
            ("zset,hash,zset", &[Hash, Zset]),
            (" string , GCRA", &[String, RateLimiter]),
            (
                "string,list,set,zset,hash,stream,module,array,gcra",
                &LogicalType::ALL,
            ),
        ];
        for &(text, types) in rows {
            let set: TypeSet = text.parse().unwrap();
            for t in LogicalType::ALL {
                assert_eq!(set.has(t), types.contains(&t), "{text:?}: {t}");
            }
            assert_eq!(set == TypeSet::ALL, types.len() == 9, "{text:?}");
        }
    }

    #[test]
    fn type_lists_refused() {
        for (text, what) in [
            ("", "empty place"),
            ("hash,", "empty place"),
            ("hash,,set", "empty place"),
            ("hash zset", "\"hash zset\" is no type"),
            ("hash,json", "\"json\" is no type"),
        ] {
            let e = text.parse::<TypeSet>().unwrap_err();
            assert!(e.contains(what), "{text:?}: {e}");
        }
    }

    const DAY: i64 = 86_400_000;
    /// 2026-01-31T12:00:00Z.
    const NOON: i64 = 1_769_860_800_000;

    #[test]
    fn moments() {
        use Moment::*;
        let rows = [
            ("0", At(0)),
            ("1769860800", At(NOON)),
            ("1769860800000", At(NOON)),
            ("99999999999", At(99_999_999_999_000)),
            ("100000000000", At(100_000_000_000)),
            ("0000000000007", At(7000)),
            ("9223372036854775807", At(i64::MAX)),
            ("1970-01-01", At(0)),
            ("2026-01-31", At(NOON - DAY / 2)),
            ("2024-02-29", At(1_709_164_800_000)),
            ("2026-01-31T12:00:00Z", At(NOON)),
            ("2026-01-31t12:00:00z", At(NOON)),
            ("2026-01-31 12:00:00Z", At(NOON)),
            ("2026-01-31T12:00:00+00:00", At(NOON)),
            ("2026-01-31T14:00:00+02:00", At(NOON)),
            ("2026-01-31T00:30:00-11:30", At(NOON)),
            ("2026-01-31T12:00:00.2Z", At(NOON + 200)),
            ("2026-01-31T12:00:00.25+00:00", At(NOON + 250)),
            ("2026-01-31T12:00:00.0019999999999Z", At(NOON + 1)),
            ("now", FromNow(0)),
            ("now+2h", FromNow(7_200_000)),
            ("now-7d", FromNow(-7 * DAY)),
            ("now+1h30m", FromNow(5_400_000)),
            ("now+250ms", FromNow(250)),
        ];
        for (text, want) in rows {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
    }

    #[test]
    fn moments_refused() {
        for text in [
            "",
            "-5",
            "+5",
            "1e3",
            "12.5",
            "9223372036854775808",
            "99999999999999999999999",
            "yesterday",
            "2026-1-31",
            "2026-13-01",
            "2025-02-29",
            "1969-12-31",
            "2026-01-31T12:00Z",
            "2026-01-31T12:00:00",
            "2026-01-31T25:00:00Z",
            "2026-01-31T12:00:00.Z",
            "2026-01-31T12:00:00.5",
            "2026-01-31T12:00:00ZxZ",
            "2026-01-31T12:00:00+0200",
            "2026-01-31T12:00:00+24:00",
            "2026-01-31T12:00:00+02:60",
            "2026-01-31T12:00:00\u{e9}",
            "2026-01-3\u{e9}",
            "2026-01-31T12:00:0\u{e9}Z",
            "now2h",
            "now+",
            "now+2",
            "now + 2x",
            "now+-2h",
            "nowadays",
            "now+\u{e9}",
            "now+600000000y",
            "now+99999999999999999999y",
        ] {
            let e = text.parse::<Moment>().unwrap_err();
            assert!(e.contains("expected") && !e.contains('\n'), "{text:?}: {e}");
        }
    }

    #[test]
    fn expires_words() {
        use Expires::*;
        let rows = [
            ("any", Any),
            ("none", None),
            ("before=now", Before(Moment::FromNow(0))),
            ("after=2026-01-31T12:00:00Z", After(Moment::At(NOON))),
        ];
        for (text, want) in rows {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        for text in [
            "",
            "Any",
            "before",
            "after=",
            "before=",
            "any=1",
            "none,any",
            "until=5",
            "before =5",
        ] {
            let e = text.parse::<Expires>().unwrap_err();
            assert!(e.contains("expected"), "{text:?}: {e}");
        }
    }

    #[test]
    fn expiry_ranges() {
        use Expires::*;
        const NOW: i64 = 1000;
        let at = Moment::At;
        let all = [i64::MIN, -1, 0, 999, 1000, 1001, i64::MAX];
        let rows: &[(&[Expires], Expired, bool, &[i64])] = &[
            (&[], Expired::Keep, true, &all),
            (&[], Expired::Drop, true, &[1000, 1001, i64::MAX]),
            (&[Any], Expired::Keep, false, &all),
            (&[None], Expired::Keep, true, &[]),
            (&[None], Expired::Drop, true, &[]),
            (&[Before(at(1000))], Expired::Keep, false, &all[..4]),
            (&[After(at(1000))], Expired::Keep, false, &all[4..]),
            (
                &[Any, After(at(0)), Before(at(1001))],
                Expired::Keep,
                false,
                &all[2..5],
            ),
            (
                &[After(at(0)), After(at(1001))],
                Expired::Keep,
                false,
                &all[5..],
            ),
            (&[Before(at(i64::MAX))], Expired::Drop, false, &[1000, 1001]),
            (&[After(at(i64::MAX))], Expired::Keep, false, &[i64::MAX]),
            (&[After(at(i64::MIN))], Expired::Keep, false, &all),
            (
                &[Before(Moment::FromNow(1))],
                Expired::Keep,
                false,
                &all[..5],
            ),
            (
                &[After(Moment::FromNow(i64::MAX))],
                Expired::Keep,
                false,
                &[i64::MAX],
            ),
        ];
        for &(expires, expired, without, with) in rows {
            let name = format!("{expires:?} {expired:?}");
            let range = ExpiryRange::new(expires, expired, NOW);
            assert_eq!(range.has(Option::None), without, "{name}");
            for t in all {
                assert_eq!(range.has(Some(t)), with.contains(&t), "{name}: {t}");
            }
            assert_eq!(range.is_all(), without && with.len() == all.len(), "{name}");
            assert!(!range.is_none(), "{name}");
        }
    }

    #[test]
    fn expiry_ranges_without_a_key() {
        use Expires::*;
        let at = Moment::At;
        for (expires, expired) in [
            (&[Any, None][..], Expired::Keep),
            (&[None, Before(at(5))], Expired::Keep),
            (&[After(at(6)), Before(at(6))], Expired::Keep),
            (&[Before(at(1000))], Expired::Drop),
            (&[Before(at(i64::MIN))], Expired::Keep),
        ] {
            assert!(
                ExpiryRange::new(expires, expired, 1000).is_none(),
                "{expires:?} {expired:?}"
            );
        }
    }

    #[test]
    fn expired_words() {
        assert_eq!("keep".parse(), Ok(Expired::Keep));
        assert_eq!("drop".parse(), Ok(Expired::Drop));
        assert!("".parse::<Expired>().unwrap_err().contains("keep or drop"));
    }

    #[test]
    fn sizes() {
        let rows = [
            ("0", 0),
            ("1000", 1000),
            ("1000b", 1000),
            ("1k", 1 << 10),
            ("64K", 64 << 10),
            ("64kb", 64 << 10),
            ("64KiB", 64 << 10),
            ("3m", 3 << 20),
            ("3MB", 3 << 20),
            ("3MiB", 3 << 20),
            ("2g", 2 << 30),
            ("2GiB", 2 << 30),
            ("1T", 1 << 40),
            ("18446744073709551615", u64::MAX),
            ("16777215t", 16_777_215 << 40),
        ];
        for (text, want) in rows {
            assert_eq!(text.parse(), Ok(Size(want)), "{text}");
        }
    }

    #[test]
    fn sizes_refused() {
        for (text, what) in [
            ("", "no number"),
            ("k", "no number"),
            ("-1", "no size"),
            ("+1", "no size"),
            ("1.5k", "no size"),
            ("1 k", "no size"),
            ("1x", "no size"),
            ("1kk", "no size"),
            ("1ib", "no size"),
            ("1\u{e9}", "no size"),
            ("18446744073709551616", "too large"),
            ("16777216t", "too large"),
            ("18014398509481984k", "too large"),
        ] {
            let e = text.parse::<Size>().unwrap_err();
            assert!(e.contains(what) && e.contains("64k"), "{text:?}: {e}");
        }
    }
}
