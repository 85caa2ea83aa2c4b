//! Volumes and networks as doors see them.

use oci::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A volume to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VolumeSpec {
    /// A 64 digit name is made up where there is none; then the volume is anonymous.
    pub name: Option<String>,
    /// Only `local`, which is the default.
    pub driver: Option<String>,
    /// Options of the driver; none is supported yet, each is refused by name.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Unique in its namespace.
    pub name: String,
    /// `local`.
    pub driver: String,
    /// The directory to mount.
    pub mountpoint: String,
    /// When it was made.
    pub created: Timestamp,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Made without a name.
    pub anonymous: bool,
}

/// A network to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Unique in the engine.
    pub name: String,
    /// Only `bridge`, which is the default.
    pub driver: Option<String>,
    /// Subnet in CIDR form; a free one is picked where absent.
    pub subnet: Option<String>,
    /// Gateway; the subnet's first address where absent.
    pub gateway: Option<String>,
    /// No route to the outside.
    pub internal: bool,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// When it was made; zero for the built-in ones.
    pub created: Timestamp,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// Subnet in CIDR form; empty for `host` and `none`.
    pub subnet: String,
    /// Gateway.
    pub gateway: String,
    /// No route to the outside.
    pub internal: bool,
    /// Options of the driver.
    pub options: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// One of `bridge`, `host`, `none`, which can't be removed.
    pub builtin: bool,
}
