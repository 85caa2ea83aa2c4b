//! `system prune`.

use crate::args::{Arity, Flags, flag, long_filter_flag, verb};
use crate::commands::{container_prune, image_prune, network, shared, volume};
use crate::failure::{Failure, Result};
use crate::format::units::decimal_size;
use crate::{Context, output};
use clap::{Arg, ArgMatches};

verb!("prune", "[OPTIONS]", "Remove unused data", Arity::None);

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "all", "Remove all unused images not just dangling ones"),
        long_filter_flag(),
        flag(Some('f'), "force", "Do not prompt for confirmation"),
        flag(None, "volumes", "Prune anonymous volumes"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let (all, volumes, filters) = (m.on("all"), m.on("volumes"), m.texts("filter"));
    if volumes && filters.iter().any(|filter| filter.starts_with("until=")) {
        return Err(Failure::new("ERROR: The \"until\" filter is not supported with \"--volumes\""));
    }
    if !m.on("force") {
        let mut text = String::from(
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
        );
        if volumes {
            text.push_str("  - all anonymous volumes not used by at least one container\n");
        }
        text.push_str(if all {
            "  - all images without at least one container associated to them\n"
        } else {
            "  - all dangling images\n"
        });
        shared::confirm(&format!("{text}\nAre you sure you want to continue?"))?;
    }
    // Containers first: they keep the rest in use.
    let (text, mut space) = container_prune::prune(cx, &filters).await?;
    output::print(&text);
    output::print(&network::prune::prune(cx, &filters).await?);
    if volumes {
        let (text, freed) = volume::prune::prune(cx, false, &filters).await?;
        output::print(&text);
        space = space.saturating_add(freed);
    }
    let (text, freed) = image_prune::prune(cx, all, &filters).await?;
    output::print(&text);
    space = space.saturating_add(freed);
    output::line(&format!("Total reclaimed space: {}", decimal_size(space as f64, 4)));
    Ok(0)
}
