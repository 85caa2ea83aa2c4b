//! One more name for an image.

use super::Images;
use super::ready::record_of;
use super::records::set_name;
use oci::{Error, ImageRef, Result, Timestamp};

impl Images {
    /// Gives an image one more name, which may belong to another so far.
    ///
    /// # Errors
    /// As [`Images::get`]; `InvalidArgument` for a name with a digest.
    pub async fn tag(&self, given: &str, name: &ImageRef) -> Result<()> {
        if name.digest().is_some() {
            return Err(Error::invalid("refusing to create a tag with a digest reference"));
        }
        let (ns, given, new) = (self.ns.clone(), given.to_owned(), name.to_string());
        let id = self
            .service
            .blocking(move |s| {
                let (_, mut record) = record_of(s, &ns, &given)?;
                record.tagged = Timestamp::now();
                let id = record.config.digest.clone();
                s.store.meta().transaction(|txn| set_name(txn, &ns, &new, &record))?;
                Ok(id)
            })
            .await?;
        self.service.event(&self.ns, "tag", id.as_str(), &name.familiar());
        Ok(())
    }
}
