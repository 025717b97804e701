//! What is emitted.

use longwire_socketio::{Arguments, DataError, Value};
use serde::Serialize;

/// The arguments of an event or an ack: a tuple of up to eight values that serde can write (what it calls bytes is sent as a binary
/// part), `()` for none, or [`Arguments`] and values that came from elsewhere.
pub trait IntoArguments {
    /// Appends them.
    ///
    /// # Errors
    /// Serde cannot write one of them.
    fn append_to(self, arguments: &mut Arguments) -> Result<(), DataError>;
}

impl IntoArguments for () {
    fn append_to(self, _: &mut Arguments) -> Result<(), DataError> {
        Ok(())
    }
}

/// As they came, but for the numbers of binary parts: [`Arguments::without_name`] of an event passes it on.
impl IntoArguments for Arguments {
    fn append_to(self, arguments: &mut Arguments) -> Result<(), DataError> {
        arguments.append(&self)
    }
}

impl IntoArguments for Vec<Value> {
    fn append_to(self, arguments: &mut Arguments) -> Result<(), DataError> {
        self.iter().try_for_each(|value| arguments.push(value))
    }
}

macro_rules! tuples {
    ($($name:ident)+) => {
        impl<$($name: Serialize),+> IntoArguments for ($($name,)+) {
            fn append_to(self, arguments: &mut Arguments) -> Result<(), DataError> {
                #[expect(non_snake_case, reason = "each value is named as its type")]
                let ($($name,)+) = self;
                $(arguments.push(&$name)?;)+
                Ok(())
            }
        }
    };
}

tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
tuples!(A B C D E F G H);
