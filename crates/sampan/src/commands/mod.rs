//! The verbs, one per file. [`VERBS`], [`GROUPS`] and [`HIDDEN`] are the whole list.

mod shared;

mod attach;
mod completion;
mod container_inspect;
mod container_prune;
mod cp;
mod create;
mod diff;
mod events;
mod exec;
mod export;
mod history;
mod image_inspect;
mod image_prune;
mod images;
mod import;
mod info;
mod inspect;
mod kill;
mod load;
mod login;
mod logout;
mod logs;
mod man;
mod network;
mod pause;
mod port;
mod ps;
mod pull;
mod push;
mod rename;
mod restart;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod start;
mod stats;
mod stop;
mod system;
mod tag;
mod top;
mod unpause;
mod update;
mod version;
mod volume;
mod wait;

use crate::args::{Group, Verb};

/// The verbs at the top.
pub(crate) const VERBS: &[&Verb] = &[
    &run::VERB,
    &exec::VERB,
    &ps::VERB,
    &pull::VERB,
    &push::VERB,
    &images::VERB,
    &login::VERB,
    &logout::VERB,
    &search::VERB,
    &version::VERB,
    &info::VERB,
    &attach::VERB,
    &cp::VERB,
    &create::VERB,
    &diff::VERB,
    &events::VERB,
    &export::VERB,
    &history::VERB,
    &import::VERB,
    &inspect::VERB,
    &kill::VERB,
    &load::VERB,
    &logs::VERB,
    &pause::VERB,
    &port::VERB,
    &rename::VERB,
    &restart::VERB,
    &rm::VERB,
    &rmi::VERB,
    &save::VERB,
    &start::VERB,
    &stats::VERB,
    &stop::VERB,
    &tag::VERB,
    &top::VERB,
    &unpause::VERB,
    &update::VERB,
    &wait::VERB,
    &completion::VERB,
];

/// Verbs that help doesn't show.
pub(crate) const HIDDEN: &[&Verb] = &[&man::VERB];

/// Verbs by the kind of thing they are about.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "container",
        about: "Manage containers",
        verbs: &[
            (&["attach"], &attach::VERB),
            (&["cp"], &cp::VERB),
            (&["create"], &create::VERB),
            (&["diff"], &diff::VERB),
            (&["exec"], &exec::VERB),
            (&["export"], &export::VERB),
            (&["inspect"], &container_inspect::VERB),
            (&["kill"], &kill::VERB),
            (&["logs"], &logs::VERB),
            (&["ls", "list", "ps"], &ps::VERB),
            (&["pause"], &pause::VERB),
            (&["port"], &port::VERB),
            (&["prune"], &container_prune::VERB),
            (&["rename"], &rename::VERB),
            (&["restart"], &restart::VERB),
            (&["rm", "remove"], &rm::VERB),
            (&["run"], &run::VERB),
            (&["start"], &start::VERB),
            (&["stats"], &stats::VERB),
            (&["stop"], &stop::VERB),
            (&["top"], &top::VERB),
            (&["unpause"], &unpause::VERB),
            (&["update"], &update::VERB),
            (&["wait"], &wait::VERB),
        ],
    },
    Group {
        name: "image",
        about: "Manage images",
        verbs: &[
            (&["history"], &history::VERB),
            (&["import"], &import::VERB),
            (&["inspect"], &image_inspect::VERB),
            (&["load"], &load::VERB),
            (&["ls", "list"], &images::VERB),
            (&["prune"], &image_prune::VERB),
            (&["pull"], &pull::VERB),
            (&["push"], &push::VERB),
            (&["rm", "remove"], &rmi::VERB),
            (&["save"], &save::VERB),
            (&["tag"], &tag::VERB),
        ],
    },
    Group {
        name: "network",
        about: "Manage networks",
        verbs: &[
            (&["connect"], &network::connect::VERB),
            (&["create"], &network::create::VERB),
            (&["disconnect"], &network::disconnect::VERB),
            (&["inspect"], &network::inspect::VERB),
            (&["ls", "list"], &network::ls::VERB),
            (&["prune"], &network::prune::VERB),
            (&["rm", "remove"], &network::rm::VERB),
        ],
    },
    Group {
        name: "volume",
        about: "Manage volumes",
        verbs: &[
            (&["create"], &volume::create::VERB),
            (&["inspect"], &volume::inspect::VERB),
            (&["ls", "list"], &volume::ls::VERB),
            (&["prune"], &volume::prune::VERB),
            (&["rm", "remove"], &volume::rm::VERB),
        ],
    },
    Group {
        name: "system",
        about: "Manage the engine",
        verbs: &[
            (&["df"], &system::df::VERB),
            (&["events"], &events::VERB),
            (&["info"], &info::VERB),
            (&["prune"], &system::prune::VERB),
        ],
    },
];
