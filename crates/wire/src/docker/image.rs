//! Images as the API shows them.

use super::{Map, config::Config, container::GraphDriver, is_default};
use serde_json::Value;

model! {
    /// An entry of `GET /images/json`.
    pub struct Summary {
        containers: i64,
        /// Seconds since the epoch.
        created: i64,
        id: String,
        labels: Option<Map<String>>,
        parent_id: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        descriptor: Option<Value>,
        repo_digests: Option<Vec<String>>,
        repo_tags: Option<Vec<String>>,
        /// -1 where it was not computed.
        shared_size: i64,
        size: i64,
        /// Up to API 1.43.
        #[serde(skip_serializing_if = "Option::is_none")]
        virtual_size: Option<i64>,
    }

    /// `GET /images/{name}/json`.
    pub struct Inspect {
        id: String,
        repo_tags: Vec<String>,
        repo_digests: Vec<String>,
        parent: String,
        comment: String,
        created: String,
        docker_version: String,
        author: String,
        config: Option<Config>,
        architecture: String,
        #[serde(skip_serializing_if = "is_default")]
        variant: String,
        os: String,
        #[serde(skip_serializing_if = "is_default")]
        os_version: String,
        size: i64,
        /// Up to API 1.43.
        #[serde(skip_serializing_if = "Option::is_none")]
        virtual_size: Option<i64>,
        graph_driver: GraphDriver,
        #[serde(rename = "RootFS")]
        root_fs: RootFs,
        metadata: Metadata,
        #[serde(skip_serializing_if = "Option::is_none")]
        descriptor: Option<Value>,
    }

    /// An image's layers by the digests of their uncompressed tar streams.
    pub struct RootFs {
        #[serde(rename = "Type")]
        kind: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        layers: Option<Vec<String>>,
    }

    /// What this engine knows about the image beyond its content.
    pub struct Metadata {
        last_tag_time: String,
    }

    /// An entry of `GET /images/{name}/history`, the newest first.
    pub struct HistoryItem {
        comment: String,
        created: i64,
        created_by: String,
        /// `<missing>` for a layer that is no image of its own.
        id: String,
        size: i64,
        tags: Option<Vec<String>>,
    }

    /// An entry of the answer to `DELETE /images/{name}`: exactly one of the two is set.
    pub struct DeleteItem {
        #[serde(skip_serializing_if = "is_default")]
        deleted: String,
        #[serde(skip_serializing_if = "is_default")]
        untagged: String,
    }

    /// The answer to `POST /images/prune`.
    pub struct PruneReport {
        images_deleted: Option<Vec<DeleteItem>>,
        space_reclaimed: u64,
    }
}
