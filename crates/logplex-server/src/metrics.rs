//! Prometheus metrics and JSON figures, read from the ledgers at the moment someone asks.
//!
//! Nothing is counted twice: besides what was refused at a door, every number here is a ledger's.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use logplex_core::{DropReason, Ledger, LossReason};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use crate::http::App;

pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Why an ingest request or a syslog message was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    Unauthorized,
    MediaType,
    Malformed,
    CountMismatch,
    Gzip,
    TooLarge,
    Truncated,
    Timeout,
    OverRate,
}

impl Rejection {
    /// Why a syslog message may be refused; a request, for each reason there is.
    const SYSLOG: [Rejection; 6] = [
        Rejection::Unauthorized,
        Rejection::Malformed,
        Rejection::TooLarge,
        Rejection::Truncated,
        Rejection::Timeout,
        Rejection::OverRate,
    ];

    const ALL: [Rejection; 9] = [
        Rejection::Unauthorized,
        Rejection::MediaType,
        Rejection::Malformed,
        Rejection::CountMismatch,
        Rejection::Gzip,
        Rejection::TooLarge,
        Rejection::Truncated,
        Rejection::Timeout,
        Rejection::OverRate,
    ];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Rejection::Unauthorized => "unauthorized",
            Rejection::MediaType => "media-type",
            Rejection::Malformed => "malformed",
            Rejection::CountMismatch => "count-mismatch",
            Rejection::Gzip => "gzip",
            Rejection::TooLarge => "too-large",
            Rejection::Truncated => "truncated",
            Rejection::Timeout => "timeout",
            Rejection::OverRate => "over-rate",
        }
    }
}

/// Refused requests, or syslog messages, by reason.
#[derive(Debug, Default)]
pub(crate) struct Rejections([AtomicU64; Rejection::ALL.len()]);

impl Rejections {
    pub(crate) fn count(&self, rejection: Rejection) {
        self.count_many(rejection, 1);
    }

    pub(crate) fn count_many(&self, rejection: Rejection, count: u64) {
        self.0[rejection as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// The sum over all reasons.
    pub(crate) fn total(&self) -> u64 {
        Rejection::ALL.into_iter().map(|reason| self.count_of(reason)).sum()
    }

    pub(crate) fn count_of(&self, rejection: Rejection) -> u64 {
        self.0[rejection as usize].load(Ordering::Relaxed)
    }

    fn by_reason(&self, reasons: &[Rejection]) -> Vec<(Labels, u64)> {
        let sample = |&reason: &Rejection| {
            let count = self.count_of(reason);
            (vec![("reason", reason.as_str().to_owned())], count)
        };
        reasons.iter().map(sample).collect()
    }
}

/// A ledger as the API shows it.
pub(crate) fn ledger_json(ledger: &Ledger) -> Value {
    let by_reason = |pairs: Vec<(&str, u64)>| -> Map<String, Value> {
        pairs
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.to_owned(), count.into()))
            .collect()
    };
    json!({
        "accepted": ledger.accepted(),
        "generated": ledger.generated(),
        "delivered": ledger.delivered(),
        "dropped": by_reason(dropped_by_reason(ledger)),
        "lost": by_reason(lost_by_reason(ledger)),
        "held": ledger.held(),
    })
}

pub(crate) fn dropped_by_reason(ledger: &Ledger) -> Vec<(&'static str, u64)> {
    DropReason::ALL.iter().map(|&reason| (reason.as_str(), ledger.dropped(reason))).collect()
}

pub(crate) fn lost_by_reason(ledger: &Ledger) -> Vec<(&'static str, u64)> {
    LossReason::ALL.iter().map(|&reason| (reason.as_str(), ledger.lost(reason))).collect()
}

/// All metrics in the OpenMetrics text format.
pub(crate) fn render(app: &App) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("logplex");
    registry.register_collector(Box::new(Snapshot::take(app)));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

type Labels = Vec<(&'static str, String)>;

/// Every ledger at one moment.
#[derive(Debug)]
struct Snapshot {
    rejections: Vec<(Labels, u64)>,
    syslog_rejections: Vec<(Labels, u64)>,
    syslog_connections: u64,
    tokens: Vec<(Labels, crate::channel::TokenCounts)>,
    drains: Vec<(Labels, Ledger)>,
    drain_states: Vec<(Labels, u64)>,
    codes: Vec<(Labels, u64)>,
    tails: Vec<(Labels, Ledger)>,
    open_tails: Vec<(Labels, u64)>,
    history_memory: u64,
    history_stored: u64,
    history_damaged: u64,
}

impl Snapshot {
    fn take(app: &App) -> Snapshot {
        let label = |name, value: &str| (name, value.to_owned());
        let mut snapshot = Snapshot {
            rejections: app.rejections.by_reason(&Rejection::ALL),
            syslog_rejections: app.syslog.rejections.by_reason(&Rejection::SYSLOG),
            syslog_connections: app.syslog.connections() as u64,
            tokens: Vec::new(),
            drains: Vec::new(),
            drain_states: Vec::new(),
            codes: Vec::new(),
            tails: Vec::new(),
            open_tails: Vec::new(),
            history_memory: app.hub.shelf.memory() as u64,
            history_stored: app.hub.shelf.stored(),
            history_damaged: app.hub.shelf.damaged(),
        };
        for token in app.hub.tokens() {
            let labels = vec![label("channel", &token.channel.id), label("token", &token.name)];
            snapshot.tokens.push((labels, token.counts()));
        }
        for channel in app.hub.channels() {
            let labels = vec![label("channel", &channel.id)];
            for drain in channel.drains() {
                let mut labels = labels.clone();
                labels.push(label("drain", &drain.token));
                snapshot.drains.push((labels.clone(), drain.mailbox.ledger()));
                labels.push(label("state", drain.state().as_str()));
                snapshot.drain_states.push((labels, 1));
            }
            for (code, count) in channel.code_counts() {
                snapshot.codes.push((vec![labels[0].clone(), label("code", code.as_str())], count));
            }
            let (ledger, open) = channel.tails();
            snapshot.tails.push((labels.clone(), ledger));
            snapshot.open_tails.push((labels, open as u64));
        }
        snapshot
    }

    fn encode_ledgers(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        reader: &str,
        ledgers: &[(Labels, Ledger)],
    ) -> fmt::Result {
        type Figure = (&'static str, &'static str, fn(&Ledger) -> u64);
        const FIGURES: [Figure; 3] = [
            ("accepted", "Messages handed to the reader", Ledger::accepted),
            ("generated", "Notices of the router's own handed to the reader", Ledger::generated),
            ("delivered", "Messages that arrived", Ledger::delivered),
        ];
        for (name, help, figure) in FIGURES {
            let samples = ledgers.iter().map(|(labels, ledger)| (labels.clone(), figure(ledger)));
            counters(encoder, &format!("{reader}_{name}_messages"), help, samples)?;
        }
        let by_reason = |of: fn(&Ledger) -> Vec<(&'static str, u64)>| {
            ledgers.iter().flat_map(move |(labels, ledger)| {
                of(ledger).into_iter().map(|(reason, count)| {
                    let mut labels = labels.clone();
                    labels.push(("reason", reason.to_owned()));
                    (labels, count)
                })
            })
        };
        let help = "Messages pushed out of a full ring";
        counters(encoder, &format!("{reader}_dropped_messages"), help, by_reason(dropped_by_reason))?;
        let help = "Messages given up after delivery failed";
        counters(encoder, &format!("{reader}_lost_messages"), help, by_reason(lost_by_reason))?;
        let held = ledgers.iter().map(|(labels, ledger)| (labels.clone(), ledger.held()));
        gauges(encoder, &format!("{reader}_held_messages"), "Messages queued or in flight", held)
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let help = "Requests to POST /logs that were refused";
        counters(encoder, "ingest_rejected_requests", help, self.rejections.iter().cloned())?;
        let help = "Messages over syslog that were refused";
        counters(encoder, "syslog_rejected_messages", help, self.syslog_rejections.iter().cloned())?;
        let connections = std::iter::once((Labels::new(), self.syslog_connections));
        gauges(encoder, "syslog_connections", "Connections of syslog senders now", connections)?;
        type Figure = (&'static str, &'static str, fn(&crate::channel::TokenCounts) -> u64);
        const FIGURES: [Figure; 6] = [
            ("ingest_accepted_messages", "Messages taken", |counts| counts.accepted),
            ("ingest_repeated_messages", "Messages of repeated requests, not taken again", |counts| {
                counts.repeated
            }),
            ("token_rejected_requests", "Refused requests that had this token", |counts| {
                counts.rejected_requests
            }),
            ("token_rejected_messages", "Refused syslog messages that had this token", |counts| {
                counts.rejected_messages
            }),
            ("upstream_dropped_messages", "Drops that senders reported", |counts| counts.upstream_dropped),
            ("upstream_lost_messages", "Losses that senders reported", |counts| counts.upstream_lost),
        ];
        for (name, help, figure) in FIGURES {
            let samples = self.tokens.iter().map(|(labels, counts)| (labels.clone(), figure(counts)));
            counters(encoder, name, help, samples)?;
        }
        self.encode_ledgers(encoder, "drain", &self.drains)?;
        let help = "1 for the state that a drain is in";
        gauges(encoder, "drain_state", help, self.drain_states.iter().cloned())?;
        let help = "Messages of the platform that had this error code";
        counters(encoder, "error_codes", help, self.codes.iter().cloned())?;
        self.encode_ledgers(encoder, "tail", &self.tails)?;
        gauges(encoder, "tails_open", "Tail sessions now", self.open_tails.iter().cloned())?;
        let alone = |number| std::iter::once((Labels::new(), number));
        gauges(encoder, "history_memory_bytes", "Histories in memory", alone(self.history_memory))?;
        gauges(encoder, "history_stored_bytes", "Histories in the store", alone(self.history_stored))?;
        let help = "Records of histories, or whole stores of them, that were not readable";
        counters(encoder, "history_damaged_records", help, alone(self.history_damaged))
    }
}

fn counters(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (Labels, u64)>,
) -> fmt::Result {
    family(encoder, name, help, samples.map(|(labels, count)| (labels, ConstCounter::new(count))))
}

fn gauges(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (Labels, u64)>,
) -> fmt::Result {
    family(encoder, name, help, samples.map(|(labels, count)| (labels, ConstGauge::new(count as i64))))
}

fn family<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    samples: impl Iterator<Item = (Labels, M)>,
) -> fmt::Result {
    let mut samples = samples.peekable();
    let Some((_, first)) = samples.peek() else { return Ok(()) };
    let kind = first.metric_type();
    let mut family = encoder.encode_descriptor(name, help, None, kind)?;
    for (labels, metric) in samples {
        metric.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
