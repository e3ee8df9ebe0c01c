//! H24 to H99: requests, names, certificates, and what is no error.

use super::{Entry, Fault, ROUTER, Severity, State};

pub(super) static H24: Entry = Entry {
    name: "H24",
    title: "Forced close",
    statuses: &[],
    meaning: "The router's own machine was stopped or replaced, and requests that had not ended by then were cut. \
        Whoever has it often has requests that last for minutes.",
    checks: &[
        "Look at `service=`: only long requests meet this.",
        "Let clients open such streams anew, and go on where they were.",
        "Move what takes minutes into a background process.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H24 desc=\"Forced close\" method=GET \
        path=\"/\" host=demo.example.com fwd=198.51.100.7 dyno=web.1 connect=1ms service=80000ms status= bytes=18",
    ..ROUTER
};

pub(super) static H25: Entry = Entry {
    name: "H25",
    title: "HTTP restriction",
    statuses: &[502],
    meaning: "The answer is HTTP, but the router does not pass it on, because it is risky or too large: a wrong \
        Content-Length, a cookie or a header line that is too long (512 kB), or a status line over 8 kB. `desc=` \
        says which.",
    checks: &[
        "Read `desc=`, then look at the headers of that path's answer.",
        "For a Content-Length: see that the body is as long as announced, and that it is announced once.",
        "For cookies and headers: keep in the session a key to what is stored, not the thing itself.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H25 desc=\"HTTP restriction: invalid \
        content length\" method=GET path=\"/\" host=demo.example.com \
        request_id=7f1c8f5e-1111-4222-8333-444444444444 fwd=\"198.51.100.7\" dyno=web.1 connect=0 service=1 \
        status=502 bytes=537",
    ..ROUTER
};

pub(super) static H26: Entry = Entry {
    name: "H26",
    title: "Request error",
    fault: Fault::Client,
    statuses: &[400, 417],
    meaning: "The request breaks the rules of HTTP, and `cause=` names how: an Expect header that is not \
        understood (417), a bad header, or a bad chunk in the middle of a body (400).",
    checks: &[
        "See by `fwd=` and `path=` who sends it; scanners do.",
        "If it is a client of yours, look at its Expect, Content-Length and Transfer-Encoding.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H26 desc=\"Request Error\" \
        cause=\"unsupported expect header value\" method=GET path=\"/\" host=demo.example.com \
        request_id=7f1c8f5e-1111-4222-8333-444444444444 fwd=\"198.51.100.7\" dyno= connect= service= status=417 \
        bytes=",
    ..ROUTER
};

pub(super) static H27: Entry = Entry {
    name: "H27",
    title: "Client Request Interrupted",
    severity: Severity::Info,
    fault: Fault::Client,
    statuses: &[499],
    meaning: "The client closed its connection before it had the answer: a page that was left, an app in the \
        background, a client's own timeout. Mostly harmless.",
    checks: &[
        "Look at `service=`: if it is long, clients leave because the app is slow; go on as with H12.",
        "If one client does it always at the same time, that is its timeout.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: sock=client at=warning code=H27 desc=\"Client \
        Request Interrupted\" method=POST path=\"/submit/\" host=demo.example.com fwd=198.51.100.7 dyno=web.1 \
        connect=1ms service=0ms status=499 bytes=0",
    ..ROUTER
};

pub(super) static H28: Entry = Entry {
    name: "H28",
    title: "Client Connection Idle",
    severity: Severity::Warning,
    fault: Fault::Client,
    statuses: &[499],
    meaning: "The client began a request and for 55 seconds sent nothing more of it. Slow mobile networks do this, \
        and so do attacks that hold connections open.",
    checks: &[
        "See by `fwd=` whether they are many clients or one.",
        "For uploads from slow networks: send them in parts, or straight to an object store.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=warning code=H28 desc=\"Client Connection \
        Idle\" method=GET path=\"/\" host=demo.example.com fwd=198.51.100.7 dyno=web.1 connect=1ms \
        service=55449ms status=499 bytes=18",
    ..ROUTER
};

pub(super) static H31: Entry = Entry {
    name: "H31",
    title: "Misdirected Request",
    fault: Fault::Client,
    statuses: &[421],
    meaning: "The request came to a router that does not serve this host: an old DNS answer that somebody kept, or \
        a CDN that points at a former address. `agent=` shows who; often crawlers.",
    checks: &[
        "Look up the host's DNS, and compare it with what the platform gives as its target.",
        "See what a CDN or proxy ahead has as its origin: a name, never a fixed address.",
        "Crawlers with an old answer go away by themselves.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H31 desc=\"Misdirected Request\" \
        method=GET path=\"/\" host=demo.example.com request_id=7f1c8f5e-1111-4222-8333-444444444444 \
        fwd=\"198.51.100.7\" dyno= connect= service= status=421 bytes= protocol=http agent=\"Mozilla/5.0\"",
    ..ROUTER
};

pub(super) static H32: Entry = Entry {
    name: "H32",
    title: "TLS Certificate Mismatch",
    severity: Severity::Error,
    fault: Fault::Setup,
    statuses: &[495],
    meaning: "The name in the TLS handshake and the host in the request do not belong to one certificate.",
    checks: &[
        "See that the certificate served for that host names it.",
        "See whether a CDN or proxy ahead sends another name in the handshake (SNI) than in the Host header.",
        "A browser that shares one connection among several hosts needs a certificate for all of them.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H32 desc=\"TLS Certificate \
        Mismatch\" method=GET path=\"/\" host=demo.example.com request_id=7f1c8f5e-1111-4222-8333-444444444444 \
        fwd=\"198.51.100.7\" dyno= connect= service= status=495 bytes= protocol=https",
    ..ROUTER
};

pub(super) static H33: Entry = Entry {
    name: "H33",
    title: "HTTP/2 Stream Broken",
    severity: Severity::Error,
    fault: Fault::AppOrClient,
    statuses: &[],
    meaning: "An HTTP/2 stream ended in a way it may not. The router often cannot say whether the client or the \
        process did that.",
    checks: &[
        "See by `fwd=` and `dyno=` whether one client or one process has all of them.",
        "Try the same request over HTTP/1.1.",
        "Update the client's or the server's HTTP/2 library.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H33 desc=\"HTTP/2 Stream Broken\" \
        method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno=web.1 connect=1ms service=12ms \
        status= bytes= protocol=http2",
    ..ROUTER
};

pub(super) static H34: Entry = Entry {
    name: "H34",
    title: "All up dynos are quarantined",
    severity: Severity::Error,
    meaning: "Every running web process failed a connection and is set aside by this router, for 5 seconds each \
        time; after up to 10 tries or 75 seconds the router gave up.",
    checks: &[
        "Look for H19 and H21 just before it: they say how the connections failed.",
        "See whether the processes are overloaded, or listen on a wrong address.",
        "Add processes, and restart those that do not accept.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H34 desc=\"All up dynos are \
        quarantined\" method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= \
        status=503 bytes=",
    ..ROUTER
};

pub(super) static H70: Entry = Entry {
    name: "H70",
    title: "Access to Bamboo HTTP endpoint denied",
    severity: Severity::Error,
    fault: Fault::Setup,
    state: State::Legacy,
    meaning: "A request to the former stack Bamboo was refused. The stack is gone; only old logs have this.",
    checks: &["If something still asks for an address of that time, give it the app's present one."],
    example: "2014-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H70 desc=\"Access to Bamboo HTTP \
        endpoint denied\" method=GET path=/ host=demo.heroku.com fwd=198.51.100.7 dyno= connect= service= \
        status=403 bytes=",
    statuses: &[403],
    ..ROUTER
};

pub(super) static H80: Entry = Entry {
    name: "H80",
    title: "Maintenance mode",
    severity: Severity::Warning,
    fault: Fault::Nobody,
    meaning: "Somebody has put the app into maintenance mode; the router answers with the maintenance page. No \
        error, as long as it is meant.",
    checks: &["If it is over, turn maintenance mode off.", "See in the release history who turned it on."],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=info code=H80 desc=\"Maintenance mode\" \
        method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= status=503 bytes=",
    ..ROUTER
};

pub(super) static H81: Entry = Entry {
    name: "H81",
    title: "Blank app",
    severity: Severity::Info,
    fault: Fault::Setup,
    meaning: "Nothing has been deployed to this app yet.",
    checks: &["Deploy it.", "If you did: see that it went to this app, and that the build succeeded."],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=info code=H81 desc=\"Blank app\" method=GET \
        path=\"/\" host=demo.example.com fwd=198.51.100.7 dyno= connect= service= status=503 bytes=",
    ..ROUTER
};

pub(super) static H82: Entry = Entry {
    name: "H82",
    title: "Dyno hour pool used up",
    severity: Severity::Info,
    fault: Fault::Setup,
    meaning: "The hours of the account's cheapest plan (eco, once free) are used up for this month, and its \
        processes sleep.",
    checks: &[
        "Wait for the next month, or move the app to a plan without a pool.",
        "See which app uses them.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=info code=H82 desc=\"Free dyno quota \
        exhausted\" method=GET path=\"/\" host=demo.example.com fwd=198.51.100.7 dyno= connect= service= \
        status=503 bytes=",
    ..ROUTER
};

pub(super) static H83: Entry = Entry {
    name: "H83",
    title: "Planned Service Degradation",
    severity: Severity::Info,
    fault: Fault::Nobody,
    meaning: "The platform reduces its service at a time that it announced. No error of the app.",
    checks: &["Read the platform's announcements.", "If it lasts longer than announced, ask its support."],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=info code=H83 desc=\"Planned Service \
        Degradation\" method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= \
        status=503 bytes=",
    ..ROUTER
};

pub(super) static H99: Entry = Entry {
    name: "H99",
    title: "Platform error",
    fault: Fault::Platform,
    meaning: "Something inside the platform failed. With R99 the only code that is the platform's own doing.",
    checks: &[
        "Look at the platform's status page.",
        "If that says nothing, tell its support the time and the `request_id=`.",
    ],
    example: "2026-03-04T05:06:07.809010+00:00 heroku[router]: at=error code=H99 desc=\"Platform error\" \
        method=GET path=\"/\" host=demo.example.com fwd=\"198.51.100.7\" dyno= connect= service= status=503 bytes=",
    ..ROUTER
};
