//! Which provider serves a request: failover, races, classes of failure, selection.

mod failover;
mod failure_classes;
mod races;
mod selection;
mod startup_order;
