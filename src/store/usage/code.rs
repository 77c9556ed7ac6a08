//! The form in which amounts and samples are kept: numbers of seven bits a byte, since most of them
//! are small, and series by number.

use std::collections::BTreeMap;
use std::sync::Arc;

use reconciler::model::ids::ContainerId;
use reconciler::model::time::Timestamp;
use reconciler::usage::{Amounts, Counters, Mark, Marks, Series};

/// The form of what is kept. Another one is not read.
pub(super) const VERSION: u8 = 1;

/// What is kept cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// Writes numbers.
#[derive(Debug)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new() -> Self {
        Self(vec![VERSION])
    }

    fn number(&mut self, number: impl Into<u128>) {
        let mut rest: u128 = number.into();
        loop {
            let [low, ..] = rest.to_le_bytes();
            rest >>= 7;
            if rest == 0 {
                self.0.push(low & 0x7f);
                return;
            }
            self.0.push(low | 0x80);
        }
    }

    fn time(&mut self, at: Timestamp) {
        // Nothing was used before 1970.
        self.number(u64::try_from(at.0).unwrap_or(0));
    }

    fn text(&mut self, text: &str) {
        self.number(u64::try_from(text.len()).unwrap_or(0));
        self.0.extend_from_slice(text.as_bytes());
    }

    /// What a series used.
    pub(super) fn amounts(&mut self, series: u32, amounts: &Amounts) {
        let Amounts {
            ran_ms,
            cpu_ns,
            memory_byte_ms,
            memory_peak,
            read_bytes,
            written_bytes,
            reads,
            writes,
            throttled_periods,
            throttled_ns,
            oom_kills,
        } = *amounts;
        self.number(series);
        self.number(memory_byte_ms);
        let rest = [
            ran_ms,
            cpu_ns,
            memory_peak,
            read_bytes,
            written_bytes,
            reads,
            writes,
            throttled_periods,
            throttled_ns,
            oom_kills,
        ];
        rest.into_iter().for_each(|number| self.number(number));
    }

    fn mark(&mut self, container: &ContainerId, series: u32, mark: &Mark) {
        let Mark { series: _, since, at, counters, nano_cpus: _ } = mark;
        let Counters {
            cpu_ns,
            memory,
            pids,
            read_bytes,
            written_bytes,
            reads,
            writes,
            throttled_periods,
            throttled_ns,
            oom_kills,
            periods: _,
            pids_refused: _,
            memory_stalled_us: _,
            io_stalled_us: _,
        } = *counters;
        self.text(&container.0);
        self.number(series);
        self.time(*since);
        self.time(*at);
        let rest = [
            cpu_ns,
            memory,
            pids,
            read_bytes,
            written_bytes,
            reads,
            writes,
            throttled_periods,
            throttled_ns,
            oom_kills,
        ];
        rest.into_iter().for_each(|number| self.number(number));
    }

    pub(super) fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, Damaged> {
        match bytes.split_first() {
            Some((&VERSION, rest)) => Ok(Self(rest)),
            Some(_) | None => Err(Damaged),
        }
    }

    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn large(&mut self) -> Result<u128, Damaged> {
        let mut number = 0_u128;
        for shift in (0..128).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Damaged)?;
            self.0 = rest;
            number |= u128::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Damaged)
    }

    fn number(&mut self) -> Result<u64, Damaged> {
        u64::try_from(self.large()?).map_err(|_| Damaged)
    }

    fn series(&mut self) -> Result<u32, Damaged> {
        u32::try_from(self.number()?).map_err(|_| Damaged)
    }

    fn time(&mut self) -> Result<Timestamp, Damaged> {
        i64::try_from(self.number()?).map(Timestamp).map_err(|_| Damaged)
    }

    fn text(&mut self) -> Result<&'a str, Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(Damaged)?;
        self.0 = rest;
        std::str::from_utf8(text).map_err(|_| Damaged)
    }

    /// The next series with what it used; `None` at the end.
    pub(super) fn amounts(&mut self) -> Result<Option<(u32, Amounts)>, Damaged> {
        if self.is_at_end() {
            return Ok(None);
        }
        let series = self.series()?;
        let memory_byte_ms = self.large()?;
        let amounts = Amounts {
            ran_ms: self.number()?,
            cpu_ns: self.number()?,
            memory_byte_ms,
            memory_peak: self.number()?,
            read_bytes: self.number()?,
            written_bytes: self.number()?,
            reads: self.number()?,
            writes: self.number()?,
            throttled_periods: self.number()?,
            throttled_ns: self.number()?,
            oom_kills: self.number()?,
        };
        Ok(Some((series, amounts)))
    }

    fn mark(&mut self, names: &BTreeMap<u32, Series>) -> Result<(ContainerId, Mark), Damaged> {
        let container = ContainerId(Arc::from(self.text()?));
        let series = names.get(&self.series()?).cloned().ok_or(Damaged)?;
        let (since, at) = (self.time()?, self.time()?);
        let counters = Counters {
            cpu_ns: self.number()?,
            memory: self.number()?,
            pids: self.number()?,
            read_bytes: self.number()?,
            written_bytes: self.number()?,
            reads: self.number()?,
            writes: self.number()?,
            throttled_periods: self.number()?,
            throttled_ns: self.number()?,
            oom_kills: self.number()?,
            ..Counters::default()
        };
        Ok((container, Mark { series, since, at, counters, nano_cpus: None }))
    }
}

/// The last samples, with the numbers of their series.
pub(super) fn write_marks(marks: &Marks, mut number: impl FnMut(&Series) -> u32) -> Vec<u8> {
    let mut writer = Writer::new();
    for (container, mark) in marks {
        writer.mark(container, number(&mark.series), mark);
    }
    writer.bytes()
}

/// The last samples.
pub(super) fn read_marks(bytes: &[u8], names: &BTreeMap<u32, Series>) -> Result<Marks, Damaged> {
    let mut reader = Reader::new(bytes)?;
    let mut marks = Marks::new();
    while !reader.is_at_end() {
        let (container, mark) = reader.mark(names)?;
        marks.insert(container, mark);
    }
    Ok(marks)
}
