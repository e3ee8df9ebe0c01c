//! L codes: the way of the logs, ours included.

use super::{Entry, Fault, Severity, State};

/// What most of these entries have in common.
const PIPELINE: Entry = Entry {
    name: "",
    title: "",
    severity: Severity::Warning,
    fault: Fault::Pipeline,
    state: State::Present,
    statuses: &[],
    meaning: "",
    checks: &[],
    tail: "logplex tail CHANNEL --source heroku --ps logplex -n 1500",
    example: "",
};

pub(super) static L10: Entry = Entry {
    name: "L10",
    title: "Drain buffer overflow",
    fault: Fault::Reader,
    meaning: "A drain took its messages too slowly, or refused them, and the oldest in its ring were dropped: the \
        line says how many and since when. Mostly the destination is the cause, not the app. From this router \
        facts may follow: `lost=` were given up after delivery failed, `upstream=` were told by an earlier notice \
        that did not arrive, `reason=crash at_most=` is the bound after a crash, `drain=` names the drain on the \
        channel's copy.",
    checks: &[
        "`logplex drains ls CHANNEL`: is the drain retrying, quarantined or paused, and what was its last answer?",
        "Ask the destination for its limits; a wrong key or a used-up plan is the usual reason.",
        "Leave out what nobody reads there: `#exclude-source=heroku&min-severity=warning` in the drain's URL.",
        "If the app writes in bursts, have the destination take larger requests.",
        "Remove a drain whose destination is gone.",
    ],
    example: "2026-03-04T05:06:07+00:00 heroku[logplex]: Error L10 (output buffer overflow): 500 messages dropped \
        since 2026-03-04T05:06:01+00:00.",
    ..PIPELINE
};

pub(super) static L11: Entry = Entry {
    name: "L11",
    title: "Tail buffer overflow",
    fault: Fault::Reader,
    meaning: "This tail session was read too slowly, and its oldest lines were dropped. No other reader missed \
        them.",
    checks: &[
        "Filter on the server: `--source` and `--ps` instead of a grep behind the tail.",
        "See that whatever the tail is piped into keeps up, and that the terminal is not held (Ctrl-S).",
        "For all lines, always, use a drain.",
    ],
    example: "2026-03-04T05:06:07+00:00 heroku[logplex]: Error L11 (Tail buffer overflow) -> This tail session \
        dropped 1101 messages since 2026-03-04T05:06:01+00:00.",
    ..PIPELINE
};

pub(super) static L12: Entry = Entry {
    name: "L12",
    title: "Local buffer overflow",
    meaning: "The shuttle beside the app could not ship as fast as the app wrote, and dropped its oldest lines \
        before they left the machine.",
    checks: &[
        "See whether the app writes far more than usual: a debug level left on, a loop that logs.",
        "See whether the server was out of reach, slow or refusing: then L13 stands near.",
        "Write less, or give the shuttle a larger ring: `log-shuttle --ring LINES`.",
    ],
    tail: "logplex tail CHANNEL --ps log-shuttle -n 1500",
    example: "2026-03-04T05:06:07.809010+00:00 app[log-shuttle]: Error L12: 222 messages dropped since \
        2026-03-04T05:06:01.125756+00:00.",
    ..PIPELINE
};

pub(super) static L13: Entry = Entry {
    name: "L13",
    title: "Local delivery error",
    severity: Severity::Critical,
    meaning: "The shuttle beside the app tried to deliver lines and gave them up: the network or the log router \
        failed for too long, or refused them. They are lost.",
    checks: &[
        "Look at `reason=`, and at what the shuttle itself wrote to its stderr.",
        "See that LOGS_URL still holds a valid token: `logplex tokens ls CHANNEL`.",
        "See whether the server was down at that time, and whether the machine reaches it.",
    ],
    tail: "logplex tail CHANNEL --ps log-shuttle -n 1500",
    example: "2026-03-04T05:06:07.809010+00:00 app[log-shuttle]: Error L13: 111 messages lost since \
        2026-03-04T05:06:01.125756+00:00.",
    ..PIPELINE
};

pub(super) static L14: Entry = Entry {
    name: "L14",
    title: "Certificate validation error",
    severity: Severity::Error,
    fault: Fault::Reader,
    meaning: "A drain's destination showed a certificate that is not to be trusted: expired, signed by nobody \
        known, or for another name. Nothing is sent to it.",
    checks: &[
        "See the certificate's dates, names and chain: `openssl s_client -connect HOST:PORT -servername HOST`.",
        "See that the destination sends its intermediate certificates too.",
        "For an authority of your own: give its bundle with `--drain-ca NAME=FILE`, and `#ca=NAME` in the URL.",
    ],
    example: "2026-03-04T05:06:07+00:00 heroku[logplex]: Error L14 (certificate validation): error=\"bad \
        certificate\" uri=\"syslog+tls://logs.example.com:6514/\"",
    ..PIPELINE
};

pub(super) static L15: Entry = Entry {
    name: "L15",
    title: "Tail buffer temporarily unavailable",
    meaning: "The newest lines that the router keeps for tails cannot be read now. What comes from now on is shown \
        all the same.",
    checks: &["Ask again later.", "If it lasts, whoever runs the log router should look at its store."],
    example: "2026-03-04T05:06:07+00:00 heroku[logplex]: Error L15 (Tail buffer temporarily unavailable) -> history \
        is not readable, live tail continues",
    ..PIPELINE
};
