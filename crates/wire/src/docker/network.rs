//! Networks.

use super::{Map, config::EndpointSettings, is_default};

model! {
    /// A network.
    pub struct Network {
        name: String,
        id: String,
        created: String,
        scope: String,
        driver: String,
        #[serde(rename = "EnableIPv4")]
        enable_ipv4: bool,
        #[serde(rename = "EnableIPv6")]
        enable_ipv6: bool,
        #[serde(rename = "IPAM")]
        ipam: Ipam,
        internal: bool,
        attachable: bool,
        ingress: bool,
        config_from: ConfigFrom,
        config_only: bool,
        containers: Map<Member>,
        options: Map<String>,
        labels: Map<String>,
    }

    /// Where a network's addresses come from.
    pub struct Ipam {
        driver: String,
        options: Option<Map<String>>,
        config: Option<Vec<IpamPool>>,
    }

    /// One range of addresses.
    pub struct IpamPool {
        #[serde(skip_serializing_if = "is_default")]
        subnet: String,
        #[serde(rename = "IPRange", skip_serializing_if = "is_default")]
        ip_range: String,
        #[serde(skip_serializing_if = "is_default")]
        gateway: String,
        #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "Option::is_none")]
        auxiliary_addresses: Option<Map<String>>,
    }

    /// The network whose configuration this one takes.
    pub struct ConfigFrom {
        network: String,
    }

    /// A container in a network.
    pub struct Member {
        name: String,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        mac_address: String,
        #[serde(rename = "IPv4Address")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address")]
        ipv6_address: String,
    }

    /// The body of `POST /networks/create`.
    pub struct CreateRequest {
        name: String,
        /// Ignored since API 1.44: names are unique.
        check_duplicate: bool,
        driver: String,
        scope: String,
        #[serde(rename = "EnableIPv4", skip_serializing_if = "Option::is_none")]
        enable_ipv4: Option<bool>,
        #[serde(rename = "EnableIPv6", skip_serializing_if = "Option::is_none")]
        enable_ipv6: Option<bool>,
        #[serde(rename = "IPAM")]
        ipam: Option<Ipam>,
        internal: bool,
        attachable: bool,
        ingress: bool,
        config_only: bool,
        config_from: Option<ConfigFrom>,
        options: Option<Map<String>>,
        labels: Option<Map<String>>,
    }

    /// The answer to `POST /networks/create`.
    pub struct CreateResponse {
        id: String,
        warning: String,
    }

    /// The body of `POST /networks/{id}/connect`.
    pub struct ConnectRequest {
        container: String,
        endpoint_config: Option<EndpointSettings>,
    }

    /// The body of `POST /networks/{id}/disconnect`.
    pub struct DisconnectRequest {
        container: String,
        force: bool,
    }

    /// The answer to `POST /networks/prune`.
    pub struct PruneReport {
        networks_deleted: Option<Vec<String>>,
    }
}
