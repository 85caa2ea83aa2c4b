//! A request's body as the stream that the image service reads.

use bytes::Bytes;
use engine::model::ByteStream;
use futures_util::Stream;
use std::io;

/// `pieces` as a stream of I/O results.
pub fn stream_of(mut pieces: ByteStream) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static {
    futures_util::stream::poll_fn(move |cx| {
        pieces.poll_recv(cx).map(|piece| piece.map(|piece| piece.map_err(|error| io::Error::other(error.to_string()))))
    })
}
