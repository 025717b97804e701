//! `--static DIR`: files of a folder, for a product's own pages.
//!
//! Files are read piece by piece as their readers take them, and a piece's file is open only while it is read: so downloads cost no
//! descriptors, which are for lines.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of a file is in memory for one reader.
const PIECE_BYTES: usize = 64 << 10;
/// Files that are longer than one piece, and are being read at the same time.
const AT_ONCE: usize = 256;
/// How long a reader may take over a piece.
const PIECE_TIME: Duration = Duration::from_secs(60);

/// A folder whose files are served.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    root: Arc<Path>,
    places: Arc<Semaphore>,
}

/// What there is at an address.
enum Found {
    File(Served),
    /// A folder, whose address ends in a slash.
    Folder,
}

/// A file as it was when its head was sent.
#[derive(Clone, Debug)]
struct Served {
    path: PathBuf,
    bytes: u64,
    tag: String,
}

impl Folder {
    /// # Errors
    /// One line that says why it cannot be served.
    pub(crate) fn new(root: &Path) -> Result<Self, String> {
        let wrong = |why: &str| format!("static: {}: {why}", root.display());
        let there = root.metadata().map_err(|error| wrong(&error.to_string()))?;
        if !there.is_dir() {
            return Err(wrong("this is no folder"));
        }
        Ok(Self { root: root.into(), places: Arc::new(Semaphore::new(AT_ONCE)) })
    }

    /// The answer to a GET or HEAD of a path, if there is such a file.
    pub(crate) async fn answer(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let names = names(path)?;
        let root = self.root.clone();
        let file = match tokio::task::spawn_blocking(move || find(&root, &names)).await.ok()?? {
            Found::Folder => {
                let with_slash = HeaderValue::from_str(&format!("{path}/")).ok()?;
                return Some((StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, with_slash)]).into_response());
            }
            Found::File(file) => file,
        };
        let tag = HeaderValue::from_str(&file.tag).ok()?;
        let head = [
            (header::ETAG, tag),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        if is_known(headers, &file.tag) {
            return Some((StatusCode::NOT_MODIFIED, head).into_response());
        }
        let place = match file.bytes > PIECE_BYTES as u64 {
            false => None,
            true => match self.places.clone().try_acquire_owned() {
                Ok(place) => Some(place),
                Err(_) => return Some((StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]).into_response()),
            },
        };
        let kind = content_type(&file.path);
        let length = HeaderValue::from(file.bytes);
        let body = body(file, place);
        Some(
            (head, [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CONTENT_LENGTH, length)], body)
                .into_response(),
        )
    }
}

/// Whether a client has what the tag stands for (RFC 9110, 13.1.2).
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    known.flat_map(|value| value.split(',')).map(str::trim).any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// The names that a path is made of, decoded. Of one that leads elsewhere, or to what is hidden, there are none; but what is
/// well-known is public (RFC 8615).
fn names(path: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for name in path.strip_prefix('/')?.split('/') {
        let name = decoded(name)?;
        let is_hidden = name.starts_with('.') && !(names.is_empty() && name == ".well-known");
        if is_hidden || name.contains(['/', '\0']) {
            return None;
        }
        names.push(name);
    }
    // An empty one between others is another address for the same thing.
    let before = names.len() - 1;
    names[..before].iter().all(|name| !name.is_empty()).then_some(names)
}

/// Without percent-encoding (RFC 3986, 2.1), if what is left is UTF-8.
fn decoded(name: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Looks for a file below `root`, also behind links that stay there. Blocks.
fn find(root: &Path, names: &[String]) -> Option<Found> {
    let root = root.canonicalize().ok()?;
    let is_folder = names.last().is_none_or(String::is_empty);
    let mut path: PathBuf = root.clone();
    path.extend(names.iter().filter(|name| !name.is_empty()));
    if is_folder {
        path.push("index.html");
    }
    let path = path.canonicalize().ok().filter(|path| path.starts_with(&root))?;
    let there = path.metadata().ok()?;
    if there.is_dir() && !is_folder && path.join("index.html").is_file() {
        return Some(Found::Folder);
    }
    // Neither a folder, nor a pipe or a device, which would be waited for.
    there.is_file().then(|| Found::File(Served { bytes: there.len(), tag: tag(&there), path }))
}

/// What is changed with the file, whether it is written over or another is put in its place.
fn tag(file: &std::fs::Metadata) -> String {
    format!("\"{:x}-{:x}-{:x}-{:x}\"", file.ino(), file.len(), file.mtime(), file.mtime_nsec())
}

/// The file, piece by piece. If it is changed meanwhile, the answer breaks off, and the client knows that it is not whole.
fn body(file: Served, place: Option<OwnedSemaphorePermit>) -> Body {
    let reading = (Arc::new(file), 0, Instant::now(), place);
    Body::from_stream(futures_util::stream::try_unfold(reading, async |(file, at, since, place)| {
        if at == file.bytes {
            return Ok(None);
        }
        if since.elapsed() > PIECE_TIME {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        let from = file.clone();
        let piece = tokio::task::spawn_blocking(move || read(&from, at)).await.map_err(io::Error::other)??;
        let next = at + piece.len() as u64;
        Ok(Some((piece, (file, next, Instant::now(), place))))
    }))
}

/// The piece at an offset. Blocks.
fn read(file: &Served, at: u64) -> io::Result<Bytes> {
    let open = File::open(&file.path)?;
    if tag(&open.metadata()?) != file.tag {
        return Err(io::Error::other("the file has changed"));
    }
    let length = usize::try_from(file.bytes - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
    let mut piece = vec![0; length];
    open.read_exact_at(&mut piece, at)?;
    Ok(piece.into())
}

fn content_type(path: &Path) -> &'static str {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default().to_ascii_lowercase();
    match &*extension {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" | "md" => "text/plain; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "xml" => "application/xml",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "avif" => "image/avif",
        "ico" => "image/x-icon",
        "woff" => "font/woff",
        "woff2" => "font/woff2",
        "ttf" => "font/ttf",
        "otf" => "font/otf",
        "wasm" => "application/wasm",
        "pdf" => "application/pdf",
        "mp3" => "audio/mpeg",
        "ogg" => "audio/ogg",
        "wav" => "audio/wav",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_leads_to_names_below_the_folder_or_nowhere() {
        let list = |path| names(path).map(|names| names.join("|"));
        assert_eq!(list("/").as_deref(), Some(""));
        assert_eq!(list("/a/b.html").as_deref(), Some("a|b.html"));
        assert_eq!(list("/a/").as_deref(), Some("a|"));
        assert_eq!(list("/%E4%BD%A0%20+.txt").as_deref(), Some("你 +.txt"));
        assert_eq!(list("/.well-known/acme").as_deref(), Some(".well-known|acme"));
        for bad in [
            "",
            "a",
            "//a",
            "/a//b",
            "/..",
            "/../a",
            "/a/../b",
            "/.",
            "/%2e%2e/a",
            "/%2E./a",
            "/a%2fb",
            "/a%00",
            "/a%",
            "/a%4",
            "/%+1",
            "/%ff",
            "/.env",
            "/a/.git/config",
            "/a/.well-known/x",
        ] {
            assert_eq!(list(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_a_client_has_is_known_by_its_tag() {
        let known = |value: &str| is_known(&HeaderMap::from_iter([(header::IF_NONE_MATCH, value.parse().unwrap())]), "\"a-1\"");
        assert!(known("\"a-1\"") && known("\"b\", W/\"a-1\"") && known("*"));
        assert!(!known("\"a\"") && !known("a-1"));
    }
}
