//! Bounded parsing of HTTP/1.1 heads, for callers that bring no HTTP library.

use std::fmt;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};

/// How much of a peer's head is read before giving up on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a whole head: its first line, all headers and the empty line that ends it.
    pub max_header_bytes: usize,
    /// Most header lines.
    pub max_headers: usize,
}

impl Default for Limits {
    /// 16 KiB and 100 header lines.
    fn default() -> Self {
        Self { max_header_bytes: 16 * 1024, max_headers: 100 }
    }
}

/// A head that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParseError {
    /// The bytes are not HTTP/1; the text names the part that is not.
    Malformed(&'static str),
    /// An HTTP version that is neither 1.0 nor 1.1.
    HttpVersion,
    /// The first line is longer than [`Limits::max_header_bytes`].
    FirstLineTooLong,
    /// The head is longer than [`Limits::max_header_bytes`].
    HeadTooLong,
    /// There are more header lines than [`Limits::max_headers`].
    TooManyHeaders,
}

impl ParseError {
    /// The HTTP status that answers such a request.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::HttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::FirstLineTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLong | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        }
    }

    /// A stable name of this error, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed_http",
            Self::HttpVersion => "unsupported_http_version",
            Self::FirstLineTooLong => "first_line_too_long",
            Self::HeadTooLong => "head_too_long",
            Self::TooManyHeaders => "too_many_headers",
        }
    }

    /// The whole HTTP answer, with a JSON body.
    #[must_use]
    pub fn response(&self) -> Response<String> {
        refusal(self.status(), self.code(), &self.to_string())
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(part) => write!(f, "this is not HTTP/1.1: {part}"),
            Self::HttpVersion => f.write_str("the HTTP version is not supported, use HTTP/1.1"),
            Self::FirstLineTooLong => f.write_str("the first line is too long, shorten the URL"),
            Self::HeadTooLong => f.write_str("the headers are too long, send fewer or shorter ones"),
            Self::TooManyHeaders => f.write_str("there are too many headers, send fewer"),
        }
    }
}

impl std::error::Error for ParseError {}

impl From<httparse::Error> for ParseError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::TooManyHeaders,
            httparse::Error::Version => Self::HttpVersion,
            httparse::Error::HeaderName => Self::Malformed("a header name is invalid"),
            httparse::Error::HeaderValue => Self::Malformed("a header value is invalid"),
            httparse::Error::NewLine => Self::Malformed("a line does not end properly"),
            httparse::Error::Status => Self::Malformed("the status line is invalid"),
            httparse::Error::Token => Self::Malformed("the first line is invalid"),
        }
    }
}

/// Reads a request's head; see [`super::server::parse`].
pub(super) fn parse_request(input: &[u8], limits: &Limits) -> Result<Option<(Request<()>, usize)>, ParseError> {
    let window = window(input, limits);
    let mut lines = header_lines(window, limits);
    let mut parsed = httparse::Request::new(&mut lines);
    let status = parsed.parse(window)?;
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return incomplete(input, limits, ParseError::FirstLineTooLong);
    };
    let httparse::Status::Complete(head_bytes) = status else {
        return incomplete(input, limits, ParseError::HeadTooLong);
    };

    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(method.as_bytes()).map_err(|_| ParseError::Malformed("the method is invalid"))?;
    *request.uri_mut() = parse_target(target)?;
    *request.version_mut() = http_version(version);
    *request.headers_mut() = header_map(parsed.headers)?;
    Ok(Some((request, head_bytes)))
}

/// Reads a response's head; the same contract as [`parse_request`].
pub(super) fn parse_response(input: &[u8], limits: &Limits) -> Result<Option<(Response<()>, usize)>, ParseError> {
    let window = window(input, limits);
    let mut lines = header_lines(window, limits);
    let mut parsed = httparse::Response::new(&mut lines);
    let status = parsed.parse(window)?;
    let (Some(version), Some(code), httparse::Status::Complete(head_bytes)) = (parsed.version, parsed.code, status) else {
        return incomplete(input, limits, ParseError::HeadTooLong);
    };

    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(code).map_err(|_| ParseError::Malformed("the status code is invalid"))?;
    *response.version_mut() = http_version(version);
    *response.headers_mut() = header_map(parsed.headers)?;
    Ok(Some((response, head_bytes)))
}

/// An HTTP answer with a JSON body of the one shape that all refusals have.
pub(super) fn refusal(status: StatusCode, code: &str, message: &str) -> Response<String> {
    let body = format!(r#"{{"error":{{"code":"{}","message":"{}"}}}}"#, Escaped(code), Escaped(message));
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CONTENT_LENGTH, length);
    response
}

/// The part of the input that a head within the limits can occupy.
fn window<'a>(input: &'a [u8], limits: &Limits) -> &'a [u8] {
    &input[..input.len().min(limits.max_header_bytes)]
}

fn header_lines<'a>(window: &[u8], limits: &Limits) -> Vec<httparse::Header<'a>> {
    // The shortest header line, `a:` and a line feed, has 3 bytes: no need for room for more.
    vec![httparse::EMPTY_HEADER; limits.max_headers.min(window.len() / 3)]
}

fn incomplete<T>(input: &[u8], limits: &Limits, at_the_limit: ParseError) -> Result<Option<T>, ParseError> {
    if input.len() >= limits.max_header_bytes {
        return Err(at_the_limit);
    }
    Ok(None)
}

fn parse_target(target: &str) -> Result<Uri, ParseError> {
    /// What [`Uri`] can hold at most.
    const MAX_TARGET_BYTES: usize = u16::MAX as usize - 1;
    if target.len() > MAX_TARGET_BYTES {
        return Err(ParseError::FirstLineTooLong);
    }
    Uri::try_from(target).map_err(|_| ParseError::Malformed("the request target is invalid"))
}

fn http_version(minor: u8) -> Version {
    if minor == 0 { Version::HTTP_10 } else { Version::HTTP_11 }
}

fn header_map(lines: &[httparse::Header<'_>]) -> Result<HeaderMap, ParseError> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let name =
            HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| ParseError::Malformed("a header name is invalid"))?;
        let value = HeaderValue::from_bytes(line.value).map_err(|_| ParseError::Malformed("a header value is invalid"))?;
        headers.try_append(name, value).map_err(|_| ParseError::TooManyHeaders)?;
    }
    Ok(headers)
}

/// Text as it stands inside a JSON string.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                '\0'..='\u{1f}' => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => write!(f, "{character}")?,
            }
        }
        Ok(())
    }
}
