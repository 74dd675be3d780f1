//! Figures of several replicas as one: JSON objects of numbers, rates and conditions.

use serde_json::{Map, Value, json};

/// Adds numbers; `up` holds if it holds for all, other conditions if they hold for one; of a number that all
/// read from one database the largest counts. Rates and averages are computed again.
pub(super) fn merge_figures(own: &mut Map<String, Value>, other: Map<String, Value>) {
    let average = average_query(own, &other);
    for (name, theirs) in other {
        let Some(ours) = own.get_mut(&name) else {
            own.insert(name, theirs);
            continue;
        };
        match (&mut *ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) => merge_figures(ours, theirs),
            (Value::Bool(ours), Value::Bool(theirs)) if name == "up" => *ours &= theirs,
            (Value::Bool(ours), Value::Bool(theirs)) => *ours |= theirs,
            (Value::Null, theirs) => *ours = theirs,
            (Value::Number(first), Value::Number(second)) => match (first.as_u64(), second.as_u64()) {
                (Some(first), Some(second)) if name == "waiting_in_database" => {
                    *ours = first.max(second).into();
                }
                (Some(first), Some(second)) => *ours = first.saturating_add(second).into(),
                _ => *ours = json!(first.as_f64().unwrap_or(0.0) + second.as_f64().unwrap_or(0.0)),
            },
            _ => {}
        }
    }
    let number = |name: &str| own.get(name).and_then(Value::as_u64);
    if let (Some(hits), Some(misses)) = (number("hits"), number("misses")) {
        let all = hits.saturating_add(misses);
        own.insert("rate".to_owned(), json!((all > 0).then(|| hits as f64 / all as f64)));
    }
    if let Some(average) = average {
        own.insert("average_query_ms".to_owned(), average.into());
    }
}

/// The average over the queries of both.
fn average_query(own: &Map<String, Value>, other: &Map<String, Value>) -> Option<f64> {
    let read = |figures: &Map<String, Value>| {
        let number = |name: &str| figures.get(name).and_then(Value::as_f64);
        Some((number("queries")?, number("average_query_ms")?))
    };
    let ((first, one), (second, two)) = (read(own)?, read(other)?);
    let all = first + second;
    Some(if all > 0.0 { (first * one + second * two) / all } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn numbers_are_added_and_rates_computed_again() {
        let mut own = figures(json!({
            "cache": {"hits": 1, "misses": 1, "rate": 0.5},
            "database": {"up": true, "queries": 10, "average_query_ms": 2.0},
            "overhead_guard": {"sheds": false, "episodes": 2},
            "log_lines_lost": 1,
            "batches": {"running": 1, "waiting_in_database": 3},
        }));
        let other = json!({
            "cache": {"hits": 8, "misses": 0, "rate": 1.0},
            "database": {"up": false, "queries": 30, "average_query_ms": 4.0},
            "overhead_guard": {"sheds": true, "episodes": 1},
            "log_lines_lost": 2,
            "batches": {"running": 2, "waiting_in_database": 2},
            "redis": {"limits": {"up": true}},
        });
        merge_figures(&mut own, figures(other));
        let expected = json!({
            "cache": {"hits": 9, "misses": 1, "rate": 0.9},
            "database": {"up": false, "queries": 40, "average_query_ms": 3.5},
            "overhead_guard": {"sheds": true, "episodes": 3},
            "log_lines_lost": 3,
            "batches": {"running": 3, "waiting_in_database": 3},
            "redis": {"limits": {"up": true}},
        });
        assert_eq!(Value::from(own), expected);
        let mut broken = figures(json!({"a": 1, "hits": u64::MAX, "misses": u64::MAX}));
        merge_figures(&mut broken, figures(json!({"a": "x", "hits": 1, "misses": [1]})));
        assert_eq!(broken["a"], 1);
    }
}
