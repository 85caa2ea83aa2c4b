//! `exec`: one more process in a running container.

use super::shared;
use crate::Context;
use crate::args::{Arity, Flags, flag, list, value, verb};
use crate::client::{ApiVersion, Call};
use crate::failure::{Failure, Result};
use crate::options::env;
use crate::session::{self, Ended, Plan, Screen};
use crate::terminal::{self, parse_keys};
use clap::{Arg, ArgMatches};
use std::pin::pin;
use wire::docker::Words;
use wire::docker::exec::{ExecCreate, ExecCreateResponse, ExecInspect, ExecStart};

verb!("exec", "[OPTIONS] CONTAINER COMMAND [ARG...]", "Execute a command in a running container", Arity::Command(2));

fn flags() -> Vec<Arg> {
    vec![
        flag(Some('d'), "detach", "Detached mode: run command in the background"),
        value(None, "detach-keys", "string", "Override the key sequence for detaching a container"),
        list(Some('e'), "env", "list", "Set environment variables"),
        list(None, "env-file", "list", "Read in a file of environment variables"),
        flag(Some('i'), "interactive", "Keep STDIN open even if not attached"),
        flag(None, "privileged", "Give extended privileges to the command"),
        flag(Some('t'), "tty", "Allocate a pseudo-TTY"),
        value(Some('u'), "user", "string", "Username or UID (format: \"<name|uid>[:<group|gid>]\")"),
        value(Some('w'), "workdir", "string", "Working directory inside the container"),
    ]
}

async fn run(cx: &Context, m: &ArgMatches) -> Result<i32> {
    let mut words = m.arguments();
    let container = words.remove(0);
    let detach = m.on("detach");
    let keys = shared::detach_keys(cx, m);
    let plan = Plan {
        tty: m.on("tty"),
        stdin: m.on("interactive") && !detach,
        stdout: !detach,
        stderr: !detach,
        keys: parse_keys(keys)?,
    };
    shared::check_terminal(plan.stdin, plan.tty)?;
    let console_size = match terminal::size() {
        Some((rows, columns)) if plan.tty && !detach && cx.client.version().await? >= ApiVersion(1, 42) => {
            Some([u32::from(rows), u32::from(columns)])
        }
        _ => None,
    };
    let body = ExecCreate {
        user: m.text("user").to_owned(),
        privileged: m.on("privileged"),
        tty: plan.tty,
        console_size,
        attach_stdin: plan.stdin,
        attach_stderr: plan.stderr,
        attach_stdout: plan.stdout,
        detach,
        detach_keys: keys.to_owned(),
        env: Some(env::gather(&m.texts("env-file"), &m.texts("env"), env::Kind::Variable)?).filter(|e| !e.is_empty()),
        working_dir: m.text("workdir").to_owned(),
        cmd: Some(Words(words)),
    };
    // A container that doesn't run is refused before the terminal changes.
    let created: ExecCreateResponse =
        cx.client.ask(Call::post(shared::container(&container, "exec")).json(&body)?).await?;
    let id = created.id;
    if id.is_empty() {
        return Err(Failure::new("exec ID empty"));
    }
    let start = Call::post(format!("/exec/{id}/start")).json(&ExecStart { detach, tty: plan.tty, console_size })?;
    let refused = |failure: Failure| match shared::start_code(&failure.message) {
        125 => failure,
        code => failure.with_code(code),
    };
    if detach {
        cx.client.tell(start).await.map_err(refused)?;
        return Ok(0);
    }
    let stream = cx.client.hijack(start).await.map_err(refused)?;
    let screen = Screen::Exec(id.clone());
    let mut resize = pin!(screen.follow(&cx.client));
    let mut session = pin!(session::run(stream, &plan));
    let follows = plan.tty && terminal::stdout_is_terminal();
    let ended = loop {
        tokio::select! {
            ended = &mut session => break ended?,
            outcome = &mut resize, if follows => outcome?,
        }
    };
    if ended == Ended::Detached {
        return Err(Failure::new("read escape sequence"));
    }
    let inspect: ExecInspect = cx.client.ask(Call::get(format!("/exec/{id}/json"))).await?;
    Ok(i32::try_from(inspect.exit_code.unwrap_or(0)).unwrap_or(1))
}
