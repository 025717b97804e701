//! The options of the server. Each is defined once, below, and is a flag, an environment variable and a key of the file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Command, FromArgMatches};
use serde::Deserialize;

use crate::namespaces;
use crate::units::{List, Optional, Size, Sync, Time};

macro_rules! options {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:literal;)*) => {
        /// Options as they were given: in the file, or in the environment and by flags.
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

        impl Options {
            /// Flags and environment before the file, the file before the defaults.
            fn resolve(flags: Given, file: Given) -> Self {
                Self { $($name: flags.$name.or(file.$name).unwrap_or_else(|| {
                    $default.parse().unwrap_or_else(|_| unreachable!("a test parses all defaults"))
                }),)* namespaces: file.namespaces }
            }
        }

        /// Name, default and description of each.
        const TABLE: &[(&str, &str, &str)] = &[$((stringify!($name), $default, concat!($($doc),+)),)*];
    };
}

options! {
    /// Where to listen, as HOST:PORT. Beyond this machine only with --allow-anonymous
    listen: String = "localhost:8000";
    /// Let anyone who reaches the server connect: there is no authentication
    allow_anonymous: bool = "false";
    /// Origins whose pages may connect, as https://example.com, with commas between them; * for all. Pages of this
    /// machine, and of the server itself, need no permission
    allowed_origins: List = "";
    /// Keys that open the server API, with commas between them; each has 16 characters or more. Without any it answers programs of
    /// this machine only. Better in the environment or the file: other users see flags
    api_keys: List = "";
    /// Threads that share the lines; auto for one a core
    shards: Optional<usize> = "auto";
    /// Connections in all; auto for what the process may open
    max_connections: Optional<usize> = "auto";
    /// Connections from one address
    max_connections_per_address: Optional<usize> = "off";
    /// The longest message from a client
    max_message_size: Size = "1MiB";
    /// The most fragments of one message
    max_fragments: usize = "1024";
    /// What may wait for one slow reader before it is closed
    max_outbox_size: Size = "1MiB";
    /// A directory in which channels are kept, so that they survive a restart; off to keep them in memory only
    data_dir: Optional<String> = "off";
    /// When what is kept there is forced onto the disk: always, before it is acknowledged; never; or at most so long after, as
    /// 1s. It survives the end of the process in any case
    fsync: Sync = "1s";
    /// Offer permessage-deflate
    compression: bool = "false";
    /// After so long without a sign of life a client is pinged
    ping_interval: Time = "25s";
    /// And closed if it gives none for so long after the ping
    ping_timeout: Time = "20s";
    /// A client that sends no message for so long is closed
    idle_timeout: Optional<Time> = "off";
    /// A client that takes no byte for so long while some wait is dropped
    write_timeout: Time = "20s";
    /// How long a client may take to answer a close frame
    close_timeout: Time = "5s";
    /// How long a client may take over an HTTP request
    handshake_timeout: Time = "10s";
    /// Over how long the clients are sent away at a shutdown
    drain: Time = "5s";
    /// What to log: error, warn, info, debug or trace; or by module, as longwire_server=debug
    log: String = "info";
}

/// Adds the options to a command: their environment variables, and their defaults in the help.
pub(crate) fn augment(command: Command) -> Command {
    let mut command = Given::augment_args(command).arg(
        clap::Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .env("LONGWIRE_CONFIG")
            .hide_env(true)
            .help("A TOML file with options, named as here with _ for -"),
    );
    for (name, default, doc) in TABLE {
        let help = help(doc, default);
        let variable: &'static str = Box::leak(variable(name).into_boxed_str());
        command = command.mut_arg(*name, |arg| {
            let arg = arg.env(variable).hide_env(true).help(help);
            // `--compression` alone says yes.
            if matches!(*default, "true" | "false") {
                arg.num_args(0..=1).default_missing_value("true").require_equals(true)
            } else {
                arg
            }
        });
    }
    command.after_help("Each option can also be set in the environment, as LONGWIRE_PING_INTERVAL=10s, or in the file.")
}

/// The options in force, from what was parsed and the file that it names.
///
/// # Errors
/// One line that says what is wrong with the file and where.
pub(crate) fn read(matches: &clap::ArgMatches) -> Result<Options, String> {
    let flags = Given::from_arg_matches(matches).map_err(|error| error.to_string())?;
    let file = match matches.get_one::<PathBuf>("config") {
        Some(path) => read_file(path)?,
        None => Given::default(),
    };
    Ok(Options::resolve(flags, file))
}

fn read_file(path: &Path) -> Result<Given, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        format!("{}, line {line}: {}", path.display(), error.message().replace('\n', " "))
    })
}

fn help(doc: &str, default: &str) -> String {
    let doc = doc.trim();
    if default.is_empty() { doc.to_owned() } else { format!("{doc} [default: {default}]") }
}

fn variable(name: &str) -> String {
    format!("LONGWIRE_{}", name.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Write as _;

    /// The table of options for the documentation.
    fn markdown() -> String {
        let mut out = String::from("| option | default | meaning |\n|---|---|---|\n");
        for (name, default, doc) in TABLE {
            let default = if default.is_empty() { "none" } else { default };
            let _ = writeln!(out, "| `{name}` | `{default}` | {} |", doc.trim());
        }
        out
    }

    fn parse(arguments: &[&str]) -> Options {
        let command = augment(Command::new("longwire"));
        read(&command.try_get_matches_from([&["longwire"], arguments].concat()).unwrap()).unwrap()
    }

    #[test]
    fn all_defaults_can_be_parsed() {
        let options = Options::resolve(Given::default(), Given::default());
        assert_eq!(options.ping_interval, Time(std::time::Duration::from_secs(25)));
        assert!(!options.compression);
        assert_eq!(options.allowed_origins, List(Vec::new()));
    }

    #[test]
    fn a_flag_goes_before_the_file_and_the_file_before_the_default() {
        let path = std::env::temp_dir().join(format!("longwire-options-{}.toml", std::process::id()));
        std::fs::write(&path, "ping_interval = \"1s\"\nmax_fragments = 7\nallowed_origins = [\"https://a.example\"]\n")
            .unwrap();
        let options = parse(&["--config", path.to_str().unwrap(), "--ping-interval", "2s", "--compression"]);
        std::fs::remove_file(&path).unwrap();
        assert_eq!(options.ping_interval, Time(std::time::Duration::from_secs(2)));
        assert_eq!(options.max_fragments, 7);
        assert_eq!(options.allowed_origins, List(vec!["https://a.example".into()]));
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
    }

    /// The table in `docs/configuration.md` is this one.
    #[test]
    fn the_documentation_lists_the_options() {
        let docs = include_str!("../../../docs/configuration.md");
        assert!(docs.contains(&markdown()), "put this table into docs/configuration.md:\n{}", markdown());
    }
}
