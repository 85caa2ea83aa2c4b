//! A container's state in words: `Up 3 minutes`, `Exited (1) 2 hours ago`.

use engine::model::{ContainerRecord, Phase};
use oci::Timestamp;
use std::time::Duration;

/// The status column of `docker ps`.
pub fn status(record: &ContainerRecord, now: Timestamp) -> String {
    let up = || human(now.since(record.started_at));
    let ended = || human(now.since(record.finished_at));
    match record.phase {
        Phase::Running => format!("Up {}", up()),
        Phase::Paused => format!("Up {} (Paused)", up()),
        Phase::Restarting => format!("Restarting ({}) {} ago", record.exit_code, ended()),
        Phase::Exited => format!("Exited ({}) {} ago", record.exit_code, ended()),
        Phase::Removing => "Removal In Progress".into(),
        Phase::Dead => "Dead".into(),
        Phase::Creating | Phase::Created | Phase::Starting => "Created".into(),
    }
}

/// A duration as people say it, in Docker's words.
fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let hours = (duration.as_secs_f64() / 3600.0 + 0.5) as u64;
    match (seconds, hours) {
        (0, _) => "Less than a second".into(),
        (1, _) => "1 second".into(),
        (2..60, _) => format!("{seconds} seconds"),
        (60..120, _) => "About a minute".into(),
        (120..3600, _) => format!("{} minutes", seconds / 60),
        (_, 1) => "About an hour".into(),
        (_, ..48) => format!("{hours} hours"),
        (_, ..336) => format!("{} days", hours / 24),
        (_, ..1440) => format!("{} weeks", hours / 24 / 7),
        (_, ..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", hours / 24 / 365),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_in_docker_s_words() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (150, "2 minutes"),
            (3600, "About an hour"),
            (7200, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (14 * 86_400, "2 weeks"),
            (60 * 86_400, "2 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), words);
        }
    }
}
