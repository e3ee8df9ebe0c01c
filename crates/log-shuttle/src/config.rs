//! What was checked: the rest of the program sees only this.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use logplex_core::outlet::{EndpointError, Proxies, ProxyError, RetryPolicy};
use logplex_core::shuttle::{Builder, Fields, Format, Overflow, StartError};

use crate::args::{Args, InputFormat, Mode};

/// How long a request given a number of attempts may take in all, whatever the pauses.
const LONGEST_RETRY: Duration = Duration::from_secs(600);

/// What `--timeout 0` stands for: nothing waits for ever.
const NO_TIMEOUT: Duration = Duration::from_secs(3600);

/// Lines in a batch of the original, for `--back-buff`.
const ORIGINAL_BATCH: u32 = 500;

/// Where settings besides arguments come from. A trait, so that tests bring their own.
pub(crate) trait Environment {
    /// The value of a variable, if it is set and not empty.
    fn var(&self, name: &str) -> Option<String>;
    /// The text of a file.
    fn file(&self, path: &Path) -> std::io::Result<String>;
}

/// The process's own.
pub(crate) struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn var(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }

    fn file(&self, path: &Path) -> std::io::Result<String> {
        std::fs::read_to_string(path)
    }
}

/// Why the settings are wrong. Repeats no URL and no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("no destination; set LOGS_URL, or give --logs-url=URL or --logs-url-file=PATH")]
    NoUrl,
    #[error("the destination in {origin} cannot be used")]
    Url { origin: &'static str, source: EndpointError },
    #[error("the destination in {origin} is Amazon's {service}; this program posts to log routers only")]
    Amazon { origin: &'static str, service: &'static str },
    #[error("{flag} takes the path of a file, not a URL")]
    FileUrl { flag: &'static str },
    #[error("cannot read {flag}={}", path.display())]
    File { flag: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{flag}={} is empty", path.display())]
    EmptyFile { flag: &'static str, path: PathBuf },
    #[error("--skip-headers cannot be combined with --input-format=lprfc5424")]
    SkipHeaders,
    #[error("--split needs a command to run: log-shuttle run --split -- COMMAND")]
    Split,
    #[error("--input-format={0} is for stdin; what a command prints is raw")]
    RunFormat(&'static str),
    #[error("{flag}={value:?} cannot be used")]
    Header { flag: &'static str, value: String, source: StartError },
    #[error(transparent)]
    Proxy(#[from] ProxyError),
    #[error(transparent)]
    Start(#[from] StartError),
}

/// Checked settings.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) builder: Builder,
    pub(crate) format: Format,
    /// The command to run, or stdin is read.
    pub(crate) command: Option<Vec<OsString>>,
    pub(crate) split: bool,
    pub(crate) tee: bool,
    pub(crate) grace: Duration,
    pub(crate) fail_on_loss: bool,
    pub(crate) verbose: bool,
    pub(crate) stats_interval: Option<Duration>,
    pub(crate) stats_source: String,
    /// What the user should know but need not act on now.
    pub(crate) warnings: Vec<String>,
}

impl Config {
    /// Checks what was typed.
    pub(crate) fn new(args: Args, environment: &dyn Environment) -> Result<Config, ConfigError> {
        let mut warnings = Vec::new();
        let format = format(&args, &mut warnings)?;
        warn_of_flags_without_effect(&args, &mut warnings);
        let (origin, url) = url(&args, environment, &mut warnings)?;
        if let Some(service) = amazon_service(&url) {
            return Err(ConfigError::Amazon { origin, service });
        }
        Builder::new(&url).check().map_err(|source| match source {
            StartError::Url(source) => ConfigError::Url { origin, source },
            other => ConfigError::Start(other),
        })?;
        let mut builder = Builder::new(url).fields(fields(&args)?);
        if let Some(token) = bearer_token(&args, environment, &mut warnings)? {
            builder = builder.bearer_token(token);
        }
        let from_environment = || environment.var("LOG_SHUTTLE_CA_FILE").map(PathBuf::from);
        if let Some(path) = args.destination.ca_file.clone().or_else(from_environment) {
            builder = builder.ca(secret_file("--ca-file", &path, environment)?);
        }
        builder = builder.proxies(Proxies::from_variables(|name| environment.var(name))?);
        if let Some(lines) = ring_lines(&args) {
            builder = builder.ring_lines(lines);
        }
        if let Some(lines) = args.queue.batch_size {
            builder = builder.batch_lines(lines as usize);
        }
        let overflow = if args.queue.drop { Overflow::DropOldest } else { Overflow::Block };
        let timeout = if args.delivery.timeout.is_zero() { NO_TIMEOUT } else { args.delivery.timeout };
        let builder = builder
            .overflow(overflow)
            .pace(args.queue.wait)
            .max_line(args.input.max_line_length as usize)
            .gzip(args.destination.gzip)
            .insecure(args.destination.skip_verify)
            .connect_timeout(timeout)
            .request_timeout(timeout)
            .retry(retry(&args))
            .user_agent(HeaderValue::from_static(concat!("log-shuttle/", env!("CARGO_PKG_VERSION"))));
        builder.check()?;
        let command = args.command.map(|Mode::Run { command }| command);
        if command.is_none() && args.input.split {
            return Err(ConfigError::Split);
        }
        if command.is_some() && format != Format::Raw {
            return Err(ConfigError::RunFormat(match format {
                Format::Rfc5424 => "rfc5424",
                _ => "lprfc5424",
            }));
        }
        Ok(Config {
            builder,
            format,
            command,
            split: args.input.split,
            tee: args.input.tee,
            grace: args.delivery.grace,
            fail_on_loss: args.delivery.fail_on_loss,
            verbose: args.diagnostics.verbose,
            stats_interval: Some(args.diagnostics.stats_interval).filter(|interval| !interval.is_zero()),
            stats_source: args.diagnostics.stats_source,
            warnings,
        })
    }
}

fn format(args: &Args, warnings: &mut Vec<String>) -> Result<Format, ConfigError> {
    let format = match args.input.input_format {
        InputFormat::Raw => Format::Raw,
        InputFormat::Rfc5424 => Format::Rfc5424,
        InputFormat::Lprfc5424 => Format::OctetCounted,
    };
    if !args.compatibility.skip_headers {
        return Ok(format);
    }
    warnings.push("--skip-headers is deprecated; use --input-format=rfc5424".to_owned());
    if format == Format::OctetCounted { Err(ConfigError::SkipHeaders) } else { Ok(Format::Rfc5424) }
}

fn warn_of_flags_without_effect(args: &Args, warnings: &mut Vec<String>) {
    let compatibility = &args.compatibility;
    let mut warn = |is_given: bool, flag: &str, why: &str| {
        if is_given {
            warnings.push(format!("{flag} is without effect: {why}"));
        }
    };
    warn(
        compatibility.num_outlets != 1,
        "--num-outlets",
        "one request is under way at a time, so that order is kept",
    );
    warn(compatibility.front_buff != 0, "--front-buff", "there is no front buffer");
    warn(compatibility.num_batchers != 0, "--num-batchers", "there is one reader");
    warn(!compatibility.stats_addr.is_empty(), "--stats-addr", "use --stats-interval");
    warn(compatibility.kinesis_shards != 1, "--kinesis-shards", "there is no Kinesis output");
    warn(compatibility.log_to_syslog, "--log-to-syslog", "diagnostics go to stderr");
    warn(
        args.queue.ring.is_some() && compatibility.back_buff.is_some(),
        "--back-buff",
        "--ring is given too",
    );
}

/// The destination and where it was found: flag, file, LOGS_URL, LOGPLEX_URL, in this order.
fn url(
    args: &Args,
    environment: &dyn Environment,
    warnings: &mut Vec<String>,
) -> Result<(&'static str, String), ConfigError> {
    const FILE: &str = "--logs-url-file";
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let file = args.destination.logs_url_file.as_deref();
    let file = file.map(|path| secret_file(FILE, path, environment)).transpose()?;
    let deprecated = environment.var("LOGPLEX_URL");
    if deprecated.is_some() {
        warnings.push("LOGPLEX_URL is deprecated; use LOGS_URL".to_owned());
    }
    let found = [
        ("--logs-url", given(&args.destination.logs_url)),
        (FILE, file),
        ("LOGS_URL", environment.var("LOGS_URL")),
        ("LOGPLEX_URL", deprecated),
    ];
    let mut found = found.into_iter().filter_map(|(origin, url)| Some((origin, url?)));
    let chosen = found.next().ok_or(ConfigError::NoUrl)?;
    for (unused, _) in found {
        warnings.push(format!("both {} and {unused} are set; {} is used", chosen.0, chosen.0));
    }
    Ok(chosen)
}

fn bearer_token(
    args: &Args,
    environment: &dyn Environment,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, ConfigError> {
    const FILE: &str = "--bearer-token-file";
    let token = args.destination.bearer_token.clone().filter(|token| !token.is_empty());
    if token.is_some() {
        warnings.push(
            "--bearer-token is visible to all users of this machine; prefer LOG_SHUTTLE_BEARER_TOKEN"
                .to_owned(),
        );
        return Ok(token);
    }
    match &args.destination.bearer_token_file {
        Some(path) => secret_file(FILE, path, environment).map(Some),
        None => Ok(environment.var("LOG_SHUTTLE_BEARER_TOKEN")),
    }
}

fn secret_file(
    flag: &'static str,
    path: &Path,
    environment: &dyn Environment,
) -> Result<String, ConfigError> {
    if path.to_str().is_some_and(|path| path.contains("://")) {
        return Err(ConfigError::FileUrl { flag });
    }
    let file = |source| ConfigError::File { flag, path: path.to_owned(), source };
    let text = environment.file(path).map_err(file)?.trim().to_owned();
    if text.is_empty() { Err(ConfigError::EmptyFile { flag, path: path.to_owned() }) } else { Ok(text) }
}

/// The service that the original would have spoken to.
fn amazon_service(url: &str) -> Option<&'static str> {
    let host = url.split("://").nth(1)?.split(['/', '?', '#']).next()?;
    let host = host.rsplit('@').next()?.split(':').next()?.to_ascii_lowercase();
    if !host.ends_with(".amazonaws.com") && !host.ends_with(".amazonaws.com.cn") {
        return None;
    }
    match host.split('.').next()? {
        "kinesis" => Some("Kinesis"),
        "logs" => Some("CloudWatch Logs"),
        _ => None,
    }
}

/// The header, each field checked by itself so that the error names its flag.
fn fields(args: &Args) -> Result<Fields, ConfigError> {
    let header = &args.header;
    let mut fields = Fields { pri: header.prival as u8, ..Fields::default() };
    type Set = fn(&mut Fields) -> &mut String;
    let table: [(&'static str, &String, Set); 4] = [
        ("--hostname", &header.hostname, |fields| &mut fields.hostname),
        ("--appname", &header.appname, |fields| &mut fields.app),
        ("--procid", &header.procid, |fields| &mut fields.procid),
        ("--msgid", &header.msgid, |fields| &mut fields.msgid),
    ];
    for (flag, value, field) in table {
        field(&mut fields).clone_from(value);
        if let Err(error) = fields.check() {
            // The app name may be a token.
            let value = if flag == "--appname" { String::from("…") } else { value.clone() };
            return Err(ConfigError::Header { flag, value, source: error.into() });
        }
    }
    Ok(fields)
}

fn ring_lines(args: &Args) -> Option<usize> {
    let batch = args.queue.batch_size.unwrap_or(ORIGINAL_BATCH) as usize;
    let stands_for = args.compatibility.back_buff.map(|depth| depth as usize * batch);
    args.queue.ring.map(|lines| lines as usize).or(stands_for)
}

fn retry(args: &Args) -> RetryPolicy {
    match args.delivery.max_attempts {
        None => RetryPolicy::default(),
        some => RetryPolicy { max_attempts: some, max_age: LONGEST_RETRY, ..RetryPolicy::default() },
    }
}

#[cfg(test)]
mod tests;
