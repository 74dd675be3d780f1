//! Which provider serves a request: failover, races, classes of failure, selection.

mod failover;
mod failure_classes;
mod provider_rest;
mod races;
mod retries;
mod selection;
mod startup_order;
