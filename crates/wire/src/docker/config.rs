//! What a container is made from: the image-like half of a create body, and its networks.

use super::{Empty, Map, Words, host_config::HostConfig, is_default};
use serde_json::Value;

model! {
    /// A container's configuration (`container.Config`), also found in image inspection.
    pub struct Config {
        hostname: String,
        domainname: String,
        user: String,
        attach_stdin: bool,
        attach_stdout: bool,
        attach_stderr: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        exposed_ports: Option<Map<Empty>>,
        tty: bool,
        open_stdin: bool,
        stdin_once: bool,
        env: Option<Vec<String>>,
        cmd: Option<Words>,
        #[serde(skip_serializing_if = "Option::is_none")]
        healthcheck: Option<Healthcheck>,
        #[serde(skip_serializing_if = "is_default")]
        args_escaped: bool,
        image: String,
        volumes: Option<Map<Empty>>,
        working_dir: String,
        entrypoint: Option<Words>,
        #[serde(skip_serializing_if = "is_default")]
        network_disabled: bool,
        #[serde(skip_serializing_if = "is_default")]
        mac_address: String,
        on_build: Option<Vec<String>>,
        labels: Option<Map<String>>,
        #[serde(skip_serializing_if = "is_default")]
        stop_signal: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        stop_timeout: Option<i64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        shell: Option<Words>,
    }

    /// A health check; durations in nanoseconds, 0 inherits.
    pub struct Healthcheck {
        #[serde(skip_serializing_if = "Option::is_none")]
        test: Option<Vec<String>>,
        #[serde(skip_serializing_if = "is_default")]
        interval: i64,
        #[serde(skip_serializing_if = "is_default")]
        timeout: i64,
        #[serde(skip_serializing_if = "is_default")]
        start_period: i64,
        #[serde(skip_serializing_if = "is_default")]
        start_interval: i64,
        #[serde(skip_serializing_if = "is_default")]
        retries: i64,
    }

    /// The body of `POST /containers/create`: [`Config`] with the host's side and the networks beside its keys.
    pub struct CreateRequest {
        host_config: Option<HostConfig>,
        networking_config: Option<NetworkingConfig>,
        @flatten config: Config,
        @flatten
        /// Keys this model does not know.
        other: Map<Value>,
    }

    /// The networks to join at creation.
    pub struct NetworkingConfig {
        endpoints_config: Option<Map<Option<EndpointSettings>>>,
    }

    /// A container's place in one network, as asked for and as given.
    pub struct EndpointSettings {
        #[serde(rename = "IPAMConfig")]
        ipam_config: Option<EndpointIpam>,
        links: Option<Vec<String>>,
        aliases: Option<Vec<String>>,
        mac_address: String,
        driver_opts: Option<Map<String>>,
        gw_priority: i64,
        #[serde(rename = "NetworkID")]
        network_id: String,
        #[serde(rename = "EndpointID")]
        endpoint_id: String,
        gateway: String,
        #[serde(rename = "IPAddress")]
        ip_address: String,
        #[serde(rename = "IPPrefixLen")]
        ip_prefix_len: i64,
        #[serde(rename = "IPv6Gateway")]
        ipv6_gateway: String,
        #[serde(rename = "GlobalIPv6Address")]
        global_ipv6_address: String,
        #[serde(rename = "GlobalIPv6PrefixLen")]
        global_ipv6_prefix_len: i64,
        #[serde(rename = "DNSNames")]
        dns_names: Option<Vec<String>>,
    }

    /// Addresses asked for by the user.
    pub struct EndpointIpam {
        #[serde(rename = "IPv4Address", skip_serializing_if = "is_default")]
        ipv4_address: String,
        #[serde(rename = "IPv6Address", skip_serializing_if = "is_default")]
        ipv6_address: String,
        #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
        link_local_ips: Option<Vec<String>>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_body_flattens_and_forgives_nulls() {
        let body = r#"{"Image":"a","Cmd":"x","Env":null,"Tty":null,"Hostname":null,"Labels":{"k":"v"},"New":[1],
            "HostConfig":{"Binds":null,"Memory":5,"PortBindings":{"80/tcp":null},"Strange":1,"Ulimits":null},
            "NetworkingConfig":{"EndpointsConfig":{"n":null}}}"#;
        let request: CreateRequest = serde_json::from_str(body).unwrap();
        assert_eq!(request.config.image, "a");
        assert_eq!(request.config.cmd, Some(vec!["x".to_string()].into()));
        assert_eq!(request.other.keys().collect::<Vec<_>>(), ["New"]);
        let host = request.host_config.unwrap();
        assert_eq!(host.resources.memory, 5);
        assert_eq!(host.port_bindings.unwrap()["80/tcp"], None);
        assert_eq!(host.other.keys().collect::<Vec<_>>(), ["Strange"]);
        assert!(request.networking_config.unwrap().endpoints_config.unwrap()["n"].is_none());
    }

    #[test]
    fn an_empty_config_is_written_as_dockerd_writes_it() {
        let text = serde_json::to_string(&Config::default()).unwrap();
        assert_eq!(
            text,
            r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":null,"Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null}"#
        );
    }
}
