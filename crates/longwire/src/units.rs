//! Times, sizes and lists as people write them in flags and files.

use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
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

/// A whole number, from `MIN` to `MAX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub(crate) struct Number<const MIN: usize, const MAX: usize>(pub(crate) usize);

/// How many: one at least.
pub(crate) type Count = Number<1, { usize::MAX }>;

/// A value, or `off`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar", bound = "T: FromStr<Err: fmt::Display>")]
pub(crate) struct Off<T>(pub(crate) Option<T>);

/// A value, or `auto`: the server chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar", bound = "T: FromStr<Err: fmt::Display>")]
pub(crate) struct Auto<T>(pub(crate) Option<T>);

/// The name of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub(crate) struct Directory(pub(crate) PathBuf);

/// When something is forced onto the disk: `always`, `never`, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Scalar")]
pub(crate) struct Sync(pub(crate) Fsync);

/// Several, with commas between them, or `none`. What they may be is for others to say: an error here would show the value, and it
/// may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "Listed")]
pub(crate) struct List(Vec<String>);

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
            Some(time) if time.is_zero() => Err("a time of zero makes no sense here; write at least 1ms".into()),
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

impl<const MIN: usize, const MAX: usize> FromStr for Number<MIN, MAX> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            Ok(number) if (MIN..=MAX).contains(&number) => Ok(Self(number)),
            _ if MAX == usize::MAX => Err(format!("{text:?} is not a number from {MIN} on")),
            _ => Err(format!("{text:?} is not a number from {MIN} to {MAX}")),
        }
    }
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Off<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        or_word(text, "off").map(Self)
    }
}

impl<T: FromStr<Err: fmt::Display>> FromStr for Auto<T> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        or_word(text, "auto").map(Self)
    }
}

/// A value, or the word that stands for none.
fn or_word<T: FromStr<Err: fmt::Display>>(text: &str, word: &str) -> Result<Option<T>, String> {
    if text == word {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error| format!("{error}; or write {word}"))
}

impl FromStr for Directory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("the name of a directory is empty".into()),
            "auto" => Err("auto is not the name of a directory; if it is, write ./auto".into()),
            _ => Ok(Self(text.into())),
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
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Listed::Text(text.to_owned()).into())
    }
}

impl List {
    /// The items.
    ///
    /// # Errors
    /// One of them is empty: a variable was not set, say, and what was meant to be there is not.
    pub(crate) fn items(&self) -> Result<&[String], String> {
        if self.0.iter().any(String::is_empty) {
            return Err("an item is empty; leave it out, or write none if there are none at all".into());
        }
        Ok(&self.0)
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

impl<const MIN: usize, const MAX: usize> TryFrom<Scalar> for Number<MIN, MAX> {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.text().parse()
    }
}

impl TryFrom<Scalar> for Directory {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.text().parse()
    }
}

impl<T: FromStr<Err: fmt::Display>> TryFrom<Scalar> for Off<T> {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.text().parse()
    }
}

impl<T: FromStr<Err: fmt::Display>> TryFrom<Scalar> for Auto<T> {
    type Error = String;

    fn try_from(scalar: Scalar) -> Result<Self, String> {
        scalar.text().parse()
    }
}

impl From<Listed> for List {
    fn from(listed: Listed) -> Self {
        let items = match listed {
            Listed::Many(items) => items,
            Listed::Text(text) if text.trim() == "none" => Vec::new(),
            Listed::Text(text) => text.split(',').map(str::to_owned).collect(),
        };
        Self(items.into_iter().map(|item| item.trim().to_owned()).collect())
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
        assert_eq!("off".parse(), Ok(Off::<Time>(None)));
        assert_eq!("auto".parse(), Ok(Auto::<Count>(None)));
        assert_eq!("7".parse(), Ok(Auto(Some(Number::<1, 64>(7)))));
    }

    /// A word, a zero or a blank never stands for something that was not meant.
    #[test]
    fn values_that_would_mean_something_else_are_refused() {
        for bad in ["", "0", "65", "-1", "off", "2.0"] {
            assert!(bad.parse::<Auto<Number<1, 64>>>().is_err(), "{bad}");
        }
        for bad in ["", "0", "auto"] {
            assert!(bad.parse::<Off<Count>>().is_err(), "{bad}");
        }
        for bad in ["", " ", "auto"] {
            assert!(bad.parse::<Off<Directory>>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_list_has_no_empty_item() {
        let items = |text: &str| text.parse::<List>().unwrap().items().map(<[String]>::to_vec);
        assert_eq!(items("a, b"), Ok(vec!["a".into(), "b".into()]));
        for bad in ["", ",", "a,", "a, ,b", " "] {
            assert!(items(bad).is_err(), "{bad}");
        }
        assert_eq!(items("none"), Ok(Vec::new()));
        assert_eq!(List::from(Listed::Many(Vec::new())).items(), Ok(&[][..]));
    }
}
