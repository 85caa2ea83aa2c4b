//! Failures.

model! {
    keys "lowercase";

    /// The body of every answer with a status of 400 or more.
    pub struct ErrorResponse {
        message: String,
    }
}
