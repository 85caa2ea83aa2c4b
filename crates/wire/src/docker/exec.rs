//! Further processes in a running container.

use super::{IdResponse, is_default};

model! {
    /// The body of `POST /containers/{id}/exec`.
    pub struct ExecCreate {
        user: String,
        privileged: bool,
        tty: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        console_size: Option<[u32; 2]>,
        attach_stdin: bool,
        attach_stderr: bool,
        attach_stdout: bool,
        #[serde(skip_serializing_if = "is_default")]
        detach: bool,
        detach_keys: String,
        env: Option<Vec<String>>,
        working_dir: String,
        cmd: Option<super::Words>,
    }

    /// The body of `POST /exec/{id}/start`.
    pub struct ExecStart {
        detach: bool,
        tty: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        console_size: Option<[u32; 2]>,
    }

    /// `GET /exec/{id}/json`.
    pub struct ExecInspect {
        #[serde(rename = "ID")]
        id: String,
        running: bool,
        exit_code: Option<i64>,
        process_config: ProcessConfig,
        open_stdin: bool,
        open_stderr: bool,
        open_stdout: bool,
        can_remove: bool,
        #[serde(rename = "ContainerID")]
        container_id: String,
        detach_keys: String,
        pid: i64,
    }
}

model! {
    keys "lowercase";

    /// The process of an exec.
    pub struct ProcessConfig {
        tty: bool,
        entrypoint: String,
        arguments: Vec<String>,
        privileged: bool,
        #[serde(skip_serializing_if = "is_default")]
        user: String,
    }
}

/// The answer to `POST /containers/{id}/exec`.
pub type ExecCreateResponse = IdResponse;
