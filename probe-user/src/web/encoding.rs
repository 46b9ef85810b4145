//! Bodies as the client wants them: compressed, if that is worth it.
use std::io::{self, Write};

use axum::http::{HeaderMap, header::ACCEPT_ENCODING};
use flate2::{Compression, write::GzEncoder};

/// How the bytes of a body are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
}

impl Encoding {
    /// What the client wants. One that accepts nothing gets the plain bytes, which every client can read.
    pub(super) fn wanted_by(headers: &HeaderMap) -> Self {
        let (mut gzip, mut identity, mut any) = (None, None, None);
        let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        for wish in lists.flat_map(|list| list.split(',')) {
            let (name, parameters) = wish.split_once(';').unwrap_or((wish, ""));
            let place = match name.trim().to_ascii_lowercase().as_str() {
                "gzip" | "x-gzip" => &mut gzip,
                "identity" => &mut identity,
                "*" => &mut any,
                _ => continue,
            };
            *place = Some(quality(parameters));
        }
        let gzip = gzip.or(any).unwrap_or(0.0);
        if gzip > 0.0 && identity.is_none_or(|identity| identity <= gzip) {
            Self::Gzip
        } else {
            Self::Identity
        }
    }
}

/// One unless it says otherwise; nothing where it says what cannot be understood.
fn quality(parameters: &str) -> f32 {
    let (name, value) = parameters.split_once('=').unwrap_or((parameters, "1"));
    let is_quality = name.trim().is_empty() || name.trim().eq_ignore_ascii_case("q");
    let number = value.trim().parse().ok().filter(|number| is_quality && (0.0..=1.0).contains(number));
    number.unwrap_or(0.0)
}

/// A shorter body fits a packet as it is.
const WORTH_IT: usize = 1 << 10;
/// Renderers write a few bytes at a time.
const PACKED_AT_ONCE: usize = 32 << 10;

/// A body that is being written; compressed on the way, so that it never lies in memory whole and plain.
#[derive(Debug)]
pub(super) struct Packer {
    encoding: Encoding,
    pending: Vec<u8>,
    packed: Option<GzEncoder<Vec<u8>>>,
}

impl Packer {
    pub(super) const fn new(encoding: Encoding) -> Self {
        Self { encoding, pending: Vec::new(), packed: None }
    }

    /// The bytes, and how they are encoded.
    pub(super) fn finish(mut self) -> io::Result<(Vec<u8>, Encoding)> {
        if self.packed.is_none() && (self.encoding == Encoding::Identity || self.pending.len() <= WORTH_IT) {
            return Ok((self.pending, Encoding::Identity));
        }
        self.pack()?;
        let packed = self.packed.map_or_else(|| Ok(Vec::new()), GzEncoder::finish)?;
        Ok((packed, Encoding::Gzip))
    }

    /// The fastest level: a scrape is sent once, and over a network that is not slow.
    fn pack(&mut self) -> io::Result<()> {
        let packed = self.packed.get_or_insert_with(|| GzEncoder::new(Vec::new(), Compression::fast()));
        packed.write_all(&self.pending)?;
        self.pending.clear();
        Ok(())
    }
}

impl Write for Packer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.encoding == Encoding::Gzip && self.pending.len() >= PACKED_AT_ONCE {
            self.pack()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn check(wish: &str, expected: Encoding) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT_ENCODING, wish.parse().unwrap());
        assert_eq!(Encoding::wanted_by(&headers), expected, "{wish}");
    }

    #[test]
    fn it_is_gzip_where_the_client_accepts_it_as_gladly_as_plain_bytes() {
        check("gzip", Encoding::Gzip);
        check("GZip;q=1.0, deflate", Encoding::Gzip);
        check("deflate, br, x-gzip ; q = 0.1", Encoding::Gzip);
        check("*", Encoding::Gzip);
        check("*;q=0.5, identity;q=0.5", Encoding::Gzip);
        check("identity;q=0, gzip;q=0.001", Encoding::Gzip);
        check("", Encoding::Identity);
        check("identity", Encoding::Identity);
        check("gzip;q=0", Encoding::Identity);
        check("gzip;q=0, *", Encoding::Identity);
        check("gzip;q=0.5, identity;q=0.8", Encoding::Identity);
        check("gzip;q=high", Encoding::Identity);
        check("gzip;q=7", Encoding::Identity);
        check("gzip;level=9", Encoding::Identity);
        check("zstd, br", Encoding::Identity);
        assert_eq!(Encoding::wanted_by(&HeaderMap::new()), Encoding::Identity);
    }

    fn check_packing(length: usize, wanted: Encoding, expected: Encoding) {
        let bytes: Vec<u8> = b"tcp_backlog_listeners 1\n".iter().copied().cycle().take(length).collect();
        let mut packer = Packer::new(wanted);
        bytes.chunks(7).for_each(|chunk| packer.write_all(chunk).unwrap());
        let (body, encoding) = packer.finish().unwrap();
        assert_eq!(encoding, expected, "{length}");
        let mut unpacked = Vec::new();
        match encoding {
            Encoding::Identity => unpacked.clone_from(&body),
            Encoding::Gzip => drop(GzDecoder::new(body.as_slice()).read_to_end(&mut unpacked).unwrap()),
        }
        assert_eq!(unpacked, bytes);
    }

    #[test]
    fn only_what_is_longer_than_a_packet_is_packed() {
        check_packing(0, Encoding::Gzip, Encoding::Identity);
        check_packing(1024, Encoding::Gzip, Encoding::Identity);
        check_packing(1025, Encoding::Gzip, Encoding::Gzip);
        check_packing(1025, Encoding::Identity, Encoding::Identity);
        check_packing(1_000_000, Encoding::Gzip, Encoding::Gzip);
        check_packing(1_000_000, Encoding::Identity, Encoding::Identity);
    }
}
