//! Requests by chance: the same in every run with the same seed.

/// A generator that is quick and repeats itself late enough (xorshift64*).
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number below this one, which is not 0.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(number).unwrap_or_default() % limit.max(1)
    }

    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices.get(self.below(choices.len())).copied().unwrap_or_default()
    }

    /// Printable characters without a space.
    fn word(&mut self, longest: usize) -> String {
        let length = self.below(longest + 1);
        (0..length).filter_map(|_| u8::try_from(33 + self.below(94)).ok()).map(char::from).collect()
    }
}

/// Readings are the dearest answers: now and then one.
const READINGS: [&str; 3] = ["/metrics", "/api/v1/snapshot", "/api/v1/advice?since=60"];
const ONE_READING_IN: usize = 2_000;

/// One that keeps its connection: odd, and of the right form.
pub(crate) fn kept(chance: &mut Chance, bytes: &mut Vec<u8>) {
    let method = chance.one_of(&["GET", "GET", "GET", "HEAD", "POST", "DELETE", "OPTIONS", "PATCH", "BREW"]);
    let path = if chance.below(ONE_READING_IN) == 0 {
        chance.one_of(&READINGS).to_owned()
    } else {
        match chance.below(6) {
            0 => "/healthz".to_owned(),
            1 => "/".to_owned(),
            2 => format!("/api/v1/advice?{}={}", chance.word(6), chance.word(9)),
            3 => format!("/%{:02x}/../{}", chance.below(256), chance.below(1_000_000)),
            4 => format!("/{}", "x".repeat(chance.below(3_000))),
            _ => "/readyz?".to_owned(),
        }
    };
    // What a query or a path may not hold would end the connection.
    let path: String =
        path.chars().filter(|c| !matches!(c, '"' | '<' | '>' | '`' | '{' | '}' | '\\' | '^' | '|')).collect();
    bytes.extend(format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", chance.below(1_000)).bytes());
    for _ in 0..chance.below(4) {
        let name = chance.one_of(&[
            "Accept-Encoding",
            "Accept",
            "Cookie",
            "Range",
            "Authorization",
            "If-None-Match",
            "X",
        ]);
        bytes.extend(format!("{name}: {}\r\n", chance.word(60)).bytes());
    }
    bytes.extend(b"\r\n");
}

/// One after which the server hangs up.
pub(crate) fn last(chance: &mut Chance, bytes: &mut Vec<u8>) {
    match chance.below(6) {
        0 => bytes.extend(b"GET / HTTP/7.3\r\n\r\n"),
        1 => bytes.extend(format!("GET / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", chance.word(8)).bytes()),
        2 => bytes.extend((0..1 + chance.below(200)).filter_map(|_| u8::try_from(chance.below(256)).ok())),
        3 => bytes.extend(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(20_000)).bytes()),
        4 => bytes.extend(b"POST /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        _ => bytes.extend(b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"),
    }
}
