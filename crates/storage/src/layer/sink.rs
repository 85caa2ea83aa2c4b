//! Where the bytes of a layer go as they come from the registry.

use super::{LayerSpec, Pipeline, StagedLayer};
use crate::Result;
use crate::content::{Content, Ingest};
use crate::snapshots::Snapshotter;
use oci::{Context, Error, Kind};

/// A layer being received, see [`Store::layer_sink`](crate::Store::layer_sink). Its methods block on
/// disk and processor; it may move between threads. Dropping it keeps the bytes so far, for a later
/// attempt with the same key, and drops what was unpacked.
pub struct LayerSink {
    spec: LayerSpec,
    ingest: Option<Ingest>,
    pipeline: State,
}

enum State {
    Unpacking(Box<Pipeline>),
    /// The stream can't be unpacked. Whether the layer itself is bad, or only what came over the
    /// line, is known when all bytes are in and their digest is compared.
    Refused(Error),
    /// An error was already given.
    Over,
}

impl LayerSink {
    pub(crate) fn open(content: &Content, snapshotter: &dyn Snapshotter, spec: &LayerSpec) -> Result<Self> {
        let name = || format!("layer {}", spec.descriptor.digest);
        let mut state = State::Unpacking(Box::new(Pipeline::new(spec, snapshotter).context(name)?));
        let ingest = content
            .ingest_with(&spec.key, Some(&spec.descriptor), &mut |bytes| feed(&mut state, bytes))
            .context(name)?;
        Ok(Self { spec: spec.clone(), ingest: Some(ingest), pipeline: state })
    }

    /// How many bytes are in; the next ones belong here.
    pub fn offset(&self) -> u64 {
        self.ingest.as_ref().map_or(0, Ingest::offset)
    }

    /// Takes the next bytes. After an error the sink is of no more use.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let Some(ingest) = &mut self.ingest else {
            return Err(Error::internal(format!("layer {}: written to after an error", self.spec.descriptor.digest)));
        };
        match ingest.write(bytes).and_then(|()| feed(&mut self.pipeline, bytes)) {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// All bytes are in: checks length, digest and diff id, and stores the blob. Too few bytes are
    /// [`Kind::Corrupt`], and stay for another attempt.
    pub fn finish(mut self) -> Result<StagedLayer> {
        let name = || format!("layer {}", self.spec.descriptor.digest);
        let state = std::mem::replace(&mut self.pipeline, State::Over);
        let Some(ingest) = self.ingest.take() else {
            return Err(Error::internal(format!("{}: finished after an error", name())));
        };
        let descriptor = &self.spec.descriptor;
        if ingest.offset() < descriptor.size {
            return Err(Error::corrupt(format!(
                "{}: the stream ended early: expected {} bytes, found {}",
                name(),
                descriptor.size,
                ingest.offset()
            )));
        }
        match state {
            State::Unpacking(pipeline) => {
                let staged = match pipeline.finish(&self.spec, &descriptor.digest) {
                    Ok(staged) => staged,
                    Err(error) => return Err(blame(ingest, descriptor, error)).context(name),
                };
                ingest.commit(&descriptor.digest, descriptor.size).context(name)?;
                Ok(staged)
            }
            State::Refused(error) => Err(blame(ingest, descriptor, error)).context(name),
            State::Over => Err(Error::internal(format!("{}: finished after an error", name()))),
        }
    }

    /// Ends it, and drops the bytes where keeping them can't help.
    fn fail(&mut self, error: Error) -> Error {
        self.pipeline = State::Over;
        if let Some(ingest) = self.ingest.take() {
            // A full disk is not helped by a part of a layer.
            if matches!(error.kind(), Kind::Corrupt | Kind::ResourceExhausted) {
                let _ = ingest.abort();
            }
        }
        error.prefixed(format!("layer {}", self.spec.descriptor.digest))
    }
}

/// All bytes came and could not be unpacked: if they are not what the digest says, that is the error.
fn blame(ingest: Ingest, descriptor: &oci::image::Descriptor, error: Error) -> Error {
    let checked = ingest.check(&descriptor.digest);
    let _ = ingest.abort();
    checked.err().unwrap_or(error)
}

fn feed(state: &mut State, bytes: &[u8]) -> Result<()> {
    let State::Unpacking(pipeline) = state else { return Ok(()) };
    match pipeline.push(bytes) {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.kind(), Kind::Corrupt | Kind::InvalidArgument | Kind::Unsupported) => {
            // This also drops what was unpacked.
            *state = State::Refused(error);
            Ok(())
        }
        Err(error) => Err(error),
    }
}
