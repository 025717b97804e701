//! From polling to WebSocket.

use longwire_socketio::engine::{AlreadyUpgrading, Packet, PacketKind, Poll, Step, Upgrade};

const PROBE: Packet<'_> = Packet::text(PacketKind::Ping, "probe");
const UPGRADE: Packet<'_> = Packet::text(PacketKind::Upgrade, "");

#[test]
fn the_way_of_a_client() {
    let mut upgrade = Upgrade::default();
    assert_eq!(upgrade.poll(), Poll::Wait);
    upgrade.candidate_opened().unwrap();
    assert_eq!((upgrade.has_candidate(), upgrade.poll()), (true, Poll::Wait));
    assert_eq!(upgrade.candidate_packet(&PROBE), Step::AnswerProbe);
    assert_eq!((upgrade.is_done(), upgrade.poll()), (false, Poll::Noop));
    assert_eq!(upgrade.candidate_packet(&UPGRADE), Step::Switch);
    assert_eq!((upgrade, upgrade.poll()), (Upgrade::done(), Poll::Refuse));
    assert!(upgrade.is_done() && !upgrade.has_candidate());
}

#[test]
fn a_second_websocket_is_closed_and_the_first_goes_on() {
    let mut upgrade = Upgrade::default();
    upgrade.candidate_opened().unwrap();
    assert_eq!(upgrade.candidate_opened(), Err(AlreadyUpgrading));
    assert_eq!(upgrade.candidate_packet(&PROBE), Step::AnswerProbe);
    assert_eq!(upgrade.candidate_opened(), Err(AlreadyUpgrading));
    assert_eq!(upgrade.candidate_packet(&UPGRADE), Step::Switch);
    assert_eq!(upgrade.candidate_opened(), Err(AlreadyUpgrading));
    assert!(upgrade.is_done());
}

#[test]
fn a_candidate_that_says_anything_else_is_closed_and_another_may_come() {
    let wrong = [
        UPGRADE,
        Packet::text(PacketKind::Ping, ""),
        Packet::text(PacketKind::Ping, "probe2"),
        Packet::text(PacketKind::Message, "probe"),
        Packet::binary(&b"probe"[..]),
    ];
    let mut upgrade = Upgrade::default();
    for packet in &wrong {
        upgrade.candidate_opened().unwrap();
        assert_eq!(upgrade.candidate_packet(packet), Step::CloseCandidate);
        assert_eq!(upgrade, Upgrade::default());
    }
    upgrade.candidate_opened().unwrap();
    assert_eq!(upgrade.candidate_packet(&PROBE), Step::AnswerProbe);
    assert_eq!(upgrade.candidate_packet(&PROBE), Step::AnswerProbe);
    assert_eq!(upgrade.candidate_packet(&wrong[3]), Step::CloseCandidate);
    assert_eq!(upgrade.poll(), Poll::Wait);
}

#[test]
fn a_candidate_that_goes_away_leaves_the_session_polling() {
    let mut upgrade = Upgrade::default();
    upgrade.candidate_opened().unwrap();
    upgrade.candidate_packet(&PROBE);
    upgrade.candidate_closed();
    assert_eq!(upgrade, Upgrade::default());
    let mut done = Upgrade::done();
    done.candidate_closed();
    assert!(done.is_done());
}
