//! Decompression by pushing: the compression is told by the stream's first bytes, since media types
//! lie, and a media type that says otherwise is an error only where it names another compression.

use flate2::{Decompress, FlushDecompress, Status};
use oci::{Error, Result};

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, of one or many members.
    Gzip,
    /// Zstandard, of one or many frames.
    Zstd,
}

impl Compression {
    /// What a stream that starts with `magic` is.
    pub fn detect(magic: &[u8]) -> Self {
        match magic {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame may come first (zstd's format, 3.1.2).
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// What a layer's media type says it is.
    pub fn of_media_type(media_type: &str) -> Result<Self> {
        if media_type.ends_with("+gzip") || media_type.ends_with(".tar.gzip") {
            Ok(Self::Gzip)
        } else if media_type.ends_with("+zstd") || media_type.ends_with(".tar.zstd") {
            Ok(Self::Zstd)
        } else if media_type.ends_with(".tar") {
            Ok(Self::None)
        } else {
            Err(Error::unsupported(format!("layer media type {media_type:?} is not supported; tar, gzip and zstd are")))
        }
    }
}

/// Output is handed on in pieces of this size, which stay in the processor's cache.
const PIECE: usize = 128 << 10;
/// Enough of the beginning to tell the compression.
const MAGIC: usize = 4;
/// zstd's window may ask for this much memory, as a power of two: its own default for decoders.
const MAX_WINDOW_LOG: u32 = 27;

enum Coder {
    Undecided(Vec<u8>),
    None,
    Gzip { state: Box<Decompress>, member: Member },
    Zstd { state: zstd::stream::raw::Decoder<'static>, within: bool },
}

/// Where a gzip stream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Within,
    /// Between members; what came of a next one's first two bytes.
    Between(Option<u8>),
    /// Only zeros may follow, as padding.
    Padding,
}

/// A push decompressor.
pub(crate) struct Decompressor {
    coder: Coder,
    out: Vec<u8>,
    expected: Option<Compression>,
}

impl Decompressor {
    /// One that finds out by itself; with `expected` another compression is an error.
    pub(crate) fn new(expected: Option<Compression>) -> Self {
        Self { coder: Coder::Undecided(Vec::with_capacity(MAGIC)), out: Vec::new(), expected }
    }

    /// Takes the next bytes, and passes on what they make.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if let Coder::Undecided(magic) = &mut self.coder {
            let n = bytes.len().min(MAGIC - magic.len());
            magic.extend_from_slice(&bytes[..n]);
            if magic.len() < MAGIC {
                return Ok(());
            }
            let magic = std::mem::take(magic);
            self.decide(Compression::detect(&magic))?;
            self.run(&magic, sink)?;
            return self.run(&bytes[n..], sink);
        }
        self.run(bytes, sink)
    }

    fn decide(&mut self, found: Compression) -> Result<()> {
        if let Some(expected) = self.expected.filter(|expected| *expected != found) {
            // An uncompressed stream under a compressed media type, or the reverse, is what several
            // builders made; the digests decide whether it is the right one.
            if expected != Compression::None && found != Compression::None {
                return Err(Error::corrupt(format!("the stream is {found:?}, and its media type says {expected:?}")));
            }
        }
        self.coder = match found {
            Compression::None => Coder::None,
            Compression::Gzip => Coder::Gzip { state: Box::new(Decompress::new_gzip(15)), member: Member::Within },
            Compression::Zstd => {
                let mut state = zstd::stream::raw::Decoder::new().map_err(|e| Error::from(e).prefixed("zstd"))?;
                state
                    .set_parameter(zstd::stream::raw::DParameter::WindowLogMax(MAX_WINDOW_LOG))
                    .map_err(|e| Error::from(e).prefixed("zstd"))?;
                Coder::Zstd { state, within: false }
            }
        };
        if found != Compression::None {
            self.out = vec![0; PIECE];
        }
        Ok(())
    }

    fn run(&mut self, bytes: &[u8], sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match &mut self.coder {
            Coder::Undecided(_) => Ok(()),
            Coder::None => {
                if bytes.is_empty() {
                    return Ok(());
                }
                sink(bytes)
            }
            Coder::Gzip { state, member } => gunzip(state, member, bytes, &mut self.out, sink),
            Coder::Zstd { state, within } => unzstd(state, within, bytes, &mut self.out, sink),
        }
    }

    /// The input has ended: passes on what was held back, and checks that the stream is complete.
    pub(crate) fn finish(&mut self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        match &mut self.coder {
            Coder::Undecided(magic) => {
                let rest = std::mem::take(magic);
                self.coder = Coder::None;
                if rest.is_empty() { Ok(()) } else { sink(&rest) }
            }
            Coder::Gzip { member: Member::Within, .. } => Err(Error::corrupt("the gzip stream ends early")),
            Coder::Gzip { member: Member::Between(Some(_)), .. } => {
                Err(Error::corrupt("the gzip stream is followed by something else"))
            }
            Coder::Zstd { within: true, .. } => Err(Error::corrupt("the zstd stream ends early")),
            _ => Ok(()),
        }
    }
}

fn gunzip(
    state: &mut Decompress,
    member: &mut Member,
    mut bytes: &[u8],
    out: &mut [u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    loop {
        match *member {
            Member::Within => {
                let (before_in, before_out) = (state.total_in(), state.total_out());
                let status = state.decompress(bytes, out, FlushDecompress::None).map_err(|e| {
                    let why = e.message().map(str::to_owned).unwrap_or_else(|| e.to_string());
                    Error::corrupt(format!("the gzip stream is damaged: {why}"))
                })?;
                let used = (state.total_in() - before_in) as usize;
                let made = (state.total_out() - before_out) as usize;
                bytes = &bytes[used..];
                if made > 0 {
                    sink(&out[..made])?;
                }
                match status {
                    Status::StreamEnd => *member = Member::Between(None),
                    // Nothing more without input; with a full output there may be more to come.
                    _ if bytes.is_empty() && made < out.len() => return Ok(()),
                    _ if used == 0 && made == 0 => {
                        return Err(Error::corrupt("the gzip stream is damaged: no progress"));
                    }
                    _ => {}
                }
            }
            Member::Between(first) => {
                let Some((next, rest)) = bytes.split_first() else { return Ok(()) };
                match (first, *next) {
                    (None, 0x1f) => *member = Member::Between(Some(0x1f)),
                    (None, 0) => *member = Member::Padding,
                    (Some(_), 0x8b) => {
                        *state = Decompress::new_gzip(15);
                        *member = Member::Within;
                        // The two bytes told apart here belong to the new member.
                        let before = state.total_in();
                        state
                            .decompress(&[0x1f, 0x8b], out, FlushDecompress::None)
                            .map_err(|_| Error::corrupt("the gzip stream is damaged"))?;
                        if state.total_in() - before != 2 {
                            return Err(Error::corrupt("the gzip stream is damaged: no progress"));
                        }
                    }
                    _ => return Err(Error::corrupt("the gzip stream is followed by something else")),
                }
                bytes = rest;
            }
            Member::Padding => {
                return if bytes.iter().all(|b| *b == 0) {
                    Ok(())
                } else {
                    Err(Error::corrupt("the gzip stream is followed by something else"))
                };
            }
        }
    }
}

fn unzstd(
    state: &mut zstd::stream::raw::Decoder<'static>,
    within: &mut bool,
    mut bytes: &[u8],
    out: &mut [u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    use zstd::stream::raw::Operation;
    let mut full = false;
    while !bytes.is_empty() || full {
        let status =
            state.run_on_buffers(bytes, out).map_err(|e| Error::corrupt(format!("the zstd stream is damaged: {e}")))?;
        bytes = &bytes[status.bytes_read..];
        full = status.bytes_written == out.len();
        // Zero means that a frame is complete and flushed; the next call begins another.
        *within = status.remaining != 0;
        if status.bytes_written > 0 {
            sink(&out[..status.bytes_written])?;
        } else if status.bytes_read == 0 {
            if bytes.is_empty() {
                break;
            }
            return Err(Error::corrupt("the zstd stream is damaged: no progress"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn unpack(bytes: &[u8], piece: usize) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut coder = Decompressor::new(None);
        let mut sink = |part: &[u8]| {
            out.extend_from_slice(part);
            Ok(())
        };
        for part in bytes.chunks(piece) {
            coder.push(part, &mut sink)?;
        }
        coder.finish(&mut sink)?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut coder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        coder.write_all(bytes).unwrap();
        coder.finish().unwrap()
    }

    fn sample() -> Vec<u8> {
        (0..600_000u32).flat_map(|n| (n / 7).wrapping_mul(2_654_435_761).to_le_bytes()).collect()
    }

    #[test]
    fn every_compression_in_pieces_of_any_size() {
        let plain = sample();
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for piece in [1 << 20, 4093, 37] {
            assert!(unpack(&gzip(&plain), piece).unwrap() == plain);
            assert!(unpack(&zstd, piece).unwrap() == plain);
            assert!(unpack(&plain, piece).unwrap() == plain);
        }
        assert_eq!(unpack(b"ab", 1).unwrap(), b"ab");
        assert_eq!(unpack(&gzip(b""), 1).unwrap(), b"");
    }

    #[test]
    fn members_and_frames_are_joined_and_padding_is_passed_over() {
        let mut bytes = [gzip(b"one"), gzip(b""), gzip(b"two")].concat();
        for piece in [1, 2, 1000] {
            assert_eq!(unpack(&bytes, piece).unwrap(), b"onetwo");
        }
        bytes.extend_from_slice(&[0; 700]);
        assert_eq!(unpack(&bytes, 100).unwrap(), b"onetwo");
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9].as_slice();
        let frames = [
            skippable,
            &zstd::encode_all(b"one".as_slice(), 1).unwrap(),
            skippable,
            &zstd::encode_all(b"two".as_slice(), 1).unwrap(),
        ]
        .concat();
        for piece in [1, 5, 1000] {
            assert_eq!(unpack(&frames, piece).unwrap(), b"onetwo");
        }
    }

    #[test]
    fn what_is_cut_damaged_or_followed_by_something_is_corrupt() {
        let plain = sample();
        let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
        for whole in [gzip(&plain), zstd] {
            for cut in [whole.len() - 1, whole.len() / 2, 20] {
                assert_eq!(unpack(&whole[..cut], 1000).unwrap_err().kind(), oci::Kind::Corrupt);
            }
            let mut damaged = whole.clone();
            damaged[whole.len() / 2] ^= 0x55;
            assert!(!unpack(&damaged, 1000).map(|bytes| bytes == plain).unwrap_or_default());
            assert!(unpack(&[whole.as_slice(), b"garbage"].concat(), 1000).is_err());
        }
        assert!(unpack(&[gzip(b"x"), vec![0x1f]].concat(), 1000).is_err());
    }

    #[test]
    fn media_types_say_what_to_expect() {
        use oci::image::media;
        assert_eq!(Compression::of_media_type(media::OCI_LAYER).unwrap(), Compression::None);
        assert_eq!(Compression::of_media_type(media::DOCKER_LAYER).unwrap(), Compression::None);
        assert_eq!(Compression::of_media_type(media::OCI_LAYER_GZIP).unwrap(), Compression::Gzip);
        assert_eq!(Compression::of_media_type(media::DOCKER_LAYER_GZIP).unwrap(), Compression::Gzip);
        assert_eq!(Compression::of_media_type(media::OCI_LAYER_ZSTD).unwrap(), Compression::Zstd);
        assert!(Compression::of_media_type("application/x-squashfs").is_err());
        let mut coder = Decompressor::new(Some(Compression::Zstd));
        assert!(coder.push(&gzip(b"x"), &mut |_| Ok(())).unwrap_err().to_string().contains("Zstd"));
    }
}
