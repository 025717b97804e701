//! When a line is due for something: a ping, or its end. Pure arithmetic over wheel ticks.

use std::time::Duration;

use crate::config::Config;

/// One tick of the wheel.
pub(crate) const TICK: Duration = Duration::from_millis(8);

/// The configured times in wheel ticks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    ping_interval: u32,
    ping_timeout: u32,
    idle_timeout: Option<u32>,
    write_timeout: u32,
    close_timeout: u32,
}

/// How a kind of lines is kept alive, and what its clients may send.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) timing: Timing,
    /// The longest message, in bytes, if it is less than the node's.
    pub(crate) message_bytes: usize,
}

/// What a line is doing, as far as time is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// For nothing in particular.
    Nothing,
    /// For a sign of life since a ping was sent at this tick; or, if there was one, for the next ping of a client that counts them.
    Pong(u32),
    /// For the end of the closing handshake that began at this tick.
    Close(u32),
}

/// The ticks at which things happened on a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) waiting: Waiting,
    /// Something came.
    pub(crate) heard: u32,
    /// A message came.
    pub(crate) message: u32,
    /// The socket has taken nothing since.
    pub(crate) stalled_since: Option<u32>,
    /// The client counts the pings, and nothing else: they come at their interval, whatever it says.
    pub(crate) counts_pings: bool,
}

/// What is due now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    Ping,
    PingTimeout,
    IdleTimeout,
    WriteTimeout,
    CloseTimeout,
}

impl Timing {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            ping_interval: ticks(config.ping_interval),
            ping_timeout: ticks(config.ping_timeout),
            idle_timeout: config.idle_timeout.map(ticks),
            write_timeout: ticks(config.write_timeout),
            close_timeout: ticks(config.close_timeout),
        }
    }

    /// For clients that know the times, as Engine.IO's do: not late by a tick, as they give a server up that is.
    pub(crate) fn exact(config: &Config, ping_interval: Duration, ping_timeout: Duration) -> Self {
        let whole = |duration: Duration| (duration.as_nanos() / TICK.as_nanos()).min(i32::MAX as u128 / 2) as u32;
        let interval = ticks(ping_interval);
        let timeout = whole(ping_interval + ping_timeout).saturating_sub(interval).max(1);
        Self { ping_interval: interval, ping_timeout: timeout, ..Self::new(config) }
    }

    /// What is due at `now`, and at which tick to look again.
    pub(crate) fn check(&self, now: u32, times: &Times) -> (Due, u32) {
        let mut next = now.wrapping_add(self.ping_interval);
        let mut reached = |since: u32, wait: u32| {
            let left = since.wrapping_add(wait).wrapping_sub(now) as i32;
            if left > 0 && (left as u32) < next.wrapping_sub(now) {
                next = now.wrapping_add(left as u32);
            }
            left <= 0
        };
        let due =
            'due: {
                if let Waiting::Close(since) = times.waiting {
                    let due = if reached(since, self.close_timeout) { Due::CloseTimeout } else { Due::Nothing };
                    break 'due due;
                }
                if times.stalled_since.is_some_and(|since| reached(since, self.write_timeout)) {
                    break 'due Due::WriteTimeout;
                }
                if self.idle_timeout.is_some_and(|timeout| reached(times.message, timeout)) {
                    break 'due Due::IdleTimeout;
                }
                match times.waiting {
                    Waiting::Pong(since) if (times.heard.wrapping_sub(since) as i32) < 0 => {
                        if reached(since, self.ping_timeout) { Due::PingTimeout } else { Due::Nothing }
                    }
                    Waiting::Pong(since) if times.counts_pings && !reached(since, self.ping_interval) => Due::Nothing,
                    _ if times.counts_pings || reached(times.heard, self.ping_interval) => {
                        reached(now, self.ping_timeout);
                        Due::Ping
                    }
                    _ => Due::Nothing,
                }
            };
        (due, next)
    }

    /// What a line waits for that is opened at `now`.
    pub(crate) fn at_first(now: u32, counts_pings: bool) -> Waiting {
        if counts_pings { Waiting::Pong(now) } else { Waiting::Nothing }
    }

    /// The tick of the first look at a line opened at `now`.
    pub(crate) fn first_check(&self, now: u32) -> u32 {
        now.wrapping_add(self.idle_timeout.unwrap_or(u32::MAX).min(self.ping_interval))
    }

    /// The tick by which a closing handshake that begins now must have ended.
    pub(crate) fn close_by(&self, now: u32) -> u32 {
        now.wrapping_add(self.close_timeout)
    }

    /// The tick by which a line that stalls now must have moved.
    pub(crate) fn write_by(&self, now: u32) -> u32 {
        now.wrapping_add(self.write_timeout)
    }
}

/// At least one, and rounded up: never early.
pub(super) fn ticks(duration: Duration) -> u32 {
    let ticks = duration.as_nanos().div_ceil(TICK.as_nanos());
    // Half of the clock's range: beyond it, before and after are not told apart.
    ticks.clamp(1, i32::MAX as u128 / 2) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timing() -> Timing {
        Timing { ping_interval: 100, ping_timeout: 50, idle_timeout: None, write_timeout: 30, close_timeout: 10 }
    }

    fn quiet(heard: u32) -> Times {
        Times { waiting: Waiting::Nothing, heard, message: heard, stalled_since: None, counts_pings: false }
    }

    #[test]
    fn a_quiet_line_is_pinged_and_then_given_up() {
        let timing = timing();
        assert_eq!(timing.check(99, &quiet(0)), (Due::Nothing, 100));
        assert_eq!(timing.check(100, &quiet(0)), (Due::Ping, 150));
        let pinged = Times { waiting: Waiting::Pong(100), ..quiet(0) };
        assert_eq!(timing.check(149, &pinged), (Due::Nothing, 150));
        assert_eq!(timing.check(150, &pinged).0, Due::PingTimeout);
    }

    #[test]
    fn any_sign_of_life_answers_a_ping() {
        let answered = Times { waiting: Waiting::Pong(100), ..quiet(120) };
        assert_eq!(timing().check(150, &answered), (Due::Nothing, 220));
        // Even one that came in the tick of the ping.
        let at_once = Times { waiting: Waiting::Pong(100), ..quiet(100) };
        assert_eq!(timing().check(150, &at_once), (Due::Nothing, 200));
    }

    #[test]
    fn a_client_that_counts_pings_gets_them_however_much_it_says() {
        let (timing, mut waiting, mut pings) = (timing(), Timing::at_first(7, true), Vec::new());
        for now in 7..1000 {
            // It says something every third tick.
            let times = Times { waiting, counts_pings: true, ..quiet(now - now % 3) };
            match timing.check(now, &times) {
                (Due::Nothing, next) => assert!(next > now && next <= 7 + 100 * (pings.len() as u32 + 1), "{now} {next}"),
                (Due::Ping, _) => {
                    pings.push(now);
                    waiting = Waiting::Pong(now);
                }
                due => panic!("{due:?}"),
            }
        }
        assert_eq!(pings, [107, 207, 307, 407, 507, 607, 707, 807, 907]);
    }

    #[test]
    fn a_client_that_counts_pings_and_falls_silent_is_given_up() {
        let times = Times { waiting: Waiting::Pong(100), counts_pings: true, ..quiet(90) };
        assert_eq!(timing().check(101, &times), (Due::Nothing, 150));
        assert_eq!(timing().check(150, &times).0, Due::PingTimeout);
        // One that answers slowly, but in time, hears the next at once if it is due.
        let slow = Timing { ping_timeout: 300, ..timing() };
        assert_eq!(slow.check(250, &times).0, Due::Nothing);
        assert_eq!(slow.check(260, &Times { heard: 260, ..times }).0, Due::Ping);
    }

    #[test]
    fn a_stalled_line_a_closing_line_and_an_idle_line_end() {
        let timing = Timing { idle_timeout: Some(70), ..timing() };
        let stalled = Times { stalled_since: Some(5), ..quiet(0) };
        assert_eq!(timing.check(34, &stalled), (Due::Nothing, 35));
        assert_eq!(timing.check(35, &stalled).0, Due::WriteTimeout);
        let closing = Times { waiting: Waiting::Close(5), ..quiet(0) };
        assert_eq!(timing.check(14, &closing), (Due::Nothing, 15));
        assert_eq!(timing.check(15, &closing).0, Due::CloseTimeout);
        assert_eq!(timing.check(70, &quiet(0)).0, Due::IdleTimeout);
    }

    #[test]
    fn the_clock_may_wrap() {
        let heard = u32::MAX - 20;
        assert_eq!(timing().check(heard.wrapping_add(99), &quiet(heard)).0, Due::Nothing);
        assert_eq!(timing().check(heard.wrapping_add(100), &quiet(heard)).0, Due::Ping);
    }
}
