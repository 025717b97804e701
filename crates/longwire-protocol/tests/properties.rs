//! What holds of all values and of all bytes.

use longwire_protocol::{Form, Message, Rejected};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::any;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn commands_come_back_in_both_forms_however_they_are_joined(commands in vec(any::command(), 1..5)) {
        for form in Form::ALL {
            let mut out = Vec::new();
            commands.iter().for_each(|command| form.push_command(command, &mut out));
            let back: Vec<_> = form.commands(&out).collect::<Result<_, Rejected>>().unwrap();
            prop_assert_eq!(&back, &commands);
        }
    }

    #[test]
    fn messages_come_back_in_both_forms_however_they_are_joined(messages in vec(any::message(), 1..5)) {
        for form in Form::ALL {
            let mut out = Vec::new();
            messages.iter().for_each(|message| form.push_message(message, &mut out));
            let back: Vec<_> = form.messages(&out).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(&back, &messages);
        }
    }

    #[test]
    fn json_messages_are_json_on_one_line_of_utf8(message in any::message()) {
        let mut out = Vec::new();
        Form::Json.push_message(&message, &mut out);
        let text = String::from_utf8(out).unwrap();
        prop_assert!(!text.bytes().any(|byte| matches!(byte, b'\n' | b'\r')));
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        prop_assert!(value["type"].is_string());
    }

    #[test]
    fn any_bytes_are_a_command_or_an_error(bytes in vec(any::<u8>(), 0..300)) {
        read(&bytes);
    }

    #[test]
    fn a_command_with_a_byte_changed_is_a_command_or_an_error(command in any::command(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        for form in Form::ALL {
            let mut out = Vec::new();
            form.push_command(&command, &mut out);
            let at = at.index(out.len());
            out[at] = byte;
            read(&out);
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_a_message_or_an_error(message in any::message(), at in any::<prop::sample::Index>()) {
        for form in Form::ALL {
            let mut out = Vec::new();
            form.push_message(&message, &mut out);
            out.truncate(at.index(out.len()));
            read(&out);
        }
    }

    #[test]
    fn almost_json_is_a_command_or_an_error(text in r#"(\{("(type|id|channel|data|offset|tags|stream|end)":("(publish|append|a:b|)"|[0-9.e-]{1,4}|null|true|\{\}|\[[0-9]\]),?){0,4}\}|[{}\[\]":,]{0,20})"#) {
        read(text.as_bytes());
    }
}

/// Reads bytes in every way there is. What is read can be written and read again, and is the same then.
fn read(bytes: &[u8]) {
    for form in Form::ALL {
        for command in form.commands(bytes) {
            match command {
                Ok(command) => {
                    assert_eq!(command.action.check(), Ok(()));
                    for form in Form::ALL {
                        let mut out = Vec::new();
                        form.push_command(&command, &mut out);
                        let back: Vec<_> = form.commands(&out).collect();
                        // In JSON nothing tells a text from JSON that is a text.
                        if form == Form::Binary || !has_text(&command) {
                            assert_eq!(back, [Ok(command.clone())]);
                        }
                    }
                }
                Err(rejected) => {
                    let message = Message::from(rejected);
                    for form in Form::ALL {
                        let mut out = Vec::new();
                        form.push_message(&message, &mut out);
                        let back: Vec<_> = form.messages(&out).collect();
                        assert_eq!(back, [Ok(message.clone())]);
                    }
                }
            }
        }
        for message in form.messages(bytes).flatten() {
            for form in Form::ALL {
                let mut out = Vec::new();
                form.push_message(&message, &mut out);
                assert!(form.messages(&out).all(|back| back.is_ok()));
            }
        }
    }
}

fn has_text(command: &longwire_protocol::Command) -> bool {
    use longwire_protocol::{Action, Data};
    matches!(&command.action, Action::Publish(publish) if !publish.stream && matches!(publish.data, Some(Data::Text(_))))
}
