//! What has no code: error pages and failed deployments, as several platforms have them.

use super::{Entry, Fault, Severity, State};

const APP: &str = "logplex tail CHANNEL --source app -n 1500";
const WEB: &str = "logplex tail CHANNEL --ps web -n 1500";
const ALL: &str = "logplex tail CHANNEL -n 1500";

/// What most of these entries have in common.
const PAGE: Entry = Entry {
    name: "",
    title: "",
    severity: Severity::Error,
    fault: Fault::App,
    state: State::Present,
    statuses: &[],
    meaning: "",
    checks: &[],
    tail: ALL,
    example: "",
};

/// Entries that are no code: pages by their status, then failures of a start or a deployment.
pub static PAGES: &[Entry] = &[
    Entry {
        name: "page-422",
        title: "The app is offline for maintenance",
        severity: Severity::Info,
        fault: Fault::Nobody,
        state: State::Legacy,
        statuses: &[422],
        meaning: "An older router's page of maintenance mode; today it is H80 and 503. A 422 that the app itself \
            answers is something else: it understood the request and refuses its content.",
        checks: &[
            "See whether maintenance mode is on, and turn it off when it is over.",
            "If it is not, look for the request in the app's own lines: then the app answered.",
        ],
        tail: APP,
        example: "HTTP/1.1 422 Unprocessable Entity, with a page that says: offline for maintenance",
        ..PAGE
    },
    Entry {
        name: "page-500",
        title: "An error inside the app",
        statuses: &[500],
        meaning: "The app is running and answered, but its code failed: an exception, a missing dependency, a wrong \
            argument. The router only passes the answer on, without a code.",
        checks: &[
            "Find the stack trace of that moment in the app's lines.",
            "See whether all requests have it (a setting, a database, a missing file) or one path (its code).",
            "Compare with the last release and the last change of settings, and go back if they fit in time.",
        ],
        tail: APP,
        example: "HTTP/1.1 500 Internal Server Error",
        ..PAGE
    },
    Entry {
        name: "page-502",
        title: "The app failed to boot, failed to respond, or took too long",
        severity: Severity::Critical,
        state: State::Legacy,
        statuses: &[502],
        meaning: "An older router's page for three cases, which have codes of their own today: the app did not \
            start or crashed (H10), it closed the connection without an answer (H13), or it took more than 30 \
            seconds (H12).",
        checks: &[
            "Failed to boot: read the process's last lines; a missing dependency or a broken setting is usual.",
            "Failed to respond: look for a crash in native code and for processes killed for their memory.",
            "Timed out: find the slow request, and move what takes long into the background.",
        ],
        tail: WEB,
        example: "HTTP/1.1 502 Bad Gateway, with a page that says: App failed to respond",
        ..PAGE
    },
    Entry {
        name: "proxy-502",
        title: "A proxy in front of the app got no proper answer",
        severity: Severity::Critical,
        statuses: &[502],
        meaning: "Apache, nginx or another proxy took the request and could not hand it to what is behind it, such \
            as PHP-FPM: that is not running, is too busy, broke off in the middle, or is just being replaced because \
            code or configuration changed.",
        checks: &[
            "Wait a moment and ask again: right after a deployment or a changed setting it goes away by itself.",
            "See whether the backend runs at all, and read why it ended: a fatal error, out of memory, a crash.",
            "See whether all its workers are busy (in PHP-FPM `pm.max_children`): slow queries or calls hold them.",
            "See that proxy and backend agree on the socket or port, and that the proxy may open it.",
            "See that no single request outlasts the proxy's or the backend's time limit.",
        ],
        tail: WEB,
        example: "HTTP/1.1 502 Bad Gateway, with a page of the proxy: Proxy Error",
        ..PAGE
    },
    Entry {
        name: "page-503",
        title: "The platform could not serve the request",
        severity: Severity::Critical,
        fault: Fault::Platform,
        statuses: &[503],
        meaning: "An older router said with this page that the platform itself had trouble. Today the same status \
            stands for most of the router's codes, and only H99 is the platform's own.",
        checks: &[
            "Look for a `code=` in the router's line of that request, and have that explained.",
            "Without one, look at the platform's status page.",
            "See whether the app itself answers 503, as many do while something they need is missing.",
        ],
        tail: "logplex tail CHANNEL --source heroku --ps router -n 1500",
        example: "HTTP/1.1 503 Service Unavailable",
        ..PAGE
    },
    Entry {
        name: "page-504",
        title: "Backlog too deep",
        severity: Severity::Critical,
        state: State::Legacy,
        statuses: &[504],
        meaning: "An older router's page where requests came faster than the app took them; today it is H11 and \
            503. From another proxy 504 means that the app did not answer within the proxy's time limit.",
        checks: &[
            "See how long requests take now and took before: what became slow, or what became more?",
            "Add processes, or workers within each.",
            "Take slow work out of requests.",
        ],
        tail: WEB,
        example: "HTTP/1.1 504 Gateway Timeout, with a page that says: Backlog too deep",
        ..PAGE
    },
    Entry {
        name: "port",
        title: "The app does not listen where the router connects",
        severity: Severity::Critical,
        statuses: &[502, 503],
        meaning: "The app runs, but on another port than `$PORT`, only on loopback, or on the other kind of socket: a \
            TCP port where a Unix socket is configured, or the reverse. The router finds nobody.",
        checks: &[
            "See in the app's first lines where it says that it listens.",
            "Let it read `$PORT` (or the path of the socket, where the platform gives one) instead of a fixed value.",
            "Let it listen on all addresses, `0.0.0.0` or `[::]`, not on `127.0.0.1`.",
            "See that the platform's setting for the kind of socket, TCP or Unix, fits what the app opens.",
            "See that the start command hands the port on, if a server of its own is started by it.",
        ],
        tail: WEB,
        example: "app[web.1]: listening on http://127.0.0.1:3000, where PORT is 49152",
        ..PAGE
    },
    Entry {
        name: "start-command",
        title: "The start command ends",
        severity: Severity::Critical,
        statuses: &[502, 503],
        meaning: "The command that should run the app ends, at once or after a while, and the platform starts it again \
            and again. It fails, or it goes into the background, which looks the same from outside.",
        checks: &[
            "Read the last lines before the end, and its exit status: 127 is a command not found, 126 one that may \
             not be run, 137 one that was killed, often for its memory.",
            "Run the very same command by hand in the app's folder.",
            "Let it stay in the foreground; a server that daemonises itself has a switch against it.",
            "See that settings and services which it needs at the start are there.",
        ],
        tail: WEB,
        example: "heroku[web.1]: Process exited with status 127",
        ..PAGE
    },
    Entry {
        name: "boot-timeout",
        title: "The app did not listen within 60 seconds",
        severity: Severity::Critical,
        meaning: "The platform started the app's container and waited 60 seconds for somebody to listen on `$PORT`. \
            The deployment fails and the version before goes on, or after a restart it is tried again. On Heroku the \
            code is R10.",
        checks: &[
            "See that it listens on `$PORT` at all; see `logplex explain port`.",
            "See how far the start comes in that time; move migrations, asset builds and downloads out of it.",
            "See that a database or service which the start waits for answers.",
            "If the app serves no requests, give its process another type than web.",
        ],
        tail: WEB,
        example: "heroku[web.1]: Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds \
            of launch",
        ..PAGE
    },
    Entry {
        name: "image-too-large",
        title: "The image or the archive is too large",
        fault: Fault::Setup,
        meaning: "What was built, or what was sent to be built, is over the platform's limit. The deployment is \
            refused; what runs goes on.",
        checks: &[
            "List the largest folders of the result; look for datasets, videos, dumps and build caches.",
            "Leave out what only development needs: an ignore file, dependencies without those for development.",
            "Look into the repository's history: an archive of it may carry files that were removed long ago.",
            "Put large files into an object store.",
            "Clear the build cache, and build again.",
        ],
        tail: ALL,
        example: "Compiled slug size: 612M is too large (max is 500M).",
        ..PAGE
    },
    Entry {
        name: "technology",
        title: "The technology is not known",
        fault: Fault::Setup,
        meaning: "The build looked at the repository and found nothing by which it could tell language and framework, \
            or found the wrong one first.",
        checks: &[
            "See that the file by which it is told (package.json, Gemfile, go.mod, composer.json, …) is committed.",
            "See that it is in the folder that is looked at: the repository's root, unless a setting names another.",
            "See that the branch that is deployed has it.",
            "Where several fit, name the buildpack yourself.",
        ],
        tail: ALL,
        example: "No default language could be detected for this app.",
        ..PAGE
    },
    Entry {
        name: "post-deploy",
        title: "The hook after the deployment failed",
        meaning: "The command that runs once after a build, such as a migration of the database, ended with an error, \
            or did not end in time. The new version is not put into service.",
        checks: &[
            "Read the hook's own lines; its exit status is the reason of the failure.",
            "See that the database answers from there, and that a migration is not held up by a lock.",
            "Run the same command in a one-off process.",
            "Make it such that it can be run again after it has failed halfway.",
        ],
        tail: ALL,
        example: "Error deploying the application: postdeploy hook ended with status 1",
        ..PAGE
    },
];
