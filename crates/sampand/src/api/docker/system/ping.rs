//! `GET /_ping` and `HEAD /_ping`

use crate::api::docker::call::Call;
use crate::api::docker::reply::{self, Reply};
use http::{HeaderValue, header};
use oci::Result;

/// Says that the engine serves.
pub async fn ping(_call: Call) -> Result<Reply> {
    let mut reply = reply::text("OK");
    let headers = reply.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-store, must-revalidate"));
    headers.insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert("Builder-Version", HeaderValue::from_static("1"));
    headers.insert("Swarm", HeaderValue::from_static("inactive"));
    Ok(reply)
}
