//! Which provider serves a request: selection, failover, retries, races, rests.

mod failover;
mod failure_classes;
mod makers;
mod missing_endpoints;
mod provider_rest;
mod races;
mod retries;
mod selection;
mod startup_order;
