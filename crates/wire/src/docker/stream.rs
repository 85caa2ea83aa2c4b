//! The frames of an attached container's output without a terminal (Docker's `stdcopy`).
//!
//! ```text
//! byte 0        1..4     4..8                 8..
//! stream kind   zeros    length, big-endian   payload
//! ```

/// Which stream a frame belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdin,
    Stdout,
    Stderr,
    /// An error of the daemon; the stream ends with it.
    SystemError,
}

/// The length of a frame's head.
pub const HEADER: usize = 8;

/// The media type of a terminal's output, and of all streams before API 1.42.
pub const RAW: &str = "application/vnd.docker.raw-stream";
/// The media type of framed output since API 1.42.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// The head of a frame with `length` bytes of payload.
pub fn header(stream: Stream, length: u32) -> [u8; HEADER] {
    let kind = match stream {
        Stream::Stdin => 0,
        Stream::Stdout => 1,
        Stream::Stderr => 2,
        Stream::SystemError => 3,
    };
    let [a, b, c, d] = length.to_be_bytes();
    [kind, 0, 0, 0, a, b, c, d]
}

/// The stream and the payload's length of a frame's head; `None` if it is no head.
pub fn parse_header(head: &[u8; HEADER]) -> Option<(Stream, u32)> {
    let stream = match head[0] {
        0 => Stream::Stdin,
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        3 => Stream::SystemError,
        _ => return None,
    };
    let [_, x, y, z, a, b, c, d] = *head;
    ([x, y, z] == [0; 3]).then(|| (stream, u32::from_be_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_survive_a_round_trip() {
        for stream in [Stream::Stdin, Stream::Stdout, Stream::Stderr, Stream::SystemError] {
            assert_eq!(parse_header(&header(stream, 0x0102_0304)), Some((stream, 0x0102_0304)));
        }
        assert_eq!(parse_header(b"hello wo"), None);
    }
}
