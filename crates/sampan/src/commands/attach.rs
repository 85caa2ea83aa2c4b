//! `attach`: a running container's streams.

use super::{run::exit_code, shared};
use crate::Context;
use crate::args::{Arity, Flags, flag, value, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use crate::session::{self, Ended, Plan, Screen};
use crate::terminal::{self, Signals, parse_keys};
use clap::{Arg, ArgMatches};
use std::pin::pin;
use wire::docker::container::Inspect;

verb!(
    "attach",
    "[OPTIONS] CONTAINER",
    "Attach local standard input, output, and error streams to a running container",
    Arity::Exactly(1)
);

fn flags() -> Vec<Arg> {
    vec![
        value(None, "detach-keys", "string", "Override the key sequence for detaching a container"),
        flag(None, "no-stdin", "Do not attach STDIN"),
        flag(None, "sig-proxy", "Proxy all received signals to the process (default true)"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let name = &m.arguments()[0];
    let container: Inspect = cx.client.ask(Call::get(shared::container(name, "json"))).await?;
    let state = &container.state;
    if !state.running {
        return Err(Failure::new("cannot attach to a stopped container, start it first"));
    }
    if state.paused {
        return Err(Failure::new("cannot attach to a paused container, unpause it first"));
    }
    if state.restarting {
        return Err(Failure::new("cannot attach to a restarting container, wait until it is running"));
    }
    let keys = shared::detach_keys(cx, m);
    let plan = Plan {
        tty: container.config.tty,
        stdin: !m.on("no-stdin") && container.config.open_stdin,
        stdout: true,
        stderr: true,
        keys: parse_keys(keys)?,
    };
    shared::check_terminal(plan.stdin, plan.tty)?;
    let proxy = !plan.tty && m.switch("sig-proxy").unwrap_or(true);
    let mut signals = if proxy { Some(Signals::catch()?) } else { None };
    let id = &container.id;
    // Before the streams: the container may end with them.
    let wait = Call::post(shared::container(id, "wait")).query(Query::new().with("condition", ""));
    let mut exit = cx.client.follow(wait).await?;
    let query = shared::attach_query(plan.stdin, true, true, keys);
    let stream = cx.client.hijack(Call::post(shared::container(id, "attach")).query(query)).await?;

    let screen = Screen::Container(id.clone());
    let mut resize = pin!(async {
        screen.nudge(&cx.client).await;
        screen.follow(&cx.client).await
    });
    let mut session = pin!(session::run(stream, &plan));
    let mut forward = pin!(async {
        match &mut signals {
            Some(signals) => signals.forward(&cx.client, id).await,
            None => std::future::pending().await,
        }
    });
    let follows = plan.tty && terminal::stdout_is_terminal();
    let ended = loop {
        tokio::select! {
            ended = &mut session => break ended?,
            outcome = &mut resize, if follows => outcome?,
            () = &mut forward => {}
        }
    };
    if ended == Ended::Detached {
        return Err(Failure::new("read escape sequence"));
    }
    tokio::select! {
        code = exit_code(&mut exit) => code,
        () = &mut forward => Ok(1),
    }
}
