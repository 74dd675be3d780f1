//! Many requests and many failures at once; each runs for seconds, and longer when an environment variable says so.

mod random_failures;
mod reload_under_load;
mod reload_with_streams;
