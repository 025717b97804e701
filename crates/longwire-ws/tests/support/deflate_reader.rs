//! A slow and plain inflater (RFC 1951) that watches how far back a stream refers: the judge of what the crate compresses.

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Read {
    /// The text, behind the history that it was given.
    pub(crate) bytes: Vec<u8>,
    /// The longest way back that any reference goes, in bytes.
    pub(crate) farthest: usize,
    /// How many references there are.
    pub(crate) references: usize,
}

/// Reads whole blocks until the input ends at a byte's edge. `history` is what may be referred to.
pub(crate) fn read(compressed: &[u8], history: &[u8]) -> Read {
    let mut bits = Bits { bytes: compressed, at: 0 };
    let mut read = Read { bytes: history.to_vec(), ..Read::default() };
    while bits.at.div_ceil(8) < compressed.len() {
        let _last = bits.take(1);
        match bits.take(2) {
            0 => stored(&mut bits, &mut read),
            1 => coded(&mut bits, &mut read, &fixed_literals(), &Code::new(&[5; 30])),
            2 => {
                let (literals, distances) = dynamic_codes(&mut bits);
                coded(&mut bits, &mut read, &literals, &distances);
            }
            other => panic!("block type {other}"),
        }
    }
    read.bytes.drain(..history.len());
    read
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn take(&mut self, count: usize) -> usize {
        (0..count).fold(0, |value, place| {
            let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
            self.at += 1;
            value | usize::from(bit) << place
        })
    }
}

/// RFC 1951, 3.2.4.
fn stored(bits: &mut Bits<'_>, read: &mut Read) {
    let start = bits.at.div_ceil(8);
    let field = |at: usize| u16::from_le_bytes([bits.bytes[at], bits.bytes[at + 1]]);
    let (len, complement) = (field(start), field(start + 2));
    assert_eq!(len, !complement, "the length of a stored block");
    let end = start + 4 + usize::from(len);
    read.bytes.extend(&bits.bytes[start + 4..end]);
    bits.at = end * 8;
}

/// RFC 1951, 3.2.5.
fn coded(bits: &mut Bits<'_>, read: &mut Read, literals: &Code, distances: &Code) {
    loop {
        match literals.next(bits) {
            literal @ 0..=255 => read.bytes.push(literal as u8),
            256 => return,
            symbol => {
                let length = match symbol {
                    257..=264 => symbol - 254,
                    285 => 258,
                    _ => {
                        let extra = (symbol - 261) / 4;
                        3 + ((4 + (symbol - 265) % 4) << extra) + bits.take(extra)
                    }
                };
                let symbol = distances.next(bits);
                let distance = match symbol {
                    0..=3 => symbol + 1,
                    _ => {
                        let extra = symbol / 2 - 1;
                        1 + ((2 + symbol % 2) << extra) + bits.take(extra)
                    }
                };
                read.references += 1;
                read.farthest = read.farthest.max(distance);
                for _ in 0..length {
                    let byte = read.bytes[read.bytes.len().checked_sub(distance).expect("within what there is")];
                    read.bytes.push(byte);
                }
            }
        }
    }
}

/// RFC 1951, 3.2.6.
fn fixed_literals() -> Code {
    let lengths: Vec<u8> = (0..288)
        .map(|symbol| [8, 9, 7, 8][(symbol > 143) as usize + (symbol > 255) as usize + (symbol > 279) as usize])
        .collect();
    Code::new(&lengths)
}

/// RFC 1951, 3.2.7.
fn dynamic_codes(bits: &mut Bits<'_>) -> (Code, Code) {
    const ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    let (literals, distances, codes) = (257 + bits.take(5), 1 + bits.take(5), 4 + bits.take(4));
    let mut code_lengths = [0; 19];
    for place in &ORDER[..codes] {
        code_lengths[*place] = bits.take(3) as u8;
    }
    let code = Code::new(&code_lengths);
    let mut lengths: Vec<u8> = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match code.next(bits) {
            16 => (lengths[lengths.len() - 1], 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length as u8, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    (Code::new(&lengths[..literals]), Code::new(&lengths[literals..]))
}

/// A prefix code: the symbols of each length in order (RFC 1951, 3.2.2).
struct Code {
    by_length: [Vec<usize>; 16],
}

impl Code {
    fn new(lengths: &[u8]) -> Self {
        let of = |length: usize| (0..lengths.len()).filter(|at| length > 0 && usize::from(lengths[*at]) == length).collect();
        Self { by_length: std::array::from_fn(of) }
    }

    fn next(&self, bits: &mut Bits<'_>) -> usize {
        let (mut code, mut first) = (0, 0);
        for symbols in &self.by_length[1..] {
            code = code << 1 | bits.take(1);
            first <<= 1;
            if let Some(symbol) = symbols.get(code - first) {
                return *symbol;
            }
            first += symbols.len();
        }
        panic!("no such code");
    }
}
