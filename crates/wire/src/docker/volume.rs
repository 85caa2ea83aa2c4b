//! Volumes.

use super::{Map, is_default};
use serde_json::Value;

model! {
    /// A volume.
    pub struct Volume {
        created_at: String,
        driver: String,
        labels: Option<Map<String>>,
        mountpoint: String,
        name: String,
        options: Option<Map<String>>,
        scope: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<Map<Value>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        usage_data: Option<Usage>,
    }

    /// What `system df` says of a volume; -1 where unknown.
    pub struct Usage {
        ref_count: i64,
        size: i64,
    }

    /// The body of `POST /volumes/create`.
    pub struct CreateRequest {
        name: String,
        driver: String,
        driver_opts: Option<Map<String>>,
        labels: Option<Map<String>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cluster_volume_spec: Option<Value>,
    }

    /// `GET /volumes`.
    pub struct List {
        volumes: Vec<Volume>,
        warnings: Option<Vec<String>>,
    }

    /// The answer to `POST /volumes/prune`.
    pub struct PruneReport {
        #[serde(skip_serializing_if = "is_default")]
        volumes_deleted: Vec<String>,
        space_reclaimed: u64,
    }
}
