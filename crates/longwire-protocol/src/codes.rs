//! Errors and close codes, from the one table in `codes.toml`.

use std::fmt;

macro_rules! errors {
    ($($text:literal, $name:ident, $code:literal, $word:literal, $retry:literal, $status:literal;)*) => {
        /// What can go wrong with a command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $(
                #[doc = concat!("`", $word, "`: ", $text, ".")]
                $name = $code,
            )*
        }

        impl ErrorCode {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means, for people.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether the same command may work later.
            pub fn retry(self) -> bool {
                match self { $(Self::$name => $retry,)* }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }
        }
    };
}

macro_rules! closes {
    ($($text:literal, $name:ident, $code:literal, $word:literal;)*) => {
        /// Why a server closes a line, beside the codes of the WebSocket itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum CloseCode {
            $(
                #[doc = concat!("`", $word, "`: ", $text, ".")]
                $name = $code,
            )*
        }

        impl CloseCode {
            /// All of them, by number.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// What it means, for people: the reason in the close frame.
            pub fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

include!(concat!(env!("OUT_DIR"), "/codes.rs"));

impl ErrorCode {
    /// Its number.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// The one with this number.
    pub fn from_number(number: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl CloseCode {
    /// Its number.
    pub fn number(self) -> u16 {
        self as u16
    }

    /// Whether clients are to come back by themselves.
    pub fn come_back(self) -> bool {
        self.number() < 3500
    }
}
