//! Looking: one image, all images, an image's history.

use super::Images;
use super::find::{find, no_such_image};
use super::model::{HistoryLine, Image};
use super::records::{all, assemble, names};
use oci::Result;

impl Images {
    /// Finds an image by id, unique beginning of one, name, or name and digest.
    ///
    /// # Errors
    /// `NotFound` ("No such image: x"); `InvalidArgument` for an ambiguous beginning.
    pub async fn get(&self, given: &str) -> Result<Image> {
        let (ns, given) = (self.ns.clone(), given.to_owned());
        self.service
            .blocking(move |s| {
                let names = names(&s.store, &ns)?;
                let found = find(&names, &given)?;
                assemble(&s.store, &names, &found.id)?.ok_or_else(|| no_such_image(&given))
            })
            .await
    }

    /// All images, the newest first.
    ///
    /// # Errors
    /// If the records can't be read.
    pub async fn list(&self) -> Result<Vec<Image>> {
        let ns = self.ns.clone();
        self.service.blocking(move |s| all(&s.store, &ns)).await
    }

    /// How an image came to be, the newest step first.
    ///
    /// # Errors
    /// As [`Images::get`].
    pub async fn history(&self, given: &str) -> Result<Vec<HistoryLine>> {
        Ok(lines(&self.get(given).await?))
    }
}

/// The steps with the sizes of the layers that they made.
fn lines(image: &Image) -> Vec<HistoryLine> {
    let mut sizes = image.layer_sizes.iter();
    let mut lines: Vec<HistoryLine> = image
        .config
        .history
        .iter()
        .flatten()
        .map(|step| HistoryLine {
            id: None,
            created: step.created.unwrap_or_default(),
            created_by: step.created_by.clone().unwrap_or_default(),
            comment: step.comment.clone().unwrap_or_default(),
            size: if step.empty_layer { 0 } else { sizes.next().copied().unwrap_or(0) },
            tags: Vec::new(),
        })
        .collect();
    // Layers that no step tells of are shown all the same.
    for size in sizes {
        lines.push(HistoryLine {
            id: None,
            created: image.created(),
            created_by: String::new(),
            comment: String::new(),
            size: *size,
            tags: Vec::new(),
        });
    }
    lines.reverse();
    if let Some(newest) = lines.first_mut() {
        newest.id = Some(image.id.clone());
        newest.tags = image.tags.clone();
    }
    lines
}
