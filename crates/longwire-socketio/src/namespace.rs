//! Namespaces.

use std::fmt;
use std::sync::Arc;

/// The name of a namespace. It begins with `/`, has no comma and no control characters (one of them, U+001E, would divide a
/// polling payload); `/` alone is the root, which packets do not name.
///
/// Cloning it copies no text.
#[derive(Clone, Default)]
pub struct Namespace(Option<Arc<str>>);

impl Namespace {
    /// The root, `/`.
    pub const ROOT: Self = Self(None);

    /// From its name.
    ///
    /// # Errors
    /// If the name does not begin with `/`, or has a comma or a control character.
    pub fn new(name: &str) -> Result<Self, InvalidNamespace> {
        if name == "/" {
            return Ok(Self::ROOT);
        }
        if !name.starts_with('/') || name.contains(',') || name.contains(char::is_control) {
            return Err(InvalidNamespace);
        }
        Ok(Self(Some(name.into())))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or("/")
    }

    /// Whether it is `/`.
    pub const fn is_root(&self) -> bool {
        self.0.is_none()
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Namespace {}

impl std::hash::Hash for Namespace {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text is no name of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidNamespace;

impl fmt::Display for InvalidNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a namespace begins with '/' and has neither commas nor control characters")
    }
}

impl std::error::Error for InvalidNamespace {}
