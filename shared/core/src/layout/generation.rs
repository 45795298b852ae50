//! Colours and generations.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use crate::error::{Error, Result};

/// A label for people. It alternates from generation to generation, and no decision depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Colour {
    Blue,
    Green,
}

impl Colour {
    pub fn other(self) -> Self {
        match self {
            Colour::Blue => Colour::Green,
            Colour::Green => Colour::Blue,
        }
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Colour::Blue => "blue",
            Colour::Green => "green",
        })
    }
}

impl FromStr for Colour {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "blue" => Ok(Colour::Blue),
            "green" => Ok(Colour::Green),
            _ => Err(Error::input(format!("{text:?} is not a colour: expected blue or green"))),
        }
    }
}

/// The name of one immutable build: `COLOUR-ULID`. The ULID's time is when the run started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation {
    pub colour: Colour,
    pub ulid: Ulid,
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.colour, self.ulid)
    }
}

impl FromStr for Generation {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Error::input(format!("{text:?} is not a generation: expected blue-ULID or green-ULID"));
        let (colour, ulid) = text.split_once('-').ok_or_else(bad)?;
        let parsed = Ulid::from_string(ulid).map_err(|_| bad())?;
        // Accepts only the canonical spelling, because any other would be a second path to the same generation.
        if parsed.to_string() != ulid {
            return Err(bad());
        }
        Ok(Generation { colour: colour.parse().map_err(|_| bad())?, ulid: parsed })
    }
}

impl Serialize for Generation {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Returns the time in a ULID, or `Timestamp::MAX` if it is out of range.
pub fn time_of(ulid: Ulid) -> Timestamp {
    Timestamp::from_millisecond(ulid.timestamp_ms() as i64).unwrap_or(Timestamp::MAX)
}
