//! `network ls`.

use crate::Context;
use crate::args::{Arity, Flags, filter_flag, flag, format_flag, verb};
use crate::client::{Call, Query};
use crate::commands::shared;
use crate::failure::Result;
use crate::format::listing::{Listing, id_text, label_text, row, with_labels};
use crate::format::time;
use clap::{Arg, ArgMatches};
use wire::docker::network::Network;

verb!("ls", "[OPTIONS]", "List networks", Arity::None);

fn flags() -> Vec<Arg> {
    vec![
        filter_flag(),
        format_flag(),
        flag(None, "no-trunc", "Do not truncate the output"),
        flag(Some('q'), "quiet", "Only display network IDs"),
    ]
}

const LISTING: Listing = Listing {
    headings: &[
        ("ID", "NETWORK ID"),
        ("Name", "NAME"),
        ("Driver", "DRIVER"),
        ("Scope", "SCOPE"),
        ("IPv4", "IPV4"),
        ("IPv6", "IPV6"),
        ("Internal", "INTERNAL"),
        ("Labels", "LABELS"),
        ("CreatedAt", "CREATED AT"),
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}",
    quiet: "{{.ID}}",
};

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let query = Query::new().text("filters", &shared::filters(&m.texts("filter"))?);
    let mut networks: Vec<Network> = cx.client.ask(Call::get("/networks").query(query)).await?;
    networks.sort_by(|a, b| a.name.cmp(&b.name));
    let rows: Vec<_> = networks
        .iter()
        .map(|network| {
            let fields = row([
                ("ID", id_text(&network.id, m.on("no-trunc"))),
                ("Name", network.name.clone()),
                ("Driver", network.driver.clone()),
                ("Scope", network.scope.clone()),
                ("IPv4", network.enable_ipv4.to_string()),
                ("IPv6", network.enable_ipv6.to_string()),
                ("Internal", network.internal.to_string()),
                ("Labels", label_text(&network.labels)),
                ("CreatedAt", time::go_text(&network.created)),
            ]);
            with_labels(fields, &network.labels)
        })
        .collect();
    let format = m.given("format").unwrap_or_else(|| cx.config.text("networksFormat"));
    LISTING.print(format, m.on("quiet"), &rows)?;
    Ok(0)
}
