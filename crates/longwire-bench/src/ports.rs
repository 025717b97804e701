//! Local ports, chosen here in place of the kernel.
//!
//! The kernel looks for a free port at every connect. With more than half of the range in use towards one server that becomes
//! slow: the last of 18,000 lines took milliseconds each. Going round the range in order finds the next one at once. When the
//! range is through, the kernel is asked after all: it may use a port again that another program's ended line still holds.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::message;

/// What Linux uses unless it is told otherwise.
const USUAL_RANGE: (u16, u16) = (32_768, 60_999);

/// The range of local ports, gone round from a random place.
#[derive(Debug)]
pub(crate) struct LocalPorts {
    low: u16,
    count: u16,
    next: u16,
    /// No port is left that can be taken by name.
    through: bool,
}

impl LocalPorts {
    pub(crate) fn new() -> LocalPorts {
        let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        let (low, high) = range(&text).unwrap_or(USUAL_RANGE);
        let count = high - low + 1;
        LocalPorts { low, count, next: (message::random() % u64::from(count)) as u16, through: false }
    }

    /// Begins a connection from the next free port. Fails with `AddrNotAvailable` when the whole range is in use.
    pub(crate) fn connect(&mut self, address: SocketAddr) -> io::Result<TcpStream> {
        let mut tries = if self.through { 0 } else { self.count };
        while tries > 0 {
            tries -= 1;
            let port = self.low + self.next;
            self.next = (self.next + 1) % self.count;
            // A socket that connects to its own port would meet itself where no server listens.
            if port == address.port() {
                continue;
            }
            match begin(address, Some(port)) {
                Err(Errno::ADDRINUSE | Errno::ADDRNOTAVAIL | Errno::ACCESS) => {}
                result => return result.map_err(io::Error::from),
            }
        }
        self.through = true;
        begin(address, None).map_err(io::Error::from)
    }
}

/// Begins a connection from the given local port, or from one that the kernel chooses.
fn begin(address: SocketAddr, port: Option<u16>) -> Result<TcpStream, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    if let Some(port) = port {
        // A port that only waits for the last packets of an ended line may be used again.
        set_socket_reuseaddr(&socket, true)?;
        let any = if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        bind(&socket, &SocketAddr::new(any, port))?;
    }
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket.into()),
        Err(error) => Err(error),
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split_whitespace().map(str::parse);
    match (numbers.next()?, numbers.next()?) {
        (Ok(low), Ok(high)) if low > 0 && low < high && high - low < u16::MAX => Some((low, high)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_range_is_read() {
        assert_eq!(range("32768\t60999\n"), Some((32_768, 60_999)));
        assert_eq!(range("9 1"), None);
        assert_eq!(range(""), None);
    }

    #[test]
    fn ports_in_use_are_passed_over_and_the_kernel_is_asked_last() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let blocker = TcpListener::bind("127.0.0.1:0").unwrap();
        let taken = blocker.local_addr().unwrap().port();
        // Neither the port of another program nor the server's own.
        for low in [taken, address.port()] {
            let mut ports = LocalPorts { low, count: 1, next: 0, through: false };
            let line = ports.connect(address).unwrap();
            assert!(ports.through);
            assert_ne!(line.local_addr().unwrap().port(), low);
        }
    }

    #[test]
    fn ports_are_taken_in_order() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = server.local_addr().unwrap();
        let mut ports = LocalPorts::new();
        let lines: Vec<_> = (0..20).map(|_| ports.connect(address).unwrap()).collect();
        let numbers: Vec<_> = lines.iter().map(|line| line.local_addr().unwrap().port()).collect();
        let rises = numbers.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!(rises >= 18 && !ports.through, "{numbers:?}");
    }
}
