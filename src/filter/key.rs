//! Questions about a key: globs, regular expressions, cluster slots.
//!
//! A glob is the server's own pattern, that of KEYS and `SCAN ... MATCH`: it is compared byte by byte, in its case, with
//! the whole key.
//!
//! ```text
//!   *        any bytes, also none              [abc]   one of these bytes       [^abc]   one byte that is none of these
//!   ?        one byte                          [a-z]   one byte of the range; [z-a] is the same
//!   \x       the byte x itself                 other   itself
//!
//!   odd, and kept as the server has it:
//!   [ab      a class that is never closed runs to the end of the pattern      []   [    no byte       [^]  [^   any byte
//!   [a-]     a range from a to ], hence never closed                          [\]] [a\-z]   \ works in classes too
//!   ab\      a \ that ends the pattern is the byte \                          [a-\]]   the range a to \, then a byte ]
//!   [a-FF]   bytes from 80 on sort below 00 in ranges (the server compares C `char`, signed on x86-64)
//!   **       all keys but the empty one; a lone * is all keys
//! ```
//!
//! Source: redis 7.0 util.c (stringmatchlen) and db.c (keysCommand); compared with what KEYS of Redis 7.0.15 answered to
//! twelve thousand odd patterns over four thousand odd keys each. Not kept: newer servers give up, saying "no match", in
//! patterns with more than a thousand stars.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use memchr::arch::all::{is_prefix, is_suffix};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::ranges;
use crate::cluster::slot::SLOTS;

/// A pattern as the server's KEYS has it, made ready to be compared with many keys.
///
/// Every string of bytes is a valid pattern. The stars cut it into runs, each of which matches a fixed number of bytes:
/// the first run must stand at the key's start, the last at its end, and those between are searched for from left to
/// right, each as far left as it goes. So the time is at most key times pattern, whatever the number of stars; a plain
/// name, `prefix*`, `*suffix` are one comparison of memory and `*infix*` is one fast search.
///
/// ```
/// use rdbtool::filter::Glob;
/// let glob = Glob::new(b"user:[0-9]*");
/// assert!(glob.matches(b"user:1000"));
/// assert!(!glob.matches(b"user:anna"));
/// ```
#[derive(Clone)]
pub struct Glob {
    pattern: Box<[u8]>,
    head: Run,
    /// What follows the first star; none without a star.
    stars: Option<Stars>,
}

#[derive(Clone)]
struct Stars {
    middle: Box<[Needle]>,
    tail: Run,
    /// `**`, which the server does not find equal to the empty key.
    not_empty: bool,
}

/// Part of a pattern without a star.
#[derive(Clone)]
enum Run {
    Bytes(Box<[u8]>),
    Units(Box<[Unit]>),
}

/// What stands for one byte of the key.
#[derive(Clone, Copy)]
enum Unit {
    Byte(u8),
    Any,
    OneOf(ByteSet),
}

/// A run between two stars.
#[derive(Clone)]
enum Needle {
    Bytes(Box<Finder<'static>>),
    Units(Box<[Unit]>),
}

impl Glob {
    /// Makes a pattern ready.
    pub fn new(pattern: &[u8]) -> Self {
        let mut runs = vec![Vec::new()];
        let mut rest = pattern;
        while let Some((unit, after)) = Unit::read(rest) {
            rest = after;
            match (unit, runs.last_mut()) {
                (Some(unit), Some(run)) => run.push(unit),
                _ => runs.push(Vec::new()),
            }
        }
        let mut runs = runs.into_iter();
        let head = Run::new(&runs.next().unwrap_or_default());
        let stars = runs.next_back().map(|tail| Stars {
            tail: Run::new(&tail),
            // Between two stars that stand side by side there is an empty run.
            middle: runs.filter(|r| !r.is_empty()).map(Needle::new).collect(),
            not_empty: pattern.len() > 1 && pattern.iter().all(|&b| b == b'*'),
        });
        Glob {
            pattern: pattern.into(),
            head,
            stars,
        }
    }

    /// The pattern as it was given.
    pub fn pattern(&self) -> &[u8] {
        &self.pattern
    }

    /// Whether it is `*`, which every key matches.
    pub fn is_all(&self) -> bool {
        *self.pattern == *b"*"
    }

    /// Whether the whole key matches.
    #[inline]
    pub fn matches(&self, key: &[u8]) -> bool {
        let Some(rest) = self.head.strip_from_start(key) else {
            return false;
        };
        match &self.stars {
            None => rest.is_empty(),
            Some(stars) => stars.matches(rest),
        }
    }
}

impl Stars {
    #[inline]
    fn matches(&self, rest: &[u8]) -> bool {
        let Some(mut rest) = self.tail.strip_from_end(rest) else {
            return false;
        };
        for needle in &self.middle {
            match needle.strip_through(rest) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        !(self.not_empty && rest.is_empty())
    }
}

impl Unit {
    /// The first thing of a pattern and what follows it: `None` for a star. Nothing at the pattern's end.
    fn read(pattern: &[u8]) -> Option<(Option<Unit>, &[u8])> {
        Some(match pattern {
            [] => return None,
            [b'*', rest @ ..] => (None, rest),
            [b'?', rest @ ..] => (Some(Unit::Any), rest),
            [b'[', rest @ ..] => {
                let (set, rest) = ByteSet::read(rest);
                (Some(set.simplest()), rest)
            }
            [b'\\', b, rest @ ..] | [b, rest @ ..] => (Some(Unit::Byte(*b)), rest),
        })
    }

    #[inline]
    fn matches(self, byte: u8) -> bool {
        match self {
            Unit::Byte(b) => b == byte,
            Unit::Any => true,
            Unit::OneOf(set) => set.has(byte),
        }
    }

    /// Whether the units stand for these bytes; both are of one length.
    fn all_match(units: &[Unit], bytes: &[u8]) -> bool {
        units.iter().zip(bytes).all(|(u, &b)| u.matches(b))
    }

    /// The bytes of units that are nothing but bytes.
    fn literal(units: &[Unit]) -> Option<Vec<u8>> {
        units
            .iter()
            .map(|u| match u {
                Unit::Byte(b) => Some(*b),
                _ => None,
            })
            .collect()
    }
}

impl Run {
    fn new(units: &[Unit]) -> Self {
        match Unit::literal(units) {
            Some(bytes) => Run::Bytes(bytes.into()),
            None => Run::Units(units.into()),
        }
    }

    /// What follows the run at the start of `key`.
    #[inline]
    fn strip_from_start<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        match self {
            // Not `strip_prefix`: it calls memcmp, which with AVX-512 takes 40 ns to find that an empty run, whose
            // pointer points nowhere, is equal; and for the few bytes of a prefix the call costs more than comparing.
            Run::Bytes(b) if is_prefix(key, b) => key.get(b.len()..),
            Run::Bytes(_) => None,
            Run::Units(u) => {
                let (bytes, rest) = key.split_at_checked(u.len())?;
                Unit::all_match(u, bytes).then_some(rest)
            }
        }
    }

    /// What stands before the run at the end of `key`.
    #[inline]
    fn strip_from_end<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        match self {
            Run::Bytes(b) if is_suffix(key, b) => key.get(..key.len() - b.len()),
            Run::Bytes(_) => None,
            Run::Units(u) => {
                let (rest, bytes) = key.split_at_checked(key.len().checked_sub(u.len())?)?;
                Unit::all_match(u, bytes).then_some(rest)
            }
        }
    }
}

impl Needle {
    fn new(units: Vec<Unit>) -> Self {
        match Unit::literal(&units) {
            Some(bytes) => Needle::Bytes(Box::new(Finder::new(&bytes).into_owned())),
            None => Needle::Units(units.into()),
        }
    }

    /// What follows the leftmost place of the run in `key`.
    fn strip_through<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        match self {
            Needle::Bytes(finder) => {
                let at = finder.find(key)?;
                key.get(at + finder.needle().len()..)
            }
            Needle::Units(units) => {
                let at = key
                    .windows(units.len())
                    .position(|w| Unit::all_match(units, w))?;
                key.get(at + units.len()..)
            }
        }
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({})", crate::quote(&self.pattern))
    }
}

/// As [`Glob::new`]; there is no pattern that is wrong.
impl FromStr for Glob {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Glob::new(text.as_bytes()))
    }
}

/// A set of bytes, a bit each.
#[derive(Clone, Copy, PartialEq, Eq)]
struct ByteSet([u64; 4]);

impl ByteSet {
    /// Reads a class; `pattern` begins behind its `[`. Gives what follows the class.
    ///
    /// The order of the arms is the server's: a `\` protects a `]`, a `]` ends the class before it can begin a range.
    fn read(pattern: &[u8]) -> (ByteSet, &[u8]) {
        let (not, mut rest) = match pattern {
            [b'^', rest @ ..] => (true, rest),
            _ => (false, pattern),
        };
        let mut set = ByteSet([0; 4]);
        let rest = loop {
            rest = match rest {
                [b'\\', b, after @ ..] => {
                    set.insert(*b);
                    after
                }
                [b']', after @ ..] => break after,
                [] => break rest,
                [from, b'-', to, after @ ..] => {
                    let (from, to) = (from.cast_signed(), to.cast_signed());
                    for b in from.min(to)..=from.max(to) {
                        set.insert(b.cast_unsigned());
                    }
                    after
                }
                [b, after @ ..] => {
                    set.insert(*b);
                    after
                }
            };
        };
        if not {
            set = ByteSet(set.0.map(|bits| !bits));
        }
        (set, rest)
    }

    /// A set of one byte is that byte, a set of all is any, so that `[a]b*` is a prefix like any other.
    fn simplest(self) -> Unit {
        let mut bytes = (0..=u8::MAX).filter(|&b| self.has(b));
        match (bytes.next(), bytes.next()) {
            (Some(b), None) => Unit::Byte(b),
            _ if self.0 == [u64::MAX; 4] => Unit::Any,
            _ => Unit::OneOf(self),
        }
    }

    fn insert(&mut self, b: u8) {
        self.0[usize::from(b >> 6)] |= 1 << (b & 63);
    }

    #[inline]
    fn has(&self, b: u8) -> bool {
        self.0[usize::from(b >> 6)] >> (b & 63) & 1 == 1
    }
}

/// Reads a regular expression that keys are searched with: syntax of the crate `regex`, Unicode on, `^` and `$` where
/// the whole key is meant. Keys are any bytes: `(?s-u:.)` is one of them, while `.` is one character of UTF-8.
///
/// # Errors
///
/// A sentence that says what is wrong with it.
pub fn parse_regex(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).build().map_err(|e| match e {
        regex::Error::CompiledTooBig(limit) => format!(
            "the expression needs more than {limit} bytes when compiled: use smaller repetitions, as in ^user:[0-9]+$"
        ),
        // The library draws the expression and points into it, line by line; the last line says what is wrong.
        e => {
            let e = e.to_string();
            let last = e.lines().last().unwrap_or_default();
            format!(
                "{}: expected a regular expression such as ^user:[0-9]+$",
                last.strip_prefix("error: ").unwrap_or(last).trim()
            )
        }
    })
}

/// A set of cluster slots.
///
/// ```
/// use rdbtool::filter::SlotSet;
/// let slots: SlotSet = "0-5460,7000".parse().unwrap();
/// assert!(slots.has(5460) && slots.has(7000) && !slots.has(5461));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u64; SLOTS as usize / 64]>);

impl SlotSet {
    /// Whether a slot is in the set; a number that is no slot never is.
    #[inline]
    pub fn has(&self, slot: u16) -> bool {
        match self.0.get(usize::from(slot / 64)) {
            Some(bits) => bits >> (slot % 64) & 1 == 1,
            None => false,
        }
    }

    /// Whether every slot is in the set.
    pub fn is_all(&self) -> bool {
        self.0.iter().all(|&bits| bits == u64::MAX)
    }

    /// Number of slots in the set.
    pub fn count(&self) -> u32 {
        self.0.iter().map(|bits| bits.count_ones()).sum()
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SlotSet({} of {SLOTS})", self.count())
    }
}

/// Reads slots and ranges of slots between commas: `0-5460,7000`.
impl FromStr for SlotSet {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "slots such as 0-5460,7000";
        let mut set = SlotSet(Box::new([0; SLOTS as usize / 64]));
        for (from, to) in ranges(text, u64::from(SLOTS - 1), EXAMPLE)? {
            for (word, bits) in (0u64..).zip(set.0.iter_mut()) {
                let (first, last) = (word * 64, word * 64 + 63);
                if from <= last && to >= first {
                    let (low, high) = (from.max(first) - first, last - to.min(last));
                    *bits |= (u64::MAX << low) & (u64::MAX >> high);
                }
            }
        }
        Ok(set)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pattern's meaning, told once more without preparing anything: recursion at every star.
    fn plain(p: &[u8], s: &[u8]) -> bool {
        if p == b"*" {
            return true;
        }
        if s.is_empty() {
            return p.is_empty();
        }
        tail(p, s)
    }

    fn tail(p: &[u8], s: &[u8]) -> bool {
        let Some(&first) = p.first() else {
            return s.is_empty();
        };
        if first == b'*' {
            return (0..=s.len()).any(|n| tail(&p[1..], &s[n..]));
        }
        let Some(&c) = s.first() else {
            return false;
        };
        let (ok, used) = match first {
            b'?' => (true, 1),
            b'[' => {
                let not = p.get(1) == Some(&b'^');
                let mut i = if not { 2 } else { 1 };
                let mut hit = false;
                while i < p.len() && p[i] != b']' {
                    if p[i] == b'\\' && i + 1 < p.len() {
                        hit |= p[i + 1] == c;
                        i += 2;
                    } else if i + 2 < p.len() && p[i + 1] == b'-' {
                        let (a, b, c) = (p[i] as i8, p[i + 2] as i8, c as i8);
                        hit |= (a <= c && c <= b) || (b <= c && c <= a);
                        i += 3;
                    } else {
                        hit |= p[i] == c;
                        i += 1;
                    }
                }
                (hit != not, (i + 1).min(p.len()))
            }
            b'\\' if p.len() > 1 => (p[1] == c, 2),
            b => (b == c, 1),
        };
        ok && tail(&p[used..], &s[1..])
    }

    /// `pattern: keys that match / keys that do not`.
    macro_rules! globs {
        ($($name:ident: $pattern:literal => yes $yes:expr, no $no:expr;)*) => {$(
            #[test]
            fn $name() {
                let glob = Glob::new($pattern);
                let (yes, no): (&[&[u8]], &[&[u8]]) = (&$yes, &$no);
                for key in yes {
                    assert!(glob.matches(key), "{glob:?} matches {:?}", crate::quote(key));
                    assert!(plain($pattern, key), "plain: {glob:?} matches {:?}", crate::quote(key));
                }
                for key in no {
                    assert!(!glob.matches(key), "{glob:?} does not match {:?}", crate::quote(key));
                    assert!(!plain($pattern, key), "plain: {glob:?} does not match {:?}", crate::quote(key));
                }
            }
        )*};
    }

    globs! {
        nothing:            b""            => yes [b""], no [b"a"];
        literal:            b"user:1"      => yes [b"user:1"], no [b"", b"user:", b"user:10", b"User:1", b"xuser:1"];
        literal_any_bytes:  b"\0\xff\n"    => yes [b"\0\xff\n"], no [b"\0\xff"];
        star:               b"*"           => yes [b"", b"a", b"\0"], no [];
        two_stars:          b"**"          => yes [b"a"], no [b""];
        three_stars:        b"***"         => yes [b"a"], no [b""];
        prefix:             b"user:*"      => yes [b"user:", b"user:1", b"user:*"], no [b"user", b"", b"xuser:"];
        prefix_two_stars:   b"a**"         => yes [b"a", b"ab"], no [b"", b"b"];
        suffix:             b"*:tmp"       => yes [b":tmp", b"a:tmp", b":tmp:tmp"], no [b"tmp", b":tmpx", b""];
        infix:              b"*ab*"        => yes [b"ab", b"aab", b"abb", b"xabx"], no [b"", b"a", b"ba", b"acb"];
        infix_two_stars:    b"**ab**"      => yes [b"ab", b"xabx"], no [b"", b"a"];
        both_ends:          b"a*b"         => yes [b"ab", b"aab", b"abab"], no [b"a", b"b", b"aba", b""];
        ends_do_not_share:  b"aba*aba"     => yes [b"abaaba", b"abaxaba"], no [b"aba", b"ababa"];
        middle_before_tail: b"*ab*b"       => yes [b"abb", b"abab"], no [b"ab", b"aab"];
        middles_in_order:   b"*a*b*c*"     => yes [b"abc", b"xaxbxc"], no [b"acb", b"cba", b"ab"];
        question:           b"?"           => yes [b"a", b"?", b"\0"], no [b"", b"aa"];
        question_star:      b"?*"          => yes [b"a", b"ab"], no [b""];
        star_question:      b"*?"          => yes [b"a", b"ab"], no [b""];
        question_is_a_byte: b"?"           => yes [b"\xc3"], no ["\u{e9}".as_bytes()];
        class:              b"h[ae]llo"    => yes [b"hallo", b"hello"], no [b"hillo", b"hllo", b"haello"];
        class_not:          b"h[^e]llo"    => yes [b"hallo", b"h^llo"], no [b"hello", b"hllo"];
        class_caret_later:  b"[a^]"        => yes [b"a", b"^"], no [b"b"];
        class_star:         b"[*]?"        => yes [b"*a"], no [b"aa"];
        range:              b"[b-d]"       => yes [b"b", b"c", b"d"], no [b"a", b"e", b"-", b""];
        range_swapped:      b"[d-b]"       => yes [b"b", b"c", b"d"], no [b"a", b"e", b"-"];
        range_of_one:       b"[b-b]x"      => yes [b"bx"], no [b"ax", b"-x"];
        range_not:          b"[^b-d]"      => yes [b"a", b"e"], no [b"b", b"c", b"d"];
        range_high:         b"[\x80-\xff]" => yes [b"\x80", b"\xc0", b"\xff"], no [b"\x7f", b"\0"];
        // C char is signed: from -1 (ff) to 97 (a), hence 00 to 61 and ff.
        range_signed:       b"[a-\xff]"    => yes [b"a", b"A", b"\0", b"\xff"], no [b"b", b"\x7f", b"\x80", b"\xfe"];
        range_after_range:  b"[a-c-e]"     => yes [b"a", b"b", b"-", b"e"], no [b"d"];
        range_dash_first:   b"[-a]"        => yes [b"-", b"a"], no [b"b"];
        // The ] is the end of the range, so the class takes the whole pattern: ] to a, then x.
        range_dash_last:    b"[a-]x"       => yes [b"a", b"]", b"^", b"x"], no [b"ax", b"-", b"-x"];
        range_to_escape:    b"[Z-\\]]"     => yes [b"Z]", b"[]", b"\\]"], no [b"]", b"Z", b"]]"];
        range_from_escape:  b"[\\a-c]"     => yes [b"a", b"-", b"c"], no [b"b", b"\\"];
        class_escaped_end:  b"[\\]]"       => yes [b"]"], no [b"\\", b"\\]"];
        class_escape_cut:   b"[a\\"        => yes [b"a", b"\\"], no [b"a\\", b""];
        class_escaped_cut:  b"[a\\]"       => yes [b"a", b"]"], no [b"\\"];
        class_empty:        b"[]"          => yes [], no [b"", b"]", b"[]", b"a"];
        class_empty_then:   b"[]a]"        => yes [], no [b"]", b"a", b"a]"];
        class_not_empty:    b"[^]"         => yes [b"a", b"]", b"^"], no [b"", b"^]"];
        class_not_empty_then: b"[^]a]"     => yes [b"xa]"], no [b"x", b"a]"];
        class_open:         b"["           => yes [], no [b"", b"["];
        class_open_not:     b"[^"          => yes [b"a", b"^", b"["], no [b"", b"[^"];
        class_open_ab:      b"x[ab"        => yes [b"xa", b"xb"], no [b"x", b"x[ab", b"xab"];
        class_open_star:    b"[a*"         => yes [b"a", b"*"], no [b"", b"ab"];
        class_open_range:   b"[a-"         => yes [b"a", b"-"], no [b"b"];
        class_open_range_z: b"[x-z"        => yes [b"x", b"y", b"z"], no [b"-"];
        class_in_middle:    b"*[0-9]?*x"   => yes [b"a1bx", b"00x"], no [b"1x", b"abx"];
        class_bracket:      b"[[]"         => yes [b"["], no [b"]", b"[]"];
        escape_star:        b"a\\*"        => yes [b"a*"], no [b"a", b"ab", b"a\\*"];
        escape_question:    b"\\?"         => yes [b"?"], no [b"a"];
        escape_class:       b"\\[a]"       => yes [b"[a]"], no [b"a"];
        escape_plain:       b"\\a"         => yes [b"a"], no [b"\\a"];
        escape_escape:      b"\\\\"        => yes [b"\\"], no [b"\\\\"];
        escape_last:        b"a\\"         => yes [b"a\\"], no [b"a", b"a\\\\"];
        escape_last_star:   b"*\\"         => yes [b"\\", b"a\\"], no [b"", b"a"];
        escaped_star_last:  b"*\\*"        => yes [b"*", b"a*"], no [b"", b"a"];
        close_alone:        b"a]"          => yes [b"a]"], no [b"a"];
        braces_are_bytes:   b"{a,b}"       => yes [b"{a,b}"], no [b"a", b"b"];
    }

    /// A small generator, so that the random rows are the same on every run.
    struct Rng(u64);

    impl Rng {
        fn below(&mut self, n: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 11) as usize % n
        }

        fn bytes(&mut self, alphabet: &[u8], max: usize) -> Vec<u8> {
            let n = self.below(max + 1);
            (0..n)
                .map(|_| alphabet[self.below(alphabet.len())])
                .collect()
        }
    }

    #[test]
    fn prepared_equals_plain() {
        let mut rng = Rng(0x9e37_79b9_7f4a_7c15);
        let mut hits = 0;
        for (signs, bytes) in [
            (&b"aab**?"[..], &b"ab"[..]),
            (b"ab*?[]^-\\", b"ab*]-\\^["),
            (b"ac*[^-]\x80\xff\0", b"abc-\x7f\x80\xff\0"),
        ] {
            for _ in 0..8000 {
                let pattern = rng.bytes(signs, 9);
                let glob = Glob::new(&pattern);
                for _ in 0..12 {
                    let key = rng.bytes(bytes, 8);
                    let want = plain(&pattern, &key);
                    hits += usize::from(want);
                    assert_eq!(
                        glob.matches(&key),
                        want,
                        "{glob:?} on {}",
                        crate::quote(&key)
                    );
                }
            }
        }
        assert!(hits > 20_000, "{hits}: too few matches to prove anything");
    }

    #[test]
    fn many_stars_take_no_time() {
        let key = [b'a'; 10_000];
        for pattern in [&b"a*a*a*a*a*a*a*a*a*a*b"[..], b"*[ab]*[ab]*?*[ab]*b*"] {
            assert!(!Glob::new(pattern).matches(&key));
        }
        assert!(Glob::new(&b"*a".repeat(3000)).matches(&key));
        assert!(!Glob::new(&b"*a".repeat(10_001)).matches(&key));
    }

    #[test]
    fn regexes_search_any_bytes() {
        let rows: &[(&str, &[u8], bool)] = &[
            ("^user:[0-9]+$", b"user:17", true),
            ("^user:[0-9]+$", b"user:17x", false),
            ("ser", b"user", true),
            ("(?i)USER", b"user", true),
            ("é", "café".as_bytes(), true),
            ("^.$", b"\xff", false),
            ("^(?s-u:.)$", b"\xff", true),
            ("b$", b"\xff\0b", true),
            ("", b"", true),
        ];
        for &(re, key, want) in rows {
            assert_eq!(
                parse_regex(re).unwrap().is_match(key),
                want,
                "{re} on {key:?}"
            );
        }
    }

    #[test]
    fn wrong_regexes_in_one_sentence() {
        let rows = [
            ("(a", "unclosed group"),
            ("a{2,1}", "invalid repetition count range"),
            ("[z-a]", "invalid character class range"),
            ("\\", "incomplete escape sequence"),
            ("(?=a)", "look-around"),
            ("((\\w{500}){500}){500}", "more than 10485760 bytes"),
        ];
        for (re, what) in rows {
            let e = parse_regex(re).unwrap_err();
            assert!(e.contains(what) && e.contains("^user:[0-9]+$"), "{re}: {e}");
            assert!(!e.contains('\n'), "{re}: {e}");
        }
    }

    #[test]
    fn slots_in_sets() {
        let rows: &[(&str, &[u16], &[u16], u32)] = &[
            (
                "0-5460,7000",
                &[0, 5460, 7000],
                &[5461, 6999, 7001, 16383],
                5462,
            ),
            ("0", &[0], &[1, 64], 1),
            ("16383", &[16383], &[16382, 0], 1),
            ("63-64", &[63, 64], &[62, 65], 2),
            ("64-127", &[64, 127], &[63, 128], 64),
            ("5-9,7-12,1", &[1, 5, 12], &[0, 4, 13], 9),
            (" 1 , 3 - 4 ", &[1, 3, 4], &[2, 5], 3),
            ("0-16383", &[0, 8000, 16383], &[16384, 65535], 16384),
        ];
        for &(text, yes, no, count) in rows {
            let set: SlotSet = text.parse().unwrap();
            assert_eq!(set.count(), count, "{text}");
            assert_eq!(set.is_all(), count == 16384, "{text}");
            assert!(yes.iter().all(|&s| set.has(s)), "{text}");
            assert!(!no.iter().any(|&s| set.has(s)), "{text}");
        }
    }

    #[test]
    fn slots_refused() {
        let rows = [
            ("", "empty"),
            ("1,,2", "empty"),
            ("16384", "16384 is too large"),
            ("0-16384", "16384 is too large"),
            ("5-3", "reversed"),
            ("-5", "\"-5\""),
            ("a", "\"a\""),
        ];
        for (text, what) in rows {
            let e = text.parse::<SlotSet>().unwrap_err();
            assert!(
                e.contains(what) && e.contains("0-5460,7000"),
                "{text:?}: {e}"
            );
        }
    }
}
