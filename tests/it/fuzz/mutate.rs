//! Makes new inputs of old ones: the plainest ways, always the same ones from the same seed.

/// Longest input, in bytes: what more would show, less does.
const BYTES_MAX: usize = 24 << 10;

/// So many changes at most make one input of another.
const CHANGES_MAX: u64 = 4;

/// Makes inputs.
pub(super) struct Mutator<'c> {
    state: u64,
    corpus: &'c [Vec<u8>],
    words: Vec<Vec<u8>>,
}

impl<'c> Mutator<'c> {
    /// Mutates `corpus`, with the words of a dictionary, one a line.
    pub(super) fn new(seed: u64, corpus: &'c [Vec<u8>], words: &str) -> Self {
        let common = ["", "0", "-1", "99999999999999999999", "null", "é", "\u{feff}", "\r\n", "\t"];
        let words = common.into_iter().chain(words.lines());
        Self { state: seed, corpus, words: words.map(|word| word.as_bytes().to_vec()).collect() }
    }

    /// The next input.
    pub(super) fn next(&mut self) -> Vec<u8> {
        let mut input = self.one().to_vec();
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change(&mut input);
        }
        input.truncate(BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let (begin, end) = self.piece(input);
        match self.below(8) {
            // A bit, or a byte.
            0 => {
                let bit = 1 << self.below(8);
                input.get_mut(begin).into_iter().for_each(|byte| *byte ^= bit);
            }
            1 => {
                let noise = self.random().to_le_bytes()[0];
                input.get_mut(begin).into_iter().for_each(|byte| *byte = noise);
            }
            // A piece goes, comes again, comes often, or moves.
            2 => drop(input.drain(begin..end)),
            3 => {
                let piece = input[begin..end].to_vec();
                drop(input.splice(begin..begin, piece));
            }
            4 => {
                let times = 1 + self.index(64);
                let piece = input[begin..end.min(begin + 64)].repeat(times);
                drop(input.splice(begin..begin, piece));
            }
            5 => {
                let piece: Vec<u8> = input.drain(begin..end).collect();
                let to = self.index(input.len() + 1);
                drop(input.splice(to..to, piece));
            }
            // A word, in the place of a piece or before it.
            6 => {
                let word = {
                    let index = self.index(self.words.len());
                    self.words[index].clone()
                };
                let end = if self.below(2) == 0 { begin } else { end };
                drop(input.splice(begin..end, word));
            }
            // A piece of another input.
            _ => {
                let other = self.one();
                let (from, to) = self.piece(other);
                drop(input.splice(begin..end, other[from..to].iter().copied()));
            }
        }
    }

    /// A piece of an input: mostly a short one, sometimes a whole line or a long one.
    fn piece(&mut self, input: &[u8]) -> (usize, usize) {
        let begin = self.index(input.len() + 1);
        let rest = &input[begin..];
        let length = match self.below(4) {
            0 => rest.iter().position(|byte| *byte == b'\n').map_or(rest.len(), |end| end + 1),
            1 => self.index(rest.len() + 1),
            _ => self.index(rest.len().min(16) + 1),
        };
        (begin, begin + length)
    }

    fn one(&mut self) -> &'c [u8] {
        &self.corpus[self.index(self.corpus.len())]
    }

    fn index(&mut self, below: usize) -> usize {
        self.below(below as u64) as usize
    }

    fn below(&mut self, below: u64) -> u64 {
        self.random() % below.max(1)
    }

    /// The generator splitmix64: each number is as good as the last one, from any seed.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
