//! `start`: containers that have ended, or never ran.

use super::{run::exit_code, shared};
use crate::Context;
use crate::args::{Arity, Flags, flag, value, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Failures, Result};
use crate::output;
use crate::session::{self, Ended, Plan, Screen};
use crate::terminal::{self, Signals, parse_keys};
use clap::{Arg, ArgMatches};
use std::pin::pin;
use wire::docker::container::Inspect;

verb!("start", "[OPTIONS] CONTAINER [CONTAINER...]", "Start one or more stopped containers", Arity::AtLeast(1));

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('a'), "attach", "Attach STDOUT/STDERR and forward signals"),
        value(None, "detach-keys", "string", "Override the key sequence for detaching a container"),
        flag(Some('i'), "interactive", "Attach container's STDIN"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let names = m.arguments();
    if m.on("attach") || m.on("interactive") {
        let [name] = names.as_slice() else {
            return Err(Failure::new("you cannot start and attach multiple containers at once"));
        };
        return attached(cx, m, name).await;
    }
    let mut failures = Failures::default();
    let mut failed = Vec::new();
    for name in &names {
        match cx.client.tell(Call::post(shared::container(name, "start"))).await {
            Ok(()) => output::line(name),
            Err(failure) => {
                failures.push(failure);
                failed.push(name.as_str());
            }
        }
    }
    if !failed.is_empty() {
        failures.push(Failure::new(format!("Error: failed to start containers: {}", failed.join(", "))));
    }
    failures.finish()
}

async fn attached(cx: &Context, m: &ArgMatches, name: &str) -> Result<i32> {
    let container: Inspect = cx.client.ask(Call::get(shared::container(name, "json"))).await?;
    let (id, config) = (&container.id, &container.config);
    let keys = shared::detach_keys(cx, m);
    let plan = Plan {
        tty: config.tty,
        stdin: m.on("interactive") && config.open_stdin,
        stdout: true,
        stderr: true,
        keys: parse_keys(keys)?,
    };
    let mut signals = if plan.tty { None } else { Some(Signals::catch()?) };
    let query = shared::attach_query(plan.stdin, true, true, keys);
    let stream = cx.client.hijack(Call::post(shared::container(id, "attach")).query(query)).await?;
    let condition = if container.host_config.auto_remove { "removed" } else { "next-exit" };
    let wait = Call::post(shared::container(id, "wait")).query(Query::new().with("condition", condition));
    let mut exit = cx.client.follow(wait).await?;

    let mut start = pin!(cx.client.tell(Call::post(shared::container(id, "start"))));
    let mut session = pin!(session::run(stream, &plan));
    let screen = Screen::Container(id.clone());
    let mut resize = pin!(screen.follow(&cx.client));
    let mut forward = pin!(async {
        match &mut signals {
            Some(signals) => signals.forward(&cx.client, id).await,
            None => std::future::pending().await,
        }
    });
    let follows = plan.tty && terminal::stdout_is_terminal();
    let (mut started, mut ended) = (false, None);
    while !started || ended.is_none() {
        tokio::select! {
            outcome = &mut start, if !started => { outcome?; started = true; }
            outcome = &mut session, if ended.is_none() => ended = Some(outcome?),
            outcome = &mut resize, if started && follows => outcome?,
            () = &mut forward => {}
        }
    }
    if ended == Some(Ended::Detached) {
        return Ok(0);
    }
    tokio::select! {
        code = exit_code(&mut exit) => code,
        () = &mut forward => Ok(1),
    }
}
