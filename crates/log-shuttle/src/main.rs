//! `log-shuttle`: ships an app's lines to a log router. See `--help`; everything but arguments, stdin and
//! signals is [`logplex_core::shuttle`].

mod args;
mod argv;
mod config;
mod duration;
mod run;
mod say;
mod source;

use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::process::ExitCode;

use args::Args;
use config::{Config, ProcessEnvironment};

/// How the program ends, besides with its command's own code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Loss = 3,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

fn main() -> ExitCode {
    let args = match Args::read(std::env::args_os()) {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to stdout, the rest to stderr; where they cannot be printed nobody reads.
            error.print().ok();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Done.into() };
        }
    };
    let config = match Config::new(args, &ProcessEnvironment) {
        Ok(config) => config,
        Err(error) => {
            say::error(&error);
            return Exit::Usage.into();
        }
    };
    for warning in &config.warnings {
        say::warning(format_args!("{warning}"));
    }
    let stdin = std::io::stdin();
    if config.command.is_none() && stdin.is_terminal() {
        say::info(format_args!(
            "error: stdin is a terminal; pipe an app's output in (app | log-shuttle) or run it (log-shuttle run -- app)"
        ));
        return Exit::Usage.into();
    }
    say::listen(config.verbose);
    let input = stdin.as_fd().try_clone_to_owned();
    let result = input.map_err(anyhow::Error::from).and_then(|input| run::run(config, input));
    result.unwrap_or_else(|error| {
        say::error(error.as_ref());
        Exit::Failed.into()
    })
}
