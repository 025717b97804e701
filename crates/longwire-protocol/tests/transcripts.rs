//! Every line of the golden transcripts is read, and written again, in both forms.

use longwire_protocol::*;
use longwire_transcripts::{Bindings, Does, Step};
use serde_json::Value;

fn value(json: &[u8]) -> Value {
    serde_json::from_slice(json).unwrap()
}

fn through(form: Form, message: &Message) -> Vec<Message> {
    let mut out = Vec::new();
    form.push_message(message, &mut out);
    form.messages(&out).collect::<Result<_, _>>().unwrap()
}

#[test]
fn what_servers_say_comes_back_in_both_forms() {
    each_step(|step, bindings| {
        let Does::Receive(expected) = &step.does else { return };
        let line = bindings.fill_with_samples(&expected.to_string());
        let message = json::decode_message(line.as_bytes()).unwrap().expect("of a known type");
        let mut again = Vec::new();
        json::encode_message(&message, &mut again);
        assert_eq!(value(&again), value(line.as_bytes()));
        for form in Form::ALL {
            assert_eq!(through(form, &message), std::slice::from_ref(&message));
        }
    });
}

#[test]
fn what_clients_say_comes_back_in_both_forms_or_is_rejected_as_the_transcript_has_it() {
    let transcripts = longwire_transcripts::all();
    for (name, transcript) in &transcripts {
        let mut bindings = Bindings::default();
        for (at, step) in transcript.steps.iter().enumerate() {
            let Does::Send(lines) = &step.does else { continue };
            for line in lines {
                let line = bindings.fill_with_samples(line);
                match json::decode_command(line.as_bytes()) {
                    Ok(command) => comes_back(&command),
                    Err(rejected) => {
                        let answer = answer_to(&rejected, &transcript.steps[at..], step);
                        let mut out = Vec::new();
                        json::encode_message(&rejected.into(), &mut out);
                        bindings.check(answer, &value(&out)).unwrap_or_else(|why| panic!("{name}.txt:{}: {why}", step.line));
                    }
                }
            }
        }
    }
}

/// The answer that the transcript has for a command that is rejected: the next error of that client with its id.
fn answer_to<'a>(rejected: &Rejected, rest: &'a [Step], asked: &Step) -> &'a Value {
    let has_id = |answer: &Value| answer["type"] == "error" && answer["id"].as_u64() == rejected.id.map(u64::from);
    let mut answers = rest.iter().filter(|step| step.client == asked.client).filter_map(|step| match &step.does {
        Does::Receive(answer) if has_id(answer) => Some(answer),
        _ => None,
    });
    answers.next().unwrap_or_else(|| panic!("line {}: the transcript has no answer for {rejected}", asked.line))
}

fn comes_back(command: &Command) {
    for form in Form::ALL {
        let mut out = Vec::new();
        form.push_command(command, &mut out);
        assert_eq!(form.commands(&out).collect::<Vec<_>>(), [Ok(command.clone())]);
    }
}

#[test]
fn every_error_that_a_client_can_provoke_is_in_a_transcript() {
    let mut seen = Vec::new();
    each_step(|step, _| {
        if let Does::Receive(message) = &step.does
            && message["type"] == "error"
        {
            seen.push(message["name"].as_str().unwrap().to_owned());
        }
    });
    // The README says why these are not.
    let others = ["overloaded", "storage_failed", "too_many_channels", "memory_full", "internal"];
    // From 150 on they are of the HTTP API, which has tests of its own.
    for code in ErrorCode::ALL.iter().filter(|code| code.number() < 150) {
        let is_seen = seen.iter().any(|name| name == code.name());
        assert_ne!(is_seen, others.contains(&code.name()), "{}", code.name());
    }
}

fn each_step(mut look: impl FnMut(&Step, &Bindings)) {
    let bindings = Bindings::default();
    for (name, transcript) in longwire_transcripts::all() {
        for step in &transcript.steps {
            let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| look(step, &bindings)));
            assert!(told.is_ok(), "{name}.txt:{}", step.line);
        }
    }
}
