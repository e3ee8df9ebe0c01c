//! The server's own count of messages at one reader, as its API and its metrics show it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Drain, Server};
use crate::metrics::Metrics;
use crate::wait::wait_for;

/// One ledger, as `GET /v3/channels/:id/stats` shows it. Each snapshot balances.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerSeen {
    /// Messages that producers brought.
    pub accepted: u64,
    /// Notices of the router's own.
    pub generated: u64,
    /// Messages that arrived.
    pub delivered: u64,
    /// Messages pushed out, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Messages given up, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Messages queued or under way.
    pub held: u64,
}

impl LedgerSeen {
    /// Reads a ledger.
    ///
    /// # Panics
    /// When a number is missing, or the ledger does not balance.
    #[track_caller]
    pub fn parse(value: &Value) -> LedgerSeen {
        let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no number in {value}"));
        let reasons = |value: &Value| -> BTreeMap<String, u64> {
            let reasons = value.as_object().expect("counts by reason");
            reasons.iter().map(|(reason, count)| (reason.clone(), number(count))).collect()
        };
        let ledger = LedgerSeen {
            accepted: number(&value["accepted"]),
            generated: number(&value["generated"]),
            delivered: number(&value["delivered"]),
            dropped: reasons(&value["dropped"]),
            lost: reasons(&value["lost"]),
            held: number(&value["held"]),
        };
        let out = ledger.delivered + ledger.gone() + ledger.held;
        assert_eq!(ledger.accepted + ledger.generated, out, "does not balance: {ledger:?}");
        ledger
    }

    /// The sum of all that was dropped or lost.
    pub fn gone(&self) -> u64 {
        self.dropped.values().sum::<u64>() + self.lost.values().sum::<u64>()
    }

    /// What was dropped for `reason`.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.dropped.get(reason).copied().unwrap_or(0)
    }

    /// What was lost for `reason`.
    pub fn lost(&self, reason: &str) -> u64 {
        self.lost.get(reason).copied().unwrap_or(0)
    }

    /// The ledger of the samples that begin with `logplex_READER_` and carry `labels`.
    fn of_metrics(metrics: &Metrics, reader: &str, labels: &[(&str, &str)]) -> LedgerSeen {
        let sum = |figure: &str| metrics.sum(&format!("logplex_{reader}_{figure}"), labels) as u64;
        let reasons = |figure: &str| -> BTreeMap<String, u64> {
            let name = format!("logplex_{reader}_{figure}_messages_total");
            let reasons = metrics.values(&name, "reason").into_iter();
            let counts = reasons.map(|reason| {
                let count = metrics.sum(&name, &[labels, &[("reason", reason.as_str())]].concat()) as u64;
                (reason, count)
            });
            counts.filter(|(_, count)| *count > 0).collect()
        };
        LedgerSeen {
            accepted: sum("accepted_messages_total"),
            generated: sum("generated_messages_total"),
            delivered: sum("delivered_messages_total"),
            dropped: reasons("dropped"),
            lost: reasons("lost"),
            held: sum("held_messages"),
        }
    }
}

impl Server {
    /// What the server counts for a channel: the answer of `GET /v3/channels/:id/stats`.
    ///
    /// # Panics
    /// When the server refuses.
    #[track_caller]
    pub fn stats(&self, channel: &str) -> Value {
        self.api("GET", &format!("/v3/channels/{channel}/stats"), None).expect(&[200]).json()
    }

    /// A drain's ledger now.
    ///
    /// # Panics
    /// When there is none, or it does not balance.
    #[track_caller]
    pub fn drain_ledger(&self, channel: &str, drain: &Drain) -> LedgerSeen {
        let stats = self.stats(channel);
        let drains = stats["drains"].as_array().expect("a list of drains");
        let own = drains.iter().find(|seen| seen["token"] == drain.token.as_str());
        LedgerSeen::parse(own.unwrap_or_else(|| panic!("no ledger of {drain:?} in {stats}")))
    }

    /// The sum of the ledgers of a channel's tails, gone ones too.
    ///
    /// # Panics
    /// When there is none, or it does not balance.
    #[track_caller]
    pub fn tails_ledger(&self, channel: &str) -> LedgerSeen {
        LedgerSeen::parse(&self.stats(channel)["tails"])
    }

    /// Waits until a drain holds nothing, and returns its ledger. Call it when nothing more is sent.
    ///
    /// # Panics
    /// When that does not come, or `/metrics` says otherwise than the ledger.
    #[track_caller]
    pub fn rested(&self, channel: &str, drain: &Drain) -> LedgerSeen {
        let ledger = wait_for("a drain that holds nothing", || {
            Some(self.drain_ledger(channel, drain)).filter(|ledger| ledger.held == 0)
        });
        let labels = [("channel", channel), ("drain", drain.token.as_str())];
        assert_eq!(LedgerSeen::of_metrics(&self.metrics(), "drain", &labels), ledger);
        ledger
    }
}
