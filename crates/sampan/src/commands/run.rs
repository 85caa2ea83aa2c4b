//! `run`: create, attach, start, wait.
//!
//! ```text
//! create ─▶ attach ─▶ wait (asked, not awaited) ─▶ start ─▶ session ─▶ wait's answer ─▶ exit code
//! ```
//! Attaching and asking for the exit come before the start, so that nothing a quick container does is missed.

use super::create::{create, with_help};
use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, value, verb};
use crate::client::{Call, Query};
use crate::failure::{Failure, Result};
use crate::progress::Place;
use crate::session::{self, Ended, Plan, Screen};
use crate::terminal::{self, Signals, parse_keys};
use crate::{options, output};
use clap::{Arg, ArgMatches};
use std::pin::pin;
use wire::docker::container::{Inspect, Stage, WaitResponse};

verb!("run", "[OPTIONS] IMAGE [COMMAND] [ARG...]", "Create and run a new container from an image", Arity::Command(1));

fn flags() -> Vec<Arg> {
    let mut all = options::flags();
    all.extend([
        flag(Some('d'), "detach", "Run container in background and print container ID"),
        value(None, "detach-keys", "string", "Override the key sequence for detaching a container"),
        flag(None, "sig-proxy", "Proxy received signals to the process (default true)"),
        flag(None, "timeline", "Print how long each stage of the start took, in milliseconds (a sampand tells)"),
    ]);
    all
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let mut body = options::container(m).map_err(|f| with_help(cx, f))?;
    let detach = m.on("detach");
    if detach && m.given("attach").is_some() {
        return Err(Failure::new("conflicting options: cannot specify both --attach and --detach"));
    }
    let keys = shared::detach_keys(cx, m);
    let key_bytes = parse_keys(keys).map_err(|f| with_help(cx, f))?;
    let config = &mut body.config;
    if detach {
        (config.attach_stdin, config.attach_stdout, config.attach_stderr) = (false, false, false);
        config.stdin_once = false;
    } else {
        shared::check_terminal(config.attach_stdin, config.tty)?;
    }
    let plan = Plan {
        tty: config.tty,
        stdin: config.attach_stdin,
        stdout: config.attach_stdout,
        stderr: config.attach_stderr,
        keys: key_bytes,
    };
    if let (Some(host), Some((rows, columns))) = (&mut body.host_config, terminal::size())
        && !detach
    {
        host.console_size = [rows.into(), columns.into()];
    }
    // A container that removes itself takes its timeline along: then the removal is this program's.
    let timeline = m.on("timeline");
    let removes_itself = body.host_config.as_ref().is_some_and(|host| host.auto_remove);
    let removes_here = removes_itself && timeline && !detach;
    if let (true, Some(host)) = (removes_here, &mut body.host_config) {
        host.auto_remove = false;
    }

    let proxy = !detach && !plan.tty && m.switch("sig-proxy").unwrap_or(true);
    let mut signals = if proxy { Some(Signals::catch()?) } else { None };
    let id = create(cx, m, body, Place::Stderr).await.map_err(|f| with_help(cx, f))?;
    let outcome = if detach {
        start(cx, &id).await.map(|()| {
            output::line(&id);
            0
        })
    } else {
        attached(cx, &id, &plan, keys, removes_itself && !removes_here, signals.as_mut()).await
    };
    if timeline && outcome.is_ok() {
        show_timeline(cx, &id).await;
    }
    if removes_here {
        let gone = cx.client.tell(
            Call::delete(shared::container(&id, ""))
                .query(Query::new().flag("v", true).flag("force", outcome.is_err())),
        );
        if let Err(failure) = gone.await {
            output::error(&failure.message);
        }
    }
    outcome
}

/// Starts a container; a failure has the exit code that docker gives it.
async fn start(cx: &Context, id: &str) -> Result<()> {
    cx.client.tell(Call::post(shared::container(id, "start"))).await.map_err(|failure| {
        let code = shared::start_code(&failure.message);
        with_help(cx, failure.with_code(code))
    })
}

async fn attached(
    cx: &Context,
    id: &str,
    plan: &Plan,
    keys: &str,
    removes_itself: bool,
    signals: Option<&mut Signals>,
) -> Result<i32> {
    let wants_streams = plan.stdin || plan.stdout || plan.stderr;
    let query = shared::attach_query(plan.stdin, plan.stdout, plan.stderr, keys);
    let stream = match wants_streams {
        true => Some(
            cx.client
                .hijack(Call::post(shared::container(id, "attach")).query(query))
                .await
                .map_err(|f| with_help(cx, f))?,
        ),
        false => None,
    };
    let condition = if removes_itself { "removed" } else { "next-exit" };
    let wait = Call::post(shared::container(id, "wait")).query(Query::new().with("condition", condition));
    let mut exit = cx.client.follow(wait).await.map_err(|f| with_help(cx, f))?;

    let mut forward = pin!(async {
        match signals {
            Some(signals) => signals.forward(&cx.client, id).await,
            None => std::future::pending().await,
        }
    });
    let follows = plan.tty && terminal::stdout_is_terminal();
    let screen = Screen::Container(id.to_owned());
    let mut resize = pin!(screen.follow(&cx.client));
    let mut start = pin!(start(cx, id));
    let mut session = pin!(async {
        match stream {
            Some(stream) => session::run(stream, plan).await,
            None => Ok(Ended::Closed),
        }
    });
    let (mut started, mut ended) = (false, None);
    while !started || ended.is_none() {
        tokio::select! {
            outcome = &mut start, if !started => match outcome {
                Ok(()) => started = true,
                Err(failure) => {
                    // The daemon removes what never ran; after that the name is free again.
                    if removes_itself {
                        let _ = tokio::time::timeout(std::time::Duration::from_secs(10), exit.next::<WaitResponse>()).await;
                    }
                    return Err(failure);
                }
            },
            outcome = &mut session, if ended.is_none() => ended = Some(outcome),
            outcome = &mut resize, if started && follows => outcome?,
            () = &mut forward => {}
        }
    }
    match ended {
        Some(Ok(Ended::Detached)) => return Ok(0),
        Some(Err(failure)) if failure.message.is_empty() => return Err(failure),
        // The streams are lost, the container may be well: what it ends with still counts.
        Some(Err(failure)) => output::error(&failure.message),
        _ => {}
    }
    tokio::select! {
        code = exit_code(&mut exit) => code.map_err(|f| with_help(cx, f)),
        () = &mut forward => Ok(125),
    }
}

/// The answer of a wait.
pub(super) async fn exit_code(exit: &mut crate::client::JsonStream) -> Result<i32> {
    match exit.next::<WaitResponse>().await? {
        Some(WaitResponse { error: Some(error), .. }) if !error.message.is_empty() => {
            Err(Failure::new(format!("Error waiting for container: {}", error.message)).with_code(125))
        }
        Some(answer) => Ok(i32::try_from(answer.status_code).unwrap_or(125)),
        None => Err(Failure::new("the daemon ended before the container did").with_code(125)),
    }
}

async fn show_timeline(cx: &Context, id: &str) {
    match cx.client.ask::<Inspect>(Call::get(shared::container(id, "json"))).await {
        Ok(inspect) if inspect.timeline.is_empty() => {
            output::error("timeline: this daemon doesn't say how long the stages of a start took");
        }
        Ok(inspect) => output::error(&timeline_text(&inspect.timeline)),
        Err(failure) => output::error(&failure.prefixed("timeline").message),
    }
}

fn timeline_text(stages: &[Stage]) -> String {
    let mut text = String::from("\ntimeline, ms\n");
    for stage in stages {
        text.push_str(&format!("  {:<10}{:>10.1}\n", stage.stage, stage.ms));
    }
    let total: f64 = stages.iter().map(|stage| stage.ms).sum();
    text.push_str(&format!("  {:<10}{total:>10.1}", "total"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeline() {
        let stages = [("resolve", 1.25), ("start", 10.0)];
        let stages: Vec<_> = stages.map(|(stage, ms)| Stage { stage: stage.into(), ms }).into();
        let text = timeline_text(&stages);
        assert!(text.contains("  resolve          1.2\n") && text.ends_with("  total           11.2"), "{text}");
    }
}
