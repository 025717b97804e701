//! Publishing over the server API, for those who have a key: as the server itself, and through restarts of it.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde::Deserialize;

use crate::key::Place;
use crate::output;

/// How long an answer may take, and a connection.
const PATIENCE: Duration = Duration::from_secs(15);
/// The first wait before a server that is away is asked again, and the longest.
const WAITS: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// Answers to what is asked here are short.
const ANSWER_MAX: u64 = 1 << 20;

/// The API of one server.
pub(crate) struct Api {
    place: Place,
    given: Option<String>,
    connection: Option<(BufReader<TcpStream>, String)>,
    /// It has answered before, so it will come back.
    known: bool,
}

/// Why something did not come about.
enum Trouble {
    /// The same may work later.
    Later(String),
    Never(String),
}

#[derive(Deserialize)]
struct Answer {
    error: Option<Error>,
}

#[derive(Deserialize)]
struct Error {
    message: String,
    retry: bool,
}

impl Api {
    /// The API of the server there, if we know a key.
    ///
    /// # Errors
    /// One line that says what is wrong with the address, or with the keys of the environment.
    pub(crate) fn open(place: Place, given: Option<&str>) -> Result<Option<Self>, String> {
        let is_there = place.key(given)?.is_some();
        Ok(is_there.then(|| Self { place, given: given.map(str::to_owned), connection: None, known: false }))
    }

    /// Publishes what the body says. It has an idempotency key, so that it may be said again when nobody knows whether it arrived.
    ///
    /// # Errors
    /// One line: the server cannot be reached, or does not take it.
    pub(crate) fn publish(&mut self, body: &str) -> Result<(), String> {
        let mut wait = WAITS.0;
        loop {
            let why = match self.ask(body) {
                Ok(()) => {
                    self.known = true;
                    return Ok(());
                }
                Err(Trouble::Never(why)) => return Err(why),
                Err(Trouble::Later(why)) => why,
            };
            self.connection = None;
            if !self.known {
                return Err(format!("{}: {why}", self.place.authority));
            }
            output::complain(&format!("{}: {why}; trying again in {:.1} s", self.place.authority, wait.as_secs_f64()));
            std::thread::sleep(wait);
            wait = (wait * 2).min(WAITS.1);
        }
    }

    fn ask(&mut self, body: &str) -> Result<(), Trouble> {
        let answer = self.exchange(body)?;
        let answer: Answer = serde_json::from_str(&answer)
            .map_err(|_| Trouble::Never(format!("{}: this is no API of Longwire", self.place.authority)))?;
        match answer.error {
            None => Ok(()),
            Some(Error { message, retry: true }) => Err(Trouble::Later(message)),
            Some(Error { message, .. }) => Err(Trouble::Never(message)),
        }
    }

    /// Sends a request, and gives the body of the answer.
    fn exchange(&mut self, body: &str) -> Result<String, Trouble> {
        let later = |error: io::Error| Trouble::Later(error.to_string());
        let (mut stream, key) = match self.connection.take() {
            Some(open) => open,
            None => self.connect()?,
        };
        let authority = &self.place.authority;
        let head = format!(
            "POST /api/v1/publish HTTP/1.1\r\nHost: {authority}\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.get_mut().write_all([head.as_bytes(), body.as_bytes()].concat().as_slice()).map_err(later)?;
        let answer = read_answer(&mut stream).map_err(later)?;
        self.connection = Some((stream, key));
        Ok(answer)
    }

    /// A new server has made a new key, so it is looked for each time.
    fn connect(&self) -> Result<(BufReader<TcpStream>, String), Trouble> {
        let key = self.place.key(self.given.as_deref()).map_err(Trouble::Never)?;
        let key = key.ok_or_else(|| Trouble::Later("the server is away, or has no key of its own any more".to_owned()))?;
        let mut why = "there is no such host".to_owned();
        for address in self.place.addresses().map_err(Trouble::Later)? {
            match TcpStream::connect_timeout(&address, PATIENCE) {
                Ok(stream) => {
                    let ready = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE)));
                    ready.map_err(|error| Trouble::Later(error.to_string()))?;
                    return Ok((BufReader::new(stream), key));
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(Trouble::Later(why))
    }
}

/// The body of an answer that says how long it is.
fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut length = None;
    loop {
        let mut line = String::new();
        stream.by_ref().take(ANSWER_MAX).read_line(&mut line)?;
        if line.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok(),
            None if line.trim_end().is_empty() => break,
            _ => {}
        }
    }
    let length: u64 = length.filter(|length| *length <= ANSWER_MAX).ok_or(io::ErrorKind::InvalidData)?;
    let mut body = String::new();
    if stream.by_ref().take(length).read_to_string(&mut body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}
