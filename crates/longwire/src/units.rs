//! Times, sizes and lists as people write them in flags and files.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use longwire::Fsync;
use serde::Deserialize;

/// A time: `500ms`, `25s`, `5m`, `1h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub(crate) struct Time(pub(crate) Duration);

/// A number of bytes: `4096`, `64KiB`, `1MiB`, `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub(crate) struct Size(pub(crate) usize);

/// A value, or none: `off` where it is a limit, `auto` where the server chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar", bound = "T: FromStr<Err: fmt::Display>")]
pub(crate) struct Optional<T>(pub(crate) Option<T>);

/// When something is forced onto the disk: `always`, `never`, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub(crate) struct Sync(pub(crate) Fsync);

/// Several, with commas between them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Listed")]
pub(crate) struct List(pub(crate) Vec<String>);

/// A number or a text, as TOML has both.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(i64),
    Text(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Listed {
    Many(Vec<String>),
    Text(String),
}

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(format!("{text:?} is not a time; write it as 500ms, 25s, 5m or 1h")),
        };
        let time = number.parse::<u64>().ok().and_then(|number| number.checked_mul(milliseconds)).map(Duration::from_millis);
        match time {
            Some(time) if time.is_zero() => Err("a time of zero makes no sense here; write off, or at least 1ms".into()),
            Some(time) => Ok(Self(time)),
            None => Err(format!("{text:?} is not a time; write it as 500ms, 25s, 5m or 1h")),
        }
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let factor = match unit {
            "" | "B" => Some(1),
            "KiB" | "k" | "K" => Some(1 << 10),
            "MiB" | "M" => Some(1 << 20),
            "GiB" | "G" => Some(1 << 30),
            _ => None,
        };
        factor
            .and_then(|factor| number.parse::<usize>().ok()?.checked_mul(factor))
            .filter(|size| *size > 0)
            .map(Self)
            .ok_or_else(|| format!("{text:?} is not a size; write it as 4096, 64KiB or 1MiB"))
    }
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Optional<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" | "auto" => Ok(Self(None)),
            text => text.parse().map(|value| Self(Some(value))).map_err(|error| format!("{error} (or off, or auto)")),
        }
    }
}

impl FromStr for Sync {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "always" => Ok(Self(Fsync::Always)),
            "never" => Ok(Self(Fsync::Never)),
            text => text
                .parse()
                .map(|time: Time| Self(Fsync::Interval(time.0)))
                .map_err(|error| format!("{error}, or always, or never")),
        }
    }
}

impl FromStr for List {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(Self(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()))
    }
}

impl TryFrom<Scalar> for Time {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.text().parse()
    }
}

impl TryFrom<Scalar> for Size {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.text().parse()
    }
}

impl TryFrom<Scalar> for Sync {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.text().parse()
    }
}

impl<T: FromStr<Err: fmt::Display>> TryFrom<Scalar> for Optional<T> {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.text().parse()
    }
}

impl From<Listed> for List {
    fn from(listed: Listed) -> Self {
        match listed {
            Listed::Many(items) => Self(items),
            Listed::Text(text) => {
                Self(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect())
            }
        }
    }
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// The digits at the start, and the rest.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_people_write_them() {
        assert_eq!("500ms".parse(), Ok(Time(Duration::from_millis(500))));
        assert_eq!("5m".parse(), Ok(Time(Duration::from_secs(300))));
        assert_eq!("64KiB".parse(), Ok(Size(65536)));
        assert_eq!("4096".parse(), Ok(Size(4096)));
        for bad in ["", "5", "s", "5 days", "-1s", "0s", "99999999999999999999h", "1.5s"] {
            assert!(bad.parse::<Time>().is_err(), "{bad}");
        }
        for bad in ["", "KiB", "-1", "0", "1TB", "99999999999GiB"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
        assert_eq!("off".parse(), Ok(Optional::<Time>(None)));
        assert_eq!("7".parse(), Ok(Optional(Some(7usize))));
        assert_eq!("a, b,".parse(), Ok(List(vec!["a".into(), "b".into()])));
    }
}
