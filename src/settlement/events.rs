//! Events for watchers (S3.7): a row as soon as its request has completed, and the sums when they have
//! changed. An event carries a row's owner, so that a key's owner sees only his own.

use serde_json::{Value, json};

use crate::{
    ledger::Row,
    telemetry::{
        Telemetry,
        events::{EventBus, Owner},
    },
};

/// A row of the ledger, as its key's owner and the operator may see it.
pub(super) fn send_row(bus: &EventBus, row: &Row<'_>) {
    let owner = row.key_id.as_deref().map_or(Owner::Operator, |key| Owner::Key(key.into()));
    // Numbers and text: this cannot fail.
    let mut event = serde_json::to_value(row).unwrap_or_default();
    if let Some(fields) = event.as_object_mut() {
        fields.insert("id".to_owned(), uuid(row.id.0).into());
    }
    bus.publish(owner, "row", &event.to_string());
}

fn uuid(id: [u8; 16]) -> String {
    uuid::Uuid::from_bytes(id).to_string()
}

/// The sums, if they differ from the `last` ones that were sent.
pub(super) fn send_sums(telemetry: &Telemetry, generation: u64, last: &mut Value) {
    if !telemetry.bus.has_subscribers() {
        return;
    }
    let sums = *telemetry.stats.open().0.sums();
    let gauges = telemetry.gauges(generation);
    let event = json!({
        "requests": sums.requests,
        "done": sums.done,
        "refused": sums.refused,
        "failed": sums.failed,
        "client_gone": sums.gone,
        "tokens": {"input": sums.tokens.input, "output": sums.tokens.output, "cached": sums.tokens.cached},
        "in_flight": {
            "connections": gauges.connections,
            "requests": gauges.requests,
            "streams": gauges.streams,
        },
    });
    if event != *last {
        telemetry.bus.publish(Owner::Operator, "stats", &event.to_string());
        *last = event;
    }
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn an_id_is_written_as_rfc_9562_does() {
        let id = std::array::from_fn(|index| u8::try_from(index).unwrap() + 0xa0);
        assert_eq!(uuid(id), "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf");
    }
}
