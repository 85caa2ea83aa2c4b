//! The messages of pull, push, load and import: bars on a terminal, plain lines elsewhere.

use crate::client::JsonStream;
use crate::failure::{Failure, Result};
use crate::format::units::decimal_size;
use crate::{output, terminal};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use std::collections::HashMap;
use wire::docker::progress::{Detail, Message};

/// Where messages are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Stdout,
    Stderr,
    Nowhere,
}

/// More layers than this are told of in lines.
const BARS_LIMIT: usize = 200;

struct Bars {
    multi: MultiProgress,
    by_id: HashMap<String, ProgressBar>,
}

impl Bars {
    fn start(place: Place) -> Option<Self> {
        let target = match place {
            Place::Stdout if terminal::stdout_is_terminal() => ProgressDrawTarget::stdout(),
            Place::Stderr if terminal::stderr_is_terminal() => ProgressDrawTarget::stderr(),
            _ => return None,
        };
        Some(Self { multi: MultiProgress::with_draw_target(target), by_id: HashMap::new() })
    }

    fn show(&mut self, message: &Message) {
        let known = self.by_id.len();
        let bar = self.by_id.entry(message.id.clone()).or_insert_with(|| {
            let bar = ProgressBar::no_length().with_prefix(message.id.clone());
            bar.set_style(plain());
            if known < BARS_LIMIT { self.multi.add(bar) } else { bar }
        });
        match message.progress_detail.as_ref().filter(|detail| detail.current > 0 || detail.total > 0) {
            Some(detail) => {
                bar.set_message(message.status.clone());
                let number = |n: i64| u64::try_from(n).unwrap_or(0);
                if detail.total > 0 {
                    bar.set_length(number(detail.total));
                    bar.set_style(transfer());
                }
                bar.set_position(number(detail.current));
                bar.tick();
            }
            None => {
                bar.set_style(plain());
                bar.set_message(message.status.clone());
                bar.tick();
            }
        }
    }

    fn line(&self, text: &str) {
        let _ = self.multi.println(text);
    }

    /// What is drawn stays, as docker leaves it.
    fn end(&self) {
        for bar in self.by_id.values() {
            bar.abandon();
        }
    }
}

fn plain() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg}").unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn transfer() -> ProgressStyle {
    ProgressStyle::with_template("{prefix}: {msg} [{bar:50}]  {decimal_bytes}/{decimal_total_bytes}")
        .map(|style| style.progress_chars("=> "))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The bar as text, for a daemon that counts otherwise than in bytes.
fn counted(detail: &Detail) -> String {
    if detail.units.is_empty() {
        return format!("{}/{}", decimal_size(detail.current as f64, 4), decimal_size(detail.total as f64, 4));
    }
    format!("{}/{} {}", detail.current, detail.total, detail.units)
}

/// Shows messages up to the end of the stream; gives the facts (`aux`) among them, or the failure they end with.
pub(crate) async fn show(stream: &mut JsonStream, place: Place) -> Result<Vec<Value>> {
    let mut bars = Bars::start(place);
    let mut facts = Vec::new();
    let outcome = async {
        while let Some(message) = stream.next::<Message>().await? {
            if let Some(detail) = &message.error_detail {
                return Err(Failure::new(detail.message.clone()));
            }
            if !message.error.is_empty() {
                return Err(Failure::new(message.error.clone()));
            }
            facts.extend(message.aux.clone());
            print(&message, place, bars.as_mut());
        }
        Ok(())
    }
    .await;
    if let Some(bars) = bars {
        bars.end();
    }
    outcome.map(|()| facts)
}

fn print(message: &Message, place: Place, bars: Option<&mut Bars>) {
    if message.aux.is_some() && message.status.is_empty() && message.stream.is_empty() {
        return;
    }
    let moving = message.progress_detail.as_ref().filter(|d| d.current > 0 || d.total > 0);
    if let Some(bars) = bars {
        match moving {
            _ if message.id.is_empty() => bars.line(text(message).trim_end_matches('\n')),
            Some(detail) if !detail.units.is_empty() => {
                let status = format!("{} {}", message.status, counted(detail));
                bars.show(&Message { status, progress_detail: None, ..message.clone() });
            }
            _ => bars.show(message),
        }
        return;
    }
    if moving.is_some() {
        return;
    }
    match place {
        Place::Stdout => output::print(&text(message)),
        Place::Stderr => output::error(&text(message)),
        Place::Nowhere => {}
    }
}

fn text(message: &Message) -> String {
    let id = if message.id.is_empty() { String::new() } else { format!("{}: ", message.id) };
    if message.stream.is_empty() { format!("{id}{}\n", message.status) } else { format!("{id}{}", message.stream) }
}
