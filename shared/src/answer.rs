//! The functions' answers.

pub use crate::{
    export::{EngineOutcome, EngineResponse, Exported, ExportedGroup},
    flip::{Flipped, FlippedGroup, Response},
    optout::OptedOut,
    sweep::{Item, Skipped, Swept},
};
