//! What runs in the server for the pages that show something: writers for `/demo/stream`, a stream of numbers for `/compare`.

mod compare;
mod stream;

use std::sync::{Arc, OnceLock};

use axum::Router;
use longwire::Node;

/// The demos of one server.
#[derive(Clone, Debug)]
pub(crate) struct Demo {
    node: Arc<OnceLock<Node>>,
    writers: stream::Writers,
    numbers: compare::Numbers,
}

impl Default for Demo {
    fn default() -> Self {
        let node: Arc<OnceLock<Node>> = Arc::default();
        Self { writers: stream::Writers::new(node.clone()), numbers: compare::Numbers::new(node.clone()), node }
    }
}

impl Demo {
    /// The routes by which pages ask the demos.
    pub(crate) fn router(&self) -> Router {
        self.writers.router().merge(self.numbers.router())
    }

    /// From now on there is a server in whose channels can be written.
    pub(crate) fn start(&self, node: &Node) {
        let _ = self.node.set(node.clone());
    }
}
