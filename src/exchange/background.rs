//! Charges of responses that are made in the background. The request that makes one is charged by estimate,
//! because its answer comes before the response's end. The true usage is known when the response is read by
//! its id; its charge is corrected then, once. The table is bounded and may forget: such a charge stays as it
//! was.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{base::origins::OriginToken, wire::Usage};

/// Charges that are remembered.
const MAX_CHARGES: usize = 8 * 1024;

/// Shared by all workers.
#[derive(Clone, Debug, Default)]
pub struct BackgroundCharges(Arc<Mutex<ChargeTable>>);

#[derive(Debug, Default)]
struct ChargeTable {
    charges: HashMap<OriginToken, BackgroundCharge>,
    /// In the order of their making; some may be taken already.
    order: VecDeque<OriginToken>,
}

/// The accounting of the request that made the response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackgroundCharge {
    pub provider: Option<Arc<str>>,
    /// The model's name at the provider.
    pub model: Option<Box<str>>,
    /// The usage in its row.
    pub booked: Usage,
    /// The usage that its key's limits were charged with.
    pub charged: Usage,
}

/// The part of a request in a background response: it makes one, or reads it.
#[derive(Clone, Debug)]
pub struct BackgroundPart {
    pub(super) charges: BackgroundCharges,
    /// The stored response that the request reads. `None`: it reads none.
    pub(super) reads: Option<OriginToken>,
    /// The charge that this request corrects: its usage is that of the response, in place of an estimate.
    pub(super) corrected: Option<BackgroundCharge>,
}

impl BackgroundPart {
    /// `reads`: the stored response that the request reads.
    #[must_use]
    pub fn new(charges: &BackgroundCharges, reads: Option<OriginToken>) -> Box<Self> {
        Box::new(Self { charges: charges.clone(), reads, corrected: None })
    }
}

impl BackgroundCharges {
    /// Keeps a charge, to be corrected later.
    pub fn keep(&self, response: OriginToken, charge: BackgroundCharge) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while table.order.len() >= MAX_CHARGES {
            let Some(oldest) = table.order.pop_front() else { break };
            table.charges.remove(&oldest);
        }
        if table.charges.insert(response, charge).is_none() {
            table.order.push_back(response);
        }
    }

    /// The charge of this response, which is forgotten: it is corrected once.
    pub fn take(&self, response: OriginToken) -> Option<BackgroundCharge> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).charges.remove(&response)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_is_taken_once_and_the_oldest_are_forgotten() {
        let charges = BackgroundCharges::default();
        let token = |number: usize| OriginToken::of(number.to_string().as_bytes());
        charges.keep(token(0), BackgroundCharge::default());
        assert_eq!(charges.take(token(0)), Some(BackgroundCharge::default()));
        assert_eq!(charges.take(token(0)), None);
        for number in 0..MAX_CHARGES + 10 {
            charges.keep(token(number), BackgroundCharge::default());
        }
        assert!(charges.take(token(5)).is_none() && charges.take(token(MAX_CHARGES)).is_some());
        let table = charges.0.lock().unwrap();
        assert!(table.charges.len() <= MAX_CHARGES && table.order.len() <= MAX_CHARGES);
    }
}
