//! What travels between processes, as plain types: protobuf messages and Docker's REST models.

pub mod docker;
pub mod metrics;
pub mod runc_options;
pub mod task;
pub mod task_events;
pub mod ttrpc;
pub mod well_known;
