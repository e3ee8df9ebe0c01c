//! R codes: the runtime of one process.

use super::{Entry, Fault, Severity, State};

/// What most of these entries have in common.
const RUNTIME: Entry = Entry {
    name: "",
    title: "",
    severity: Severity::Critical,
    fault: Fault::App,
    state: State::Present,
    statuses: &[],
    meaning: "",
    checks: &[],
    tail: "logplex tail CHANNEL --source heroku -n 1500",
    example: "",
};

pub(super) static R10: Entry = Entry {
    name: "R10",
    title: "Boot timeout",
    meaning: "A web process did not listen on `$PORT` within 60 seconds of its start (90 for some Java \
        deployments) and was killed. The router's own patience is longer: H20 comes after 75 seconds.",
    checks: &[
        "See that the process listens on the port in `$PORT`, on all addresses, and not on a number of its own.",
        "Look how far it came: its own lines end where it hangs.",
        "Listen first, and warm up afterwards; move migrations and downloads out of the start.",
        "If it needs the time, ask the platform to raise the limit.",
    ],
    tail: "logplex tail CHANNEL --ps web -n 1500",
    example: "2026-03-04T05:06:07.809010+00:00 heroku[web.1]: Error R10 (Boot timeout) -> Web process failed to \
        bind to $PORT within 60 seconds of launch",
    ..RUNTIME
};

pub(super) static R11: Entry = Entry {
    name: "R11",
    title: "Bad bind",
    severity: Severity::Error,
    state: State::Legacy,
    meaning: "A web process listened on another port than `$PORT`. Only logs of the first years have it; today \
        the same mistake ends as R10.",
    checks: &["Let the process read its port from `$PORT`."],
    tail: "logplex tail CHANNEL --ps web -n 1500",
    example: "2011-03-04T05:06:07.809010+00:00 heroku[web.1]: Error R11 (Bad bind) -> Process bound to port other \
        than $PORT",
    ..RUNTIME
};

pub(super) static R12: Entry = Entry {
    name: "R12",
    title: "Exit timeout",
    severity: Severity::Warning,
    meaning: "A process was told to stop (SIGTERM) and had not ended after the grace period, 30 seconds now and 10 \
        before. It was killed, with whatever it had under way.",
    checks: &[
        "See that SIGTERM reaches the process: a shell between them does not pass it on unless it uses `exec`.",
        "Stop taking work at SIGTERM, end what is under way, then exit.",
        "Cut long jobs into pieces that can be taken up again.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[worker.1]: Error R12 (Exit timeout) -> At least one process \
        failed to exit within 30 seconds of SIGTERM",
    ..RUNTIME
};

pub(super) static R13: Entry = Entry {
    name: "R13",
    title: "Attach error",
    severity: Severity::Warning,
    fault: Fault::Client,
    meaning: "A one-off process was started for a terminal, and the terminal could not be connected to it.",
    checks: &[
        "Try again.",
        "See whether a firewall lets the command-line client out to the platform's port for such sessions.",
        "Run it detached, and read its output in the logs.",
    ],
    tail: "logplex tail CHANNEL --ps run -n 1500",
    example: "2026-03-04T05:06:07.809010+00:00 heroku[run.4521]: Error R13 (Attach error) -> Failed to attach to \
        process",
    ..RUNTIME
};

pub(super) static R14: Entry = Entry {
    name: "R14",
    title: "Memory quota exceeded",
    meaning: "A process uses more memory than its plan has (resident, swap and cache together), and swaps. It goes \
        on running, slowly. Private spaces do not report it.",
    checks: &[
        "See whether the size climbs without end (a leak) or jumps with one kind of request.",
        "Run fewer workers or threads in one process.",
        "Take large files and results in pieces instead of whole.",
        "If it is all needed, choose a plan with more memory.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[web.1]: Error R14 (Memory quota exceeded)",
    ..RUNTIME
};

pub(super) static R15: Entry = Entry {
    name: "R15",
    title: "Memory quota vastly exceeded",
    meaning: "A process uses twice the memory of its plan (resident and swap) and was killed with SIGKILL: no \
        cleaning up, requests under way are lost. Private spaces may not report it.",
    checks: &[
        "Look at what the process did in its last seconds: mostly one request or job.",
        "Look for R14 before it: a slow climb is a leak, a jump is one large piece of work.",
        "Then as with R14.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[worker.2]: Error R15 (Memory quota vastly exceeded)",
    ..RUNTIME
};

pub(super) static R16: Entry = Entry {
    name: "R16",
    title: "Detached",
    severity: Severity::Warning,
    fault: Fault::Client,
    meaning: "The connection of a process that was attached to a terminal has gone, and the process did not end \
        when it was told (SIGHUP). It goes on running, and goes on costing.",
    checks: &[
        "List the app's processes, and stop the one that nobody sits at.",
        "Let the program end at SIGHUP or at the end of its input.",
    ],
    tail: "logplex tail CHANNEL --ps run -n 1500",
    example: "2026-03-04T05:06:07.809010+00:00 heroku[run.4521]: Error R16 (Detached) -> An attached process is \
        not responding to SIGHUP after its external connection was closed.",
    ..RUNTIME
};

pub(super) static R17: Entry = Entry {
    name: "R17",
    title: "Checksum error",
    severity: Severity::Error,
    fault: Fault::Setup,
    meaning: "The archive that a process should start from has no valid checksum, or another one than was \
        recorded. The process does not start.",
    checks: &[
        "Deploy again, so that archive and checksum are made anew.",
        "If your own tool makes releases: see that it gives the checksum as `SHA256:` and hexadecimal digits.",
        "If a plain deployment has it twice, ask the platform's support.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[web.1]: Error R17 (Checksum error) -> Checksum does match \
        expected value. Expected: SHA256:ed57 Actual: SHA256:9ca1",
    ..RUNTIME
};

pub(super) static R99: Entry = Entry {
    name: "R99",
    title: "Platform error",
    severity: Severity::Warning,
    fault: Fault::Platform,
    meaning: "The platform could not run the process, by no doing of the app.",
    checks: &[
        "See whether it was started again by itself; mostly it was.",
        "Look at the platform's status page, then tell its support the time and the process.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[worker.1]: Error R99 (Platform error) -> Failed to launch \
        the dyno within 10 seconds",
    ..RUNTIME
};
