//! How lists, sizes and times are shown.
//!
//! - [`listing`]: rows through `--format`; [`table`]: columns
//! - [`units`]: sizes, numbers, durations; [`time`]: dates

pub(crate) mod listing;
pub(crate) mod table;
pub(crate) mod time;
pub(crate) mod units;
