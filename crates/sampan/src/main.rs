//! `sampan`: docker's verbs over the public Engine API, so that it drives `sampand` and any dockerd alike.
//!
//! - [`args`] and [`commands`]: the command line, one verb per file
//! - [`client`]: HTTP over a Unix socket or TCP, streams and hijacked connections; [`config`]: credentials
//! - [`options`]: what the options of `run` mean, as bodies of the API
//! - [`template`], [`format`]: Go templates, tables, sizes, durations; [`value`]: JSON that keeps its order
//! - [`terminal`], [`session`], [`progress`]: raw mode, attached streams, pull progress
//! - [`tar`], [`transfer`]: archives for `cp`, and archives as they are

mod args;
mod client;
mod commands;
mod config;
mod failure;
mod format;
mod options;
mod output;
mod progress;
mod session;
mod tar;
mod template;
mod terminal;
mod transfer;
mod value;

use args::{Group, Verb};
use clap::{Arg, ArgAction, Command};
use client::{Client, Endpoint};
use failure::{Failure, Result};

/// This program's name, as messages say it.
pub(crate) const PROGRAM: &str = "sampan";

/// What every verb gets.
pub(crate) struct Context {
    pub(crate) client: Client,
    pub(crate) config: config::ConfigFile,
    /// The words that led to the verb, as `sampan container run`.
    pub(crate) path: String,
}

fn main() {
    let code = match start() {
        Ok(code) => code,
        Err(failure) => {
            if !failure.message.is_empty() {
                output::error(&failure.message);
            }
            failure.code
        }
    };
    // Not a return: a thread may still be blocked in a read of standard input.
    std::process::exit(code);
}

/// The whole tree of commands.
pub(crate) fn tree() -> Command {
    let mut root = Command::new(PROGRAM)
        .about("Containers: the same verbs as docker, for sampand and every other Docker Engine API")
        .override_usage("sampan [OPTIONS] COMMAND")
        .disable_help_subcommand(true)
        .args_override_self(true)
        .subcommand_required(false)
        .version(env!("CARGO_PKG_VERSION"))
        .disable_version_flag(true)
        .arg(args::value(Some('H'), "host", "address", "Daemon socket to connect to (SAMPAN_HOST, DOCKER_HOST)"))
        .arg(args::value(None, "config", "string", "Directory of the client's configuration (DOCKER_CONFIG)"))
        .arg(
            Arg::new("version")
                .short('v')
                .long("version")
                .action(ArgAction::Version)
                .help("Print version information and quit"),
        );
    for verb in commands::VERBS {
        root = root.subcommand(verb.command(PROGRAM, &[]));
    }
    for verb in commands::HIDDEN {
        root = root.subcommand(verb.command(PROGRAM, &[]).hide(true));
    }
    for group in commands::GROUPS {
        root = root.subcommand(group_command(group));
    }
    root
}

fn group_command(group: &Group) -> Command {
    let path = format!("{PROGRAM} {}", group.name);
    Command::new(group.name)
        .about(group.about)
        .override_usage(format!("{path} COMMAND"))
        .disable_help_subcommand(true)
        .subcommands(group.verbs.iter().map(|(names, verb)| verb.command(&path, names)))
}

/// A verb of the top level.
fn find(name: &str) -> Option<&'static Verb> {
    commands::VERBS.iter().chain(commands::HIDDEN).find(|verb| verb.name == name).copied()
}

/// A verb of a group, with its chief name there.
fn find_in(group: &Group, name: &str) -> Option<(&'static str, &'static Verb)> {
    let (names, verb) = group.verbs.iter().find(|(names, _)| names.contains(&name))?;
    Some((names.first()?, verb))
}

/// The verb that a command line names, with the words that led to it; for messages about lines that clap refused.
fn named(words: &[String]) -> (String, Option<&'static Verb>, Option<&'static Group>) {
    let mut plain = Vec::new();
    let mut skip = false;
    for word in words.iter().skip(1) {
        if skip {
            skip = false;
        } else if matches!(word.as_str(), "-H" | "--host" | "--config") {
            skip = true;
        } else if !word.starts_with('-') {
            plain.push(word.as_str());
        }
        if plain.len() == 2 {
            break;
        }
    }
    let Some(first) = plain.first() else { return (PROGRAM.into(), None, None) };
    if let Some(verb) = find(first) {
        return (format!("{PROGRAM} {}", verb.name), Some(verb), None);
    }
    let Some(group) = commands::GROUPS.iter().find(|g| g.name == *first) else { return (PROGRAM.into(), None, None) };
    match plain.get(1).and_then(|second| find_in(group, second)) {
        Some((name, verb)) => (format!("{PROGRAM} {} {name}", group.name), Some(verb), Some(group)),
        None => (format!("{PROGRAM} {}", group.name), None, Some(group)),
    }
}

fn start() -> Result<i32> {
    let words: Vec<String> = std::env::args_os()
        .map(|word| {
            word.into_string().map_err(|word| Failure::new(format!("{PROGRAM}: the argument {word:?} is not UTF-8")))
        })
        .collect::<Result<_>>()?;
    let (path, verb, group) = named(&words);
    let matches = match tree().try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) => return refused(&error, &words, &path, verb, group),
    };

    // clap knows which word was the verb; the words before it are its groups.
    let mut path = PROGRAM.to_owned();
    let mut level = &matches;
    while let Some((name, inner)) = level.subcommand() {
        path = format!("{path} {name}");
        level = inner;
    }
    let verb = match matches.subcommand() {
        None => None,
        Some((name, inner)) => match commands::GROUPS.iter().find(|g| g.name == name) {
            Some(group) => inner.subcommand().and_then(|(name, _)| find_in(group, name)).map(|(_, verb)| verb),
            None => find(name),
        },
    };
    let Some(verb) = verb else {
        return help_of(&words, group);
    };
    verb.check(&path, args::Flags::arguments(level).len())?;
    args::check_switches(verb, level).map_err(|f| args::finish(f, verb, &path))?;

    let flags = &matches;
    let config = config::ConfigFile::load(args::Flags::given(flags, "config"))?;
    let endpoint = Endpoint::choose(args::Flags::given(flags, "host"))?;
    let context = Context { client: Client::new(endpoint), config, path: path.clone() };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("{PROGRAM}: can't start: {error}")))?;
    let outcome = runtime.block_on((verb.run)(&context, level));
    // A read of standard input may hang in the blocking pool for ever.
    runtime.shutdown_background();
    outcome.map_err(|failure| args::finish(failure, verb, &path))
}

fn help_of(words: &[String], group: Option<&Group>) -> Result<i32> {
    let mut tree = tree();
    let text = match group {
        Some(group) if words.len() > 1 => {
            tree.build();
            tree.find_subcommand_mut(group.name).map(|c| c.render_help().to_string()).unwrap_or_default()
        }
        _ => tree.render_help().to_string(),
    };
    output::print(&text);
    Ok(0)
}

fn refused(
    error: &clap::Error,
    words: &[String],
    path: &str,
    verb: Option<&'static Verb>,
    group: Option<&'static Group>,
) -> Result<i32> {
    use clap::error::ErrorKind;
    if verb.is_none() && matches!(error.kind(), ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument) {
        let word = words.iter().skip(1).find(|w| !w.starts_with('-') && group.is_none_or(|g| g.name != w.as_str()));
        if let Some(word) = word {
            let usage = group.map(|_| format!("Usage:  {path}\n\n")).unwrap_or_default();
            return Err(Failure::new(format!(
                "{PROGRAM}: unknown command: {path} {word}\n\n{usage}Run '{path} --help' for more information"
            )));
        }
    }
    let usage = verb.map_or("[OPTIONS] COMMAND [ARG...]", |v| v.usage);
    match args::refusal(error, path, usage) {
        Some(failure) => Err(failure),
        None => {
            output::print(&error.render().to_string());
            Ok(0)
        }
    }
}

#[cfg(test)]
mod tests {
    /// clap checks names, shorts and aliases of the whole tree, which it does when a line is parsed only in part.
    #[test]
    fn the_tree_of_commands_is_sound() {
        super::tree().debug_assert();
    }
}
