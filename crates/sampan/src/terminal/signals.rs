//! Signals that this program gets and hands on to a container.

use crate::client::{Call, Client, Query};
use crate::failure::{Failure, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Number and name of every signal that is handed on. Not CHLD, PIPE and URG, which are about this program itself, and
/// none that can't be caught.
const NAMES: &[(i32, &str)] = &[
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (5, "TRAP"),
    (6, "ABRT"),
    (10, "USR1"),
    (12, "USR2"),
    (14, "ALRM"),
    (15, "TERM"),
    (16, "STKFLT"),
    (18, "CONT"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (28, "WINCH"),
    (29, "IO"),
    (30, "PWR"),
    (31, "SYS"),
];

/// Caught signals.
pub(crate) struct Signals(Vec<(&'static str, Signal)>);

impl Signals {
    /// Catches them from now on.
    pub(crate) fn catch() -> Result<Self> {
        let catch = |(number, name): &(i32, &'static str)| {
            signal(SignalKind::from_raw(*number))
                .map(|stream| (*name, stream))
                .map_err(|error| Failure::new(format!("catch SIG{name}: {error}")))
        };
        NAMES.iter().map(catch).collect::<Result<_>>().map(Self)
    }

    /// The name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        std::future::poll_fn(|cx| {
            for (name, stream) in &mut self.0 {
                if stream.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// Hands every signal on to the container, for ever.
    pub(crate) async fn forward(&mut self, client: &Client, container: &str) {
        loop {
            let name = self.next().await;
            let call = Call::post(format!("/containers/{container}/kill")).query(Query::new().with("signal", name));
            // The container may have ended a moment ago.
            let _ = client.tell(call).await;
        }
    }
}
