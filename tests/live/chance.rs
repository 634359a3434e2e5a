//! Chance for tests: a generator that gives the same on every machine, and values in which servers, their encodings
//! or JSON see something special.

/// SplitMix64: small, good enough, the same on every machine.
pub(crate) struct Rng(u64);

impl Rng {
    /// The generator for a subject, so that one test's draws do not shift another's.
    pub(crate) fn new(subject: &str) -> Self {
        let seed = subject.bytes().fold(seed(), |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
        Rng(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `n` - 1.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }

    pub(crate) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// A string of one of the kinds that servers or JSON treat differently.
    pub(crate) fn string(&mut self) -> Vec<u8> {
        const TEXTS: &[&[u8]] = &[
            b"",
            b"a",
            b"hello world",
            b"say \"hi\" \\ / \x08\x0c\n\r\t\x7f",
            b"\x00\x01\x1f",
            "stra\u{df}e \u{20ac} \u{1f600} \u{2028}".as_bytes(),
            b"\xff\xfe",
            b"caf\xe9",
            b"\xed\xa0\x80",
            b"\xf0\x9f\x98",
            b"base64:aGk=",
            b"base64:",
            b"-0",
            b"007",
            b"+1",
            b" 1",
            b"1e3",
            b"nan",
        ];
        match self.below(12) {
            0..=3 => self.pick(TEXTS).to_vec(),
            4..=6 => self.integer().into_bytes(),
            7 => {
                let n = self.below(70);
                self.bytes(n)
            }
            // Lengths around which packed encodings change form, or LZF begins.
            8 => vec![
                b'x';
                [19, 20, 21, 44, 45, 63, 64, 65, 127, 128, 253, 254, 255][self.below(13)]
            ],
            9 => {
                let unit = self.string_short();
                unit.iter()
                    .copied()
                    .cycle()
                    .take(20 + self.below(600))
                    .collect()
            }
            10 => {
                let n = self.below(400);
                (0..n).map(|_| b"abcdefgh, "[self.below(10)]).collect()
            }
            _ => format!(
                "{}:{}",
                self.pick(&["user", "item", "tag"]),
                self.below(1000)
            )
            .into_bytes(),
        }
    }

    pub(crate) fn string_short(&mut self) -> Vec<u8> {
        let n = 1 + self.below(9);
        self.bytes(n)
    }

    /// A decimal integer near a limit of some width, or anywhere.
    pub(crate) fn integer(&mut self) -> String {
        let limits = [
            0i64,
            12,
            63,
            127,
            4095,
            8191,
            32767,
            8_388_607,
            i64::from(i32::MAX),
            1 << 53,
            i64::MAX,
        ];
        let n = limits[self.below(limits.len())].wrapping_add(self.below(4) as i64 - 1);
        (if self.below(2) == 0 {
            n
        } else {
            n.wrapping_neg()
        })
        .to_string()
    }

    /// A score, as a client writes it.
    pub(crate) fn score(&mut self) -> String {
        const ODD: &[&str] = &[
            "inf",
            "-inf",
            "-0",
            "0",
            "1e300",
            "-1e-300",
            "5e-324",
            "1.7976931348623157e308",
            "0.1",
            "0.30000000000000004",
            "3.1415926535897931",
            "9007199254740993",
            "123456789012345678",
            "9223372036854775807",
            "-9223372036854775808",
            "1e21",
            "1e-7",
            "2.5",
        ];
        match self.below(4) {
            0 => self.pick(ODD).to_owned(),
            1 => self.integer(),
            2 => format!("{}", self.below(1_000_000) as f64 / 1000.0),
            _ => {
                let x = f64::from_bits(self.next());
                if x.is_finite() {
                    format!("{x:e}")
                } else {
                    "1".to_owned()
                }
            }
        }
    }
}

/// What the draws begin with: `RDBTOOL_SEED`, for another data set.
pub(crate) fn seed() -> u64 {
    std::env::var("RDBTOOL_SEED")
        .map_or(20_240_607, |s| s.parse().expect("RDBTOOL_SEED is a number"))
}
