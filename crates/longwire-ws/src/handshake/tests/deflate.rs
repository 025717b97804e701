use super::super::deflate::parameters::{ClientWindow, Parameters};
use super::super::deflate::{
    ConfigError, DeflateConfig, DeflateParams, Fault, ResponseError, negotiate, offer, verify_response,
};
use super::super::grammar::extensions;
use super::values;

/// Wants nothing and allows everything.
const PLAIN: DeflateConfig = DeflateConfig {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: 15,
};

const fn params(server_no: bool, client_no: bool, server: u8, client: u8) -> DeflateParams {
    DeflateParams {
        server_no_context_takeover: server_no,
        client_no_context_takeover: client_no,
        server_max_window_bits: server,
        client_max_window_bits: client,
    }
}

/// The server's answer to these header lines, with what was agreed.
fn answer(offers: &str, config: &DeflateConfig) -> Option<(String, DeflateParams)> {
    let lines = values(&[offers]);
    let offers = extensions(&lines).expect("well formed");
    negotiate(&offers, config).map(|agreement| (agreement.response, agreement.params))
}

/// The client's verdict on this answer to the offer of `config`.
fn verdict(response: &str, config: Option<&DeflateConfig>) -> Result<Option<DeflateParams>, ResponseError> {
    let lines = values(&[response]);
    verify_response(&extensions(&lines).expect("well formed"), config)
}

fn fault(name: &str, fault: Fault) -> Result<Option<DeflateParams>, ResponseError> {
    Err(ResponseError::Parameter(name.to_owned(), fault))
}

#[test]
fn config_is_checked_against_its_bounds_rfc7692_7_1_2() {
    assert_eq!(DeflateConfig::default().validate(), Ok(()));
    for bits in 0..=u8::MAX {
        let server = DeflateConfig { server_max_window_bits: bits, ..PLAIN };
        let client = DeflateConfig { client_max_window_bits: bits, ..PLAIN };
        if (8..=15).contains(&bits) {
            assert_eq!(server.validate(), Ok(()));
            assert_eq!(client.validate(), Ok(()));
        } else {
            assert_eq!(server.validate(), Err(ConfigError::ServerMaxWindowBits(bits)));
            assert_eq!(client.validate(), Err(ConfigError::ClientMaxWindowBits(bits)));
            assert_eq!(answer("permessage-deflate", &server), None);
        }
    }
}

#[test]
fn a_plain_offer_is_accepted_plainly_rfc7692_7_1_3() {
    let expected = Some(("permessage-deflate".to_owned(), params(false, false, 15, 15)));
    assert_eq!(answer("permessage-deflate", &PLAIN), expected);
    assert_eq!(answer("permessage-deflate; client_max_window_bits", &PLAIN), expected);
}

#[test]
fn context_takeover_is_off_if_either_side_says_so_rfc7692_7_1_1() {
    const SERVER: &str = "permessage-deflate; server_no_context_takeover";
    const CLIENT: &str = "permessage-deflate; client_no_context_takeover";
    let both = format!("{SERVER}; client_no_context_takeover");
    // 7.1.1.1: the client's wish is confirmed; 7.1.1.2: so is its promise.
    for offered in [SERVER, CLIENT, &both] {
        let (response, agreed) = answer(offered, &PLAIN).expect("accepted");
        assert_eq!(response, offered);
        assert_eq!(agreed.server_no_context_takeover, offered != CLIENT);
        assert_eq!(agreed.client_no_context_takeover, offered != SERVER);
    }
    // The server may ask for both by itself.
    assert_eq!(answer("permessage-deflate", &DeflateConfig::default()), Some((both, params(true, true, 15, 15))));
}

#[test]
fn server_window_is_the_smaller_one_and_confirmed_rfc7692_7_1_2_1() {
    for offered in 8..=15u8 {
        for wanted in 8..=15u8 {
            let config = DeflateConfig { server_max_window_bits: wanted, ..PLAIN };
            let bits = offered.min(wanted);
            let text = format!("permessage-deflate; server_max_window_bits={offered}");
            assert_eq!(
                answer(&text, &config),
                Some((
                    // Confirmed even where 15 limits nothing: the client asked.
                    format!("permessage-deflate; server_max_window_bits={bits}"),
                    params(false, false, bits, 15)
                ))
            );
        }
    }
    // Not asked for: volunteered if it is less than the client would assume.
    let config = DeflateConfig { server_max_window_bits: 11, ..PLAIN };
    let (response, agreed) = answer("permessage-deflate", &config).expect("accepted");
    assert_eq!(response, "permessage-deflate; server_max_window_bits=11");
    assert_eq!(agreed.server_max_window_bits, 11);
}

#[test]
fn client_window_is_limited_only_if_offered_rfc7692_7_1_2_2() {
    let limit = DeflateConfig { client_max_window_bits: 10, ..PLAIN };
    let limited = |bits: u8| {
        let response = format!("permessage-deflate; client_max_window_bits={bits}");
        Some((response, params(false, false, 15, bits)))
    };
    assert_eq!(answer("permessage-deflate; client_max_window_bits", &limit), limited(10));
    assert_eq!(answer("permessage-deflate; client_max_window_bits=12", &limit), limited(10));
    assert_eq!(answer("permessage-deflate; client_max_window_bits=9", &limit), limited(9));
    // The hint alone lets us keep a smaller window.
    assert_eq!(answer("permessage-deflate; client_max_window_bits=9", &PLAIN), limited(9));
    // A limit that we need and may not set: declined, and the next offer is looked at.
    assert_eq!(answer("permessage-deflate", &limit), None);
    assert_eq!(answer("permessage-deflate, permessage-deflate; client_max_window_bits", &limit), limited(10));
}

#[test]
fn offers_with_bad_parameters_are_declined_rfc7692_7_1() {
    for bad in [
        // Not defined.
        "unknown",
        "unknown=1",
        "Server_no_context_takeover",
        // 7.1.1.1, 7.1.1.2: no value allowed.
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover=\"server_no_context_takeover\"",
        // 7.1.2.1: a value needed, 8 to 15, decimal, no leading zeros.
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=08",
        "server_max_window_bits=010",
        "server_max_window_bits=+9",
        "server_max_window_bits=-9",
        "server_max_window_bits=0xa",
        "server_max_window_bits=9.0",
        "server_max_window_bits=265",
        "server_max_window_bits=99999999999999999999",
        // 7.1.2.2: the same, if there is a value.
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=09",
        // Repeated.
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits; client_max_window_bits=10",
    ] {
        let offered = format!("permessage-deflate; {bad}");
        assert_eq!(answer(&offered, &PLAIN), None, "{bad}");
        let with_next = format!("{offered}, permessage-deflate; server_max_window_bits=9");
        let (response, _) = answer(&with_next, &PLAIN).expect("the next offer");
        assert_eq!(response, "permessage-deflate; server_max_window_bits=9", "{bad}");
    }
}

#[test]
fn the_first_fitting_offer_wins_and_others_are_passed_over_rfc7692_5() {
    let offered = "mux, x-webkit-deflate-frame, \
                   permessage-deflate; server_max_window_bits=\"10\", permessage-deflate";
    let (response, agreed) = answer(offered, &PLAIN).expect("accepted");
    assert_eq!(response, "permessage-deflate; server_max_window_bits=10");
    assert_eq!(agreed, params(false, false, 10, 15));
    assert_eq!(answer("mux, foo; bar", &PLAIN), None);
    assert_eq!(answer("Permessage-Deflate", &PLAIN), None);
}

#[test]
fn the_offer_states_what_is_wanted_rfc7692_7_1() {
    // 7.1.2.2: that the window can be limited is offered always.
    assert_eq!(offer(&PLAIN), "permessage-deflate; client_max_window_bits");
    assert_eq!(
        offer(&DeflateConfig::default()),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         client_max_window_bits"
    );
    let small = DeflateConfig { server_max_window_bits: 9, client_max_window_bits: 8, ..PLAIN };
    assert_eq!(offer(&small), "permessage-deflate; server_max_window_bits=9; client_max_window_bits=8");
}

#[test]
fn an_answer_within_the_offer_is_taken_rfc7692_7_1() {
    assert_eq!(verify_response(&[], Some(&PLAIN)), Ok(None));
    assert_eq!(verify_response(&[], None), Ok(None));
    for (response, agreed) in [
        ("permessage-deflate", params(false, false, 15, 15)),
        // 7.1.1.1, 7.1.1.2, 7.1.2.1: the server may volunteer these.
        ("permessage-deflate; server_no_context_takeover", params(true, false, 15, 15)),
        ("permessage-deflate; client_no_context_takeover", params(false, true, 15, 15)),
        ("permessage-deflate; server_max_window_bits=8", params(false, false, 8, 15)),
        ("permessage-deflate; client_max_window_bits=\"9\"", params(false, false, 15, 9)),
    ] {
        assert_eq!(verdict(response, Some(&PLAIN)), Ok(Some(agreed)), "{response}");
    }
    // 7.1.1.2, 7.1.2.2: what the client promised holds even if the answer does not mention it.
    let promised = DeflateConfig { client_no_context_takeover: true, client_max_window_bits: 10, ..PLAIN };
    assert_eq!(verdict("permessage-deflate", Some(&promised)), Ok(Some(params(false, true, 15, 10))));
}

#[test]
fn an_extension_that_was_not_offered_is_fatal_rfc6455_4_1() {
    let not_offered = |name: &str| Err(ResponseError::NotOffered(name.to_owned()));
    assert_eq!(verdict("permessage-deflate", None), not_offered("permessage-deflate"));
    assert_eq!(verdict("mux; a=1", Some(&PLAIN)), not_offered("mux"));
    assert_eq!(verdict("permessage-deflate, mux", Some(&PLAIN)), not_offered("mux"));
    assert_eq!(verdict("permessage-deflate, permessage-deflate", Some(&PLAIN)), Err(ResponseError::Repeated));
}

#[test]
fn an_answer_with_bad_parameters_is_fatal_rfc7692_7_1() {
    for (parameters, name, expected) in [
        ("unknown", "unknown", Fault::Unknown),
        ("server_no_context_takeover=1", "server_no_context_takeover", Fault::InvalidValue),
        ("server_max_window_bits", "server_max_window_bits", Fault::InvalidValue),
        ("server_max_window_bits=7", "server_max_window_bits", Fault::InvalidValue),
        ("client_max_window_bits=16", "client_max_window_bits", Fault::InvalidValue),
        // 7.1.2.2: in an answer this one needs its value.
        ("client_max_window_bits", "client_max_window_bits", Fault::InvalidValue),
        ("client_no_context_takeover; client_no_context_takeover", "client_no_context_takeover", Fault::Repeated),
    ] {
        let response = format!("permessage-deflate; {parameters}");
        assert_eq!(verdict(&response, Some(&PLAIN)), fault(name, expected), "{parameters}");
    }
}

#[test]
fn an_answer_beyond_the_offer_is_fatal_rfc7692_7_1() {
    let offered =
        DeflateConfig { server_no_context_takeover: true, server_max_window_bits: 10, client_max_window_bits: 10, ..PLAIN };
    for (parameters, name, expected) in [
        // 7.1.1.1, 7.1.2.1: a server that accepts the offer repeats these.
        ("server_max_window_bits=10", "server_no_context_takeover", Fault::Missing),
        ("server_no_context_takeover", "server_max_window_bits", Fault::Missing),
        ("server_no_context_takeover; server_max_window_bits=11", "server_max_window_bits", Fault::ExceedsOffer),
        (
            "server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=11",
            "client_max_window_bits",
            Fault::ExceedsOffer,
        ),
    ] {
        let response = format!("permessage-deflate; {parameters}");
        assert_eq!(verdict(&response, Some(&offered)), fault(name, expected), "{parameters}");
    }
}

#[test]
fn client_window_must_not_answer_an_offer_without_it_rfc7692_7_1_2_2() {
    let offered = Parameters::default();
    let answered = Parameters { client_max_window_bits: ClientWindow::Bits(15), ..offered };
    assert_eq!(answered.verify(&offered), Err(("client_max_window_bits", Fault::NotOffered)));
}
