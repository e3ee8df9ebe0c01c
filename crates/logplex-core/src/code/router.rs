//! H10 to H23: the router and the web process.

use super::{Entry, Fault, ROUTER, Severity, State};

pub(super) static H10: Entry = Entry {
    name: "H10",
    title: "App crashed",
    meaning: "The web process has crashed, or was never up since the last start, so the router answers for it. \
        Every request gets this until the process stays up.",
    checks: &[
        "Read what the process wrote in its last seconds: the reason is mostly in its own lines.",
        "Look for an R10 ahead of the first H10: then the app starts, but does not listen in time.",
        "Run the start command by hand with the same settings and the same dependencies.",
        "If it began with a release or a changed setting, go back to the one before.",
    ],
    tail: "logplex tail CHANNEL --ps web -n 1500",
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H10 desc=\"App crashed\" method=GET \
        path=\"/\" host=demo.example.com request_id=5f0c8f5e-1111-4222-8333-444444444444 fwd=\"198.51.100.7\" \
        dyno= connect= service= status=503 bytes= protocol=https",
    ..ROUTER
};

pub(super) static H11: Entry = Entry {
    name: "H11",
    title: "Backlog too deep",
    meaning: "Requests come faster than the web processes take them, and the queue that the router keeps for the \
        app is full. New requests are turned away.",
    checks: &[
        "Compare `service=` before and during: a slow dependency makes every process slow.",
        "Add web processes, or workers within each.",
        "Take slow work out of requests, into a background process.",
        "Look for one client that sends most of it, and limit that one.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H11 desc=\"Backlog too deep\" \
        method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= status=503 bytes=",
    ..ROUTER
};

pub(super) static H12: Entry = Entry {
    name: "H12",
    title: "Request timeout",
    meaning: "30 seconds went by without a first byte of the answer, and the router gave up. The process is not \
        told: it goes on working on a request that nobody waits for. After the first byte other limits hold, 55 \
        seconds between bytes (H15, H28).",
    checks: &[
        "Group the lines by `path=` and `dyno=`: one path is slow code, one process is stuck, all is a dependency.",
        "Look for slow queries and for calls to other services without a timeout of their own.",
        "Give the app a request timeout below 30 seconds, so that it stops by itself and says where it was.",
        "Move what takes long into a background process, and answer at once.",
        "Restart a process that answers nothing any more.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H12 desc=\"Request timeout\" \
        method=GET path=\"/reports\" host=demo.example.com request_id=5f0c8f5e-1111-4222-8333-444444444444 \
        fwd=\"198.51.100.7\" dyno=web.1 connect=6ms service=30001ms status=503 bytes=0 protocol=https",
    ..ROUTER
};

pub(super) static H13: Entry = Entry {
    name: "H13",
    title: "Connection closed without response",
    meaning: "The process took the connection and closed it without a byte. Often a worker that was killed or \
        crashed in the middle; now and then a server that closes an idle connection just as the router uses it.",
    checks: &[
        "Look for crashes, R14 and R15 of the same process at that time.",
        "Look whether the app's server has a worker timeout that kills workers in the middle of a request.",
        "Set the server's keep-alive timeout well above the router's, over 90 seconds, or turn keep-alive off.",
        "See that a stop lets requests under way end before the process does.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H13 desc=\"Connection closed \
        without response\" method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno=web.1 \
        connect=1ms service=3030ms status=503 bytes=0",
    ..ROUTER
};

pub(super) static H14: Entry = Entry {
    name: "H14",
    title: "No web dynos running",
    fault: Fault::Setup,
    meaning: "There is no web process at all: it is scaled to zero, or the app has no process of that type.",
    checks: &[
        "Scale web to one or more.",
        "See that the Procfile has a line `web:` and that it was part of the last release.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H14 desc=\"No web processes \
        running\" method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= \
        status=503 bytes=",
    ..ROUTER
};

pub(super) static H15: Entry = Entry {
    name: "H15",
    title: "Idle connection",
    severity: Severity::Warning,
    meaning: "For 55 seconds nothing went over an open connection, and the router closed it. It hits long polling, \
        streams and websockets that are silent between events.",
    checks: &[
        "Send something at least every 30 seconds: a comment in an event stream, a ping on a websocket.",
        "If this was a plain request, see what the process did between its first bytes and the end.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H15 desc=\"Idle connection\" \
        method=GET path=\"/events\" host=demo.example.com fwd=\"198.51.100.7\" dyno=web.1 connect=1ms \
        service=55449ms status=503 bytes=18",
    ..ROUTER
};

pub(super) static H16: Entry = Entry {
    name: "H16",
    title: "Redirect to herokuapp.com",
    severity: Severity::Info,
    fault: Fault::Nobody,
    state: State::Retired,
    statuses: &[301],
    meaning: "A request to an app's address under the former domain heroku.com was sent on to herokuapp.com. Only \
        old logs have it.",
    checks: &["Let whoever still asks for the old address ask for the new one."],
    example: "2013-03-04T05:06:07.809010+00:00 heroku[router]: at=info code=H16 desc=\"herokuapp redirect\" \
        method=GET path=/ host=demo.heroku.com fwd=198.51.100.7 dyno= connect= service= status=301 bytes=",
    ..ROUTER
};

pub(super) static H17: Entry = Entry {
    name: "H17",
    title: "Poorly formatted HTTP response",
    severity: Severity::Warning,
    meaning: "What the process sent is not HTTP as the router reads it: a broken status line, a header without a \
        colon, or text ahead of the head.",
    checks: &[
        "Ask the process directly on its port, and look at the raw bytes of the answer.",
        "Look for code that writes to the connection itself or builds headers from input.",
        "Update the app's HTTP server.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H17 desc=\"Poorly formatted HTTP \
        response\" method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno=web.1 connect=1ms \
        service=1ms status=503 bytes=0",
    ..ROUTER
};

pub(super) static H18: Entry = Entry {
    name: "H18",
    title: "Server Request Interrupted",
    meaning: "The process closed its side of the connection in the middle: before it had read the whole request, \
        or before its answer was complete. Where the client was the one who left, the code is H27.",
    checks: &[
        "Look for crashes, restarts and R14 or R15 of that process at the same time.",
        "See whether the app refuses large uploads by closing: it has to read them, or answer and then close.",
        "If `service=` is long and nothing else is wrong, it may be an idle connection that the server closed: \
         raise its keep-alive timeout.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: sock=backend at=error code=H18 desc=\"Server \
        Request Interrupted\" method=POST path=\"/upload\" host=demo.example.com fwd=\"198.51.100.7\" dyno=web.1 \
        connect=1ms service=1203ms status=503 bytes=0",
    ..ROUTER
};

pub(super) static H19: Entry = Entry {
    name: "H19",
    title: "Backend connection timeout",
    meaning: "The router could not open a connection to a web process within 5 seconds. The process is too busy to \
        accept, or its machine is out of reach.",
    checks: &[
        "See whether it is one `dyno=` or all: one is stuck, all are overloaded.",
        "Restart the one; add processes for all.",
        "Look for work that holds up the thread which accepts connections.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H19 desc=\"Backend connection \
        timeout\" method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno=web.1 connect=5001ms \
        service= status=503 bytes=",
    ..ROUTER
};

pub(super) static H20: Entry = Entry {
    name: "H20",
    title: "App boot timeout",
    meaning: "The router kept requests for an app that was starting, and after 75 seconds it was still not up. The \
        process itself has 60 seconds to listen, then it is stopped with R10.",
    checks: &[
        "Look for R10 of the web processes, and mend that first.",
        "Measure what the start does: migrations, downloads and cold caches belong elsewhere.",
        "Keep the old processes running until the new ones are up.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H20 desc=\"App boot timeout\" \
        method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= status=503 bytes=",
    ..ROUTER
};

pub(super) static H21: Entry = Entry {
    name: "H21",
    title: "Backend connection refused",
    meaning: "The machine of the process answered that nobody listens there. The process is just stopping or \
        starting, or it closed its port.",
    checks: &[
        "Compare the time with restarts and releases: a few during one are harmless.",
        "See that the process listens on `$PORT` and on all addresses, not only on loopback.",
        "See that it stops listening only after SIGTERM.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H21 desc=\"Backend connection \
        refused\" method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno=web.1 connect=1ms service= \
        status=503 bytes=",
    ..ROUTER
};

pub(super) static H22: Entry = Entry {
    name: "H22",
    title: "Connection limit reached",
    meaning: "Too many connections to the app are open at once, and the router opens no more. Often the processes \
        answer too slowly, or clients keep streams and websockets open.",
    checks: &[
        "Look for H12 and H15 before it: slow answers add up to open connections.",
        "Count long-lived connections a client, and limit them.",
        "Add web processes.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H22 desc=\"Connection limit \
        reached\" method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= \
        status=503 bytes=",
    ..ROUTER
};

pub(super) static H23: Entry = Entry {
    name: "H23",
    title: "Endpoint misconfigured",
    severity: Severity::Error,
    fault: Fault::Setup,
    state: State::Retired,
    meaning: "A websocket handshake came through a proxy ahead of the router that cannot carry websockets. The \
        code ended on 4 March 2025.",
    checks: &["Let websockets go to the app's own address, or configure the proxy ahead of it for Upgrade."],
    example: "2024-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H23 desc=\"Endpoint misconfigured\" \
        method=GET path=\"/cable\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= status=503 \
        bytes=",
    ..ROUTER
};
