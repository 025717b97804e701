//! Buffers that grow as bytes arrive: a peer gets memory for what it sends, not for what it says that it will send.

/// Appends `bytes`. The buffer grows by doubling, but not past `most` bytes unless what it holds takes that.
pub(crate) fn append(buffer: &mut Vec<u8>, bytes: &[u8], most: usize) {
    if buffer.capacity() - buffer.len() < bytes.len() {
        let doubling = buffer.len().min(most.saturating_sub(buffer.len()));
        buffer.reserve_exact(bytes.len().max(doubling));
    }
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::append;

    #[test]
    fn a_buffer_holds_what_has_come_and_at_most_as_much_again() {
        let mut buffer = Vec::new();
        append(&mut buffer, &[1; 10], 1 << 30);
        assert_eq!(buffer.capacity(), 10);
        append(&mut buffer, &[2; 1], 1 << 30);
        assert_eq!(buffer.capacity(), 20);
        append(&mut buffer, &[3; 10], 21);
        assert_eq!(buffer.capacity(), 21);
        append(&mut buffer, &[4; 10], 21);
        assert_eq!((buffer.len(), buffer.capacity()), (31, 31));
    }
}
