//! Quantities as users write them: `500m` cpus, `256Mi` of memory, `1m30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Why a text is not a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text does not begin with a number.
    #[error("expected {0}")]
    Form(&'static str),
    /// The unit is not one of ours.
    #[error("unknown unit `{unit}`: {known}")]
    Unit {
        /// What stood there.
        unit: String,
        /// What may stand there.
        known: &'static str,
    },
    /// The value cannot be represented or is out of the accepted range.
    #[error("{0}")]
    Range(&'static str),
}

const CPUS_FORM: &str = "a number of cpus such as `2`, `0.5` or `500m`";
const BYTES_FORM: &str = "an amount of memory such as `256Mi`, `1Gi` or `500M`";
const BYTES_UNITS: &str =
    "use Ki, Mi, Gi or Ti (powers of 1024), k, M, G or T (powers of 1000), or none for bytes";
const RATIO_FORM: &str = "a ratio such as `2` or `1.2`";
const SPAN_FORM: &str = "a duration such as `500ms`, `10s` or `1m30s`";
const SPAN_UNITS: &str = "use ms, s, m, h or d";

/// CPU time per time, in billionths of one cpu.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpus(pub u64);

impl Cpus {
    /// Billionths in one cpu.
    pub const NANO: u64 = 1_000_000_000;
    /// Smallest share that the kernel can schedule: 1 ms of quota in a period of 100 ms.
    pub const MIN: Self = Self(10_000_000);
    /// More cpus than any machine has; guards the arithmetic.
    pub const MAX: Self = Self(100_000 * Self::NANO);
}

impl FromStr for Cpus {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (digits, unit) = split_unit(text).ok_or(QuantityError::Form(CPUS_FORM))?;
        let scale = match unit {
            "" => Self::NANO,
            "m" => Self::NANO / 1000,
            other => {
                return Err(QuantityError::Unit {
                    unit: other.to_owned(),
                    known: "use none for cpus, `m` for thousandths of one",
                });
            }
        };
        let most = QuantityError::Range("at most 100000 cpus can be asked for");
        let nano = decimal(digits, scale).ok_or_else(|| match is_number(digits) {
            true => most.clone(),
            false => QuantityError::Form(CPUS_FORM),
        })?;
        if nano < Self::MIN.0 {
            return Err(QuantityError::Range("at least 10m (0.01 cpus) is needed"));
        }
        if nano > Self::MAX.0 {
            return Err(most);
        }
        Ok(Self(nano))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let milli = Self::NANO / 1000;
        let text = if self.0.is_multiple_of(Self::NANO) {
            format!("{}", self.0 / Self::NANO)
        } else if self.0.is_multiple_of(milli) {
            format!("{}m", self.0 / milli)
        } else {
            let fraction = format!("{:09}", self.0 % Self::NANO);
            format!("{}.{}", self.0 / Self::NANO, fraction.trim_end_matches('0'))
        };
        f.pad(&text)
    }
}

/// An amount of memory or storage, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bytes(pub u64);

impl Bytes {
    /// Engines refuse a memory limit below this.
    pub const MEMORY_MIN: Self = Self(6 << 20);
    /// In less than this a container finds no room for what its engine writes into it.
    pub const DISK_MIN: Self = Self(1 << 20);
}

impl FromStr for Bytes {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (digits, unit) = split_unit(text).ok_or(QuantityError::Form(BYTES_FORM))?;
        let scale = match unit {
            "" => 1,
            "k" => 1000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "T" => 1_000_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            other => {
                return Err(QuantityError::Unit { unit: other.to_owned(), known: BYTES_UNITS });
            }
        };
        let most = QuantityError::Range("at most 2^63 - 1 bytes can be asked for");
        let bytes = decimal(digits, scale).ok_or_else(|| match is_number(digits) {
            true => most.clone(),
            false => QuantityError::Form(BYTES_FORM),
        })?;
        if i64::try_from(bytes).is_err() {
            return Err(most);
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(40, "Ti"), (30, "Gi"), (20, "Mi"), (10, "Ki")];
        for (shift, unit) in units {
            if self.0 != 0 && self.0.is_multiple_of(1 << shift) {
                return f.pad(&format!("{}{unit}", self.0 >> shift));
            }
        }
        f.pad(&self.0.to_string())
    }
}

/// A span of time as it is written in specs, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(pub u64);

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn seconds(seconds: u64) -> Self {
        Self(seconds * 1000)
    }

    /// The span as the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }
}

impl FromStr for Span {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let mut rest = text;
        let mut total: u64 = 0;
        if rest.is_empty() {
            return Err(QuantityError::Form(SPAN_FORM));
        }
        while !rest.is_empty() {
            let (digits, tail) = split_unit(rest).ok_or(QuantityError::Form(SPAN_FORM))?;
            let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
            let (unit, next) = tail.split_at(unit_end);
            let scale = match unit {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "" => return Err(QuantityError::Form(SPAN_FORM)),
                other => {
                    return Err(QuantityError::Unit { unit: other.to_owned(), known: SPAN_UNITS });
                }
            };
            let part = decimal(digits, scale).ok_or(QuantityError::Form(SPAN_FORM))?;
            total = total
                .checked_add(part)
                .filter(|sum| *sum <= 36_500 * 86_400_000)
                .ok_or(QuantityError::Range("at most 100 years can be asked for"))?;
            rest = next;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest == 0 {
            return f.pad("0s");
        }
        let mut text = String::new();
        for (size, unit) in
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")]
        {
            if rest >= size {
                text.push_str(&format!("{}{unit}", rest / size));
                rest %= size;
            }
        }
        f.pad(&text)
    }
}

/// A ratio, in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ratio(pub u32);

impl Ratio {
    /// Thousandths in one.
    pub const ONE: u32 = 1000;
    /// A node that gives less than it has says so with `reserved`.
    pub const MIN: Self = Self(Self::ONE);
    /// Where a hundred times as much is promised as there is, nobody counts any more.
    pub const MAX: Self = Self(100 * Self::ONE);

    /// So many times `amount`, rounded down.
    #[must_use]
    pub fn of(self, amount: u64) -> u64 {
        let product = u128::from(amount) * u128::from(self.0) / u128::from(Self::ONE);
        u64::try_from(product).unwrap_or(u64::MAX)
    }
}

impl FromStr for Ratio {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (digits, unit) = split_unit(text).ok_or(QuantityError::Form(RATIO_FORM))?;
        if !unit.is_empty() || !is_number(digits) {
            return Err(QuantityError::Form(RATIO_FORM));
        }
        let fraction = digits.split_once('.').map_or("", |(_, fraction)| fraction);
        if fraction.trim_end_matches('0').len() > 3 {
            return Err(QuantityError::Range("it is counted in thousandths"));
        }
        let most = QuantityError::Range("at most 100 times what is there can be promised");
        let Some(thousandths) = decimal(digits, u64::from(Self::ONE)) else { return Err(most) };
        let ratio = u32::try_from(thousandths).map_or(Self(u32::MAX), Self);
        if ratio < Self::MIN {
            return Err(QuantityError::Range("at least 1; less than all of it is `reserved`"));
        }
        if ratio > Self::MAX {
            return Err(most);
        }
        Ok(ratio)
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / Self::ONE, self.0 % Self::ONE);
        if rest == 0 {
            return f.pad(&whole.to_string());
        }
        let fraction = format!("{rest:03}");
        f.pad(&format!("{whole}.{}", fraction.trim_end_matches('0')))
    }
}

macro_rules! text_forms {
    ($($quantity:ty),*) => {$(
        impl TryFrom<String> for $quantity {
            type Error = QuantityError;
            fn try_from(text: String) -> Result<Self, QuantityError> {
                text.parse()
            }
        }
        impl From<$quantity> for String {
            fn from(quantity: $quantity) -> Self {
                quantity.to_string()
            }
        }
    )*};
}
text_forms!(Cpus, Bytes, Span, Ratio);

/// Splits `1.5Gi` into the digits with their point, and the rest. `None` without a leading digit.
fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// `digits` (with at most one point) times `scale`, exact or rounded down; `None` if it is no
/// number or does not fit.
fn decimal(digits: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || fraction.len() > 18 {
        return None;
    }
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(scale);
    let divisor = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale) / divisor;
    u64::try_from(whole + part).ok()
}

/// Whether digits with at most one point are a number, however large.
fn is_number(digits: &str) -> bool {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all = |part: &str| !part.is_empty() && part.chars().all(|digit| digit.is_ascii_digit());
    all(whole) && all(fraction) && fraction.len() <= 18
}

/// The highest number that a cpu can have: kernels are built for no more than 8192 of them.
pub const CPU_NUMBER_MAX: u16 = 8191;

/// A set of cpus such as `0-1,3`, in its shortest form. An empty text is the empty set.
///
/// # Errors
/// [`QuantityError`] where the text is no set, or names a cpu that no kernel can have.
pub fn cpuset(text: &str) -> Result<String, QuantityError> {
    text.parse::<super::cpuset::CpuSet>().map(|set| set.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_and_write() {
        let cpus = |text: &str| text.parse::<Cpus>().map(|c| c.to_string());
        assert_eq!(cpus("0.5").as_deref(), Ok("500m"));
        assert_eq!(cpus("500m").as_deref(), Ok("500m"));
        assert_eq!(cpus("2").as_deref(), Ok("2"));
        assert_eq!(cpus("1.25").as_deref(), Ok("1250m"));
        for bad in ["", "-1", "0", "1x", "m", "1.2.3", "1e9", "9223372036854775808"] {
            assert!(cpus(bad).is_err(), "{bad}");
        }

        let bytes = |text: &str| text.parse::<Bytes>().map(|b| (b.0, b.to_string()));
        assert_eq!(bytes("256Mi"), Ok((256 << 20, "256Mi".to_owned())));
        assert_eq!(bytes("1.5Gi"), Ok((3 << 29, "1536Mi".to_owned())));
        assert_eq!(bytes("500M"), Ok((500_000_000, "500000000".to_owned())));
        for bad in ["", "512m", "Mi", "-5Mi", "9223372036854775808", "1 Gi"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }

        let span = |text: &str| text.parse::<Span>().map(|s| (s.0, s.to_string()));
        assert_eq!(span("1m30s"), Ok((90_000, "1m30s".to_owned())));
        assert_eq!(span("500ms"), Ok((500, "500ms".to_owned())));
        assert_eq!(span("0s"), Ok((0, "0s".to_owned())));
        for bad in ["", "10", "s", "1y", "1m-", "99999999999d"] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn ratios_are_exact() {
        let ratio = |text: &str| text.parse::<Ratio>().map(|one| (one.0, one.to_string()));
        assert_eq!(ratio("2"), Ok((2000, "2".to_owned())));
        assert_eq!(ratio("1.20"), Ok((1200, "1.2".to_owned())));
        assert_eq!(ratio("1.005"), Ok((1005, "1.005".to_owned())));
        assert_eq!(Ratio(1200).of(u64::MAX / 2), 11_068_046_444_225_730_968);
        assert_eq!(Ratio(2000).of(u64::MAX), u64::MAX);
        for bad in ["", "-1", "0", "0.9", "1.2.3", "1.0001", "100.001", "2x", "9223372036854775808"]
        {
            assert!(ratio(bad).is_err(), "{bad}");
        }
    }
}
