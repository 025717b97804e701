//! What is taken of a peer.

/// How much of a packet is taken. The length of its text is the transport's to bound: `maxPayload` of the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest name of a namespace, in bytes.
    pub max_namespace_bytes: usize,
    /// The longest query behind the namespace in a CONNECT of protocol 4, in bytes.
    pub max_query_bytes: usize,
    /// The most binary parts of a packet.
    pub max_attachments: usize,
    /// How large all binary parts of a packet may be together, in bytes.
    pub max_attachments_bytes: usize,
    /// How deep the JSON of a packet may nest. Above 127 typed reading fails.
    pub max_depth: usize,
}

impl Default for Limits {
    /// The reference's 10 attachments, and as many bytes as ten of its largest messages have. The reference bounds none of the
    /// others: 256 bytes of namespace, 4 KiB of query, and 100 levels are more than anybody uses.
    fn default() -> Self {
        Self {
            max_namespace_bytes: 256,
            max_query_bytes: 4096,
            max_attachments: 10,
            max_attachments_bytes: 10_000_000,
            max_depth: 100,
        }
    }
}
