//! Networks.

use super::call::Call;
use super::containers::until;
use super::filter::{self, Pattern};
use super::reply::{self, Reply};
use super::{show, spec};
use engine::model::{Network, NetworkSpec};
use http::StatusCode;
use oci::{Error, Result};
use wire::docker::network::{ConnectRequest, CreateRequest, CreateResponse, DisconnectRequest, PruneReport};

/// `GET /networks`
pub async fn list(call: Call) -> Result<Reply> {
    let filters = call.query.filters(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let dangling = filter::flag(&filters, "dangling")?;
    let names = filter::values(&filters, "name").iter().map(|n| Pattern::new(n)).collect::<Result<Vec<_>>>()?;
    let containers = call.engine().containers().list();
    let used = |network: &Network| containers.iter().any(|c| c.endpoints.contains_key(&network.name));
    let shown: Vec<_> = call
        .engine()
        .networks()
        .list()
        .await?
        .iter()
        .filter(|network| {
            filter::any(&filters, "driver", |driver| driver == network.driver)
                && filter::any(&filters, "id", |id| network.id.starts_with(id))
                && filter::any(&filters, "scope", |scope| scope == "local")
                && filter::any(&filters, "type", |kind| kind == if network.builtin { "builtin" } else { "custom" })
                && filter::labels(&filters, &network.labels)
                && (names.is_empty() || names.iter().any(|name| name.matches(&network.name)))
                && dangling.is_none_or(|wanted| (!network.builtin && !used(network)) == wanted)
        })
        // Lists have no members since API 1.28.
        .map(|network| show::network(network, &[]))
        .collect();
    Ok(reply::json(&shown))
}

/// `GET /networks/{id}`
pub async fn inspect(call: Call) -> Result<Reply> {
    let network = call.engine().networks().get(call.param("id")).await?;
    Ok(reply::json(&show::network(&network, &call.engine().containers().list())))
}

/// `POST /networks/create`
pub async fn create(mut call: Call) -> Result<Reply> {
    let request: CreateRequest = call.json().await?;
    let made = call.engine().networks().create(network_spec(request)?).await?;
    Ok(reply::json_with(StatusCode::CREATED, &CreateResponse { id: made.id, warning: String::new() }))
}

/// What a request asks for.
fn network_spec(request: CreateRequest) -> Result<NetworkSpec> {
    let ipam = request.ipam.unwrap_or_default();
    let pools = ipam.config.unwrap_or_default();
    let pool = pools.first().cloned().unwrap_or_default();
    let refused = [
        ("Scope", !matches!(request.scope.as_str(), "" | "local")),
        ("EnableIPv4=false", request.enable_ipv4 == Some(false)),
        ("EnableIPv6", request.enable_ipv6 == Some(true)),
        ("Attachable", request.attachable),
        ("Ingress", request.ingress),
        ("ConfigOnly", request.config_only),
        ("ConfigFrom", request.config_from.is_some_and(|from| !from.network.is_empty())),
        ("IPAM.Driver", !matches!(ipam.driver.as_str(), "" | "default")),
        ("IPAM.Options", ipam.options.is_some_and(|options| !options.is_empty())),
        ("IPAM.Config with more than one pool", pools.len() > 1),
        ("IPAM.Config.IPRange", !pool.ip_range.is_empty()),
        ("IPAM.Config.AuxiliaryAddresses", pool.auxiliary_addresses.is_some_and(|map| !map.is_empty())),
    ];
    if let Some((name, _)) = refused.iter().find(|(_, set)| *set) {
        return Err(Error::unsupported(format!("not implemented: the option {name}")));
    }
    if request.name.is_empty() {
        return Err(Error::invalid("network name cannot be empty"));
    }
    let text = |text: String| (!text.is_empty()).then_some(text);
    Ok(NetworkSpec {
        name: request.name,
        driver: text(request.driver),
        subnet: text(pool.subnet),
        gateway: text(pool.gateway),
        internal: request.internal,
        options: request.options.unwrap_or_default(),
        labels: request.labels.unwrap_or_default(),
    })
}

/// `DELETE /networks/{id}`
pub async fn remove(call: Call) -> Result<Reply> {
    call.engine().networks().remove(call.param("id")).await?;
    Ok(reply::done())
}

/// `POST /networks/{id}/connect`
pub async fn connect(mut call: Call) -> Result<Reply> {
    let request: ConnectRequest = call.json().await?;
    let endpoint = spec::endpoint(&request.endpoint_config.unwrap_or_default())?;
    call.engine().networks().connect(call.param("id"), &request.container, endpoint).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/{id}/disconnect`
pub async fn disconnect(mut call: Call) -> Result<Reply> {
    let request: DisconnectRequest = call.json().await?;
    call.engine().networks().disconnect(call.param("id"), &request.container, request.force).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/prune`
pub async fn prune(call: Call) -> Result<Reply> {
    let filters = call.query.filters(&["label", "label!", "until"])?;
    let until = until(&filters)?;
    let takes = |network: &Network| {
        until.is_none_or(|until| network.created <= until) && filter::labels(&filters, &network.labels)
    };
    let pruned = call.engine().networks().prune(&takes).await?;
    Ok(reply::json(&PruneReport { networks_deleted: (!pruned.removed.is_empty()).then_some(pruned.removed) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_taken_or_refused_by_name() {
        let of = |json: &str| network_spec(serde_json::from_str(json).unwrap());
        let spec = of(r#"{"Name":"n","Driver":"bridge","CheckDuplicate":true,"IPAM":{"Driver":"default","Options":{},
            "Config":[{"Subnet":"10.0.0.0/24","Gateway":"10.0.0.1"}]},"Internal":true,"Labels":{"a":"b"}}"#)
        .unwrap();
        assert_eq!((spec.subnet.as_deref(), spec.gateway.as_deref()), (Some("10.0.0.0/24"), Some("10.0.0.1")));
        assert!(spec.internal && spec.labels["a"] == "b");
        for (name, json) in [
            ("EnableIPv6", r#"{"Name":"n","EnableIPv6":true}"#),
            ("IPRange", r#"{"Name":"n","IPAM":{"Config":[{"IPRange":"10.0.0.0/25"}]}}"#),
            ("Scope", r#"{"Name":"n","Scope":"swarm"}"#),
        ] {
            assert!(of(json).unwrap_err().message().contains(name), "{json}");
        }
        assert!(of("{}").is_err());
    }
}
