//! What replicas share through Redis. The tests start Debian's `redis-server` themselves; where it is not
//! installed they say so and pass.

mod answers;
mod batches;
mod connection;
mod events;
mod facts;
mod limits;
mod nodes;
mod running;
mod sentinel;
mod server;
mod sessions;
mod shards;
mod stored;
mod view;
