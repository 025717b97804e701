//! The options of the server. Each is defined once, below, and is a flag, an environment variable and a key of the file.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, Command, FromArgMatches};
use serde::Deserialize;

use crate::namespaces;
use crate::units::{Auto, Count, Directory, List, Number, Off, Size, Sync, Time};

macro_rules! options {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:literal;)*) => {
        /// Options as they were given in one place: by flags, in the environment, or in the file.
        #[derive(Args, Clone, Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Given {
            $($(#[doc = $doc])+ #[arg(long, value_name = "VALUE")] $name: Option<$type>,)*
            /// What channels can do; only in the file.
            #[arg(skip)]
            #[serde(default)]
            namespaces: BTreeMap<String, namespaces::Table>,
        }

        /// Options as they are in force.
        #[derive(Clone, Debug)]
        pub(crate) struct Options {
            $($(#[doc = $doc])+ pub(crate) $name: $type,)*
            /// What channels can do.
            pub(crate) namespaces: BTreeMap<String, namespaces::Table>,
        }

        impl Given {
            /// What the environment says.
            ///
            /// # Errors
            /// One line with the variable, and what is wrong with its value.
            fn environment(value_of: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
                Ok(Self { $($name: parsed(&variable(stringify!($name)), &value_of)?,)* namespaces: BTreeMap::new() })
            }

            /// What is said here goes before what `others` say.
            fn or(self, others: Self) -> Self {
                Self {
                    $($name: self.$name.or(others.$name),)*
                    namespaces: if self.namespaces.is_empty() { others.namespaces } else { self.namespaces },
                }
            }

            /// The defaults where nothing is said.
            fn or_default(self) -> Options {
                Options {
                    $($name: self.$name.unwrap_or_else(|| {
                        $default.parse().unwrap_or_else(|_| unreachable!("a test parses all defaults"))
                    }),)*
                    namespaces: self.namespaces,
                }
            }
        }

        /// Name, default and description of each.
        fn table() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
            let table = [$((stringify!($name), $default, concat!($($doc),+)),)*];
            table.into_iter().map(|(name, default, doc)| (plain(name), default, doc.trim()))
        }
    };
}

options! {
    /// Where to listen, as HOST:PORT. Beyond this machine only with --allow-anonymous
    listen: String = "localhost:8000";
    /// Let anyone who reaches the server connect: there is no authentication
    allow_anonymous: bool = "false";
    /// Origins whose pages may connect, as https://example.com, with commas between them; * for all. Pages of this
    /// machine, and of the server itself, need no permission
    allowed_origins: List = "none";
    /// Names under which the server is asked, as chat.example.com, with commas between them; * for any. Those of this machine and of
    /// the allowed origins need no permission. Looked at while the server listens on this machine only
    allowed_hosts: List = "none";
    /// Keys that open the server API, with commas between them; each has 16 characters or more. Without any the server makes one for
    /// programs of its own user: see longwire key. Better in the environment or the file: other users see flags
    api_keys: List = "none";
    /// Threads that share the lines, 64 at most; auto for one a core
    shards: Auto<Number<1, 64>> = "auto";
    /// Connections in all; auto for what the process may open. A line over HTTP/2 is two
    max_connections: Auto<Count> = "auto";
    /// Lines without a connection of their own in all: those over HTTP requests, and polls; auto for as many as the process may open
    max_polled_lines: Auto<Count> = "auto";
    /// Sessions in all that are kept without a line, until their clients come back or their time is over
    max_parked_sessions: Count = "131072";
    /// Connections from one address
    max_connections_per_address: Off<Count> = "off";
    /// Addresses of proxies on other machines, with commas between them: they connect for many, and what they say last in
    /// X-Forwarded-For is believed. Proxies on this machine need not be named
    trusted_proxies: List = "none";
    /// The longest message from a client
    max_message_size: Size = "1MiB";
    /// The most fragments of one message
    max_fragments: Count = "1024";
    /// What may wait for one slow reader before it is closed
    max_outbox_size: Size = "1MiB";
    /// What may be kept in memory because of clients, about: channels, histories, values of keys, idempotency keys, who is there. Beyond it
    /// what would make more be kept is refused, and one session may have a quarter of what is free; auto for half of the memory of the
    /// machine or the container
    memory: Auto<Size> = "auto";
    /// A directory in which channels are kept, so that they survive a restart; off to keep them in memory only
    data_dir: Off<Directory> = "off";
    /// When what is kept there is forced onto the disk: always, before it is acknowledged; never; or at most so long after, as
    /// 1s. It survives the end of the process in any case
    fsync: Sync = "1s";
    /// A folder of files to serve, such as your own pages; what is in it goes before our pages of the same address. Nothing whose
    /// name begins with a dot is served
    r#static: Off<Directory> = "off";
    /// Offer permessage-deflate
    compression: bool = "false";
    /// After so long without a sign of life a client is pinged
    ping_interval: Time = "25s";
    /// And closed if it gives none for so long after the ping
    ping_timeout: Time = "20s";
    /// A client that sends no message for so long is closed
    idle_timeout: Off<Time> = "off";
    /// A client that takes no byte for so long while some wait is dropped
    write_timeout: Time = "20s";
    /// How long a client may take to answer a close frame
    close_timeout: Time = "5s";
    /// How long a client may take over an HTTP request
    handshake_timeout: Time = "10s";
    /// For how long an HTTP connection may be without a request; longer than proxies keep theirs
    keep_alive_timeout: Time = "75s";
    /// Over how long the clients are sent away at a shutdown
    drain: Time = "5s";
    /// What to log: off, error, warn, info, debug or trace; more or less of a module behind a comma, as info,longwire_server=debug
    log: String = "info";
}

/// Variables of the other commands.
const OTHER_VARIABLES: &[&str] = &["LONGWIRE_CONFIG", "LONGWIRE_URL", "LONGWIRE_TOKEN"];

/// Adds the options to a command, with their defaults in the help.
pub(crate) fn augment(command: Command) -> Command {
    let mut command = Given::augment_args(command.next_help_heading("Options of the server")).arg(
        clap::Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("A TOML file with options, named as here with _ for -"),
    );
    for (name, default, doc) in table() {
        command = command.mut_arg(name, |arg| {
            let arg = arg.help(format!("{doc} [default: {default}]"));
            // `--compression` alone says yes.
            if matches!(default, "true" | "false") {
                arg.num_args(0..=1).default_missing_value("true").require_equals(true)
            } else {
                arg
            }
        });
    }
    // What other servers call it.
    for name in ["port", "host", "bind", "address"] {
        let other = clap::builder::UnknownArgumentValueParser::suggest_arg("--listen");
        command = command.arg(clap::Arg::new(name).long(name).hide(true).value_parser(other));
    }
    let command =
        command.after_help("Each option can also be set in the environment, as LONGWIRE_PING_INTERVAL=10s, or in the file.");
    command.next_help_heading(None)
}

/// The options in force: flags before the environment, the environment before the file that is named, the file before the defaults.
///
/// # Errors
/// One line that says what is wrong and where.
pub(crate) fn read(matches: &clap::ArgMatches) -> Result<Options, String> {
    let flags = Given::from_arg_matches(matches).map_err(|error| error.to_string())?;
    let environment = Given::environment(|name| std::env::var_os(name))?;
    let named = matches.get_one::<PathBuf>("config").cloned();
    let file = match named.or_else(|| std::env::var_os("LONGWIRE_CONFIG").map(PathBuf::from)) {
        Some(path) => read_file(&path)?,
        None => Given::default(),
    };
    let given = flags.or(environment).or(file);
    let says_fsync = given.fsync.is_some();
    let options = given.or_default();
    if says_fsync && options.data_dir.0.is_none() {
        return Err(
            "fsync says how data_dir is written, and there is none: set data_dir (--data-dir), or leave fsync away".into()
        );
    }
    Ok(options)
}

/// Every variable that is meant for us must be one that we know: a typo in the name of a secret is no secret.
///
/// # Errors
/// One line that names the first one that is not, and perhaps what was meant.
pub(crate) fn check_environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<(), String> {
    let known: Vec<String> =
        table().map(|(name, ..)| variable(name)).chain(OTHER_VARIABLES.iter().map(|&name| name.to_owned())).collect();
    for (name, value) in variables {
        let name = name.to_string_lossy();
        if name.starts_with("LONGWIRE_") && !known.iter().any(|known| *known == name) && !is_of_an_orchestrator(&name, &value) {
            let meant = nearest(&name, known.iter().map(String::as_str));
            let hint = meant.map_or_else(String::new, |meant| format!("; did you mean {meant}?"));
            return Err(format!("the environment has {name}, which is no option{hint} `longwire --help` lists them"));
        }
    }
    Ok(())
}

/// Kubernetes and Docker describe a service of this name to other programs in variables that begin like ours:
/// `LONGWIRE_SERVICE_HOST`, `LONGWIRE_PORT=tcp://…`, `LONGWIRE_PORT_8000_TCP_ADDR`.
fn is_of_an_orchestrator(name: &str, value: &OsStr) -> bool {
    let is_address =
        value.to_str().is_some_and(|value| ["tcp://", "udp://", "sctp://"].iter().any(|kind| value.starts_with(kind)));
    let is_part = name.split_once("_PORT_").is_some_and(|(_, rest)| rest.starts_with(|first: char| first.is_ascii_digit()));
    name.ends_with("_SERVICE_HOST") || name.contains("_SERVICE_PORT") || is_part || name.ends_with("_PORT") && is_address
}

fn read_file(path: &Path) -> Result<Given, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {path:?}: {error}"))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        let message = error.message().replace('\n', " ");
        format!("{}, line {line}: {}", path.display(), without_list(&message).unwrap_or(message))
    })
}

/// `unknown field` with what was probably meant, in the place of everything that there is.
fn without_list(message: &str) -> Option<String> {
    let mut names = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let given = names.next()?;
    Some(match nearest(given, names) {
        Some(meant) => format!("there is no option {given:?}; did you mean {meant:?}?"),
        None => format!("there is no option {given:?}; `longwire --help` lists those of the server, docs/configuration.md all"),
    })
}

/// The one of `names` that a typo may have made `given` of.
fn nearest<'a>(given: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let (likeness, name) = names.map(|name| (strsim::jaro_winkler(given, name), name)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    (likeness > 0.8).then_some(name)
}

/// The value of an environment variable, if it is set.
fn parsed<T: FromStr<Err: fmt::Display>>(name: &str, value_of: impl Fn(&str) -> Option<OsString>) -> Result<Option<T>, String> {
    let Some(value) = value_of(name) else { return Ok(None) };
    let text = value.to_str().ok_or_else(|| format!("{name} is not UTF-8"))?;
    text.parse().map(Some).map_err(|error| format!("{name}: {error}"))
}

fn variable(name: &str) -> String {
    format!("LONGWIRE_{}", plain(name).to_ascii_uppercase())
}

/// The name of an option that is a word of Rust.
fn plain(name: &str) -> &str {
    name.strip_prefix("r#").unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// The table of options for the documentation.
    fn markdown() -> String {
        let mut out = String::from("| option | default | meaning |\n|---|---|---|\n");
        for (name, default, doc) in table() {
            let _ = writeln!(out, "| `{name}` | `{default}` | {doc} |");
        }
        out
    }

    fn parse(arguments: &[&str]) -> Options {
        let command = augment(Command::new("longwire"));
        read(&command.try_get_matches_from([&["longwire"], arguments].concat()).unwrap()).unwrap()
    }

    #[test]
    fn all_defaults_can_be_parsed() {
        let options = Given::default().or_default();
        assert_eq!(options.ping_interval, Time(std::time::Duration::from_secs(25)));
        assert!(!options.compression);
        assert!(options.allowed_origins.items().unwrap().is_empty());
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let path = std::env::temp_dir().join(format!("longwire-options-{}.toml", std::process::id()));
        std::fs::write(&path, "ping_interval = \"1s\"\nmax_fragments = 7\nallowed_origins = [\"https://a.example\"]\n")
            .unwrap();
        let options = parse(&["--config", path.to_str().unwrap(), "--ping-interval", "2s", "--compression"]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(options.ping_interval, Time(std::time::Duration::from_secs(2)));
        assert_eq!(options.max_fragments, Number(7));
        assert_eq!(options.allowed_origins.items().unwrap(), ["https://a.example"]);
        assert!(options.compression);
        assert_eq!(options.max_message_size, Size(1 << 20));
    }

    #[test]
    fn a_bad_file_is_named_with_its_line() {
        let path = std::env::temp_dir().join(format!("longwire-bad-{}.toml", std::process::id()));
        std::fs::write(&path, "shards = 2\npong_interval = \"1s\"\n").unwrap();
        let error = read_file(&path).unwrap_err();
        std::fs::remove_file(&path).unwrap();
        assert!(error.contains("line 2") && error.contains("pong_interval") && !error.contains('\n'), "{error}");
        assert!(error.ends_with("did you mean \"ping_interval\"?"), "{error}");
    }

    #[test]
    fn the_environment_goes_between_flags_and_file() {
        let environment = |name: &str| (name == "LONGWIRE_DRAIN").then(|| "2s".into());
        let environment = Given::environment(environment).unwrap();
        let seconds = |given: &str| Given { drain: Some(given.parse().unwrap()), ..Given::default() };
        assert_eq!(environment.clone().or(seconds("3s")).drain, Some("2s".parse().unwrap()));
        assert_eq!(seconds("1s").or(environment).drain, Some("1s".parse().unwrap()));
        let error = Given::environment(|name| (name == "LONGWIRE_SHARDS").then(|| "0".into())).unwrap_err();
        assert!(error.starts_with("LONGWIRE_SHARDS: ") && error.contains("from 1 to 64"), "{error}");
    }

    #[test]
    fn a_variable_that_is_no_option_is_named() {
        let check = |name: &str, value: &str| check_environment([(name.into(), value.into())].into_iter());
        for known in ["LONGWIRE_API_KEYS", "LONGWIRE_CONFIG", "LONGWIRE", "PATH"] {
            assert_eq!(check(known, "x"), Ok(()), "{known}");
        }
        let error = check("LONGWIRE_API_KEY", "secret").unwrap_err();
        assert!(error.contains("did you mean LONGWIRE_API_KEYS?") && !error.contains("secret"), "{error}");
        assert!(check("LONGWIRE_XYZZY", "1").unwrap_err().contains("LONGWIRE_XYZZY"));
        assert!(check("LONGWIRE_PORT", "9000").is_err(), "somebody means something else with it");
    }

    /// A service named longwire, or longwire-chat, is described to all that run beside it.
    #[test]
    fn variables_that_an_orchestrator_sets_are_none_of_ours() {
        for (name, value) in [
            ("LONGWIRE_SERVICE_HOST", "10.0.0.7"),
            ("LONGWIRE_SERVICE_PORT", "8000"),
            ("LONGWIRE_SERVICE_PORT_HTTP", "8000"),
            ("LONGWIRE_PORT", "tcp://10.0.0.7:8000"),
            ("LONGWIRE_PORT_8000_TCP", "tcp://10.0.0.7:8000"),
            ("LONGWIRE_PORT_8000_TCP_ADDR", "10.0.0.7"),
            ("LONGWIRE_CHAT_SERVICE_HOST", "10.0.0.7"),
        ] {
            assert_eq!(check_environment([(name.into(), value.into())].into_iter()), Ok(()), "{name}");
        }
    }

    /// The table in `docs/configuration.md` is this one.
    #[test]
    fn the_documentation_lists_the_options() {
        let docs = include_str!("../../../docs/configuration.md");
        assert!(docs.contains(&markdown()), "put this table into docs/configuration.md:\n{}", markdown());
    }
}
