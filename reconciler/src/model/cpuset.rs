//! Sets of cpus by their numbers.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::quantity::{CPU_NUMBER_MAX, QuantityError};

/// A set of cpus; as text it is `0-1,3`, in its shortest form, and nothing for none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuSet(pub BTreeSet<u16>);

impl CpuSet {
    /// The first `count` cpus of a node.
    #[must_use]
    pub fn first(count: u32) -> Self {
        let most = u32::from(CPU_NUMBER_MAX) + 1;
        let last = u16::try_from(count.min(most)).unwrap_or(CPU_NUMBER_MAX);
        Self((0..last).collect())
    }

    /// What a text says that was a set once; nothing where it is none.
    #[must_use]
    pub fn of(text: &str) -> Self {
        text.parse().unwrap_or_default()
    }
}

impl FromStr for CpuSet {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        const FORM: QuantityError = QuantityError::Form("cpus such as `0-1,3`");
        let mut cpus = BTreeSet::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |text: &str| text.trim().parse::<u16>().map_err(|_| FORM);
            let (first, last) = (number(first)?, number(last)?);
            if first > last || last > CPU_NUMBER_MAX {
                let why = "expected cpus from 0 to 8191, the lower one first";
                return Err(QuantityError::Range(why));
            }
            cpus.extend(first..=last);
        }
        Ok(Self(cpus))
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for cpu in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == *cpu => *last = *cpu,
                Some(_) | None => runs.push((*cpu, *cpu)),
            }
        }
        let runs = runs.into_iter().map(|(first, last)| match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        });
        f.write_str(&runs.collect::<Vec<_>>().join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_cpus_have_one_form() {
        let form = |text: &str| text.parse::<CpuSet>().map(|set| set.to_string());
        for (text, shortest) in [("", ""), ("3", "3"), ("1,0", "0-1"), ("0-2,2-3,7", "0-3,7")] {
            assert_eq!(form(text).as_deref(), Ok(shortest), "{text}");
        }
        for bad in ["a", "1-", "-1", "2-1", "0,,1", "9000"] {
            assert!(form(bad).is_err(), "{bad}");
        }
        assert_eq!(CpuSet::first(4).to_string(), "0-3");
        assert_eq!(CpuSet::first(u32::MAX).0.len(), 8192);
    }
}
