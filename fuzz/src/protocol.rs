//! What holds of the native protocol whatever bytes come.

use longwire_protocol::{Action, Command, Data, Form, Message};

/// Takes the bytes for what a client says, and for what a server says: what is read can be written, and read again.
pub fn check(form: Form, bytes: &[u8]) {
    for command in form.commands(bytes) {
        match command {
            Ok(command) => check_command(&command),
            Err(rejected) => {
                let answer = Message::from(rejected);
                Form::ALL.iter().for_each(|form| assert_eq!(again(*form, &answer), [Ok(answer.clone())]));
            }
        }
    }
    for message in form.messages(bytes).flatten() {
        for other in Form::ALL {
            let back = again(other, &message);
            assert!(back.len() == 1 && back[0].is_ok(), "{message:?} {back:?}");
            // In another form data may look different: JSON does not tell a text from JSON that is a text.
            assert!(other != form || back == [Ok(message.clone())], "{message:?} {back:?}");
        }
    }
}

fn check_command(command: &Command) {
    assert_eq!(command.action.check(), Ok(()));
    for form in Form::ALL {
        let mut out = Vec::new();
        form.push_command(command, &mut out);
        form.push_command(command, &mut out);
        let back: Vec<_> = form.commands(&out).collect();
        assert!(back.len() == 2 && back[0].is_ok() && back[0] == back[1], "{command:?} {back:?}");
        assert!(is_text(command) || back[0].as_ref() == Ok(command), "{command:?} {back:?}");
    }
}

fn is_text(command: &Command) -> bool {
    matches!(&command.action, Action::Publish(publish) if matches!(publish.data, Some(Data::Text(_))))
}

fn again(form: Form, message: &Message) -> Vec<Result<Message, longwire_protocol::Malformed>> {
    let mut out = Vec::new();
    form.push_message(message, &mut out);
    if form == Form::Json {
        assert!(std::str::from_utf8(&out).is_ok() && !out.contains(&b'\n'));
    }
    form.messages(&out).collect()
}
