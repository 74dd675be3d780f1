//! Many requests and many failures at once. Each test runs for seconds, and longer where an environment
//! variable says so.

mod random_failures;
mod reload_under_load;
mod reload_with_streams;
